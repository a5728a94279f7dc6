local uv = require "luv"
local support = require "spec.unit.lua.policy.support"
local worker = require "spec.support.worker"

local body = "print(evrt.time.monotonic())"

local function now() return uv.hrtime() / 1e9 end -- on the clock of evrt.time.monotonic()

-- When each of `count` deliveries was let through: seconds since before the first was made, in order.
local function times(w, count, with)
    local from, started = w.delivery, now()
    for i = 1, count do w:deliver({ type = "a", subject = with and with(i) }) end
    for i = 1, count do assert.equal("done", w:settle(from + i)) end
    local list = {}
    local printed = w:printed()
    w.first = printed[1]
    for _, text in ipairs(printed) do
        list[#list + 1] = tonumber(text) and tonumber(text) - started
    end
    table.sort(list)
    return list
end

describe("policy throttle", function()
    it("lets a burst through, then so many a second", function()
        local w = support.start("evrt.policy.throttle { rate = 200, burst = 5 }", body)
        local at = times(w, 25)
        w:stop()
        for i = 6, 25 do assert.is_true(at[i] >= (i - 5) * 0.005, i .. ": " .. at[i]) end
    end)

    it("asks the host for many at once", function()
        local store = worker.store()
        local w = support.start("evrt.policy.throttle { rate = 10000, burst = 1000 }", body, { store = store })
        times(w, 500)
        w:stop()
        assert.is_true(store.version < 250, store.version)
    end)

    it("holds for all workers together", function()
        local store, policy = worker.store(), "evrt.policy.throttle { rate = 100, burst = 1 }"
        local one = support.start(policy, body, { store = store })
        local two = support.start(policy, body, { store = store })
        times(one, 3)
        local d = two:deliver { type = "a" }
        assert.equal("done", two:settle(d))
        local full_at = tonumber(store.values["evrt/throttle/H/throttle/"].value)
        assert.is_true(full_at - tonumber(two:printed()[1]) <= 0.0101)
        one:stop()
        two:stop()
    end)

    it("keeps a bucket per key", function()
        local store = worker.store()
        local w = support.start("evrt.policy.throttle { rate = 1, per = '1h', burst = 1, key = 'subject' }", body,
            { store = store })
        times(w, 3, function(i) return "k" .. i end)
        assert.is_truthy(store.values["evrt/throttle/H/throttle/k3"])
        w:stop()
    end)

    it("fails what would have to wait too long, without taking a token", function()
        local w = support.start("evrt.policy.throttle { rate = 1, per = '1h', burst = 2, max_wait = '1s', name = 'x' }",
            body)
        for _ = 1, 5 do w:deliver { type = "a" } end
        local done, failed = 0, 0
        for i = 1, 5 do
            local outcome = w:settle(i)
            if outcome == "done" then
                done = done + 1
            else
                failed = failed + 1
                assert.equal('policy "throttle" (h.lua:2): no token within 1s', outcome.message)
            end
        end
        assert.same({ 2, 3 }, { done, failed })
        w:stop()
    end)

    it("goes on by itself when the host has no room", function()
        local store = worker.store()
        store.full = true
        local w = support.start("evrt.policy.throttle { rate = 200, burst = 1 }", body, { store = store })
        local at = times(w, 5)
        assert.equal("throttle: each worker counts for itself now", w.first)
        assert.is_true(at[5] >= 0.02, at[5])
        w:stop()
    end)

    it("passes its turn on when the one that asks runs out of time", function()
        local w = support.start("evrt.policy.throttle { rate = 100, burst = 1 }", "print(event.id)")
        local first = w:deliver({ type = "a", id = "late" }, { timeout_ms = 100 })
        local second = w:deliver { type = "a", id = "next" }
        local share = w:expect "SHARE"
        local failed = w:next() -- the host has not answered
        assert.equal("FAILED", failed.frame)
        assert.equal("timeout", failed.error_type)
        w.settled = { [first] = failed }
        w:answer_share(share)
        assert.equal("done", w:settle(second))
        assert.same({ "next" }, w:printed())
        w:stop()
    end)

    it("checks its options", function()
        assert.matches('option "rate" is missing: expected a number above 0 up to 1000000',
            support.refused "'throttle'")
        assert.matches('option "rate": expected a number above 0', support.refused "evrt.policy.throttle { rate = 0 }")
        assert.matches('option "burst": expected a whole number', support.refused
            "evrt.policy.throttle { rate = 1, burst = 0.5 }")
    end)
end)
