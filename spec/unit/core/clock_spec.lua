local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/clock.h" })

local function parse(s)
    local ms, bad = ffi.new "int64_t[1]", ffi.new "size_t[1]"
    local bytes = c.exact(s)
    local rc = lib.evrt_rfc3339_parse(ffi.new("struct evrt_slice", bytes, #s), ms, bad)
    if rc ~= 0 then return nil, tonumber(bad[0]) end
    return tonumber(ms[0])
end

local function format(ms)
    local buf = ffi.new("char[?]", c.define.EVRT_RFC3339_SIZE)
    return ffi.string(lib.evrt_rfc3339_format(ms, buf))
end

describe("core/clock", function()
    it("goes forward", function()
        local before = lib.evrt_mono_ns()
        assert.is_true(lib.evrt_mono_ns() >= before)
        assert.is_true(math.abs(tonumber(lib.evrt_wall_ms()) / 1000 - os.time()) < 5)
    end)

    it("formats to the millisecond, from year 0 to 9999", function()
        assert.equal("1970-01-01T00:00:00.000Z", format(0))
        assert.equal("2025-01-07T10:30:45.123Z", format(1736245845123))
        assert.equal("1969-12-31T23:59:59.999Z", format(-1))
        assert.equal("2000-02-29T23:59:59.999Z", format(951868799999))
        assert.equal("0000-01-01T00:00:00.000Z", format(-62167219200000))
        assert.equal("9999-12-31T23:59:59.999Z", format(253402300799999))
    end)

    it("parses what it formats", function()
        math.randomseed(3)
        for _ = 1, 5000 do
            local ms = math.random(-62167219200, 253402300799) * 1000 + math.random(0, 999)
            assert.equal(ms, parse(format(ms)))
        end
    end)

    it("agrees with the C library's calendar", function()
        for year = 1970, 2100 do
            for _, day in ipairs { "02-28", "03-01", "12-31" } do
                local y, m, d = year, tonumber(day:sub(1, 2)), tonumber(day:sub(4))
                local expected = os.time { year = y, month = m, day = d, hour = 12 }
                local utc = os.date("!*t", expected)
                local text = ("%04d-%02d-%02dT%02d:%02d:%02dZ")
                    :format(utc.year, utc.month, utc.day, utc.hour, utc.min, utc.sec)
                assert.equal(expected * 1000, parse(text))
            end
        end
    end)

    it("takes offsets, fractions of any length and either case", function()
        local at = 1736245845000
        assert.equal(at, parse "2025-01-07T10:30:45Z")
        assert.equal(at, parse "2025-01-07t10:30:45z")
        assert.equal(at, parse "2025-01-07T12:30:45+02:00")
        assert.equal(at, parse "2025-01-07T04:45:45-05:45")
        assert.equal(at, parse "2025-01-08T10:29:45+23:59")
        assert.equal(at, parse "2025-01-07T10:30:45-00:00")
        assert.equal(at + 100, parse "2025-01-07T10:30:45.1Z")
        assert.equal(at + 123, parse "2025-01-07T10:30:45.1239999999Z")
        assert.equal(at + 7, parse "2025-01-07T10:30:45.007Z")
    end)

    it("counts a leap second as the end of the one before", function()
        assert.equal(parse "2016-12-31T23:59:59.999Z", parse "2016-12-31T23:59:60Z")
        assert.equal(parse "2016-12-31T23:59:59.999Z", parse "2016-12-31T23:59:60.5Z")
    end)

    it("knows which years are leap years", function()
        assert.is_number(parse "2000-02-29T00:00:00Z")
        assert.is_number(parse "2024-02-29T00:00:00Z")
        assert.is_nil(parse "1900-02-29T00:00:00Z")
        assert.is_nil(parse "2023-02-29T00:00:00Z")
        assert.is_nil(parse "2024-04-31T00:00:00Z")
    end)

    it("says where bad text is wrong", function()
        for text, where in pairs {
            [""] = 0, ["2"] = 1, ["x025-01-07T10:30:45Z"] = 0, ["2025/01-07T10:30:45Z"] = 4,
            ["2025-01-07 10:30:45Z"] = 10, ["2025-01-07T10:30:4Z"] = 18, ["2025-01-07T10:30:45"] = 19,
            ["2025-01-07T10:30:45.Z"] = 20, ["2025-01-07T10:30:45Zx"] = 20,
            ["2025-01-07T10:30:45+0200"] = 22,
        } do
            local ms, bad = parse(text)
            assert.is_nil(ms, text)
            assert.equal(where, bad, text)
        end
        for _, text in ipairs {
            "2025-00-07T10:30:45Z", "2025-13-07T10:30:45Z", "2025-01-00T10:30:45Z", "2025-01-32T10:30:45Z",
            "2025-01-07T24:00:00Z", "2025-01-07T10:60:45Z", "2025-01-07T10:30:61Z",
            "2025-01-07T10:30:45+24:00", "2025-01-07T10:30:45+02:60", "2025-01-07T10:30:45\0Z",
        } do
            assert.is_nil(parse(text), text)
        end
    end)

    it("reads no byte past the end, wherever the text is cut", function()
        local text = "2025-01-07T10:30:45.123+02:00"
        for n = 0, #text - 1 do
            assert.is_nil(parse(text:sub(1, n)))
        end
    end)
end)
