-- Runners and waiting inside coroutines that scripts make.
local worker = require "spec.support.worker"

describe("worker/runner", function()
    it("waits through a script's own coroutines", function()
        local outcome, printed = worker.run [[
            local co = coroutine.create(function(a)
                evrt.sleep(0.001)
                local b = coroutine.yield(a + 1)
                evrt.sleep(0.001)
                return b * 2
            end)
            print(coroutine.resume(co, 1))
            print(coroutine.resume(co, 21))
            print(coroutine.status(co), coroutine.resume(co))]]
        assert.equal("done", outcome)
        assert.same({ "true\t2", "true\t42", "dead\tfalse\tcannot resume dead coroutine" }, printed)
    end)

    it("waits through coroutines within coroutines", function()
        local outcome, printed = worker.run [[
            local outer = coroutine.wrap(function()
                for x in coroutine.wrap(function()
                    for i = 1, 3 do evrt.sleep(0.001) coroutine.yield(i) end
                end) do
                    coroutine.yield(x * 10)
                end
            end)
            print(outer(), outer(), outer())]]
        assert.equal("done", outcome)
        assert.same({ "10\t20\t30" }, printed)
    end)

    it("passes errors out of a script's coroutine", function()
        local failed = worker.run [[
            local f = coroutine.wrap(function() evrt.sleep(0.001) error "inside" end)
            f()]]
        assert.equal("h.lua:3: inside", failed.message)
    end)

    it("refuses a yield that no coroutine of the script waits for", function()
        local failed = worker.run "coroutine.yield(1)"
        assert.equal("h.lua:3: coroutine.yield: not in a coroutine that the script made", failed.message)
    end)

    for name, code in pairs {
        ["string.gsub"] = "('x'):gsub('x', function() evrt.sleep(0) end)",
        ["table.sort"] = "table.sort({ 2, 1 }, function() evrt.sleep(0) end)",
        ["a publish in string.gsub"] = "('x'):gsub('x', function() evrt.publish { type = 'a' } end)",
    } do
        it("says clearly that nothing can wait inside " .. name, function()
            local failed = worker.run(code)
            assert.equal("error", failed.error_type)
            assert.matches("^h.lua:3: evrt.%a+: cannot wait inside a callback of a C function", failed.message)
        end)
    end

    it("waits inside pcall, xpcall, metamethods and iterators", function()
        local outcome, printed = worker.run [[
            print(pcall(function() evrt.sleep(0.001) return 1 end))
            print(xpcall(function() evrt.sleep(0.001) error("x", 0) end, function(e) return e .. "!" end))
            print(setmetatable({}, { __index = function(_, k) evrt.sleep(0.001) return k end }).key)
            for i in function(_, i) evrt.sleep(0.001) return (i or 0) < 2 and (i or 0) + 1 or nil end do print(i) end]]
        assert.equal("done", outcome)
        assert.same({ "true\t1", "false\tx!", "key", "1", "2" }, printed)
    end)

    it("cannot wait while scripts load", function()
        local why = ": only while a handler handles an event; a script that loads has no side effect"
        assert.equal("h.lua:1: evrt.sleep" .. why,
            worker.check { ["h.lua"] = "require 'evrt'.sleep(1)" })
        assert.equal("h.lua:1: evrt.publish" .. why,
            worker.check { ["h.lua"] = "require 'evrt'.publish { type = 'a' }" })
    end)
end)
