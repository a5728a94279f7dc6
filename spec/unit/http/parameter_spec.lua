local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("http", { "http/parameter.h", "core/clock.h" })

local function u64(text)
    local out = ffi.new "uint64_t[1]"
    return lib.evrt_parameter_u64(c.slice(text), out) and out[0] or nil
end

local function time(text)
    local out = ffi.new "int64_t[1]"
    return lib.evrt_parameter_time(c.slice(text), out) and tonumber(out[0]) or nil
end

describe("http/parameter", function()
    it("reads whole numbers, and nothing else", function()
        assert.equal(0ULL, u64 "0")
        assert.equal(18446744073709551615ULL, u64 "18446744073709551615")
        for _, bad in ipairs {
            "", "-1", "+1", "1.0", " 1", "1 ", "x", "18446744073709551616", "99999999999999999999",
        } do
            assert.is_nil(u64(bad), bad)
        end
    end)

    it("reads pairs of them", function()
        local out = ffi.new "uint64_t[2]"
        local function pair(text) return lib.evrt_parameter_pair(c.slice(text), out, out + 1) end
        assert.is_true(pair "3-1207")
        assert.equal(3ULL, out[0])
        assert.equal(1207ULL, out[1])
        assert.is_true(pair "0-18446744073709551615")
        assert.equal(18446744073709551615ULL, out[1])
        for _, bad in ipairs { "", "-", "3", "3-", "-3", "3--4", "3-4-5", "3-x", "3- 4", "1-18446744073709551616" } do
            assert.is_false(pair(bad), bad)
        end
    end)

    it("reads times, and how long ago", function()
        assert.equal(1736245845000, time "2025-01-07T10:30:45Z")
        assert.equal(1736245845000, time "2025-01-07T11:30:45+01:00")
        local now = tonumber(lib.evrt_wall_ms())
        local hour = time "1h"
        assert.is_true(hour >= now - 3600000 and hour <= tonumber(lib.evrt_wall_ms()) - 3600000)
        for _, bad in ipairs { "", "soon", "1", "2025-01-07", "-1h" } do assert.is_nil(time(bad), bad) end
    end)
end)
