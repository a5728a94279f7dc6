-- The bus against a small model: a journal that is a Lua table, workers that are numbers. Every event that
-- a subscription matches must end exactly once, whatever order workers answer, die and read in.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("bus", { "bus/bus.h", "core/pattern.h", "core/event.h" })

local DONE = lib.EVRT_OUTCOME_DONE

ffi.cdef "struct spec_hold { struct evrt_hold hold; };"

-- A bus over a journal of events; `world.accept` says whether a worker takes a delivery.
local function world(options)
    local w = { journal = {}, sent = {}, dirty = {}, held = 0, holds = {}, worker = 1, accept = true }
    w.release = ffi.cast("void (*)(struct evrt_hold *)", function(hold)
        w.held = w.held - 1
        w.holds[tostring(ffi.cast("void *", hold))] = nil
    end)
    w.send = ffi.cast("uint32_t (*)(void *, const struct evrt_sub *, uint64_t, unsigned, const struct evrt_slice *)",
        function(_, s, position, _, event)
            if not w.accept then return 0 end
            w.sent[#w.sent + 1] = { sub = s.id, position = position, worker = w.worker,
                seq = tonumber(lib.evrt_event_field(event.p, 0).p[0]) }
            return w.worker
        end)
    w.mark = ffi.cast("void (*)(void *, struct evrt_sub *)", function(_, s)
        w.dirty[#w.dirty + 1] = s
    end)
    w.ops = ffi.new("struct evrt_bus_ops", { w.send, w.mark })
    w.options = ffi.new("struct evrt_bus_options", {
        window = options.window or 64, memory_limit = options.memory or 1e6, next_seq = 1, ops = w.ops,
    })
    w.bus = lib.evrt_bus_create(w.options)
    finally(function()
        lib.evrt_bus_destroy(w.bus)
        w.release:free()
        w.send:free()
        w.mark:free()
    end)
    return w
end

local function encode(seq, type)
    local e = ffi.new "struct evrt_event"
    local id = tostring(seq)
    e.id, e.type, e.source, e.seq = c.slice(id), c.slice(type), c.slice "/t", seq
    local n = tonumber(lib.evrt_event_size(e))
    local bytes = ffi.new("char[?]", n)
    lib.evrt_event_encode(e, bytes)
    return { bytes = bytes, slice = ffi.new("struct evrt_slice", bytes, n), type = type, seq = seq }
end

local function hold(w)
    local h = ffi.new "struct spec_hold"
    h.hold.refs, h.hold.bytes, h.hold.release = 1, 100, w.release
    w.held = w.held + 1
    w.holds[tostring(ffi.cast("void *", h))] = h
    return h
end

local function let_go(w, h)
    h.hold.refs = h.hold.refs - 1
    if h.hold.refs == 0 then w.release(h.hold) end
end

local function publish(w, type)
    local event = encode(#w.journal + 1, type)
    w.journal[#w.journal + 1] = event
    local h = hold(w)
    lib.evrt_bus_held(w.bus, 100)
    lib.evrt_bus_commit(w.bus, event.seq, event.slice, h.hold)
    let_go(w, h)
end

local function add(w, id, patterns, limit)
    local s = lib.evrt_bus_add(w.bus, id, c.slice("H" .. id), lib.evrt_bus_next_seq(w.bus))
    lib.evrt_sub_add_epoch(s, lib.evrt_bus_next_seq(w.bus), lib.evrt_pattern_set_create(c.slice(patterns)))
    s.active, s.counting, s.limit, s.limit_bytes = true, true, limit or 8, 1e6
    s.seen = lib.evrt_bus_next_seq(w.bus)
    lib.evrt_bus_rerouted(w.bus)
    return s
end

local function settle(w)
    local out, ranges = ffi.new "struct evrt_record_settle", ffi.new "struct evrt_buf"
    local records = {}
    for _, s in ipairs(w.dirty) do
        s.dirty = false
        lib.evrt_buf_init(ranges)
        lib.evrt_sub_settle(s, lib.evrt_bus_next_seq(w.bus), ranges, out)
        local list, at, from = {}, ffi.new "size_t[1]", ffi.new "uint64_t[1]"
        local r = ffi.new "struct evrt_range"
        while lib.evrt_ranges_next(out.ranges, at, from, r) == 1 do
            list[#list + 1] = { tonumber(r.first), tonumber(r.count) }
        end
        records[#records + 1] = { sub = s.id, cursor = tonumber(out.cursor), ranges = list,
            matched = tonumber(out.matched), done = tonumber(out.done) }
        lib.evrt_sub_settled(s)
        lib.evrt_buf_finish(ranges)
    end
    w.dirty = {}
    return records
end

-- Answers the reads that a subscription asks for, `most` events at a time.
local function catch_up(w, s, most)
    local want = ffi.new "struct evrt_bus_read"
    if not lib.evrt_bus_wants_read(w.bus, s, want) then return false end
    local h = hold(w)
    local seq, given, whole = tonumber(want.from_seq), 0, true
    while seq <= #w.journal and seq < tonumber(lib.evrt_bus_next_seq(w.bus)) and given < most do
        local event = w.journal[seq]
        if want.again then
            lib.evrt_bus_read_again(w.bus, s, event.slice, h.hold)
            given = given + 1
        elseif lib.evrt_sub_matched(s, seq, c.slice(event.type)) then
            if not lib.evrt_bus_read_event(w.bus, s, event.slice, h.hold) then
                whole = false
                break
            end
            given = given + 1
        end
        seq = seq + 1
    end
    if whole and not want.again then lib.evrt_bus_read_to(w.bus, s, seq) end
    let_go(w, h)
    lib.evrt_bus_pump(w.bus)
    return true
end

local function answer(w, index)
    local d = table.remove(w.sent, index)
    local out = ffi.new "struct evrt_delivery"
    local s = lib.evrt_bus_by_id(w.bus, d.sub)
    return lib.evrt_bus_end(w.bus, s, d.position, d.worker, DONE, out), out
end

describe("the bus", function()
    it("sends a fresh event at once to those that match", function()
        local w = world {}
        add(w, 1, "a.*")
        add(w, 2, "**")
        publish(w, "a.b")
        publish(w, "c")
        assert.equal(3, #w.sent)
        assert.equal(0, w.held)
    end)

    it("settles out of order, moving the cursor only over what has ended", function()
        local w = world {}
        add(w, 1, "a")
        for _ = 1, 4 do publish(w, "a") end
        assert.equal(0, (answer(w, 2)))
        assert.equal(0, (answer(w, 2)))
        assert.same({ { sub = 1, cursor = 1, matched = 4, done = 2, ranges = { { 2, 2 } } } }, settle(w))
        answer(w, 1)
        assert.same({ { sub = 1, cursor = 4, matched = 4, done = 3, ranges = { { 1, 1 } } } }, settle(w))
        answer(w, 1)
        assert.same({ { sub = 1, cursor = 5, matched = 4, done = 4, ranges = { { 4, 1 } } } }, settle(w))
    end)

    it("names a delivery in flight by its event", function()
        local w = world {}
        add(w, 1, "**")
        publish(w, "a.b")
        publish(w, ("long."):rep(40) .. "type")
        local _, d = answer(w, 1)
        assert.equal("a.b", c.string(lib.evrt_delivery_names(d).type))
        assert.equal("1", c.string(lib.evrt_delivery_names(d).id))
        local _, e = answer(w, 1)
        assert.equal(("long."):rep(40) .. "type", c.string(lib.evrt_delivery_names(e).type))
        settle(w)
    end)

    it("refuses an answer of a worker that does not have the delivery", function()
        local w = world {}
        local s = add(w, 1, "a")
        publish(w, "a")
        local d = w.sent[1]
        local out = ffi.new "struct evrt_delivery"
        assert.equal(-116, lib.evrt_bus_end(w.bus, s, d.position, 7, DONE, out))
        assert.equal(0, lib.evrt_bus_end(w.bus, s, d.position, 1, DONE, out))
        assert.equal(-116, lib.evrt_bus_end(w.bus, s, d.position, 1, DONE, out))
        assert.equal(-116, lib.evrt_bus_end(w.bus, s, d.position + 9, 1, DONE, out))
    end)

    it("keeps what has no credit, and sends it when some comes back", function()
        local w = world {}
        add(w, 1, "a", 2)
        for _ = 1, 5 do publish(w, "a") end
        assert.equal(2, #w.sent)
        assert.equal(3, w.held)
        answer(w, 1)
        lib.evrt_bus_pump(w.bus)
        assert.equal(2, #w.sent)
        assert.equal(2, w.held)
    end)

    it("matches anew what was ready when patterns changed", function()
        local w = world {}
        local s = add(w, 1, "a\nb", 1)
        for _, type in ipairs { "a", "b", "a", "b", "a" } do publish(w, type) end
        assert.equal(1, #w.sent)
        -- What was at a dead worker is ready again, before what never left.
        lib.evrt_bus_worker_gone(w.bus, 1)
        w.worker, w.sent = 2, {}
        while catch_up(w, s, 2) do end
        assert.equal(1, #w.sent)
        lib.evrt_sub_add_epoch(s, 6, lib.evrt_pattern_set_create(c.slice "a"))
        lib.evrt_bus_recall(w.bus, s)
        lib.evrt_bus_rerouted(w.bus)
        assert.equal(0, w.held)
        publish(w, "b")
        publish(w, "a")
        while #w.sent > 0 do
            answer(w, 1)
            while catch_up(w, s, 2) do end
            lib.evrt_bus_pump(w.bus)
        end
        assert.same({ 6, 4, 2 }, { tonumber(s.matched), tonumber(s.done), tonumber(s.discarded) })
        assert.same(8, settle(w)[1].cursor)
    end)

    it("keeps what a handler that left had ready, for its return", function()
        local w = world {}
        local s = add(w, 1, "a", 1)
        for _ = 1, 3 do publish(w, "a") end
        s.active = false
        lib.evrt_sub_add_epoch(s, 4, lib.evrt_pattern_set_create(c.slice ""))
        lib.evrt_bus_recall(w.bus, s)
        lib.evrt_bus_rerouted(w.bus)
        publish(w, "a")
        assert.is_false(catch_up(w, s, 10))
        assert.equal(0, (answer(w, 1)))
        lib.evrt_bus_pump(w.bus)
        assert.equal(0, #w.sent)
        s.active = true
        lib.evrt_sub_add_epoch(s, 5, lib.evrt_pattern_set_create(c.slice "a"))
        lib.evrt_bus_rerouted(w.bus)
        while catch_up(w, s, 10) do end
        while #w.sent > 0 do
            answer(w, 1)
            lib.evrt_bus_pump(w.bus)
        end
        assert.same({ 3, 3, 0 }, { tonumber(s.matched), tonumber(s.done), tonumber(s.discarded) })
    end)

    it("falls behind when the window is full, and reads on", function()
        local w = world { window = 64 }
        local s = add(w, 1, "a", 1)
        for _ = 1, 200 do publish(w, "a") end
        assert.is_true(s.behind)
        assert.equal(65, tonumber(s.scan))
        local got = {}
        while #w.sent > 0 do
            local _, d = answer(w, 1)
            got[#got + 1] = tonumber(d.seq)
            settle(w)
            lib.evrt_bus_pump(w.bus)
            catch_up(w, s, 10)
        end
        assert.equal(200, #got)
        for i, seq in ipairs(got) do assert.equal(i, seq) end
        assert.is_false(s.behind)
    end)

    it("gives memory back when too much is held", function()
        local w = world { memory = 1000 }
        local s = add(w, 1, "a", 1)
        for _ = 1, 50 do publish(w, "a") end
        assert.is_true(w.held <= 11)
        assert.is_true(s.behind)
    end)

    it("sends again what a dead worker had, from the journal", function()
        local w = world {}
        local s = add(w, 1, "a")
        for _ = 1, 3 do publish(w, "a") end
        answer(w, 2)
        assert.equal(2, tonumber(lib.evrt_bus_worker_gone(w.bus, 1)))
        w.sent, w.worker = {}, 2
        assert.is_true(catch_up(w, s, 100))
        local seqs = {}
        for _ = 1, 2 do
            local _, d = answer(w, 1)
            seqs[#seqs + 1] = tonumber(d.seq)
        end
        table.sort(seqs)
        assert.same({ 1, 3 }, seqs)
        assert.equal(4, settle(w)[1].cursor)
    end)

    it("discards and counts what no longer matches", function()
        local w = world {}
        local s = add(w, 1, "a", 1)
        for _ = 1, 3 do publish(w, "a") end
        lib.evrt_sub_fall_behind(s, lib.evrt_bus_next_seq(w.bus))
        lib.evrt_sub_add_epoch(s, 4, lib.evrt_pattern_set_create(c.slice "b"))
        lib.evrt_bus_rerouted(w.bus)
        catch_up(w, s, 10)
        publish(w, "b")
        assert.equal(2, tonumber(s.discarded))
        assert.equal(4, tonumber(s.matched))
    end)

    it("skips what had ended before the last start", function()
        local w = world {}
        for _ = 1, 6 do publish(w, "a") end
        local s = lib.evrt_bus_add(w.bus, 1, c.slice "H", 1)
        lib.evrt_sub_add_epoch(s, 1, lib.evrt_pattern_set_create(c.slice "a"))
        s.active, s.limit, s.limit_bytes = true, 8, 1e6
        s.skip = ffi.cast("struct evrt_range *", lib.evrt_alloc(ffi.sizeof "struct evrt_range" * 2))
        s.skip[0] = { 2, 2 }
        s.skip[1] = { 5, 1 }
        s.skip_count = 2
        catch_up(w, s, 10)
        local seqs = {}
        while #w.sent > 0 do
            local _, d = answer(w, 1)
            seqs[#seqs + 1] = tonumber(d.seq)
        end
        assert.same({ 1, 4, 6 }, seqs)
    end)

    it("ends everything exactly once, whatever happens", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        math.randomseed(seed)
        local w = world { window = 64, memory = 3000 }
        local types = { "a.x", "a.y", "b.x" }
        local subs = { add(w, 1, "a.*", 3), add(w, 2, "**", 5), add(w, 3, "*.x", 1) }
        local ends = { {}, {}, {} }
        local function finish(index)
            local d = w.sent[index]
            local rc, out = answer(w, index)
            if rc == 0 then
                local seq = tonumber(out.seq)
                ends[d.sub][seq] = (ends[d.sub][seq] or 0) + 1
            end
        end
        local steps = {
            function() publish(w, types[math.random(#types)]) end,
            function() for _ = 1, math.random(40) do publish(w, types[math.random(#types)]) end end,
            function() if #w.sent > 0 then finish(math.random(#w.sent)) end end,
            function() if #w.sent > 0 then finish(1) end end,
            function() settle(w) end,
            function() lib.evrt_bus_pump(w.bus) end,
            function() catch_up(w, subs[math.random(3)], math.random(20)) end,
            function() w.accept = not w.accept end,
            function() -- the worker dies; what it still says is stale
                lib.evrt_bus_worker_gone(w.bus, w.worker)
                w.worker = w.worker + 1
            end,
        }
        local weights = { 6, 1, 8, 8, 4, 4, 5, 1, 1 }
        local wheel = {}
        for i, n in ipairs(weights) do for _ = 1, n do wheel[#wheel + 1] = steps[i] end end
        for _ = 1, 4000 do wheel[math.random(#wheel)]() end
        w.accept = true
        for _ = 1, 20000 do
            for _, s in ipairs(subs) do catch_up(w, s, 50) end
            lib.evrt_bus_pump(w.bus)
            while #w.sent > 0 do finish(1) end
            settle(w)
        end
        local patterns = { "a.*", "**", "*.x" }
        for i, s in ipairs(subs) do
            local matched = 0
            for _, event in ipairs(w.journal) do
                local expect = lib.evrt_pattern_match(c.slice(patterns[i]), c.slice(event.type)) and 1 or nil
                matched = matched + (expect or 0)
                assert.equal(expect, ends[i][event.seq], ("seed %d: sub %d, seq %d"):format(seed, i, event.seq))
            end
            assert.equal(matched, tonumber(s.matched), "seed " .. seed)
            assert.equal(matched, tonumber(s.done), "seed " .. seed)
            assert.equal(#w.journal + 1, tonumber(lib.evrt_sub_cursor(s, lib.evrt_bus_next_seq(w.bus))))
        end
        assert.equal(0, w.held)
    end)
end)
