-- Deliveries in progress: timeouts, sleeping, concurrency.
local worker = require "spec.support.worker"

local function start(body, hello)
    local w = worker.start({ ["h.lua"] = 'local evrt = require "evrt"\nlocal running, most = 0, 0\n'
        .. 'return { name = "H", events = "**", handle = function(event, ctx)\n' .. body .. "\nend }" }, hello)
    w:expect "READY"
    return w
end

describe("worker/delivery", function()
    it("lets others go on while a handler sleeps", function()
        local w = start [[
            if event.id == "slow" then print "slow in" evrt.sleep(0.5) print "slow out" else print "quick" end]]
        local slow = w:deliver { type = "a", id = "slow" }
        local quick = w:deliver { type = "a", id = "quick" }
        w:settle(slow)
        assert.equal("done", w:settle(quick))
        assert.same({ "slow in", "quick", "slow out" }, w:printed())
        w:stop()
    end)

    it("sleeps as long as it is told", function()
        local _, printed = worker.run [[
            local t = evrt.time.monotonic()
            evrt.sleep(0.03)
            print(evrt.time.monotonic() - t >= 0.03)
            evrt.sleep(0)]]
        assert.same({ "true" }, printed)
    end)

    it("ends a wait at the deadline, as a timeout", function()
        local failed = worker.run("evrt.sleep(1000)", nil, { timeout_ms = 20 })
        assert.equal("timeout", failed.error_type)
        assert.equal("h.lua:3: timeout: the handler's deadline has passed", failed.message)
        assert.matches("^h.lua:3: in function", failed.traceback)
    end)

    it("fails every later wait, whatever the handler catches or returns", function()
        local failed, printed = worker.run([[
            print(pcall(evrt.sleep, 1000))
            print(pcall(evrt.sleep, 0))
            print(pcall(evrt.publish, { type = "x" }))
            return "fine"]], nil, { timeout_ms = 20 })
        assert.equal("timeout", failed.error_type)
        assert.equal("h.lua:2: timeout: the handler's deadline has passed", failed.message)
        for i = 1, 3 do assert.matches("^false\ttimeout", printed[i]) end
    end)

    it("is a timeout also when the handler then raises something else", function()
        local failed = worker.run("pcall(evrt.sleep, 1000) error 'later'", nil, { timeout_ms = 20 })
        assert.equal("timeout", failed.error_type)
        assert.equal("h.lua:3: later", failed.message)
    end)

    it("raises at the first wait after a deadline that passed while the handler was busy", function()
        local failed = worker.run([[
            while evrt.time.monotonic() < ctx.deadline do end
            evrt.sleep(0)]], nil, { timeout_ms = 20 })
        assert.equal("timeout", failed.error_type)
    end)

    it("is done when the handler returned late but never waited", function()
        assert.equal("done", (worker.run("while evrt.time.monotonic() < ctx.deadline do end", nil,
            { timeout_ms = 20 })))
    end)

    it("has no deadline without a timeout", function()
        local outcome, printed = worker.run "print(ctx.deadline) evrt.sleep(0.001)"
        assert.equal("done", outcome)
        assert.same({ "nil" }, printed)
    end)

    it("keeps to the worker's concurrency", function()
        local w = start([[
            running = running + 1
            most = math.max(most, running)
            evrt.sleep(0.02)
            running = running - 1
            print(most)]], { concurrency = 3 })
        for _ = 1, 12 do w:deliver { type = "a" } end
        for i = 1, 12 do assert.equal("done", w:settle(i)) end
        local printed = w:printed()
        assert.equal("3", printed[#printed])
        w:stop()
    end)

    it("keeps many waiting at once, each with its own state", function()
        local w = start([[evrt.sleep(0.01) if event.id ~= tostring(event.seq) then error "mixed up" end]],
            { concurrency = 5000 })
        for i = 1, 3000 do w:deliver { type = "a", id = tostring(i), seq = i } end
        for i = 1, 3000 do assert.equal("done", w:settle(i)) end
        w:stop()
    end)
end)
