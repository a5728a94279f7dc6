local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("cli", { "cli/cli.h", "cli/help.h", "config/options.h" })

local function out_of(fn) return c.collect(lib, fn) end

local function each_command(fn)
    local i = 0
    while lib.evrt_commands[i].name ~= nil do
        fn(ffi.string(lib.evrt_commands[i].name), lib.evrt_commands[i])
        i = i + 1
    end
end

describe("manual page", function()
    local page = out_of(function(out) lib.evrt_help_man(out) end)

    it("names every command, option and configuration key", function()
        local plain = page:gsub("\\%-", "-"):gsub("\\fB", ""):gsub("\\fR", "")
        each_command(function(name, command)
            assert.is_truthy(plain:find("\n.SS evrt " .. name, 1, true), name)
            local i = 0
            while command.options[i].name ~= nil do
                assert.is_truthy(plain:find("--" .. ffi.string(command.options[i].name), 1, true))
                i = i + 1
            end
        end)
        for i = 0, c.define.EVRT_OPTION_COUNT - 1 do
            assert.is_truthy(plain:find("\n" .. ffi.string(lib.evrt_options[i].key) .. ": ", 1, true))
        end
        for _, code in ipairs { "64", "69", "78" } do assert.is_truthy(plain:find("\n" .. code .. "\n", 1, true)) end
    end)

    it("is roff: requests it knows, no stray backslash", function()
        local known = { TH = true, SH = true, SS = true, TP = true, PP = true, br = true }
        for line in page:gmatch "[^\n]+" do
            local request = line:match "^%.(%a+)"
            assert.is_true(line:sub(1, 1) ~= "'" and (line:sub(1, 1) ~= "." or known[request] == true), line)
            assert.is_nil(line:gsub("\\[-e&]", ""):gsub("\\f[BR]", ""):gsub("\\%(aq", ""):match "\\", line)
        end
    end)
end)

describe("completion", function()
    local function completion(shell)
        local rc
        local text = out_of(function(out) rc = lib.evrt_help_completion(shell, out) end)
        return rc == 0 and text or nil, rc
    end

    it("knows three shells, and every command in each", function()
        for _, shell in ipairs { "bash", "zsh", "fish" } do
            local text = completion(shell)
            each_command(function(name)
                assert.is_truthy(text:find("%f[%w]" .. name:gsub("%-", "%%-") .. "%f[%W]"), name)
            end)
        end
        assert.are.equal(-2, select(2, completion "csh"))
    end)

    it("completes in bash", function()
        local path = os.tmpname()
        local file = assert(io.open(path, "w"))
        file:write(completion "bash", [[

try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _evrt; echo "${COMPREPLY[*]}"; }
try evrt pub
try evrt store ''
try evrt publish --w
try evrt help con
try evrt run ''
]])
        file:close()
        local pipe = io.popen("bash " .. path .. " 2>&1")
        local said = pipe:read "*a"
        pipe:close()
        os.remove(path)
        assert.are.equal("publish\nverify repair\n--wait\nconfig\n\n", said)
    end)
end)
