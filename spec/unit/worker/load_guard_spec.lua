-- A script that does not finish loading is told where it is stuck.
local worker = require "spec.support.worker"

-- Long enough for a slow build on a busy machine to come to where it is stuck.
local function check(files) return worker.check(files, { load_timeout_ms = 500 }) end

local told = "the scripts did not load within 500ms (workers.stall_timeout): this loops or waits while it is loaded"

describe("loading", function()
    it("names the line of a loop", function()
        assert.equal("h/a.lua:2: " .. told, check { ["h/a.lua"] = "local i = 0\nwhile true do i = i + 1 end" })
    end)

    it("names it in a module and in a coroutine, too", function()
        assert.equal("lib/m.lua:2: " .. told,
            check { ["a.lua"] = "require 'm'", ["lib/m.lua"] = "\nrepeat until false" })
        assert.equal("h/a.lua:1: " .. told,
            check { ["h/a.lua"] = "coroutine.wrap(function() while true do end end)()" })
    end)

    it("names the call of C that does not return, and a loop that catches errors", function()
        assert.equal("h/a.lua:2: " .. told, check { ["h/a.lua"] = "\nos.execute 'sleep 2'" })
        assert.equal("h/a.lua:1: " .. told,
            check { ["h/a.lua"] = "while true do pcall(function() while true do end end) end" })
    end)

    it("is not bothered when it is quick", function()
        local errors = worker.check({ ["h/a.lua"] = "return { name = 'A', events = 'a', handle = function() end }" },
            { load_timeout_ms = 10000 })
        assert.is_nil(errors)
    end)
end)
