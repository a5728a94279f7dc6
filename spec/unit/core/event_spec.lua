local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/event.h", "core/clock.h" })

local EINVAL, EBADMSG = -22, -74
local FIELDS = { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema",
    "extensions", "data" }

-- An event from a Lua table; strings are anchored in `keep`.
local keep = {}
local function event(t)
    local e = ffi.new "struct evrt_event"
    for k, v in pairs(t) do
        if type(v) == "string" then
            keep[#keep + 1] = v
            e[k] = c.slice(v)
        else
            e[k] = v
        end
    end
    return e
end

local function extensions(list)
    local b = ffi.new "struct evrt_buf"
    lib.evrt_buf_init(b)
    for _, x in ipairs(list) do
        assert(lib.evrt_extensions_add(b, c.slice(x[1]), x[2]:byte(), c.slice(x[3])) == 0)
    end
    local s = c.string(b)
    lib.evrt_buf_finish(b)
    return s
end

local function check(t)
    local err = ffi.new "struct evrt_error"
    local rc = lib.evrt_event_check(event(t), err)
    return rc, ffi.string(err.message)
end

local function good(changes)
    local t = { id = "1", type = "user.registered", source = "/app" }
    for k, v in pairs(changes or {}) do t[k] = v end
    return t
end

local function encode(t)
    local e = event(t)
    local n = tonumber(lib.evrt_event_size(e))
    local at = ffi.new("char[?]", n)
    lib.evrt_event_encode(e, at)
    return ffi.string(at, n)
end

local full = {
    id = "0194", type = "social.like-added", source = "/app?x", time = "2025-01-07T10:30:45.123Z",
    subject = "post/7", datacontenttype = "application/json", dataschema = "https://example.com/s",
    extensions = extensions { { "traceparent", "s", "00-ab-cd-01" }, { "count", "i", "7" } },
    data = '{"a":"\\u0000"}\0', seq = 12345678901ULL, stored_ms = -5LL, flags = 5, hops = 3,
}

describe("core/event", function()
    after_each(function() keep = {} end)

    it("decodes what it encoded, field by field", function()
        local bytes = encode(full)
        local e = ffi.new "struct evrt_event"
        assert.equal(0, lib.evrt_event_decode(bytes, #bytes, e))
        for i, name in ipairs(FIELDS) do
            assert.equal(full[name], c.string(e[name]), name)
            assert.equal(full[name], c.string(lib.evrt_event_field(bytes, i - 1)), name)
        end
        assert.same({ full.seq, full.stored_ms, 5, 3 }, { e.seq, e.stored_ms, e.flags, e.hops })
    end)

    it("keeps what caused it, behind everything else", function()
        local t = good { data = "{}", flags = 5, cause_seq = 7ULL, cause_handler = 4294967295 }
        local bytes = encode(t)
        local e = ffi.new "struct evrt_event"
        assert.equal(0, lib.evrt_event_decode(bytes, #bytes, e))
        assert.same({ 7ULL, 4294967295, 5 }, { e.cause_seq, e.cause_handler, e.flags })
        assert.equal("{}", c.string(e.data))
        assert.equal("{}", c.string(lib.evrt_event_field(bytes, lib.EVRT_FIELD_DATA)))
        for n = 0, #bytes - 1 do
            assert.equal(EBADMSG, lib.evrt_event_decode(c.exact(bytes:sub(1, n)), n, e))
        end
        assert.equal(0, lib.evrt_event_decode(encode(good()), #encode(good()), e))
        assert.same({ 0ULL, 0 }, { e.cause_seq, e.cause_handler })
    end)

    it("encodes absent fields as nothing", function()
        local bytes = encode(good())
        assert.equal(c.define.EVRT_EVENT_HEADER + #"1user.registered/app", #bytes)
        local e = ffi.new "struct evrt_event"
        assert.equal(0, lib.evrt_event_decode(bytes, #bytes, e))
        assert.equal(0, tonumber(e.data.n))
    end)

    it("refuses an encoding cut at any byte, or one byte too long", function()
        local bytes = encode(full)
        local e = ffi.new "struct evrt_event"
        for n = 0, #bytes - 1 do
            assert.equal(EBADMSG, lib.evrt_event_decode(c.exact(bytes:sub(1, n)), n, e))
        end
        assert.equal(EBADMSG, lib.evrt_event_decode(c.exact(bytes .. "x"), #bytes + 1, e))
    end)

    it("never reads outside of an encoding with any byte changed", function()
        local bytes = encode(full)
        local e = ffi.new "struct evrt_event"
        for i = 1, c.define.EVRT_EVENT_HEADER do
            for _, value in ipairs { 0, 1, 127, 128, 255 } do
                local changed = c.exact(bytes:sub(1, i - 1) .. string.char(value) .. bytes:sub(i + 1))
                if lib.evrt_event_decode(changed, #bytes, e) == 0 then
                    for _, name in ipairs(FIELDS) do
                        local from = e[name].p - changed
                        assert.is_true(from >= 0 and from + tonumber(e[name].n) <= #bytes)
                    end
                end
            end
        end
    end)

    it("stamps number and time in place", function()
        local bytes = encode(full)
        local copy = c.exact(bytes)
        lib.evrt_event_stamp(copy, 77, 88)
        local e = ffi.new "struct evrt_event"
        assert.equal(0, lib.evrt_event_decode(copy, #bytes, e))
        assert.same({ 77ULL, 88LL }, { e.seq, e.stored_ms })
        assert.equal(bytes:sub(17), ffi.string(copy, #bytes):sub(17))
    end)

    it("checks the type's form and says where it is wrong", function()
        local function at(s) return tonumber(lib.evrt_type_check(c.slice(s))) end
        for _, s in ipairs { "a", "a.b", "com.github.push", "A_b-9.c", "x.1" } do
            assert.equal(#s, at(s), s)
        end
        for s, where in pairs { [".a"] = 0, ["a."] = 1, ["a..b"] = 2, ["a b"] = 1, ["a.*"] = 2, ["a/b"] = 1,
            ["\195\169"] = 0, ["."] = 0 } do
            assert.equal(where, at(s), s)
        end
    end)

    it("requires type, id and source", function()
        assert.equal(0, (check(good())))
        for _, name in ipairs { "type", "id", "source" } do
            local rc, message = check(good { [name] = "" })
            assert.equal(EINVAL, rc)
            assert.equal(name .. ": missing", message)
        end
    end)

    it("names the attribute that is bad, and where", function()
        for _, case in ipairs {
            { { type = "a..b" }, "type: byte 3" },
            { { type = ("a"):rep(257) }, "type: 257 bytes, at most 256" },
            { { id = "a\255" }, "id: not UTF-8 at byte 2" },
            { { source = "a\nb" }, "source: control character at byte 2" },
            { { subject = "ab\127" }, "subject: control character at byte 3" },
            { { subject = ("a"):rep(2049) }, "subject: 2049 bytes" },
            { { time = "2025-02-30T00:00:00Z" }, "time: byte 11" },
            { { time = "yesterday" }, "time: byte 1: expected RFC 3339" },
            { { dataschema = "\0" }, "dataschema: control character" },
            { { extensions = "\9s\0" }, "extensions: malformed" },
            { { extensions = extensions { { "x", "s", "a\1" } } }, "x: control character at byte 2" },
            { { extensions = extensions { { "big", "s", ("v"):rep(2049) } } }, "big: 2049 bytes" },
        } do
            local rc, message = check(good(case[1]))
            assert.equal(EINVAL, rc, case[2])
            assert.equal(case[2], message:sub(1, #case[2]))
        end
    end)

    it("knows the types that only evrt publishes", function()
        for type, own in pairs { ["evrt.timer.T"] = true, ["evrt.dead_letter"] = true, ["evrt"] = false,
            ["evrt_x.y"] = false, ["evrtx.y"] = false, ["my.evrt.x"] = false, [""] = false } do
            assert.equal(own, lib.evrt_type_own(c.slice(type)), type)
        end
    end)

    it("accepts attributes at their limits", function()
        assert.equal(0, (check(good { type = ("a"):rep(256), id = ("i"):rep(2048), subject = "\226\130\172",
            time = "2025-01-07T10:30:45+02:00" })))
    end)

    it("fills in what is absent and nothing else", function()
        local r = ffi.new "struct evrt_random"
        lib.evrt_random_init(r)
        local id, time = ffi.new "char[37]", ffi.new "char[25]"
        local e = event { type = "a", data = "{}" }
        lib.evrt_event_defaults(e, r, c.slice "svc", id, time)
        assert.equal(36, tonumber(e.id.n))
        assert.equal(24, tonumber(e.time.n))
        assert.equal("svc", c.string(e.source))
        assert.equal(lib.EVRT_EVENT_HAS_DATA + lib.EVRT_EVENT_OWN_ID, e.flags)
        assert.equal(0, lib.evrt_event_check(e, nil))
        local given = event(full)
        lib.evrt_event_defaults(given, r, c.slice "svc", id, time)
        assert.same({ full.id, full.time, full.source },
            { c.string(given.id), c.string(given.time), c.string(given.source) })
    end)

    it("walks the extensions that were added, in order", function()
        local list = c.slice(full.extensions)
        local at, x, seen = ffi.new "size_t[1]", ffi.new "struct evrt_extension", {}
        while lib.evrt_extensions_next(list, at, x) do
            seen[#seen + 1] = { c.string(x.name), string.char(x.kind), c.string(x.value) }
        end
        assert.same({ { "traceparent", "s", "00-ab-cd-01" }, { "count", "i", "7" } }, seen)
        assert.equal(#full.extensions, tonumber(at[0]))
    end)

    it("refuses extension names that CloudEvents does not allow", function()
        local b = ffi.new "struct evrt_buf"
        lib.evrt_buf_init(b)
        for _, name in ipairs { "", "Upper", "under_score", "dash-ed", "dot.ted", ("n"):rep(65) } do
            assert.equal(EINVAL, lib.evrt_extensions_add(b, c.slice(name), ("s"):byte(), c.slice "v"))
        end
        assert.equal(0, tonumber(b.n))
        lib.evrt_buf_finish(b)
    end)

    it("stops at malformed extensions without reading past them", function()
        local x = ffi.new "struct evrt_extension"
        for n = 0, #full.extensions - 1 do
            local at = ffi.new "size_t[1]"
            local bytes = c.exact(full.extensions:sub(1, n))
            local s = ffi.new("struct evrt_slice", bytes, n)
            while lib.evrt_extensions_next(s, at, x) do end
            assert.is_true(tonumber(at[0]) <= n)
        end
    end)

    it("says which content types are JSON, with or without parameters", function()
        for _, text in ipairs { "", "application/json", "Application/JSON", "text/json", "application/geo+json",
            "application/vnd.x+JSON", "application/json; charset=utf-8", "application/json ;x=y" } do
            assert.is_true(lib.evrt_event_json_type(c.slice(text)), text)
        end
        for _, text in ipairs { "json", "+json", "application/jsonp", "application/xml", "x+json", ";",
            "text/plain; x=application/json" } do
            assert.is_false(lib.evrt_event_json_type(c.slice(text)), text)
        end
    end)
end)
