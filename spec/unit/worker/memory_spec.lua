-- Memory: a handler that takes too much fails, and its worker makes way for a fresh one.
local worker = require "spec.support.worker"

local MIB = 2 ^ 20
local EX_TEMPFAIL = 75

local function start(body, limit)
    local w = worker.start({ ["h.lua"] = 'local evrt = require "evrt"\nlocal kept = {}\n'
        .. 'return { name = "H", events = "**", handle = function(event)\n' .. body .. "\nend }" },
        { memory_limit = limit })
    w:expect "READY"
    return w
end

describe("worker/memory", function()
    it("fails the delivery that reached the limit, and ends", function()
        local w = start("if event.id == 'big' then local t = {} for i = 1, 1e9 do t[i] = { i } end end", 16 * MIB)
        assert.equal("done", w:handle { type = "a" })
        local failed = w:handle { type = "a", id = "big" }
        assert.equal("memory", failed.error_type)
        assert.equal("h.lua:3: not enough memory (workers.memory_limit)", failed.message)
        assert.is_nil(w:next())
        assert.equal(EX_TEMPFAIL, w:stop())
    end)

    it("is not fooled by a pcall", function()
        local w = start("pcall(string.rep, 'x', 1e9) evrt.log.info 'went on'", 16 * MIB)
        assert.equal("memory", w:handle({ type = "a" }).error_type)
        assert.equal(EX_TEMPFAIL, w:stop())
    end)

    it("collects garbage before it comes to that", function()
        local w = start("local s = {} for i = 1, 200 do s[i] = ('x'):rep(10000) .. event.id .. i end", 8 * MIB)
        for i = 1, 200 do w:deliver { type = "a", id = tostring(i) } end
        for i = 1, 200 do assert.equal("done", w:settle(i)) end
        assert.equal(0, w:stop())
    end)

    it("goes on near the limit with what is alive", function()
        local w = start([[
            for i = #kept, 110 do kept[i + 1] = ("x"):rep(100000) .. i end
            local s = ("y"):rep(100000) .. event.id]], 16 * MIB)
        for i = 1, 300 do w:deliver { type = "a", id = tostring(i) } end
        for i = 1, 300 do assert.equal("done", w:settle(i)) end
        assert.equal(0, w:stop())
    end)

    it("refuses scripts that do not fit", function()
        assert.equal("h.lua:1: not enough memory (workers.memory_limit)",
            worker.check({ ["h.lua"] = "local s = ('x'):rep(1e8)" }, { memory_limit = 4 * MIB }))
    end)
end)
