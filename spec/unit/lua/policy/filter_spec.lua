local support = require "spec.unit.lua.policy.support"

describe("policy filter", function()
    it("passes what its function says, and counts the rest as handled", function()
        local w = support.start("evrt.policy.filter { where = function(e) return e.data.n > 1 end }",
            "print(event.data.n)")
        assert.equal("done", w:handle { type = "a", data = '{"n":1}' })
        assert.equal("done", w:handle { type = "a", data = '{"n":2}' })
        assert.same({ "2" }, w:printed())
        assert.same({ "filter: not wanted" }, w.notes)
        w:stop()
    end)

    it("fails by name when its function does", function()
        local w = support.start("evrt.policy.filter { where = function(e) return e.none.n end }")
        local failed = w:handle { type = "a" }
        assert.equal('policy "filter" (h.lua:2): attempt to index field \'none\' (a nil value)', failed.message)
        w:stop()
    end)

    it("checks its options", function()
        assert.equal('h.lua:2: policy "filter": option "where" is missing: expected a function',
            support.refused "'filter'")
        assert.equal('h.lua:2: policy "filter": option "where": expected a function, got "x"',
            support.refused "evrt.policy.filter { where = 'x' }")
    end)
end)
