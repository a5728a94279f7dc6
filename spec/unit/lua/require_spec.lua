-- require: the snapshot's modules, evrt's own, the system's, in that order; and no ffi.
local worker = require "spec.support.worker"

local function check(text, modules, hello)
    local files = { ["h.lua"] = text .. "\nreturn {}" }
    for path, source in pairs(modules or {}) do files[path] = source end
    return worker.check(files, hello)
end

describe("require", function()
    it("finds modules beside the scripts, once each", function()
        assert.is_nil(check([[
            local a = require "a"
            assert(a.b == require "deep.b" and a == require "a")
            assert(require "none" == true and package.loaded.none == true)]], {
            ["lib/a.lua"] = "return { b = require 'deep.b', name = ... }",
            ["lib/deep/b.lua"] = "return {}",
            ["lib/none.lua"] = "local x = 1",
        }))
    end)

    it("finds modules late, when a handler first asks for them", function()
        local outcome, printed = worker.run("print(require('late').x)", nil,
            { files = { ["lib/late.lua"] = "return { x = 5 }" } })
        assert.equal("done", outcome)
        assert.same({ "5" }, printed)
    end)

    it("finds evrt's own and the system's", function()
        assert.is_nil(check [[
            assert(require "evrt".sleep and require "evrt.json".null)
            assert(require "string.buffer" and require "lfs".currentdir)]])
    end)

    it("prefers modules beside the scripts to the system's", function()
        assert.is_nil(check("assert(require 'lfs' == 'mine')", { ["lib/lfs.lua"] = "return 'mine'" }))
    end)

    it("asks loaders that a script adds", function()
        assert.is_nil(check [[
            table.insert(package.loaders, function(name)
                return name == "made.up" and function() return "from a loader" end or "\n\tnot made up"
            end)
            assert(require "made.up" == "from a loader")
            local _, message = pcall(require, "other")
            assert(message:find "not made up$")]])
    end)

    it("says where a missing module is required", function()
        local message = check "local x\nx = require 'no.such'"
        assert.matches("^h.lua:2: module 'no.such' not found: no module of that name beside the scripts", message)
        assert.matches("no file '/usr/[^\n]*/no/such.lua'", message)
        assert.not_matches("'%./", message)
    end)

    it("says where a cycle closes", function()
        assert.equal("lib/b.lua:3: module 'a' requires itself: a -> b -> a", check("require 'a'", {
            ["lib/a.lua"] = "require 'b'",
            ["lib/b.lua"] = "\n\nrequire 'a'",
        }))
    end)

    it("tells errors of modules at their place, and lets them be tried again", function()
        assert.equal("lib/a.lua:1: broken", check("require 'a'", { ["lib/a.lua"] = "error 'broken'" }))
        assert.matches("^lib/a.lua:1: ", check("require 'a'", { ["lib/a.lua"] = "x =" }))
        assert.is_nil(check([[
            local ok, message = pcall(require, "a")
            assert(not ok and message == "lib/a.lua:1: first")
            assert(require "a" == 2)]], {
            ["lib/a.lua"] = "n = (n or 0) + 1 if n == 1 then error 'first' end return n",
        }))
    end)

    it("is misused with anything but a name", function()
        assert.equal("h.lua:1: require: a module name (string) expected, got nil", check "require()")
    end)

    it("keeps ffi off unless it is allowed", function()
        local off = "^h.lua:1: module '[%w%-]*ffi' is off; workers.allow_ffi: true in the configuration turns it on$"
        assert.matches(off, check "require 'ffi'")
        assert.matches(off, check "package.cpath = '/usr/lib/x86_64-linux-gnu/libluajit-5.1.so.2' require 'x-ffi'")
        assert.is_nil(check [[
            local n = 9007199254740993LL + 1 -- makes LuaJIT load it
            assert(package.loaded.ffi == nil and package.preload.ffi == nil and package.loadlib == nil)
            for name, module in pairs(package.loaded) do
                assert(type(module) ~= "table" or rawget(module, "cdef") == nil, name)
            end
            for name, value in pairs(jit) do assert(type(value) ~= "table" or value.cdef == nil, name) end]])
    end)

    it("gives ffi when it is allowed", function()
        assert.is_nil(check("assert(require 'ffi'.new('int', 3) == 3)", nil, { allow_ffi = 1 }))
    end)
end)
