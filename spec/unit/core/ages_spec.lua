-- Ages of what bears a time of a wall clock that is set: never taken for older than they are.
local c = require "spec.support.c"
local ffi = require "ffi"
local lib = c.load("core", { "core/ages.h" })

local HOUR, YEAR = 3600e3, 365 * 86400e3

describe("core/ages", function()
    local ages, wall, mono
    before_each(function()
        wall, mono = 1e12, 5e6
        ages = ffi.new "struct evrt_ages"
        lib.evrt_ages_init(ages, wall, mono)
    end)

    local function pass(ms)
        wall, mono = wall + ms, mono + ms
        lib.evrt_ages_look(ages, wall, mono, 100 * YEAR)
    end
    local function set(by)
        wall = wall + by
        pass(0)
    end
    local function old(at, ttl) return at < tonumber(lib.evrt_ages_before(ages, mono, ttl)) end

    it("are those of the clock where nobody sets it", function()
        local at = wall
        pass(HOUR)
        assert.is_false(old(at, HOUR))
        pass(1)
        assert.is_true(old(at, HOUR))
        assert.is_true(old(at - YEAR, YEAR)) -- from an earlier life
    end)

    it("go on as time passes when the clock is set ahead, for what was before and what comes after", function()
        local before = wall
        pass(10)
        set(YEAR)
        pass(15)
        local after = wall
        pass(HOUR - 35)
        assert.is_false(old(before, HOUR))
        pass(30)
        assert.is_true(old(before, HOUR))
        assert.is_false(old(after, HOUR))
        pass(HOUR)
        assert.is_true(old(after, HOUR)) -- by then nothing is left that the jump would make older
    end)

    it("go on when it is set back, for what comes after; what was before stays", function()
        local before = wall
        pass(10)
        set(-YEAR)
        local after = wall
        assert.is_false(old(after, HOUR))
        pass(HOUR + 1)
        assert.is_true(old(after, HOUR))
        assert.is_false(old(before, HOUR))
    end)

    it("are never too high, however often it is set", function()
        math.randomseed(7)
        for _ = 1, 50 do
            local list = {}
            for _ = 1, 40 do
                pass(math.random(0, HOUR))
                if math.random(3) == 1 then set(math.random(-YEAR, YEAR)) end
                list[#list + 1] = { at = wall, mono = mono }
                for _, one in ipairs(list) do
                    if old(one.at, 5 * HOUR) then assert.is_true(mono - one.mono > 5 * HOUR) end
                end
            end
            assert.is_true(ages.count <= 8)
        end
        local at = wall
        for _ = 1, 20 do pass(HOUR) end
        assert.is_true(old(at, 5 * HOUR))
    end)

    it("forget what is older than anything may get", function()
        for _ = 1, 5 do
            set(YEAR)
            pass(HOUR)
        end
        assert.equal(6, ages.count)
        mono, wall = mono + 10 * HOUR, wall + 10 * HOUR
        lib.evrt_ages_look(ages, wall, mono, HOUR)
        assert.equal(1, ages.count)
    end)

    it("have a clock that nobody sets", function()
        local first = wall
        set(YEAR)
        pass(HOUR)
        set(-3 * YEAR)
        assert.equal(first + HOUR, tonumber(ages.begin_ms + mono))
    end)
end)
