local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.state.support"
local lib = support.lib

local function new()
    local set = ffi.gc(ffi.new "struct evrt_rangeset", lib.evrt_rangeset_finish)
    lib.evrt_rangeset_init(set)
    return set
end

local function add(set, first, count)
    lib.evrt_rangeset_add(set, ffi.new("struct evrt_range", first, count))
end

local function runs(set)
    local out = {}
    for i = 0, tonumber(set.count) - 1 do
        out[#out + 1] = { tonumber(set.runs[i].first), tonumber(set.runs[i].count) }
    end
    return out
end

describe("a set of ranges", function()
    it("joins runs that touch or overlap, in whatever order they come", function()
        for _, list in ipairs { { { 5, 2 }, { 7, 3 } }, { { 7, 3 }, { 5, 2 } }, { { 5, 5 }, { 6, 1 } },
            { { 9, 1 }, { 5, 1 }, { 7, 2 }, { 6, 1 } } } do
            local set = new()
            for _, r in ipairs(list) do add(set, r[1], r[2]) end
            lib.evrt_rangeset_trim(set, 0)
            assert.are.same({ { 5, 5 } }, runs(set))
        end
    end)

    it("keeps apart what is one apart", function()
        local set = new()
        add(set, 8, 1)
        add(set, 5, 2)
        lib.evrt_rangeset_trim(set, 0)
        assert.are.same({ { 5, 2 }, { 8, 1 } }, runs(set))
    end)

    it("drops what is below the floor, cutting the run that spans it", function()
        local set = new()
        add(set, 1, 3)
        add(set, 10, 10)
        add(set, 30, 1)
        lib.evrt_rangeset_trim(set, 15)
        assert.are.same({ { 15, 5 }, { 30, 1 } }, runs(set))
        lib.evrt_rangeset_trim(set, 100)
        assert.are.same({}, runs(set))
    end)

    it("is the same as a set of numbers, however additions and trims are cut", function()
        for seed = 1, 40 do
            local random = support.random(seed)
            local set, late, numbers, floor = new(), new(), {}, 0
            for _ = 1, 300 do
                local first, count = floor + random(0, 200), random(1, 6)
                add(set, first, count)
                add(late, first, count)
                for n = first, first + count - 1 do numbers[n] = true end
                if random(1, 20) == 1 then
                    floor = floor + random(0, 60)
                    lib.evrt_rangeset_trim(set, floor)
                end
            end
            lib.evrt_rangeset_trim(set, floor)
            lib.evrt_rangeset_trim(late, floor)
            local expected, last = {}, nil
            for n = floor, floor + 300 do
                if numbers[n] then
                    if last and last[1] + last[2] == n then
                        last[2] = last[2] + 1
                    else
                        last = { n, 1 }
                        expected[#expected + 1] = last
                    end
                end
            end
            assert.are.same(expected, runs(set))
            assert.are.same(expected, runs(late))
        end
    end)

    it("merges a long disorder without being trimmed", function()
        local set = new()
        for n = 40000, 2, -2 do add(set, n, 1) end
        assert.is_true(tonumber(set.count) <= 20000)
        for n = 39999, 1, -2 do add(set, n, 1) end
        lib.evrt_rangeset_trim(set, 0)
        assert.are.same({ { 1, 40000 } }, runs(set))
    end)

    it("goes up to the last sequence", function()
        local set = new()
        local top = 0xffffffffffffffffULL
        add(set, 0xfffffffffffffff0ULL, 10)
        add(set, top - 1, 1)
        lib.evrt_rangeset_trim(set, 0xfffffffffffffff5ULL)
        assert.are.equal(0xfffffffffffffff5ULL, set.runs[0].first)
        assert.are.equal(5ULL, set.runs[0].count)
        assert.are.equal(top - 1, set.runs[1].first)
    end)

    it("is read back from what it wrote", function()
        local set, again, b = new(), new(), support.buf()
        for _, r in ipairs { { 3, 1 }, { 100, 7 }, { 5000000000, 2 } } do add(set, r[1], r[2]) end
        lib.evrt_rangeset_put(set, b)
        assert.are.equal(0, lib.evrt_rangeset_get(again, c.slice(c.string(b))))
        assert.are.same(runs(set), runs(again))
    end)

    it("refuses an encoding that is cut", function()
        local bytes = support.ranges { { 300, 300 } }
        assert.is_true(lib.evrt_rangeset_get(new(), c.slice(bytes:sub(1, -2))) < 0)
    end)
end)
