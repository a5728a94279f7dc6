-- Which lines of runtime/ ran, by folder, out of gcov's counters. A command:
--
--     luajit spec/support/coverage.lua build/coverage [FILE PATTERN]
--
-- One source has counters of its own in the binary and in each unit library; a line counts as run when it ran in any.
local cjson = require "cjson"

local root, pattern = arg[1], arg[2]
local lines = {} -- file -> line -> whether it ran

local function take(file)
    local name = file.file:match "runtime/[%w_/]+%.[ch]$"
    if not name then return end
    lines[name] = lines[name] or {}
    for _, line in ipairs(file.lines) do
        lines[name][line.line_number] = lines[name][line.line_number] or line.count > 0
    end
end

-- gcov prints one document a counter file, each in a line.
local function read(command)
    local pipe = assert(io.popen(command))
    for text in pipe:lines() do
        if text:sub(1, 1) == "{" then
            for _, file in ipairs(cjson.decode(text).files) do take(file) end
        end
    end
    pipe:close()
end

read(("find '%s' -name '*.gcda' -print0 | xargs -0 -r gcov --json-format --stdout 2>/dev/null"):format(root))

local sums, names = {}, {}
local function add(name, ran)
    if not sums[name] then
        sums[name] = { ran = 0, all = 0 }
        names[#names + 1] = name
    end
    sums[name].all = sums[name].all + 1
    if ran then sums[name].ran = sums[name].ran + 1 end
end
for file, list in pairs(lines) do
    local folder = file:match "^runtime/([%w_]+)/" or "."
    for _, ran in pairs(list) do
        add("runtime/" .. folder, ran)
        add("total", ran)
        if pattern and file:find(pattern) then add(file, ran) end
    end
end
if #names == 0 then
    io.stderr:write("no counters in ", root, ": nothing that was built with EVRT_COVERAGE has run\n")
    os.exit(1)
end

table.sort(names, function(a, b)
    if (a == "total") ~= (b == "total") then return b == "total" end
    return a < b
end)
print(("%-40s %7s %7s %6s"):format("", "lines", "ran", "%"))
for _, name in ipairs(names) do
    local s = sums[name]
    print(("%-40s %7d %7d %6.1f"):format(name, s.all, s.ran, s.ran / s.all * 100))
end
