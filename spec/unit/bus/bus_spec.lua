-- The bus against a small model: a journal that is a Lua table, workers that are numbers. Every event that
-- a subscription matches must end exactly once, whatever order workers answer, die and read in.
local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.bus.support"

local lib, add, publish, settle, catch_up, answer =
    support.lib, support.add, support.publish, support.settle, support.catch_up, support.answer
local DONE = lib.EVRT_OUTCOME_DONE

local function world(options)
    local w = support.world(options)
    finally(w.close)
    return w
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

    it("sends one again as the same attempt, though its worker lives", function()
        local w = world {}
        local s = add(w, 1, "a")
        for _ = 1, 3 do publish(w, "a") end
        lib.evrt_bus_again(w.bus, s, w.sent[2].position)
        w.sent = { w.sent[1], w.sent[3] }
        assert.equal(2, s.flight)
        assert.is_true(catch_up(w, s, 100))
        assert.equal(3, #w.sent)
        assert.equal(1, lib.evrt_sub_delivery(s, w.sent[3].position).attempt)
        for _ = 1, 3 do answer(w, 1) end
        local record = settle(w)[1]
        assert.same({ 4, 3 }, { record.cursor, record.done })
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
