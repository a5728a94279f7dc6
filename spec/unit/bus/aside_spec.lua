-- What is delivered beside a subscription's window: in no count, behind what is live, one of a key at a time.
local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.bus.support"
local lib = support.lib

describe("bus/sub_aside", function()
    local w, s

    before_each(function()
        w = support.world {}
        s = support.add(w, 1, "a", 100)
    end)
    after_each(function() w.close() end)

    local function aside(seq, with)
        with = with or {}
        local event = support.encode(seq, "a", with.key)
        lib.evrt_bus_aside(w.bus, s, ffi.new("struct evrt_aside", {
            purpose = lib.EVRT_PURPOSE_REPLAY, job = with.job or 1, key = seq, attempt = with.attempt or 1,
            event = event.slice, info = c.slice(with.info or ""),
        }))
    end

    local function finish(sent)
        local out = ffi.new "struct evrt_delivery"
        return lib.evrt_bus_end(w.bus, s, sent.position, sent.worker, lib.EVRT_OUTCOME_DONE, out), out
    end

    local function seqs()
        local list = {}
        for i, d in ipairs(w.sent) do list[i] = d.seq end
        return list
    end

    it("is sent, and ends in no count", function()
        aside(77, { job = 9, attempt = 4 })
        lib.evrt_bus_pump(w.bus)
        assert.same({ 77 }, seqs())
        local rc, d = finish(w.sent[1])
        assert.equal(0, rc)
        assert.same({ 77, 9, 77, 4 }, { tonumber(d.seq), tonumber(d.job), tonumber(d.job_key), d.attempt })
        local r = support.settle(w)[1]
        assert.same({ 1, 0, 0, {} }, { r.cursor, r.matched, r.done, r.ranges })
        assert.same({ 0, 0, 0 }, { s.live, s.aside_live, s.flight })
        assert.equal(-116, (finish(w.sent[1]))) -- ESTALE
    end)

    it("comes when nothing that is live is ready", function()
        w.accept = false
        for _ = 1, 3 do support.publish(w, "a") end
        aside(77)
        w.accept = true
        lib.evrt_bus_pump(w.bus)
        assert.same({ 1, 2, 3, 77 }, seqs())
    end)

    it("comes once in a share of what is live, however much that is", function()
        w.accept = false
        for _ = 1, 40 do support.publish(w, "a") end
        aside(77)
        w.accept = true
        lib.evrt_bus_pump(w.bus)
        assert.equal(77, w.sent[17].seq)
        assert.equal(41, #w.sent)
    end)

    it("is sent again when its worker is gone, with its bytes", function()
        aside(77)
        lib.evrt_bus_pump(w.bus)
        assert.equal(1, tonumber(lib.evrt_bus_worker_gone(w.bus, 1)))
        w.worker = 2
        lib.evrt_bus_pump(w.bus)
        assert.same({ 77, 77 }, seqs())
        assert.equal(-116, (finish(w.sent[1])))
        assert.equal(0, (finish(w.sent[2])))
    end)

    it("waits for its key, and holds it", function()
        s.ordered = true
        support.publish(w, "a", 5)
        aside(77, { key = 5 })
        aside(78, { key = 6 })
        lib.evrt_bus_pump(w.bus)
        assert.same({ 1, 78 }, seqs())
        support.publish(w, "a", 6)
        assert.equal(0, (finish(w.sent[2])))
        assert.equal(0, (finish(w.sent[1])))
        lib.evrt_bus_pump(w.bus)
        table.sort(w.sent, function(x, y) return x.seq < y.seq end)
        assert.same({ 1, 2, 77, 78 }, seqs())
    end)

    it("is dropped with its job, but for what is in flight", function()
        s.limit = 1
        s.ordered = true
        aside(77, { key = 5 })
        aside(78)
        aside(79, { job = 2 })
        lib.evrt_bus_pump(w.bus)
        assert.same({ 77 }, seqs())
        assert.equal(1, lib.evrt_bus_drop_asides(w.bus, 1))
        assert.equal(0, (finish(w.sent[1])))
        lib.evrt_bus_pump(w.bus)
        assert.same({ 77, 79 }, seqs())
    end)

    it("is not sent while its handler is paused or gone", function()
        lib.evrt_bus_pause(w.bus, s, true)
        aside(77)
        lib.evrt_bus_pump(w.bus)
        assert.same({}, seqs())
        lib.evrt_bus_pause(w.bus, s, false)
        s.active = false
        lib.evrt_bus_pump(w.bus)
        assert.same({}, seqs())
        s.active = true
        lib.evrt_bus_pump(w.bus)
        assert.same({ 77 }, seqs())
    end)

    -- One event in flight, 77 too, and 78 waiting; then the keys are others.
    local function reordered()
        s.ordered, s.limit = true, 2
        support.publish(w, "a", 5)
        aside(77, { key = 6 })
        aside(78, { job = 2 })
        lib.evrt_bus_pump(w.bus)
        assert.same({ 1, 77 }, seqs())
        w.key_of = function(key) return key + 100 end
        lib.evrt_bus_order(w.bus, s, true)
        support.publish(w, "a", 5)
    end

    it("ends as what was sent when the order of its handler changes, though its worker dies", function()
        reordered()
        assert.equal(2, tonumber(lib.evrt_bus_worker_gone(w.bus, 1)))
        w.worker, w.sent = 2, {}
        support.catch_up(w, s, 10)
        lib.evrt_bus_pump(w.bus)
        table.sort(w.sent, function(x, y) return x.seq < y.seq end)
        assert.same({ 1, 77 }, seqs())
        assert.equal(0, (finish(w.sent[1])))
        assert.equal(0, (finish(w.sent[2])))
        support.settle(w)
        assert.is_true(support.catch_up(w, s, 10))
        assert.same({ 1, 77, 2, 78 }, seqs())
    end)

    it("holds nobody up when it is dropped instead", function()
        reordered()
        w.accept = false
        lib.evrt_bus_again(w.bus, s, w.sent[2].position)
        assert.equal(0, (finish(w.sent[1])))
        support.settle(w)
        assert.equal(1, lib.evrt_bus_drop_asides(w.bus, 1))
        w.accept = true
        assert.is_true(support.catch_up(w, s, 10))
        assert.same({ 1, 77, 2, 78 }, seqs())
    end)
end)
