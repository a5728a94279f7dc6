local support = require "spec.unit.lua.policy.support"
local worker = require "spec.support.worker"

local body = [[
    print(event.id)
    if event.subject == "wait" then evrt.sleep(100) end
    if event.subject == "reject" then evrt.reject "bad event" end
    if event.subject then error(event.subject) end
]]

local function start(opts, store)
    return (support.start("evrt.policy.circuit_breaker { " .. opts .. " }", body, { store = store }))
end

local function handle(w, id, subject, with) return w:handle({ type = "a", id = id, subject = subject }, with) end

local OPEN = '^policy "circuit_breaker" %(h.lua:2%): open: what is inside failed %d+ times in a row; next try in %d'

describe("policy circuit_breaker", function()
    it("opens after failures in a row, and fails at once then", function()
        local w = start "failures = 3"
        for _ = 1, 2 do handle(w, "x", "boom") end
        assert.equal("done", handle(w, "fine"))
        for _ = 1, 2 do assert.equal("h.lua:6: boom", handle(w, "x", "boom").message) end
        assert.equal("done", handle(w, "fine"))
        for _ = 1, 3 do handle(w, "x", "boom") end
        w.logs = {}
        assert.matches(OPEN, handle(w, "kept away").message)
        assert.same({}, w:printed())
        w:stop()
    end)

    it("is one for all workers", function()
        local store = worker.store()
        local one, two = start("failures = 3", store), start("failures = 3", store)
        handle(one, "x", "boom")
        handle(two, "x", "boom")
        handle(one, "x", "boom")
        assert.matches(OPEN, handle(two, "kept away").message)
        assert.matches(OPEN, handle(one, "kept away").message)
        one:stop()
        two:stop()
        local three = start("failures = 3", store) -- a new generation, greeted with what there is
        three:send("shared", { token = 0, status = 0, version = 4, key = "evrt/breaker/H/circuit_breaker",
            value = store.values["evrt/breaker/H/circuit_breaker"].value })
        assert.matches(OPEN, handle(three, "kept away").message)
        three:stop()
    end)

    it("lets one try after the cooldown, and closes when that succeeds", function()
        local store = worker.store()
        local w = start("failures = 1, cooldown = '1s', when_open = 'wait'", store)
        handle(w, "x", "boom")
        for i = 1, 3 do w:deliver { type = "a", id = tostring(i) } end
        for i = 2, 4 do assert.equal("done", w:settle(i)) end
        assert.is_nil(store.values["evrt/breaker/H/circuit_breaker"])
        local printed = w:printed()
        assert.same({ "x", "Circuit opened" }, { printed[1], printed[2] })
        assert.equal("Circuit closed", printed[4])
        assert.equal(6, #printed)
        w:stop()
    end)

    it("opens again when the one that tries fails", function()
        local store = worker.store()
        local w = start("failures = 1, cooldown = '1h'", store)
        handle(w, "x", "boom")
        assert.matches(OPEN, handle(w, "kept away").message)
        local entry = store.values["evrt/breaker/H/circuit_breaker"]
        store.version, entry.version, entry.value = 50, 50, "open -3601" -- an hour goes by
        w:send("shared", { token = 0, status = 0, version = 50, key = "evrt/breaker/H/circuit_breaker",
            value = entry.value })
        assert.equal("h.lua:6: again", handle(w, "try", "again").message)
        assert.matches(OPEN, handle(w, "kept away").message)
        w:stop()
    end)

    it("counts a timeout, though nothing may wait any more", function()
        local w = start "failures = 1"
        assert.equal("timeout", handle(w, "x", "wait", { timeout_ms = 10 }).error_type)
        assert.matches(OPEN, handle(w, "kept away").message)
        w:stop()
    end)

    it("does not count what is the event's fault", function()
        local w = start "failures = 1"
        assert.equal("rejected", handle(w, "x", "reject").error_type)
        assert.equal("done", handle(w, "fine"))
        w:stop()
    end)

    it("counts every one of many that fail at once", function()
        local w = start "failures = 20"
        for i = 1, 20 do w:deliver { type = "a", id = tostring(i), subject = "boom" } end
        for i = 1, 20 do w:settle(i) end
        assert.matches(OPEN, handle(w, "kept away").message)
        w:stop()
    end)

    it("checks its options", function()
        assert.matches('option "failures": expected a whole number from 1', support.refused
            "evrt.policy.circuit_breaker { failures = 0 }")
        assert.matches('option "when_open": expected one of "fail", "wait"', support.refused
            "evrt.policy.circuit_breaker { when_open = 'x' }")
    end)
end)
