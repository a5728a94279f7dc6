-- Order by key, against the rules themselves: a delivery is sent for the first time only when every earlier
-- event of its key has ended, whatever else happens; nothing is lost, nothing ends twice.
local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.bus.support"

local lib, add, publish, settle, catch_up, answer =
    support.lib, support.add, support.publish, support.settle, support.catch_up, support.answer

local function world(options)
    local w = support.world(options)
    finally(w.close)
    return w
end

local function ordered(w, id, limit)
    local s = add(w, id, "**", limit)
    lib.evrt_bus_order(w.bus, s, true)
    return s
end

local function sent(w)
    local list = {}
    for i, d in ipairs(w.sent) do list[i] = d.seq end
    return list
end

describe("a subscription that is ordered", function()
    it("has one delivery of a key in flight, and passes on to the next when it ends", function()
        local w = world {}
        local s = ordered(w, 1)
        for _, key in ipairs { 7, 7, 8, 7, 0, 0 } do publish(w, "a", key) end
        assert.same({ 1, 3, 5, 6 }, sent(w))
        assert.equal(0, w.held)
        answer(w, 1)
        lib.evrt_bus_pump(w.bus)
        assert.same({ 3, 5, 6, 2 }, sent(w))
        answer(w, 1)
        answer(w, 3)
        lib.evrt_bus_pump(w.bus)
        assert.same({ 5, 6, 4 }, sent(w))
        while #w.sent > 0 do answer(w, 1) end
        assert.same({ 7, 6 }, { settle(w)[1].cursor, tonumber(s.done) })
        assert.equal(0, tonumber(s.keys.count))
    end)

    it("keeps a key busy while its delivery waits to be made again", function()
        local w = world {}
        local s = ordered(w, 1)
        for _ = 1, 3 do publish(w, "a", 5) end
        lib.evrt_bus_worker_gone(w.bus, 1)
        w.worker, w.sent = 2, {}
        publish(w, "a", 5)
        lib.evrt_bus_pump(w.bus)
        assert.same({}, sent(w))
        catch_up(w, s, 10)
        assert.same({ 1 }, sent(w))
        assert.equal(2, w.sent[1].worker)
    end)

    it("parks a key's events in 16 bytes each, and other keys go on", function()
        local w = world { parked = 2e6 }
        local s = ordered(w, 1, 100)
        local event = "slow"
        publish(w, event, 1)
        for _ = 1, 20000 do publish(w, event, 1) end
        assert.equal(1, #w.sent)
        assert.equal(0, w.held)
        assert.is_false(s.behind)
        assert.is_true(tonumber(s.live) < 40)
        for key = 2, 1000 do
            publish(w, event, key)
            assert.equal(2, #w.sent)
            answer(w, 2)
            settle(w)
        end
        local handled = 0
        while #w.sent > 0 do
            assert.equal(handled + 1, w.sent[1].seq)
            answer(w, 1)
            handled = handled + 1
            lib.evrt_bus_pump(w.bus)
            while #w.sent == 0 and catch_up(w, s, 1024) do end
            if handled % 100 == 0 then settle(w) end
        end
        assert.equal(20001, handled)
        settle(w)
        assert.equal(0, tonumber(s.window.tail - s.window.head))
        assert.same({ 0, 0, 0 }, { tonumber(s.parked), tonumber(s.live), tonumber(s.own_bytes) })
    end)

    it("falls behind when too much is parked, and goes on when it is not", function()
        local w = world { window = 64, parked = 100 }
        local s = ordered(w, 1, 1)
        for _ = 1, 500 do publish(w, "a", 1) end
        assert.is_true(s.behind)
        for seq = 1, 500 do
            assert.same({ seq }, sent(w))
            answer(w, 1)
            settle(w)
            lib.evrt_bus_pump(w.bus)
            while #w.sent == 0 and catch_up(w, s, 50) do end
        end
        assert.is_false(s.behind)
    end)

    it("takes an event that is no longer there, or matches no longer, out of the line", function()
        local w = world {}
        local s = ordered(w, 1)
        for _, type in ipairs { "a", "b", "a", "b", "a" } do publish(w, type, 3) end
        for _ = 1, 30 do publish(w, "a", 3) end
        w.journal[30].lost = true
        lib.evrt_sub_add_epoch(s, 36, lib.evrt_pattern_set_create(c.slice "a"))
        lib.evrt_bus_recall(w.bus, s)
        lib.evrt_bus_rerouted(w.bus)
        local seqs = {}
        while #w.sent > 0 do
            seqs[#seqs + 1] = w.sent[1].seq
            answer(w, 1)
            lib.evrt_bus_pump(w.bus)
            while #w.sent == 0 and catch_up(w, s, 8) do end
        end
        assert.same({ 1, 3, 5, 6 }, { seqs[1], seqs[2], seqs[3], seqs[4] })
        assert.same({ 32, 32, 3 }, { #seqs, tonumber(s.done), tonumber(s.discarded) })
        settle(w)
        assert.equal(36, tonumber(lib.evrt_sub_cursor(s, 36)))
    end)

    it("sends nothing more under new keys before what was sent has ended", function()
        local w = world {}
        local s = ordered(w, 1)
        for _, key in ipairs { 1, 2, 11, 12, 1, 2 } do publish(w, "a", key) end
        assert.same({ 1, 2, 3, 4 }, sent(w))
        answer(w, 4)
        settle(w)
        w.key_of = function(key) return key % 10 end
        lib.evrt_bus_order(w.bus, s, true)
        publish(w, "a", 3)
        assert.is_false(catch_up(w, s, 10))
        assert.same({ 1, 2, 3 }, sent(w))
        answer(w, 1)
        answer(w, 1)
        settle(w)
        lib.evrt_bus_pump(w.bus)
        assert.same({ 3 }, sent(w))
        answer(w, 1)
        settle(w)
        catch_up(w, s, 10)
        assert.same({ 5, 6, 7 }, sent(w))
        while #w.sent > 0 do answer(w, 1) end
        assert.same({ 8, 7 }, { settle(w)[1].cursor, tonumber(s.done) })
    end)

    it("never begins one before all earlier ones of its key have ended", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        local function told(what) return ("EVRT_SEED=%d: %s"):format(seed, what) end
        math.randomseed(seed)
        local options = { window = 64, memory = 3000, parked = 200 }
        local w = support.world(options)
        finally(function() w.close() end)
        local modulo = 1000
        local ended, settled, begun, in_flight, by_modulo = {}, {}, {}, {}, { 1000, 5, 3, 1 }
        local s = ordered(w, 1)
        local function key_of(key) return key == 0 and 0 or 1 + key % modulo end
        local low = 1
        local wrong -- an error cannot cross the bus
        local function on_send(d)
            if ended[d.seq] then wrong = wrong or ("ended " .. d.seq) end
            if in_flight[d.seq] then wrong = wrong or ("in flight " .. d.seq) end
            local key = key_of(w.journal[d.seq].key)
            in_flight[d.seq] = true
            if begun[d.seq] or key == 0 then return end
            begun[d.seq] = true
            while ended[low] do low = low + 1 end
            for seq = low, d.seq - 1 do
                if not ended[seq] and not w.journal[seq].lost and key_of(w.journal[seq].key) == key then
                    wrong = wrong or ("%d began before %d had ended"):format(d.seq, seq)
                end
            end
        end
        local function prepare()
            w.on_send, w.key_of = on_send, key_of
            s.limit = 6
        end
        prepare()
        local function finish(index)
            local d = w.sent[index]
            if answer(w, index) == 0 then
                in_flight[d.seq] = nil
                ended[d.seq] = true
            end
        end
        local function note()
            for _, record in ipairs(settle(w)) do
                for _, run in ipairs(record.ranges) do
                    for seq = run[1], run[1] + run[2] - 1 do
                        settled[seq] = true
                        if not ended[seq] then wrong = wrong or ("settled " .. seq) end -- it would be lost
                    end
                end
            end
        end
        local function restart() -- as after kill -9: what was not settled has not ended
            local cursor, journal = #w.journal + 1, w.journal
            for seq = #journal, 1, -1 do
                if not settled[seq] then cursor = seq end
            end
            w.close()
            options.next_seq = #journal + 1
            w = support.world(options)
            w.journal = journal
            s = lib.evrt_bus_add(w.bus, 1, c.slice "H1", cursor)
            lib.evrt_sub_add_epoch(s, 1, lib.evrt_pattern_set_create(c.slice "**"))
            s.active, s.limit_bytes, s.counting = true, 1e6, true
            lib.evrt_bus_order(w.bus, s, true)
            local runs = {}
            for seq = cursor, #journal do
                if settled[seq] then runs[#runs + 1] = { seq, 1 } end
            end
            s.skip = ffi.cast("struct evrt_range *", lib.evrt_alloc(16 * (#runs + 1)))
            for i, run in ipairs(runs) do s.skip[i - 1] = run end
            s.skip_count = #runs
            ended, begun, in_flight, low = {}, {}, {}, 1
            for seq in pairs(settled) do ended[seq] = true end
            prepare()
        end
        local steps = {
            { 6, function() publish(w, "a", math.random(0, 6)) end },
            { 0.4, function() for _ = 1, math.random(40) do publish(w, "a", math.random(0, 20)) end end },
            { 0.2, function() for _ = 1, math.random(80) do publish(w, "a", 9) end end },
            { 8, function() if #w.sent > 0 then finish(math.random(#w.sent)) end end },
            { 12, function() if #w.sent > 0 then finish(1) end end },
            { 4, note },
            { 6, function() lib.evrt_bus_pump(w.bus) end },
            { 8, function() catch_up(w, s, math.random(20)) end },
            { 1, function() w.accept = not w.accept end },
            { 1, function() lib.evrt_bus_pause(w.bus, s, not s.paused) end },
            { 0.3, function() -- the worker dies; what it still says is stale
                lib.evrt_bus_worker_gone(w.bus, w.worker)
                w.worker, in_flight = w.worker + 1, {}
            end },
            { 0.3, function()
                note()
                modulo = by_modulo[math.random(#by_modulo)]
                lib.evrt_bus_order(w.bus, s, true)
            end },
            { 0.3, function() lib.evrt_bus_recall(w.bus, s) end },
            { 0.1, restart },
        }
        local whole = 0
        for _, step in ipairs(steps) do whole = whole + step[1] end
        for _ = 1, 10000 do
            local dice = math.random() * whole
            for _, step in ipairs(steps) do
                dice = dice - step[1]
                if dice < 0 then
                    step[2]()
                    break
                end
            end
            assert.is_nil(wrong, told(wrong))
        end
        w.accept = true
        lib.evrt_bus_pause(w.bus, s, false)
        local idle = 0
        repeat
            local moved = catch_up(w, s, 50)
            lib.evrt_bus_pump(w.bus)
            moved = moved or #w.sent > 0
            while #w.sent > 0 do finish(1) end
            note()
            idle = moved and 0 or idle + 1
        until idle > 3
        for seq in ipairs(w.journal) do
            if not ended[seq] then wrong = wrong or ("lost " .. seq) end
        end
        assert.is_nil(wrong, told(wrong))
        assert.equal(#w.journal + 1, tonumber(lib.evrt_sub_cursor(s, #w.journal + 1)), told "cursor")
        assert.same({ 0, 0, 0, 0, 0, 0 }, { tonumber(s.live), tonumber(s.parked), tonumber(s.own_bytes), s.again,
            tonumber(s.keys.count), s.flight }, told "what is left")
        assert.equal(0, w.held, told "held")
    end)
end)

describe("the pump", function()
    it("gives higher priority first, in small shares", function()
        local w = world {}
        w.accept = false
        for id = 1, 3 do add(w, id, "**", 100).priority = id == 2 and 5 or 0 end
        lib.evrt_bus_rerouted(w.bus)
        for _ = 1, 40 do publish(w, "a") end
        w.accept = true
        lib.evrt_bus_pump(w.bus)
        local order = {}
        for _, d in ipairs(w.sent) do
            if order[#order] ~= d.sub then order[#order + 1] = d.sub end
        end
        assert.equal(120, #w.sent)
        assert.equal(2, order[1])
        assert.equal(9, #order) -- three shares of each
        w.sent = {}
        publish(w, "a")
        assert.same({ 2, 1, 3 }, { w.sent[1].sub, w.sent[2].sub, w.sent[3].sub })
    end)

    it("counts what waits for others against no limit", function()
        local w = world {}
        local s = add(w, 1, "**", 1)
        for _ = 1, 3 do publish(w, "a") end
        assert.equal(1, #w.sent)
        assert.is_true(lib.evrt_bus_lend(w.bus, s, w.sent[1].position, 1, true))
        assert.is_false(lib.evrt_bus_lend(w.bus, s, w.sent[1].position, 1, true))
        assert.is_false(lib.evrt_bus_lend(w.bus, s, w.sent[1].position, 9, true))
        lib.evrt_bus_pump(w.bus)
        assert.equal(2, #w.sent)
        assert.is_true(lib.evrt_bus_lend(w.bus, s, w.sent[1].position, 1, false))
        answer(w, 2)
        lib.evrt_bus_pump(w.bus)
        assert.equal(1, #w.sent)
        assert.is_true(lib.evrt_bus_lend(w.bus, s, w.sent[1].position, 1, true))
        lib.evrt_bus_worker_gone(w.bus, 1)
        assert.same({ 0, 0, 0 }, { s.flight, s.lent, tonumber(s.lent_bytes) })
    end)
end)

describe("a paused subscription", function()
    it("is sent nothing and reads nothing, but ends what it has", function()
        local w = world {}
        local s = add(w, 1, "**", 2)
        for _ = 1, 5 do publish(w, "a") end
        lib.evrt_bus_pause(w.bus, s, true)
        assert.equal(0, w.held)
        answer(w, 1)
        publish(w, "a")
        lib.evrt_bus_pump(w.bus)
        assert.is_false(catch_up(w, s, 10))
        assert.equal(1, #w.sent)
        lib.evrt_bus_pause(w.bus, s, false)
        while #w.sent > 0 or catch_up(w, s, 10) do
            if #w.sent > 0 then answer(w, 1) end
            lib.evrt_bus_pump(w.bus)
        end
        assert.same({ 7, 6, 6 }, { settle(w)[1].cursor, tonumber(s.matched), tonumber(s.done) })
    end)

    it("that has nothing goes on with what comes", function()
        local w = world {}
        local s = add(w, 1, "**", 2)
        lib.evrt_bus_pause(w.bus, s, true)
        lib.evrt_bus_pause(w.bus, s, false)
        publish(w, "a")
        assert.equal(1, #w.sent)
        assert.is_false(s.behind)
    end)
end)
