local support = require "spec.unit.lua.policy.support"

local function chosen(policy, count, event)
    local w = support.start(policy, "print(event.id)")
    for i = 1, count do w:deliver(event(i)) end
    for i = 1, count do assert.equal("done", w:settle(i)) end
    local ids = {}
    for _, id in ipairs(w:printed()) do ids[id] = true end
    w:stop()
    return ids
end

local function size(set)
    local n = 0
    for _ in pairs(set) do n = n + 1 end
    return n
end

describe("policy sample", function()
    local function by_id(i) return { type = "a", id = "id-" .. i } end

    it("passes its part, the same in every worker, and more at a higher rate", function()
        local few = chosen("evrt.policy.sample { rate = 0.2 }", 500, by_id)
        local again = chosen("evrt.policy.sample { rate = 0.2 }", 500, by_id)
        local more = chosen("evrt.policy.sample { rate = 0.5 }", 500, by_id)
        assert.same(few, again)
        assert.is_true(size(few) > 60 and size(few) < 140)
        for id in pairs(few) do assert.is_true(more[id]) end
    end)

    it("passes all or nothing at its ends", function()
        assert.equal(0, size(chosen("evrt.policy.sample { rate = 0 }", 50, by_id)))
        assert.equal(50, size(chosen("evrt.policy.sample { rate = 1 }", 50, by_id)))
    end)

    it("treats all events of a key alike", function()
        local ids = chosen("evrt.policy.sample { rate = 0.5, key = 'data.user' }", 200, function(i)
            return { type = "a", id = tostring(i), data = ('{"user":"u%d"}'):format(i % 20) }
        end)
        for i = 1, 180 do assert.equal(ids[tostring(i)], ids[tostring(i + 20)]) end
        assert.is_true(size(ids) > 0 and size(ids) < 200)
    end)

    it("checks its options", function()
        assert.equal('h.lua:2: policy "sample": option "rate": expected a number from 0 to 1, got 2',
            support.refused "evrt.policy.sample { rate = 2 }")
        assert.equal('h.lua:2: policy "sample": option "key": expected an attribute as "partitionkey", or a place in '
            .. 'the data as "data.order_id", or a function, got "data."', support.refused
            "evrt.policy.sample { rate = 1, key = 'data.' }")
    end)
end)
