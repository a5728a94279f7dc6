local bit = require "bit"
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/cron.h", "core/zone.h", "core/clock.h" })

local function zone(name)
    local out = ffi.new "struct evrt_zone *[1]"
    assert(lib.evrt_zone_load(out, c.slice(name), nil) == 0)
    return ffi.gc(out[0], lib.evrt_zone_destroy)
end

local function parse(text)
    local cron, err = ffi.new "struct evrt_cron", ffi.new "struct evrt_error"
    if lib.evrt_cron_parse(c.slice(text), cron, err) < 0 then return nil, ffi.string(err.message) end
    return cron
end

local function seconds(text)
    local ms, at = ffi.new "int64_t[1]", ffi.new "size_t[1]"
    assert(lib.evrt_rfc3339_parse(c.slice(text), ms, at) == 0, text)
    return tonumber(ms[0]) / 1000
end

local function iso(s)
    local b = ffi.new "char[25]"
    lib.evrt_rfc3339_format(s * 1000, b)
    return (ffi.string(b):gsub("%.000Z$", "Z"))
end

-- The next `count` times after one.
local function after(text, from, count, where)
    local cron, z, list = assert(parse(text)), zone(where or "UTC"), {}
    local at = seconds(from)
    for i = 1, count do
        at = tonumber(lib.evrt_cron_next(cron, z, at))
        list[i] = iso(at)
    end
    return list
end

describe("core/cron", function()
    it("says when", function()
        local from = "2025-01-07T10:03:20Z" -- a Tuesday
        for text, want in pairs {
            ["*/5 * * * *"] = { "2025-01-07T10:05:00Z", "2025-01-07T10:10:00Z" },
            ["*/20 * * * * *"] = { "2025-01-07T10:03:40Z", "2025-01-07T10:04:00Z" },
            ["30 4 1,15 * *"] = { "2025-01-15T04:30:00Z", "2025-02-01T04:30:00Z" },
            ["0 22 * * mon-fri"] = { "2025-01-07T22:00:00Z", "2025-01-08T22:00:00Z" },
            ["0 0 * * sun"] = { "2025-01-12T00:00:00Z", "2025-01-19T00:00:00Z" },
            ["0 0 * * 7"] = { "2025-01-12T00:00:00Z", "2025-01-19T00:00:00Z" },
            ["0 0 13 * fri"] = { "2025-01-10T00:00:00Z", "2025-01-13T00:00:00Z" },
            ["0 0 29 feb *"] = { "2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z" },
            ["5/20 3 * * *"] = { "2025-01-08T03:05:00Z", "2025-01-08T03:25:00Z" },
            ["0 9-17/4 * JAN,JUL ?"] = { "2025-01-07T13:00:00Z", "2025-01-07T17:00:00Z" },
            ["@hourly"] = { "2025-01-07T11:00:00Z", "2025-01-07T12:00:00Z" },
            ["@monthly"] = { "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z" },
            ["@yearly"] = { "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z" },
            ["@weekly"] = { "2025-01-12T00:00:00Z", "2025-01-19T00:00:00Z" },
        } do
            assert.same(want, after(text, from, 2), text)
        end
        assert.same({ "2032-02-29T00:00:00Z" }, after("0 0 29 2 */7", "2004-03-01T00:00:00Z", 1))
        assert.same({ "2104-02-29T00:00:00Z" }, after("0 0 29 2 *", "2096-03-01T00:00:00Z", 1))
    end)

    it("goes by the clock of its zone", function()
        assert.same({ "2025-01-07T08:00:00Z", "2025-01-08T08:00:00Z" },
            after("0 9 * * *", "2025-01-07T00:00:00Z", 2, "Europe/Berlin"))
        assert.same({ "2025-07-07T07:00:00Z" }, after("0 9 * * *", "2025-07-07T00:00:00Z", 1, "Europe/Berlin"))
        assert.same({ "2025-01-07T03:30:00Z" }, after("0 9 * * *", "2025-01-07T00:00:00Z", 1, "Asia/Kolkata"))
    end)

    -- Berlin, 2025-03-30: from 02:00 +1 to 03:00 +2, at 01:00Z.
    it("happens once when clocks go forward over it", function()
        local from = "2025-03-29T12:00:00Z"
        assert.same({ "2025-03-30T01:00:00Z", "2025-03-31T00:30:00Z" },
            after("30 2 * * *", from, 2, "Europe/Berlin"))
        assert.same({ "2025-03-30T01:00:00Z", "2025-03-31T00:00:00Z" },
            after("*/10 2 * * *", from, 2, "Europe/Berlin"))
        -- What is at the new hour anyway is not made twice.
        assert.same({ "2025-03-30T01:00:00Z", "2025-03-31T00:00:00Z", "2025-03-31T01:00:00Z" },
            after("0 2,3 * * *", from, 3, "Europe/Berlin"))
        -- Each half hour goes on each half hour.
        assert.same({ "2025-03-30T00:30:00Z", "2025-03-30T01:00:00Z", "2025-03-30T01:30:00Z" },
            after("*/30 * * * *", "2025-03-30T00:10:00Z", 3, "Europe/Berlin"))
    end)

    -- Berlin, 2025-10-26: from 03:00 +2 to 02:00 +1, at 01:00Z.
    it("happens once when clocks go back over it", function()
        local from = "2025-10-25T12:00:00Z"
        assert.same({ "2025-10-26T00:30:00Z", "2025-10-27T01:30:00Z" },
            after("30 2 * * *", from, 2, "Europe/Berlin"))
        assert.same({ "2025-10-26T00:00:00Z", "2025-10-26T00:30:00Z", "2025-10-27T01:00:00Z" },
            after("*/30 2 * * *", from, 3, "Europe/Berlin"))
        assert.same({ "2025-10-26T00:00:00Z", "2025-10-26T02:00:00Z" },
            after("0 2,3 * * *", from, 2, "Europe/Berlin"))
        -- Started in the second pass, the hour has been.
        assert.same({ "2025-10-27T01:30:00Z" }, after("30 2 * * *", "2025-10-26T01:10:00Z", 1, "Europe/Berlin"))
        assert.same({ "2025-10-26T00:30:00Z", "2025-10-26T01:00:00Z", "2025-10-26T01:30:00Z", "2025-10-26T02:00:00Z" },
            after("*/30 * * * *", "2025-10-26T00:10:00Z", 4, "Europe/Berlin"))
    end)

    it("has one time each day of a year of a zone, in its order", function()
        for _, where in ipairs { "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo" } do
            local list = after("15 2 * * *", "2024-12-31T18:00:00Z", 366, where)
            for i = 2, #list do
                local gap = seconds(list[i]) - seconds(list[i - 1])
                assert.is_true(gap >= 22 * 3600 and gap <= 26 * 3600, where .. " " .. list[i])
            end
        end
    end)

    it("finds nothing earlier than what it finds", function()
        math.randomseed(11)
        local function field(low, high)
            local kind = math.random(4)
            if kind == 1 then return "*" end
            if kind == 2 then return "*/" .. math.random(2, 7) end
            local a = math.random(low, high)
            return kind == 3 and tostring(a) or a .. "-" .. math.random(a, high)
        end
        for _ = 1, 60 do
            local text = field(0, 59) .. " " .. field(0, 23) .. " * * " .. field(0, 6)
            local cron, z = assert(parse(text)), zone "UTC"
            local from = 1736246400 + math.random(0, 86400)
            local found = tonumber(lib.evrt_cron_next(cron, z, from))
            local function has(bits, n) return bit.band(bit.rshift(bits + 0ULL, n), 1ULL) == 1ULL end
            local t = from - from % 60 + 60
            while true do
                local d = os.date("!*t", t)
                local today = has(cron.hours, d.hour) and has(cron.weekdays, d.wday - 1)
                if today and has(cron.minutes, d.min) then break end
                t = t + 60
            end
            assert.equal(iso(t), iso(found), text)
        end
    end)

    it("says what is wrong, and where", function()
        for text, want in pairs {
            ["* * *"] = "expected 5 fields (minute, hour, day of month, month, day of week), or 6 with the second "
                .. "first, got 3",
            [""] = "got 0",
            ["* * * * * * *"] = "got 7",
            ["61 * * * *"] = "byte 1: minute: expected 0-59",
            ["* 24 * * *"] = "byte 3: hour: expected 0-23",
            ["0 0 0 * *"] = "byte 5: day of month: expected 1-31",
            ["0 0 1 foo *"] = "byte 7: month: expected 1-12 or jan-dec",
            ["0 0 * * 8"] = "byte 9: day of week: expected 0-7 or sun-sat",
            ["60 * * * * *"] = "byte 1: second: expected 0-59",
            ["5-1 * * * *"] = "byte 4: minute: expected",
            ["*/0 * * * *"] = "byte 3: step: expected a number from 1",
            ["1, * * * *"] = "byte 3: minute: expected",
            ["1x * * * *"] = "byte 2: minute: expected",
            ["@noon"] = "expected @hourly",
            ["0 0 30 2 *"] = "there is no such day",
        } do
            local cron, why = parse(text)
            assert.is_nil(cron, text)
            assert.truthy(why:find(want, 1, true), text .. ": " .. why)
        end
    end)
end)
