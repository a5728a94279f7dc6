local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/schedule.h", "core/event.h", "core/record.h" })

local NOW = 1736246400000 -- 2025-01-07T10:40:00Z

local function extensions(list)
    local b = ffi.gc(ffi.new "struct evrt_buf", lib.evrt_buf_finish)
    lib.evrt_buf_init(b)
    for _, x in ipairs(list) do
        assert(lib.evrt_extensions_add(b, c.slice(x[1]), (x[3] or "s"):byte(), c.slice(x[2])) == 0)
    end
    return b
end

local function parse(list)
    local d, err = ffi.new "struct evrt_deliver", ffi.new "struct evrt_error"
    local b = extensions(list)
    local rc = lib.evrt_deliver_parse(ffi.new("struct evrt_slice", b.p, b.n), NOW, d, err)
    if rc < 0 then return nil, ffi.string(err.message) end
    return tonumber(d.kind), tonumber(d.due_ms), tonumber(d.delay_ms)
end

local NONE, AT, AFTER = 0, 1, 2

describe("core/schedule", function()
    it("says when an event is to be published", function()
        assert.equal(NONE, (parse {}))
        assert.equal(NONE, (parse { { "other", "1" } }))
        assert.same({ AT, NOW + 5000, 5000 }, { parse { { "a", "b" }, { "deliverat", "2025-01-07T10:40:05Z" } } })
        assert.same({ AT, NOW + 5000, 5000 }, { parse { { "deliverat", "2025-01-07T11:40:05+01:00" } } })
        assert.same({ AFTER, NOW + 90000, 90000 }, { parse { { "deliverafter", "90s" } } })
    end)

    it("is now when the time has passed", function()
        assert.equal(NONE, (parse { { "deliverat", "2025-01-07T10:40:00Z" } }))
        assert.equal(NONE, (parse { { "deliverat", "1970-01-01T00:00:00Z" } }))
        assert.equal(NONE, (parse { { "deliverafter", "0s" } }))
    end)

    it("says what makes no sense", function()
        local function why(list) return (select(2, parse(list))) end
        assert.matches("deliverat: byte 1: expected RFC 3339", why { { "deliverat", "tomorrow" } })
        assert.matches("deliverat: byte 1: expected RFC 3339", why { { "deliverat", "5", "i" } })
        assert.matches("deliverafter: expected a duration", why { { "deliverafter", "soon" } })
        assert.matches("only one of them", why { { "deliverafter", "1s" }, { "deliverat", "2025-01-07T10:40:05Z" } })
        assert.matches("only one of them", why { { "deliverafter", "1s" }, { "deliverafter", "1s" } })
    end)

    it("leaves one deliverat in the event", function()
        local given = extensions { { "a", "1", "i" }, { "deliverafter", "90s" }, { "b", "x" } }
        local want = extensions { { "a", "1", "i" }, { "b", "x" }, { "deliverat", "2025-01-07T10:41:30.000Z" } }
        local out = extensions {}
        lib.evrt_deliver_extensions(ffi.new("struct evrt_slice", given.p, given.n), NOW + 90000, out)
        assert.equal(c.string(want), c.string(out))
    end)

    it("codes its records, and refuses those that are cut", function()
        local event = ffi.new "struct evrt_event"
        event.id, event.type = c.slice "i", c.slice "t"
        local n = tonumber(lib.evrt_event_size(event))
        local bytes = ffi.new("char[?]", n)
        lib.evrt_event_encode(event, bytes)
        local r, out = ffi.new "struct evrt_record_schedule", extensions {}
        r.number, r.due_ms, r.delay_ms, r.at_ms, r.kind = 7, -1, 2, 3, AFTER
        r.event = ffi.new("struct evrt_slice", bytes, n)
        lib.evrt_record_put_schedule(out, r)
        local back = ffi.new "struct evrt_record_schedule"
        assert.equal(0, lib.evrt_record_get_schedule(ffi.new("struct evrt_slice", out.p, out.n), back))
        assert.same({ 7, -1, 2, 3, AFTER, n }, { tonumber(back.number), tonumber(back.due_ms), tonumber(back.delay_ms),
            tonumber(back.at_ms), tonumber(back.kind), tonumber(back.event.n) })
        for cut = 0, tonumber(out.n) - 1 do
            assert.is_true(lib.evrt_record_get_schedule(ffi.new("struct evrt_slice", out.p, cut), back) < 0)
        end
        local e, ended = ffi.new "struct evrt_record_unschedule", ffi.new "struct evrt_record_unschedule"
        e.number, e.due_ms, e.at_ms, e.cancelled = 7, 8, 9, 1
        out.n = 0
        lib.evrt_record_put_unschedule(out, e)
        assert.equal(0, lib.evrt_record_get_unschedule(ffi.new("struct evrt_slice", out.p, out.n), ended))
        assert.same({ 7, 8, 9, 1 }, { tonumber(ended.number), tonumber(ended.due_ms), tonumber(ended.at_ms),
            tonumber(ended.cancelled) })
        assert.is_true(lib.evrt_record_get_unschedule(ffi.new("struct evrt_slice", out.p, out.n - 1), ended) < 0)
    end)
end)
