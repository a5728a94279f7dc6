-- The bytes: what is put is read back, and no flipped bit of a header or a group passes.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local c = require "spec.support.c"
local lib = s.lib

local SALT = 0x1234567890abcdefULL

local function header()
    local h = ffi.new "struct evrt_segment_header"
    h.number, h.first_group, h.first_seq = 7, 100, 5000
    h.created_ms, h.size, h.prev_end, h.prev_max_ms, h.salt = 1700000000000, 65536, 60000, 1699999999999, SALT
    return h
end

local function page(h)
    local bytes = ffi.new "char[4096]"
    lib.evrt_segment_header_put(bytes, h)
    return ffi.string(bytes, 4096)
end

-- A group of these {kind, payload} records, as bytes.
local function group(records, salt)
    local body, events = {}, 0
    for _, r in ipairs(records) do
        local room = ffi.new("char[?]", 8 + #r[2] + 8)
        ffi.fill(room, ffi.sizeof(room), 0xff)
        ffi.copy(lib.evrt_record_begin(room, r[1], #r[2]), r[2], #r[2])
        body[#body + 1] = ffi.string(room, 8 + math.ceil(#r[2] / 8) * 8)
        if r[1] == s.kind.event then events = events + 1 end
    end
    body = table.concat(body)
    local head, iov = ffi.new "char[56]", ffi.new "struct iovec[2]"
    local keep = c.exact(body)
    iov[1].iov_base, iov[1].iov_len = keep, #body
    local g = ffi.new "struct evrt_group"
    g.number, g.first_seq, g.time_ms = 42, 1000, 1700000000123
    g.length, g.events, g.records = #body, events, #records
    lib.evrt_group_put(head, iov, 2, g, salt or SALT)
    assert(keep)
    return ffi.string(head, 56) .. body
end

local function read(bytes, salt)
    local g, copy = ffi.new "struct evrt_group", c.exact(bytes)
    local rc = lib.evrt_group_head(copy, salt or SALT, g)
    if rc == 0 and g.length + 56 ~= #bytes then rc = -1 end
    if rc == 0 then rc = lib.evrt_group_body(copy, salt or SALT, g) end
    return rc == 0 and g or nil, copy
end

describe("journal/format", function()
    it("reads back a segment's header", function()
        local got = ffi.new "struct evrt_segment_header"
        assert.equal(lib.EVRT_HEADER_GOOD, tonumber(lib.evrt_segment_header_get(page(header()), got)))
        assert.equal(ffi.string(header(), ffi.sizeof(got)), ffi.string(got, ffi.sizeof(got)))
    end)

    it("tells a page that is good by half from one that is not", function()
        local good, got = page(header()), ffi.new "struct evrt_segment_header"
        for at = 0, 4096 * 8 - 1, 3 do
            assert.equal(lib.EVRT_HEADER_HALF, tonumber(lib.evrt_segment_header_get(s.flip(good, at), got)))
            assert.equal(7, tonumber(got.number))
        end
        local both = s.flip(s.flip(good, 24 * 8), (2048 + 30) * 8)
        assert.equal(lib.EVRT_HEADER_BAD, tonumber(lib.evrt_segment_header_get(both, got)))
        assert.equal(lib.EVRT_HEADER_BAD,
            tonumber(lib.evrt_segment_header_get(("\0"):rep(4096), got)))
    end)

    it("names segments", function()
        local name, number = ffi.new "char[21]", ffi.new "uint64_t[1]"
        lib.evrt_segment_name(0xabc, name)
        assert.equal("0000000000000abc.seg", ffi.string(name))
        assert.is_true(lib.evrt_segment_name_parse(name, number))
        assert.equal(0xabc, tonumber(number[0]))
        for _, bad in ipairs { "", "spare", "abc.seg", "0000000000000ABC.seg", "0000000000000000.seg",
            "0000000000000abc.seg.new", "0000000000000abcxseg" } do
            assert.is_false(lib.evrt_segment_name_parse(bad, number), bad)
        end
    end)

    it("reads back groups of records of every length", function()
        for n = 0, 40 do
            local bytes = group { { s.kind.settle, ("s"):rep(n) }, { s.kind.event, ("e"):rep(40 + n) } }
            assert.equal(0, #bytes % 8)
            local g, keep = read(bytes)
            assert.same({ 42, 1000, 1, 2, 43, 1001, false }, { tonumber(g.number), tonumber(g.first_seq),
                g.events, g.records, tonumber(g.next_group), tonumber(g.next_seq), g.sealed })
            local at, kind = ffi.new "size_t[1]", ffi.new "unsigned[1]"
            local payload = ffi.new "struct evrt_slice"
            assert.equal(1, lib.evrt_record_next(g.body, g.length, at, kind, payload))
            assert.same({ s.kind.settle, ("s"):rep(n) }, { kind[0], c.string(payload) })
            assert.equal(1, lib.evrt_record_next(g.body, g.length, at, kind, payload))
            assert.same({ s.kind.event, ("e"):rep(40 + n) }, { kind[0], c.string(payload) })
            assert.equal(0, lib.evrt_record_next(g.body, g.length, at, kind, payload))
            assert(keep)
        end
    end)

    it("refuses a group with any bit turned, or under another salt", function()
        local bytes = group { { s.kind.event, ("e"):rep(43) }, { s.kind.seal, "" } }
        assert.is_true(read(bytes).sealed)
        for at = 0, #bytes * 8 - 1 do assert.is_nil((read(s.flip(bytes, at)))) end
        assert.is_nil((read(bytes, SALT + 1)))
    end)

    it("refuses records that cannot be, even with a good checksum", function()
        assert.is_nil((read(group { { s.kind.event, "too short for an event" } })))
        assert.is_nil((read(group { { 0, "kind zero" } })))
        assert.is_nil((read(group { { s.kind.gap, "\255\255 not a gap" } })))
    end)

    it("continues after a gap where the gap says", function()
        local function gap(first_seq, events, first_group, groups)
            local out = ffi.new "struct evrt_buf"
            lib.evrt_record_put_gap(out, ffi.new("struct evrt_record_gap",
                { first_seq, events, first_group, groups }))
            local payload = ffi.string(out.p, out.n)
            lib.evrt_buf_finish(out)
            return { s.kind.gap, payload }
        end
        local g = read(group { gap(1000, 17, 42, 3) })
        assert.same({ 45, 1017 }, { tonumber(g.next_group), tonumber(g.next_seq) })
        for _, bad in ipairs { gap(1001, 17, 42, 3), gap(1000, 17, 41, 3), gap(1000, 17, 42, 0),
            gap(1000, -1ULL, 42, 3), gap(1000, 1, 42, -1ULL) } do
            assert.is_nil((read(group { bad })))
        end
        assert.is_nil((read(group { gap(1000, 17, 42, 3), { s.kind.settle, "" } })))
    end)
end)
