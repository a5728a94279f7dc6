local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/record.h" })

local EBADMSG = -74
local MAX = 0xffffffffffffffffULL

-- Fields of each payload, in order: name and a value at an edge of its type. Slices are strings.
local PAYLOADS = {
    subscribe = { { "sub", 4294967295 }, { "name", "SocialStatisticsHandler" }, { "from_seq", MAX },
        { "at_ms", -1LL }, { "patterns", "a.*\nb.**" } },
    sub = { { "sub", 1 }, { "at_ms", 1736245845123LL } },
    settle = { { "sub", 7 }, { "cursor", MAX }, { "seen", MAX }, { "matched", 128ULL }, { "done", 127ULL },
        { "dead_total", 0ULL }, { "discarded", 300ULL }, { "ranges", "\1\2" }, { "dead", "" },
        { "retrying", 3ULL }, { "retries", "abc" }, { "retried", "\5\1" }, { "left", "\2\1" },
        { "gone", "\7\1" } },
    job = { { "id", MAX }, { "state", 3 }, { "kind", "replay" }, { "spec", "{}" }, { "created_ms", 1LL },
        { "ended_ms", -1LL }, { "cursor", MAX }, { "until", 7ULL }, { "total", 4ULL }, { "done", 3ULL },
        { "failed", 2ULL }, { "skipped", 1ULL }, { "rate", 100ULL }, { "limit", 64ULL }, { "error", "why" },
        { "ended", "\5\1" } },
    keep = { { "sub", 4294967295 }, { "event", "\0\1" } },
    gap = { { "first_seq", 1ULL }, { "events", 0ULL }, { "first_group", MAX }, { "groups", 2ULL } },
}

local function put(name, fields)
    local r = ffi.new("struct evrt_record_" .. name)
    for _, f in ipairs(fields) do
        r[f[1]] = type(f[2]) == "string" and c.slice(f[2]) or f[2]
    end
    local b = ffi.new "struct evrt_buf"
    lib.evrt_buf_init(b)
    lib["evrt_record_put_" .. name](b, r)
    local s = c.string(b)
    lib.evrt_buf_finish(b)
    return s
end

local function get(name, bytes)
    local r = ffi.new("struct evrt_record_" .. name)
    local exact = c.exact(bytes)
    return lib["evrt_record_get_" .. name](ffi.new("struct evrt_slice", exact, #bytes), r), r, exact
end

local function collect(build) return c.collect(lib, build) end

local function ranges(list)
    return collect(function(b)
        local from = ffi.new "uint64_t[1]"
        for _, r in ipairs(list) do
            lib.evrt_ranges_put(b, from, ffi.new("struct evrt_range", r[1], r[2]))
        end
    end)
end

local function walk_ranges(bytes)
    local exact = c.exact(bytes)
    local s = ffi.new("struct evrt_slice", exact, #bytes)
    local at, from, r, seen = ffi.new "size_t[1]", ffi.new "uint64_t[1]", ffi.new "struct evrt_range", {}
    while true do
        local rc = lib.evrt_ranges_next(s, at, from, r)
        if rc ~= 1 then return rc, seen end
        seen[#seen + 1] = { r.first, r.count }
    end
end

local DEAD = {
    { seq = 9ULL, attempt = 1, at_ms = 1736245845123LL, error_type = "error", message = "a.lua:3: no",
        traceback = "stack\n\tline" },
    { seq = MAX, attempt = 4294967295, at_ms = -1LL, error_type = "crashed", message = "", traceback = "" },
}

local function dead(list)
    return collect(function(b)
        for _, d in ipairs(list) do
            lib.evrt_dead_put(b, ffi.new("struct evrt_record_dead", { d.seq, d.attempt, d.at_ms,
                c.slice(d.error_type), c.slice(d.message), c.slice(d.traceback) }))
        end
    end)
end

local function walk_dead(bytes)
    local exact = c.exact(bytes)
    local s = ffi.new("struct evrt_slice", exact, #bytes)
    local at, d, seen = ffi.new "size_t[1]", ffi.new "struct evrt_record_dead", {}
    while true do
        local rc = lib.evrt_dead_next(s, at, d)
        if rc ~= 1 then return rc, seen end
        seen[#seen + 1] = { seq = d.seq, attempt = d.attempt, at_ms = d.at_ms,
            error_type = c.string(d.error_type), message = c.string(d.message),
            traceback = c.string(d.traceback) }
    end
end

local NOTES = { { 4294967295, MAX, 3, "filter: not wanted" }, { 1, 2ULL, 1, "" } }

local function notes(list)
    return collect(function(b)
        for _, n in ipairs(list) do
            lib.evrt_note_put(b, ffi.new("struct evrt_record_note", { n[1], n[2], n[3], c.slice(n[4]) }))
        end
    end)
end

local function walk_notes(bytes)
    local exact = c.exact(bytes)
    local s = ffi.new("struct evrt_slice", exact, #bytes)
    local at, n, seen = ffi.new "size_t[1]", ffi.new "struct evrt_record_note", {}
    while true do
        local rc = lib.evrt_note_next(s, at, n)
        if rc ~= 1 then return rc, seen end
        seen[#seen + 1] = { n.sub, n.seq, n.attempt, c.string(n.text) }
    end
end

describe("core/record", function()
    it("walks the notes it was given, and refuses cut ones", function()
        local bytes = notes(NOTES)
        local rc, seen = walk_notes(bytes)
        assert.equal(0, rc)
        assert.same(NOTES, seen)
        local first = #notes { NOTES[1] }
        for n = 1, #bytes - 1 do
            assert.equal(n == first and 0 or EBADMSG, (walk_notes(bytes:sub(1, n))))
        end
    end)

    it("keeps writes of the key-value store as they are, with their time", function()
        local bytes = collect(function(b)
            lib.evrt_record_put_kv(b, ffi.new("struct evrt_record_kv", { 1700000000000LL, c.slice "ops\0" }))
        end)
        local r = ffi.new "struct evrt_record_kv"
        assert.equal(0, lib.evrt_record_get_kv(c.slice(bytes), r))
        assert.same({ 1700000000000LL, "ops\0" }, { r.at_ms, c.string(r.ops) })
        assert.equal(EBADMSG, lib.evrt_record_get_kv(c.slice(bytes:sub(1, 3)), r))
        local sweep = collect(function(b)
            lib.evrt_record_put_sweep(b, ffi.new("struct evrt_record_sweep", { 42 }))
        end)
        local s = ffi.new "struct evrt_record_sweep"
        assert.equal(0, lib.evrt_record_get_sweep(c.slice(sweep), s))
        assert.equal(42LL, s.at_ms)
        assert.equal(EBADMSG, lib.evrt_record_get_sweep(c.slice(sweep .. "x"), s))
    end)

    it("names every kind by its number", function()
        local seen = {}
        for n = 1, 255 do
            local name = ffi.string(lib.evrt_record_kind_name(n))
            assert.is_nil(name ~= "unknown" and seen[name] or nil)
            seen[name] = n
        end
        assert.same({ 1, 4, 16 }, { seen.EVENT, seen.SETTLE, seen.NOTES })
        for _, n in ipairs { 0, 255, 4294967295 } do
            assert.equal("unknown", ffi.string(lib.evrt_record_kind_name(n)))
        end
    end)

    for name, fields in pairs(PAYLOADS) do
        it(name .. ": reads back what was written", function()
            local rc, r = get(name, put(name, fields))
            assert.equal(0, rc)
            for _, f in ipairs(fields) do
                local value = type(f[2]) == "string" and c.string(r[f[1]]) or r[f[1]]
                assert.equal(f[2], value, f[1])
            end
        end)

        it(name .. ": is malformed when cut at any byte or longer", function()
            local bytes = put(name, fields)
            -- Settlements of the first version had neither `left` nor `gone`, the last of their fields.
            local function older(n) return name == "settle" and (n == #bytes - 3 or n == #bytes - 6) end
            for n = 0, #bytes - 1 do
                assert.equal(older(n) and 0 or EBADMSG, (get(name, bytes:sub(1, n))))
            end
            assert.equal(EBADMSG, (get(name, bytes .. "\0")))
        end)

        it(name .. ": survives any byte being changed", function()
            local bytes = put(name, fields)
            for i = 1, #bytes do
                for _, value in ipairs { 0, 1, 0x7f, 0x80, 0xff } do
                    local rc = get(name, bytes:sub(1, i - 1) .. string.char(value) .. bytes:sub(i + 1))
                    assert.is_true(rc == 0 or rc == EBADMSG)
                end
            end
        end)
    end

    it("refuses integers that do not fit", function()
        assert.equal(EBADMSG, (get("sub", "\255\255\255\255\255\255\255\255\255\2\0")))
        assert.equal(EBADMSG, (get("sub", "\128\128\128\128\16\0"))) -- 2^32
        assert.equal(0, (get("sub", "\255\255\255\255\15\0")))
    end)

    it("walks the ranges it was given", function()
        local list = { { 1ULL, 1ULL }, { 2ULL, 5ULL }, { 100ULL, 1000000ULL }, { MAX - 10, 10ULL } }
        local rc, seen = walk_ranges(ranges(list))
        assert.equal(0, rc)
        assert.same(list, seen)
        assert.equal(0, (walk_ranges ""))
    end)

    it("refuses ranges that are empty, overflow or are cut", function()
        assert.equal(EBADMSG, (walk_ranges(ranges { { 5, 0 } })))
        assert.equal(EBADMSG, (walk_ranges(ranges { { MAX, 1ULL } })))
        assert.equal(EBADMSG, (walk_ranges "\128"))
        assert.equal(EBADMSG, (walk_ranges "\1"))
    end)

    it("walks the dead it was given", function()
        local rc, seen = walk_dead(dead(DEAD))
        assert.equal(0, rc)
        assert.same(DEAD, seen)
    end)

    it("reports a list of the dead cut inside an entry", function()
        local bytes, first = dead(DEAD), #dead { DEAD[1] }
        for n = 0, #bytes - 1 do
            local rc, seen = walk_dead(bytes:sub(1, n))
            local boundary = n == 0 or n == first
            assert.equal(boundary and 0 or EBADMSG, rc, "cut at " .. n)
            assert.equal(n >= first and 1 or 0, #seen)
        end
    end)
end)

describe("core/record_failed", function()
    it("reads entries of the first version", function()
        local rc, seen = walk_dead("\9\1\5" .. "\5error" .. "\1m" .. "\1t" .. "\10\2\6" .. "\7timeout" .. "\0" .. "\0")
        assert.equal(0, rc)
        assert.same({ { seq = 9ULL, attempt = 1, at_ms = 5LL, error_type = "error", message = "m", traceback = "t" },
            { seq = 10ULL, attempt = 2, at_ms = 6LL, error_type = "timeout", message = "", traceback = "" } }, seen)
    end)

    it("keeps the first and the latest attempts of a long history", function()
        local history = collect(function(b)
            for i = 1, 100 do
                lib.evrt_history_add(b, ffi.new("struct evrt_record_attempt", { i, i, 1, 7, c.slice "error",
                    c.slice(("%d "):format(i) .. ("x"):rep(2000)) }))
            end
        end)
        assert.is_true(#history <= 32 * 1024)
        local exact, at, a, numbers = c.exact(history), ffi.new "size_t[1]", ffi.new "struct evrt_record_attempt", {}
        local s = ffi.new("struct evrt_slice", exact, #history)
        while lib.evrt_history_next(s, at, a) == 1 do
            numbers[#numbers + 1] = a.attempt
            assert.equal(1024, tonumber(a.message.n))
        end
        assert.equal(1, numbers[1])
        for i = 2, #numbers do assert.equal(100 - #numbers + i, numbers[i]) end
    end)

    it("has a name for every reason", function()
        for i = 0, 5 do
            local name = ffi.string(lib.evrt_dead_reason_name(i))
            assert.equal(i, lib.evrt_dead_reason_of(c.slice(name)))
        end
        assert.equal(-1, lib.evrt_dead_reason_of(c.slice "other"))
        assert.equal("unknown", ffi.string(lib.evrt_dead_reason_name(200)))
    end)
end)
