-- Operations of the key-value store: what is put is walked back, and cut or spoilt bytes are refused;
-- values keep their kind.
local ffi = require "ffi"
local c = require "spec.support.c"

local lib = c.load("core", { "core/kv.h", "core/buf.h" })

local EBADMSG = -74
local SET, DELETE, INCR, CAS, EMIT = 1, 2, 3, 4, 5

local function put(list)
    return c.collect(lib, function(b)
        for _, op in ipairs(list) do
            lib.evrt_kv_put(b, ffi.new("struct evrt_kv_op", { op[1], op[2], c.slice(op[3]), c.slice(op[4]),
                c.slice(op[5] or ""), c.slice(op[6] or "") }))
        end
    end)
end

local function walk(bytes)
    local exact = c.exact(bytes)
    local s, at = ffi.new("struct evrt_slice", exact, #bytes), ffi.new "size_t[1]"
    local op, seen = ffi.new "struct evrt_kv_op", {}
    while true do
        local rc = lib.evrt_kv_next(s, at, op)
        if rc ~= 1 then return rc, seen end
        seen[#seen + 1] = { tonumber(op.kind), tonumber(op.number), c.string(op.ns), c.string(op.key),
            c.string(op.value), c.string(op.expected) }
    end
end

local function value(f, ...)
    local args = { ... }
    return c.collect(lib, function(b) f(b, unpack(args)) end)
end

local function json(text) return value(lib.evrt_kv_put_json, c.slice(text)) end

local function integer(bytes)
    local v = ffi.new "int64_t[1]"
    return lib.evrt_kv_integer(c.slice(bytes), v) and v[0] or nil
end

local OPS = {
    { SET, 1700000000000, "Ledger", "account:1", "s\0x", "" },
    { DELETE, 0, "L", "k", "", "" },
    { INCR, -3, "L", "k", "", "" },
    { CAS, 0, "L", "k", "sx", "sy" },
    { EMIT, 0, "", "", ("e"):rep(70000), "" },
}

describe("core/kv", function()
    it("walks the operations it was given", function()
        local rc, seen = walk(put(OPS))
        assert.equal(0, rc)
        assert.same(OPS, seen)
    end)

    it("refuses cut and spoilt ones, without reading past their end", function()
        local bytes = put { OPS[1], OPS[4] }
        local first = #put { OPS[1] }
        for n = 1, #bytes - 1 do
            assert.equal(n == first and 0 or EBADMSG, (walk(bytes:sub(1, n))))
        end
        for _, kind in ipairs { 0, 6, 255 } do
            assert.equal(EBADMSG, (walk(string.char(kind) .. bytes:sub(2))))
        end
        assert.equal(EBADMSG, (walk(bytes:sub(1, 8) .. "\255\255\255\255" .. bytes:sub(13))))
        assert.equal(EBADMSG, (walk(bytes:sub(1, 4) .. "\0\0\1\0" .. bytes:sub(9))))
    end)

    it("knows whole numbers of 64 bits, and nothing else, as such", function()
        for _, text in ipairs { "0", "1", "-1", "9223372036854775807", "-9223372036854775808", "1000" } do
            assert.equal(text .. "LL", tostring(integer(json(text))))
        end
        for _, text in ipairs { "-0", "1.0", "1e3", "9223372036854775808", "-9223372036854775809", "-", "[]",
            "true", "null", "99999999999999999999" } do
            assert.equal("j" .. text, json(text))
        end
    end)

    it("adds to whole numbers and to nothing, and to nothing else", function()
        local out = ffi.new "int64_t[1]"
        local function add(bytes, by) return lib.evrt_kv_add(c.slice(bytes), by, out) and out[0] or nil end
        assert.equal(5LL, add("", 5))
        assert.equal(3LL, add(json "5", -2))
        assert.equal(-0x7fffffffffffffffLL - 1, add(json "9223372036854775807", 1))
        assert.is_nil(add("s5", 1))
        assert.is_nil(add("j1.5", 1))
    end)

    it("tells values from other bytes", function()
        for _, bytes in ipairs { "s", "s\0", "j1.5", json "7" } do
            assert.is_true(lib.evrt_kv_is_value(c.slice(bytes)))
        end
        for _, bytes in ipairs { "", "j", "i", "i1234567", "x1", "i123456789" } do
            assert.is_false(lib.evrt_kv_is_value(c.slice(bytes)))
        end
    end)

    it("takes keys of printable UTF-8", function()
        local function check(key) return tonumber(lib.evrt_kv_key_check(c.slice(key))) end
        assert.equal(9, check "account:1")
        assert.equal(4, check "ö ü" - 1)
        assert.equal(1, check "a\nb")
        assert.equal(1, check "a\255")
        assert.equal(0, check "\0")
        assert.equal(2, check "ab\127")
    end)
end)
