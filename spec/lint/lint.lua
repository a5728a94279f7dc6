-- The project's own lint: layering, sizes and house rules that no off-the-shelf tool knows.
--     luajit spec/lint/lint.lua        # checks every source file; prints path:line: problem
-- As a module: lint.check(path, text, depends) returns a list of "path:line: problem".
package.path = "./?.lua;" .. package.path
local layers = require "spec.lint.layers"

local lint = { max_file = 600, max_function = 80 }

local function line_of(text, at)
    return select(2, text:sub(1, at - 1):gsub("\n", "")) + 1
end

-- Blanks comments, strings, character literals and preprocessor lines, keeping offsets and lines.
local function code_only(text)
    local function blank(s) return (s:gsub("[^\n]", " ")) end
    local out, at = {}, 1
    while at <= #text do
        local two, stop = text:sub(at, at + 1), nil
        local one = two:sub(1, 1)
        if two == "/*" then
            stop = select(2, text:find("*/", at + 2, true))
        elseif two == "//" then
            stop = text:find("\n", at, true)
        elseif one == '"' or one == "'" then
            stop = at + 1
            while text:sub(stop, stop) ~= one and stop < #text do
                stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
            end
        elseif one == "#" and text:sub(1, at - 1):match "[^%S\n]*$" == text:sub(1, at - 1):match "[^\n]*$" then
            stop = at
            repeat
                stop = text:find("\n", stop + 1, true) or #text
            until text:sub(stop - 1, stop - 1) ~= "\\" or stop == #text
        end
        if stop or (one == '"' or two == "/*") then
            out[#out + 1] = blank(text:sub(at, stop or #text))
            at = (stop or #text) + 1
        else
            local next_mark = text:find("[/\"'#]", at + 1) or #text + 1
            out[#out + 1] = text:sub(at, next_mark - 1)
            at = next_mark
        end
    end
    return table.concat(out)
end

local function library_user(path, layer, users)
    for i = 2, #users do
        if users[i] == layer or users[i] == path then return true end
    end
    return false
end

-- Includes: downward only, and each library only where it belongs.
local function check_includes(path, text, depends, report)
    local layer = layers.of(path)
    local allowed = depends[layer]
    if not allowed then
        return report(1, ("'%s' is not a layer in CMakeLists.txt"):format(layer))
    end
    local line = 0
    for content in (text .. "\n"):gmatch "(.-)\n" do
        line = line + 1
        local quoted = content:match '^%s*#%s*include%s+"([^"]+)"'
        local angled = content:match "^%s*#%s*include%s+<([^>]+)>"
        if quoted and quoted ~= "evrt.h" then
            local target = layers.of(quoted)
            if not quoted:find "/" then
                report(line, ("include \"%s\" by its path from runtime/"):format(quoted))
            elseif target ~= layer and not allowed[target] then
                report(line, ("%s may not include %s"):format(layer, quoted))
            end
        end
        for _, users in ipairs(layers.libraries) do
            local header = quoted or angled
            if header and header:find(users[1]) and not library_user(path, layer, users) then
                report(line, ("<%s> belongs to %s"):format(header, table.concat(users, ", ", 2)))
            end
        end
    end
end

-- Functions: clang-format puts the closing brace, and nothing else that is one, in the first column.
local function check_functions(code, report)
    local line, from = 0, nil
    for content in (code .. "\n"):gmatch "(.-)\n" do
        line = line + 1
        if content:find "^[%a_]" then from = line end
        if content:find "^}%s*$" and from and line - from + 1 > lint.max_function then
            report(from, ("function of %d lines, at most %d"):format(line - from + 1, lint.max_function))
        end
    end
end

-- What a top-level declaration declares can be written to.
local function is_mutable(declaration)
    local bare = declaration:gsub("%b{}", " "):gsub("__attribute__%s*%b()", ""):gsub("%b[]", "")
    local head = bare:match "^([^=]-)%s*[=;]"
    for _, harmless in ipairs { "^typedef%s", "^extern%s", "^_Static_assert", "^struct%s+[%w_]+$", "^union%s+[%w_]+$",
        "^enum$", "^enum%s+[%w_]+$", "^$" } do
        if head:find(harmless) then return false end
    end
    local declarator = head:match "%((.*)"
    if declarator then -- a prototype, or a pointer to a function
        return declarator:find "^%s*%*" ~= nil and not declarator:find "^%s*%*%s*const%f[^%w_]"
    end
    return not (head:match "^.*%*(.*)$" or head):find "%f[%w_]const%f[^%w_]"
end

local function check_state(code, report)
    local from, at = 1, 1
    while true do
        local i = code:find("[;{]", at)
        if not i then return end
        if code:sub(i, i) == "{" then
            local _, close = code:find("^%b{}", i)
            if not close then return end
            at = close + 1
            if code:sub(from, i - 1):find "%)%s*$" then from = at end
        else
            local start = code:find("%S", from)
            if start < i and is_mutable(code:sub(start, i)) then
                report(line_of(code, start), "mutable state at file scope")
            end
            from, at = i + 1, i + 1
        end
    end
end

local OPENING = { c = "^/%*", h = "^/%*", lua = "^%-%-", sh = "^#![^\n]*\n#", cmake = "^#" }
local MACHINE = { "/" .. "work/", "/tmp/" .. "b/", "/" .. "root/", "/" .. "home/%l" }

local function check_any(path, text, report)
    local kind = path:match "%.(%w+)$"
    if OPENING[kind] and not path:find "_spec%.lua$" and not text:find(OPENING[kind]) then
        report(1, "must open with a comment that says what the file is")
    end
    if OPENING[kind] then
        local lines = line_of(text, #text)
        if lines > lint.max_file then
            report(lint.max_file, ("file of %d lines, at most %d"):format(lines, lint.max_file))
        end
    end
    for _, pattern in ipairs(MACHINE) do
        local at = text:find(pattern)
        if at then report(line_of(text, at), "path of one machine") end
    end
    local at = text:find "[ \t]\n"
    if at and kind ~= "md" then report(line_of(text, at), "space at the end of a line") end
    if #text > 0 and text:sub(-1) ~= "\n" then report(line_of(text, #text), "no newline at the end") end
end

--- Checks one file.
---@param path string from the top of the repository
---@param text string
---@param depends table as layers.parse() gives
---@return string[] problems
function lint.check(path, text, depends)
    local problems = {}
    local function report(line, problem)
        problems[#problems + 1] = ("%s:%d: %s"):format(path, line, problem)
    end
    check_any(path, text, report)
    local inner = path:match "^runtime/(.*%.[ch])$"
    if inner then
        local code = code_only(text)
        check_includes(inner, text, depends, report)
        check_functions(code, report)
        check_state(code, report)
    end
    return problems
end

-- Not `git ls-files`: a checkout that belongs to someone else, or has no .git, is linted too.
local function source_files()
    local pipe = assert(io.popen(
        "find . \\( -name .git -o -name node_modules -o -path ./build -o -path ./examples/quickstart/data "
        .. "-o -path './spec/fuzz/corpus' \\) -prune -o -type f -print | sed 's,^[.]/,,' | sort"))
    local files = {}
    for path in pipe:lines() do files[#files + 1] = path end
    pipe:close()
    return files
end

local function read(path)
    local file = io.open(path, "rb")
    if not file then return nil end -- deleted, not yet committed
    local text = file:read "*a"
    file:close()
    return text
end

local TEXT = "%.([%w]+)$"
local TEXT_KINDS = { c = 1, h = 1, lua = 1, sh = 1, cmake = 1, txt = 1, md = 1, yaml = 1, json = 1, service = 1 }

local function main()
    local depends = layers.parse(assert(read "CMakeLists.txt"))
    local problems, count = {}, 0
    for _, path in ipairs(source_files()) do
        local text = TEXT_KINDS[path:match(TEXT)] and read(path)
        if text then
            count = count + 1
            for _, problem in ipairs(lint.check(path, text, depends)) do
                problems[#problems + 1] = problem
            end
        end
    end
    for _, problem in ipairs(problems) do print(problem) end
    io.stderr:write(("%d files, %d problems\n"):format(count, #problems))
    os.exit(#problems == 0 and 0 or 1)
end

if arg and arg[0] and arg[0]:find "lint/lint%.lua$" then main() end

return lint
