-- Zones against date(1), which reads the same files with libc.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/zone.h" })

local function load(name)
    local out, err = ffi.new "struct evrt_zone *[1]", ffi.new "struct evrt_error"
    if lib.evrt_zone_load(out, c.slice(name), err) < 0 then return nil, ffi.string(err.message) end
    return ffi.gc(out[0], lib.evrt_zone_destroy)
end

local function offset(z, seconds) return lib.evrt_zone_span_at(z, seconds).offset end

describe("core/zone", function()
    it("knows the offsets that libc knows, also of far years", function()
        math.randomseed(7)
        for _, name in ipairs { "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
            "Africa/Casablanca", "America/Sao_Paulo", "Europe/Dublin", "Pacific/Apia" } do
            local z, times = assert(load(name)), {}
            for i = 1, 200 do times[i] = "@" .. math.random(-600000000, 4000000000) end
            local file = os.tmpname()
            local f = assert(io.open(file, "w"))
            f:write(table.concat(times, "\n"), "\n")
            f:close()
            local p = io.popen(("TZ=%s date -f %s +%%::z"):format(name, file))
            for i = 1, #times do
                local sign, h, m, s = p:read "*l":match "([+-])(%d+):(%d+):(%d+)"
                local want = (sign == "-" and -1 or 1) * (h * 3600 + m * 60 + s)
                assert.equal(want, offset(z, tonumber(times[i]:sub(2))), name .. " " .. times[i])
            end
            p:close()
            os.remove(file)
        end
    end)

    it("tells from when until when an offset holds", function()
        local z = assert(load "Europe/Berlin")
        for _, year in ipairs { 2024, 2090 } do
            local p = io.popen(("TZ=UTC date -d '%d-07-01' +%%s"):format(year))
            local summer = tonumber(p:read "*l")
            p:close()
            local span = lib.evrt_zone_span_at(z, summer)
            assert.equal(7200, span.offset)
            assert.equal(3600, offset(z, span.from - 1))
            assert.equal(3600, offset(z, span["until"]))
            assert.equal(7200, offset(z, span.from))
            assert.equal(7200, offset(z, span["until"] - 1))
        end
    end)

    it("is UTC without a file", function()
        for _, name in ipairs { "", "UTC" } do
            local span = lib.evrt_zone_span_at(assert(load(name)), 0)
            assert.equal(0, span.offset)
            assert.is_true(span.from < -1e15 and span["until"] > 1e15)
        end
    end)

    it("takes no names that lead elsewhere, and no other files", function()
        for _, name in ipairs { "Europe/Nowhere", "../../../etc/passwd", "/etc/localtime", "zone.tab", "Europe",
            "tzdata.zi", "Europe/Berlin\0", ("x"):rep(500) } do
            local z, why = load(name)
            assert.is_nil(z)
            assert.matches("is no time zone of this system", why)
        end
    end)

    it("counts days as the calendar does", function()
        local year, month, day = ffi.new "int64_t[1]", ffi.new "int[1]", ffi.new "int[1]"
        for days = -800000, 800000, 997 do
            lib.evrt_date_of(days, year, month, day)
            assert.equal(days, tonumber(lib.evrt_days_of(year[0], month[0], day[0])))
            if days >= 0 and days < 20000 then
                assert.equal(os.date("!%Y-%m-%d", days * 86400),
                    ("%04d-%02d-%02d"):format(tonumber(year[0]), month[0], day[0]))
            end
        end
    end)
end)
