-- Coverage by folder, of a program of three lines.
local files = require "spec.support.files"
local uv = require "luv"

local function run(command)
    local pipe = assert(io.popen("env -u LD_PRELOAD sh -c '" .. command .. "' 2>&1; echo $?"))
    local text = pipe:read "*a"
    pipe:close()
    return tonumber(text:match "(%d+)\n$"), text
end

describe("support/coverage", function()
    local dir
    before_each(function() dir = assert(uv.fs_mkdtemp "/tmp/evrt-spec-XXXXXX") end)
    after_each(function() os.execute("rm -rf " .. dir) end)

    it("adds up what ran, by folder and file", function()
        assert(os.execute("mkdir -p " .. dir .. "/runtime/core") == 0)
        files.write(dir .. "/runtime/core/a.c", "int a(int n);\nint a(int n) {\n    if (n > 1)\n        return 7;\n"
            .. "    return 0;\n}\n")
        files.write(dir .. "/main.c", "int a(int n);\nint main(int n, char **v) {\n    (void)v;\n    return a(n);\n}\n")
        assert.equal(0, (run("cd " .. dir .. " && cc --coverage -O0 -o a runtime/core/a.c main.c && ./a")))
        local code, text = run("luajit spec/support/coverage.lua " .. dir .. " core/a")
        assert.equal(0, code, text)
        assert.truthy(text:find("runtime/core +4 +3 +75%.0\n"), text)
        assert.truthy(text:find("runtime/core/a%.c +4 +3 +75%.0\n"), text)
        assert.truthy(text:find("total +4 +3 +75%.0\n"), text)
    end)

    it("says so when nothing was counted", function()
        local code, text = run("luajit spec/support/coverage.lua " .. dir)
        assert.equal(1, code)
        assert.truthy(text:find("no counters in " .. dir, 1, true), text)
    end)
end)
