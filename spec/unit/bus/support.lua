-- A bus over a journal that is a Lua table, with workers that are numbers.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("bus", { "bus/bus.h", "core/pattern.h", "core/event.h" })

local M = { lib = lib, slice = c.slice }

ffi.cdef "struct spec_hold { struct evrt_hold hold; };"

-- A bus over a journal of events; `world.accept` says whether a worker takes a delivery.
function M.world(options)
    local w = { journal = {}, sent = {}, dirty = {}, held = 0, holds = {}, worker = 1, accept = true }
    w.release = ffi.cast("void (*)(struct evrt_hold *)", function(hold)
        w.held = w.held - 1
        w.holds[tostring(ffi.cast("void *", hold))] = nil
    end)
    w.send = ffi.cast("uint32_t (*)(void *, const struct evrt_sub *, uint64_t, unsigned, const struct evrt_slice *)",
        function(_, s, position, _, event)
            if not w.accept then return 0 end
            w.sent[#w.sent + 1] = { sub = s.id, position = position, worker = w.worker,
                seq = tonumber(c.string(lib.evrt_event_field(event.p, 0))) }
            if w.on_send then w.on_send(w.sent[#w.sent]) end
            return w.worker
        end)
    -- The subject is the key: a number.
    w.key = ffi.cast("uint64_t (*)(void *, const struct evrt_sub *, const struct evrt_slice *)",
        function(_, _, event)
            local key = tonumber(c.string(lib.evrt_event_field(event.p, lib.EVRT_FIELD_SUBJECT))) or 0
            return w.key_of and w.key_of(key) or key
        end)
    w.mark = ffi.cast("void (*)(void *, struct evrt_sub *)", function(_, s)
        w.dirty[#w.dirty + 1] = s
    end)
    w.ops = ffi.new("struct evrt_bus_ops", { w.send, w.key, w.mark })
    w.options = ffi.new("struct evrt_bus_options", {
        window = options.window or 64, max_parked = options.parked or 1e6, memory_limit = options.memory or 1e6,
        next_seq = options.next_seq or 1, ops = w.ops,
    })
    w.bus = lib.evrt_bus_create(w.options)
    w.close = function()
        lib.evrt_bus_destroy(w.bus)
        w.release:free()
        w.send:free()
        w.key:free()
        w.mark:free()
    end
    return w
end

local function encode(seq, type, key)
    local e = ffi.new "struct evrt_event"
    local id, subject = tostring(seq), key and tostring(key) or ""
    e.id, e.type, e.source, e.subject, e.seq = c.slice(id), c.slice(type), c.slice "/t",
        c.slice(subject), seq
    local n = tonumber(lib.evrt_event_size(e))
    local bytes = ffi.new("char[?]", n)
    lib.evrt_event_encode(e, bytes)
    return { bytes = bytes, slice = ffi.new("struct evrt_slice", bytes, n), type = type, seq = seq, key = key }
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

M.encode = encode

function M.publish(w, type, key)
    local event = encode(#w.journal + 1, type, key)
    w.journal[#w.journal + 1] = event
    local h = hold(w)
    lib.evrt_bus_held(w.bus, 100)
    lib.evrt_bus_commit(w.bus, event.seq, event.slice, h.hold)
    let_go(w, h)
end

function M.add(w, id, patterns, limit)
    local s = lib.evrt_bus_add(w.bus, id, c.slice("H" .. id), lib.evrt_bus_next_seq(w.bus))
    lib.evrt_sub_add_epoch(s, lib.evrt_bus_next_seq(w.bus), lib.evrt_pattern_set_create(c.slice(patterns)))
    s.active, s.counting, s.limit, s.limit_bytes = true, true, limit or 8, 1e6
    s.seen = lib.evrt_bus_next_seq(w.bus)
    lib.evrt_bus_rerouted(w.bus)
    return s
end

function M.settle(w)
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
function M.catch_up(w, s, most)
    local want = ffi.new "struct evrt_bus_read"
    if not lib.evrt_bus_wants_read(w.bus, s, want) then return false end
    local h = hold(w)
    s.again_read = want.again
    if want.again then
        local seqs = ffi.new("uint64_t[?]", most)
        local n = tonumber(lib.evrt_sub_list_again(s, seqs, most))
        for i = 0, n - 1 do
            local event = w.journal[tonumber(seqs[i])]
            if event.lost then lib.evrt_bus_lost_again(w.bus, s, seqs[i])
            else lib.evrt_bus_read_again(w.bus, s, event.slice, h.hold) end
        end
    else
        local seq, given, whole = tonumber(want.from_seq), 0, true
        while seq < tonumber(lib.evrt_bus_next_seq(w.bus)) and given < math.min(most, want.max_events) do
            local event = w.journal[seq]
            if not event.lost and lib.evrt_sub_matched(s, seq, c.slice(event.type)) then
                if not lib.evrt_bus_read_event(w.bus, s, event.slice, h.hold) then
                    whole = false
                    break
                end
                given = given + 1
            end
            seq = seq + 1
        end
        if whole then lib.evrt_bus_read_to(w.bus, s, seq) end
    end
    let_go(w, h)
    lib.evrt_bus_pump(w.bus)
    return true
end

function M.answer(w, index)
    local d = table.remove(w.sent, index)
    local out = ffi.new "struct evrt_delivery"
    local s = lib.evrt_bus_by_id(w.bus, d.sub)
    return lib.evrt_bus_end(w.bus, s, d.position, d.worker, lib.EVRT_OUTCOME_DONE, out), out
end

return M
