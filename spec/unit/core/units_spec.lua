local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/units.h" })

local EINVAL, ERANGE = -22, -34
local buf = ffi.new("char[?]", 32)

local function duration(s)
    local out = ffi.new "int64_t[1]"
    local rc = lib.evrt_duration_parse(c.slice(s), out)
    return rc == 0 and tonumber(out[0]) or nil, rc
end

local function size(s)
    local out = ffi.new "uint64_t[1]"
    local rc = lib.evrt_size_parse(c.slice(s), out)
    return rc == 0 and tonumber(out[0]) or nil, rc
end

describe("core/units", function()
    it("reads durations", function()
        for text, ms in pairs {
            ["0"] = 0, ["0s"] = 0, ["250ms"] = 250, ["30s"] = 30000, ["1.5s"] = 1500, ["2m"] = 120000,
            ["0.5h"] = 1800000, ["7d"] = 604800000, ["0.001s"] = 1,
        } do
            assert.equal(ms, (duration(text)), text)
        end
    end)

    it("reads sizes", function()
        for text, bytes in pairs {
            ["0"] = 0, ["512"] = 512, ["512B"] = 512, ["64KiB"] = 65536, ["1MiB"] = 1048576,
            ["1.5GiB"] = 1610612736, ["64GiB"] = 68719476736, ["1KB"] = 1000, ["2TB"] = 2e12,
        } do
            assert.equal(bytes, (size(text)), text)
        end
    end)

    it("refuses anything else", function()
        for _, text in ipairs { "", "s", "5", "-1s", "+1s", "1 s", " 1s", "1s ", "1.s", ".5s", "1S", "1w",
            "1s2", "inf", "0x10s", "1e3s", "1.5", "1,5s" } do
            assert.equal(EINVAL, select(2, duration(text)), text)
        end
        for _, text in ipairs { "", "B", "-1", "1kib", "1 MiB", "1.", "1.5", "1M", "1PiB" } do
            assert.equal(EINVAL, select(2, size(text)), text)
        end
    end)

    it("says when a value is too large", function()
        assert.equal(ERANGE, select(2, duration "99999999999999999999s"))
        assert.equal(ERANGE, select(2, duration "200000000000d"))
        assert.equal(ERANGE, select(2, size "9000000TiB"))
        assert.equal(ERANGE, select(2, size "18446744073709551615"))
    end)

    it("writes the shortest form, which reads back to the same value", function()
        local function dformat(ms) return ffi.string(lib.evrt_duration_format(ms, buf)) end
        local function sformat(n) return ffi.string(lib.evrt_size_format(n, buf)) end
        assert.equal("30s", dformat(30000))
        assert.equal("90s", dformat(90000))
        assert.equal("7d", dformat(604800000))
        assert.equal("1500ms", dformat(1500))
        assert.equal("64MiB", sformat(67108864))
        assert.equal("1000B", sformat(1000))
        assert.equal("64GiB", sformat(68719476736))
        math.randomseed(2)
        for _ = 1, 2000 do
            local n = math.random(0, 2 ^ 31 - 1) * (2 ^ math.random(0, 20))
            assert.equal(n, (duration(dformat(n))))
            assert.equal(n, (size(sformat(n))))
        end
        assert.equal(0, (duration(dformat(0))))
        assert.equal(0, (size(sformat(0))))
    end)
end)
