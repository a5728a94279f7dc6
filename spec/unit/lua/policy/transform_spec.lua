local support = require "spec.unit.lua.policy.support"

local function run(policies, body)
    local w = support.start(policies, body)
    local outcome = w:handle { type = "a.b", data = '{"n":1}', subject = "s" }
    local printed = w:printed()
    w:stop()
    return outcome, printed
end


describe("policy transform", function()
    it("shows what is inside the fields that it returns", function()
        local outcome, printed = run("evrt.policy.transform { change = function(e) return { type = 'c', "
            .. "data = { n = e.data.n + 1 } } end }", "print(event.type, event.data.n, event.subject, event.raw)")
        assert.equal("done", outcome)
        assert.same({ 'c\t2\ts\t{"n":1}' }, printed)
    end)

    it("shows a copy that its function changed", function()
        local _, printed = run("evrt.policy.transform { change = function(e) e.data.n = 5 end }", "print(event.data.n)")
        assert.same({ "5" }, printed)
    end)

    it("leaves the event as it is to policies outside", function()
        local policy = [[return { name = "look", wrap = function(next) return function(event, ctx)
            local before = event.data
            next(event, ctx)
            print("outside", event.type, event.data.n, before == event.data)
        end end }]]
        local w = support.start("'look', evrt.policy.transform { change = function(e) e.data.n = 5 e.type = 'x' end }",
            "print('inside', event.type, event.data.n)", { files = { ["policies/look.lua"] = policy } })
        assert.equal("done", w:handle { type = "a", data = '{"n":1}' })
        assert.same({ "inside\tx\t5", "outside\ta\t1\ttrue" }, w:printed())
        w:stop()
    end)

    it("carries on what another one changed", function()
        local _, printed = run("evrt.policy.transform { change = function() return { data = { n = 10 } } end }, "
            .. "evrt.policy.transform { change = function(e) return { subject = 'n' .. e.data.n } end }",
            "print(event.subject, event.data.n, evrt.json.encode(event.data))")
        assert.same({ 'n10\t10\t{"n":10}' }, printed)
    end)

    it("refuses what is no change", function()
        local failed = run "evrt.policy.transform { change = function() return { tpye = 'x' } end }"
        assert.equal('policy "transform" (h.lua:2): an event has no field "tpye" to change', failed.message)
        failed = run "evrt.policy.transform { change = function() return 5 end }"
        assert.equal('policy "transform" (h.lua:2): change must return a table of fields or nothing, got a number',
            failed.message)
        assert.matches('option "change" is missing', support.refused "'transform'")
    end)
end)
