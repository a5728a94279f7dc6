-- Retries of a subscription: their heap, and their way from a failure to another attempt.
local ffi = require "ffi"
local generator = require "spec.support.random"
local support = require "spec.unit.bus.support"
local lib = support.lib

describe("bus/retries", function()
    it("gives what is due first, whatever the order it came in", function()
        local r, random, want = ffi.new "struct evrt_retries", generator(1), {}
        for i = 1, 1000 do
            local due = random(0, 49)
            lib.evrt_retries_push(r, ffi.new("struct evrt_retry_row", { due_ns = due, seq = i }))
            want[i] = due * 10000 + i
        end
        local gone = tonumber(lib.evrt_retries_take(r, tonumber(lib.evrt_retries_find(r, 500))).seq)
        assert.equal(500, gone)
        table.remove(want, 500)
        table.sort(want)
        for _, one in ipairs(want) do
            local t = lib.evrt_retries_take(r, 0)
            assert.equal(one, tonumber(t.due_ns) * 10000 + tonumber(t.seq))
        end
        assert.equal(0, tonumber(r.n))
        lib.evrt_retries_finish(r)
    end)
end)

describe("bus/sub_retry", function()
    local w, s
    local ended = ffi.new "struct evrt_delivery"

    before_each(function() w = support.world {} end)
    after_each(function() w.close() end)

    -- The first of what was sent fails; returns the row's attempt, or nil and the error.
    local function fail(due, hold, kept)
        local d = table.remove(w.sent, 1)
        local again = ffi.new("struct evrt_retry_row", { due_ns = due, key = hold and 1 or 0, first_failed_ms = 7,
            kept = kept })
        local out = ffi.new "struct evrt_delivery"
        local rc = lib.evrt_bus_retry(w.bus, s, d.position, d.worker, again, out)
        if rc < 0 then return nil, rc end
        return again.attempt, tonumber(out.seq)
    end

    local function due(now)
        support.settle(w)
        local n = lib.evrt_sub_promote(s, now)
        while support.catch_up(w, s, 100) do end
        lib.evrt_bus_pump(w.bus)
        return n
    end

    it("leaves the window at once, and comes back when it is due", function()
        s = support.add(w, 1, "a")
        support.publish(w, "a")
        support.publish(w, "a")
        assert.same({ 2, 1 }, { fail(100) })
        assert.equal(0, support.answer(w, 1))
        assert.equal(3, support.settle(w)[1].cursor)
        assert.equal(1, tonumber(s.retrying))
        assert.equal(0, due(99))
        assert.equal(1, due(100))
        assert.equal(1, w.sent[1].seq)
        assert.same({ 3, 1 }, { fail(200) })
        assert.equal(1, tonumber(s.retrying))
        assert.equal(1, due(200))
        assert.equal(0, support.answer(w, 1))
        support.settle(w)
        assert.same({ 0, 2, 0 }, { tonumber(s.retrying), tonumber(s.done), s.retry_live })
        assert.equal(0, w.held)
    end)

    -- The bytes of an event, for a retry to keep.
    local function keep(seq)
        local k, event = ffi.new "struct evrt_kept", w.journal[seq]
        k.hold.refs, k.hold.release, k.event, k.n = 1, w.release, event.bytes, event.slice.n
        w.held = w.held + 1
        w.holds[tostring(ffi.cast("void *", k))] = k
        return k
    end

    it("is sent from the bytes that it keeps, again and again", function()
        s = support.add(w, 1, "a")
        support.publish(w, "a")
        fail(1, false, keep(1))
        w.journal[1].lost = true
        for now = 1, 3 do
            assert.equal(1, due(now))
            assert.same({ 1, 1 }, { #w.sent, w.sent[1].seq })
            assert.equal(now + 2, (fail(now + 1)))
        end
        due(4)
        assert.equal(0, support.answer(w, 1))
        support.settle(w)
        assert.same({ 0, 0, 1, 0 }, { w.held, tonumber(s.retrying), tonumber(s.done), tonumber(s.discarded) })
    end)

    it("gives its bytes back when they are not wanted: other patterns, a dead worker, its own end", function()
        s = support.add(w, 1, "a")
        for _ = 1, 4 do support.publish(w, "a") end
        for seq = 1, 4 do fail(seq == 4 and 9 or 1, false, keep(seq)) end
        assert.equal(4, w.held)
        support.settle(w)
        assert.equal(0, lib.evrt_bus_end_retry(w.bus, s, 1, lib.EVRT_OUTCOME_DISCARDED, ended))
        assert.equal(3, w.held)
        assert.equal(2, due(1))
        assert.equal(2, tonumber(lib.evrt_bus_worker_gone(w.bus, w.worker)))
        assert.equal(1, w.held)
        w.sent = {}
        lib.evrt_sub_add_epoch(s, lib.evrt_bus_next_seq(w.bus), lib.evrt_pattern_set_create(support.slice "b"))
        lib.evrt_bus_recall(w.bus, s)
        while support.catch_up(w, s, 100) do end
        assert.equal(1, due(9))
        support.settle(w)
        assert.same({ 0, 0, 4, 0 }, { w.held, #w.sent, tonumber(s.discarded), tonumber(s.retrying) })
    end)

    it("is not the answer of one who had it before", function()
        s = support.add(w, 1, "a")
        support.publish(w, "a")
        fail(1)
        due(1)
        local stale = { position = w.sent[1].position, worker = w.sent[1].worker, sub = 1 }
        fail(2)
        due(2)
        table.insert(w.sent, 1, stale)
        assert.is_true(support.answer(w, 1) < 0)
        assert.equal(0, support.answer(w, 1))
    end)

    -- What an operator asks for in the turn in which it fails: the host settles first.
    it("that failed again is found as soon as that is settled", function()
        s = support.add(w, 1, "a")
        support.publish(w, "a")
        fail(9)
        due(9)
        assert.equal(3, (fail(99)))
        assert.is_true(lib.evrt_bus_run_retry(w.bus, s, 1) < 0)
        support.settle(w)
        assert.equal(0, lib.evrt_bus_run_retry(w.bus, s, 1))
        while support.catch_up(w, s, 100) do end
        assert.equal(1, w.sent[1].seq)
        assert.equal(4, (fail(99)))
        support.settle(w)
        assert.equal(0, lib.evrt_bus_end_retry(w.bus, s, 1, lib.EVRT_OUTCOME_DEAD, ended))
        assert.same({ 1, 4 }, { tonumber(ended.seq), ended.attempt })
        assert.same({ 0, 1 }, { tonumber(s.retrying), tonumber(s.dead) })
    end)

    it("is sent again when its worker dies, as the attempt that it was", function()
        s = support.add(w, 1, "a")
        support.publish(w, "a")
        fail(1)
        due(1)
        w.sent = {}
        assert.equal(1, tonumber(lib.evrt_bus_worker_gone(w.bus, w.worker)))
        assert.equal(0, s.retry_flight)
        while support.catch_up(w, s, 100) do end
        assert.equal(1, #w.sent)
        assert.equal(3, (fail(2)))
    end)

    it("keeps its key busy, or lets others pass", function()
        s = support.add(w, 1, "a")
        lib.evrt_bus_order(w.bus, s, true)
        for _ = 1, 2 do support.publish(w, "a", 5) end
        assert.equal(1, #w.sent)
        fail(1, true)
        lib.evrt_bus_pump(w.bus)
        assert.equal(0, #w.sent)
        due(1)
        assert.equal(1, w.sent[1].seq)
        fail(2, false)
        lib.evrt_bus_pump(w.bus)
        while support.catch_up(w, s, 100) do end
        assert.equal(2, w.sent[1].seq)
    end)

    it("restores a busy key before anything of it is sent", function()
        s = support.add(w, 1, "a")
        lib.evrt_bus_order(w.bus, s, true)
        support.publish(w, "b")
        lib.evrt_sub_restore_retry(s, ffi.new("struct evrt_retry_row", { due_ns = 9, seq = 1, key = 5, attempt = 2 }))
        support.publish(w, "a", 5)
        assert.equal(0, #w.sent)
        assert.equal(0, lib.evrt_bus_end_retry(w.bus, s, 1, lib.EVRT_OUTCOME_DISCARDED, ended))
        lib.evrt_bus_pump(w.bus)
        while support.catch_up(w, s, 100) do end
        assert.equal(2, w.sent[1].seq)
        assert.equal(1, tonumber(s.discarded))
        assert.is_true(lib.evrt_bus_end_retry(w.bus, s, 1, lib.EVRT_OUTCOME_DISCARDED, ended) < 0)
    end)

    it("waits while its handler is paused, and when its event is gone is discarded", function()
        s = support.add(w, 1, "a")
        support.publish(w, "a")
        fail(1)
        support.settle(w)
        lib.evrt_bus_pause(w.bus, s, true)
        assert.equal(0, lib.evrt_sub_promote(s, 5))
        lib.evrt_bus_pause(w.bus, s, false)
        w.journal[1].lost = true
        due(5)
        support.settle(w)
        assert.same({ 0, 1, 0 }, { tonumber(s.retrying), tonumber(s.discarded), #w.sent })
    end)
end)
