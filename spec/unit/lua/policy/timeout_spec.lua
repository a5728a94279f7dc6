local support = require "spec.unit.lua.policy.support"

local function run(policies, body, with)
    local w = support.start(policies, body)
    local outcome = w:handle({ type = "a" }, with)
    local printed = w:printed()
    w:stop()
    return outcome, printed
end

describe("policy timeout", function()
    it("ends a wait inside, and every later one", function()
        local failed, printed = run("evrt.policy.timeout { after = '20ms' }",
            "print(pcall(evrt.sleep, 100)) print(pcall(evrt.sleep, 0)) return 'fine'")
        assert.equal("timeout", failed.error_type)
        assert.equal('policy "timeout" (h.lua:2): timeout: not done within 0.02s', failed.message)
        for i = 1, 2 do assert.matches("^false\ttimeout", printed[i]) end
    end)

    it("does nothing to what is quick", function()
        local outcome, printed = run("evrt.policy.timeout { after = 10 }",
            "local before = ctx.deadline evrt.sleep(0) print(before > evrt.time.monotonic() + 5)")
        assert.equal("done", outcome)
        assert.same({ "true" }, printed)
    end)

    it("leaves the rest of the handler's time to policies outside", function()
        local policy = [[local evrt = require "evrt"
            return { name = "second", wrap = function(next) return function(event, ctx)
                local ok, why = pcall(next, event, ctx)
                evrt.sleep(0.001)
                print(ok, tostring(why), ctx.deadline == nil)
            end end }]]
        local w = support.start("'second', evrt.policy.timeout { after = '10ms' }", "evrt.sleep(100)",
            { files = { ["policies/s.lua"] = policy } })
        assert.equal("done", w:handle { type = "a" })
        assert.same({ "false\ttimeout: not done within 0.01s\ttrue" }, w:printed())
        w:stop()
    end)

    it("counts only as far as the handler's own timeout", function()
        local failed = run("evrt.policy.timeout { after = 100 }", "evrt.sleep(100)", { timeout_ms = 20 })
        assert.equal("timeout", failed.error_type)
        assert.matches("timeout: the handler's deadline has passed$", failed.message)
    end)

    it("passes on what fails inside", function()
        local failed = run("evrt.policy.timeout { after = 10 }", "error 'boom'")
        assert.equal("error", failed.error_type)
        assert.equal("h.lua:3: boom", failed.message)
        assert.matches("^h.lua:3: in function", failed.traceback)
    end)

    it("checks its options", function()
        assert.equal('h.lua:2: policy "timeout": option "after" is missing: expected a duration above 0, as "250ms", '
            .. '"30s", "5m" or a number of seconds', support.refused "'timeout'")
        assert.matches('option "after": expected a duration above 0, .* got 0', support.refused
            "evrt.policy.timeout { after = 0 }")
    end)
end)
