local support = require "spec.unit.lua.policy.support"

describe("policy retry", function()
    it("is declared to the host, outermost first", function()
        local w, h = support.start("'audit', evrt.policy.retry { max_retries = 5, "
            .. "initial_delay = '1.5s', jitter = 0.2 }, "
            .. "evrt.policy.retry { policy = function() return 1 end, retry_if = function() end, max_delay = 60 }")
        w:stop()
        assert.same({
            { max_retries = 5, initial_delay_ms = 1500, jitter = 0.2, retry_if = false },
            { policy = "function", retry_if = true, max_delay_ms = 60000 },
        }, h.retries)
        assert.same({ "audit", "retry", "retry" }, { h.policies[1].name, h.policies[2].name, h.policies[3].name })
        assert.equal("function (h.lua:2)", h.policies[3].options.retry_if)
    end)

    it("runs nothing around the handler without functions", function()
        local w = support.start("'retry'", "error 'boom'")
        local failed = w:handle { type = "a" }
        w:stop()
        assert.equal("h.lua:3: boom", failed.message)
    end)

    for opts, expected in pairs {
        ["max_retries = -1"] = 'option "max_retries": expected a whole number from 0 to 1000000, got -1',
        ["max_retires = 3"] = 'unknown option "max_retires" (did you mean "max_retries"?); there are increment, '
            .. "initial_delay, jitter, max_delay, max_retries, multiplier, policy, retry_if",
        ["policy = 'expnential'"] = 'option "policy": expected one of "exponential", "fixed", "linear", or a function, '
            .. 'got "expnential"',
        ["policy = 'fixed', multiplier = 2"] = 'option "multiplier" means nothing when policy is "fixed"',
        ["policy = print, initial_delay = 2"] = 'option "initial_delay" means nothing when policy is a function',
        ["initial_delay = '2m', max_delay = '1m'"] = 'option "max_delay": it is shorter than initial_delay',
        ["jitter = 1.5"] = 'option "jitter": expected a number from 0 to 1, got 1.5',
        ["retry_if = true"] = 'option "retry_if": expected a function, got true',
    } do
        it("refuses " .. opts, function()
            assert.equal('h.lua:2: policy "retry": ' .. expected,
                support.refused("evrt.policy.retry { " .. opts .. " }"))
        end)
    end
end)
