-- The set in chunks against the plain set of runs.
local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.state.support"
local lib = support.lib

local CHUNK = 8192

local function new()
    local set = ffi.gc(ffi.new "struct evrt_ended", lib.evrt_ended_finish)
    lib.evrt_ended_init(set)
    return set
end

local function add(set, first, count) lib.evrt_ended_add(set, ffi.new("struct evrt_range", first, count)) end

local function text(set, put)
    local b = support.buf()
    put(set, b)
    return c.string(b)
end

-- {number, {first, count}...} of each chunk.
local function chunks(set)
    local list = {}
    for i = 0, tonumber(set.count) - 1 do
        local chunk = { tonumber(set.chunks[i].number) }
        local at, from, r = ffi.new "size_t[1]", ffi.new "uint64_t[1]", ffi.new "struct evrt_range"
        local bytes = ffi.new("struct evrt_slice", set.chunks[i].bytes, set.chunks[i].n)
        while lib.evrt_ranges_next(bytes, at, from, r) == 1 do
            chunk[#chunk + 1] = { tonumber(r.first), tonumber(r.count) }
        end
        list[#list + 1] = chunk
    end
    return list
end

local function changed(set)
    local list = {}
    for i = 0, tonumber(set.count) - 1 do
        if set.chunks[i].changed then list[#list + 1] = tonumber(set.chunks[i].number) end
    end
    return list
end

local function gone(set)
    local list = {}
    for i = 0, tonumber(set.gone_count) - 1 do list[i + 1] = tonumber(set.gone[i]) end
    return list
end

describe("what has ended", function()
    it("is cut at the chunks' ends, and whole again when it is put", function()
        local set = new()
        add(set, CHUNK - 2, CHUNK + 5)
        add(set, 7, 1)
        lib.evrt_ended_trim(set, 0)
        assert.same({ { 0, { 7, 1 }, { CHUNK - 2, 2 } }, { 1, { 0, CHUNK } }, { 2, { 0, 3 } } }, chunks(set))
        local plain = ffi.gc(ffi.new "struct evrt_rangeset", lib.evrt_rangeset_finish)
        lib.evrt_rangeset_init(plain)
        lib.evrt_rangeset_add(plain, ffi.new("struct evrt_range", 7, 1))
        lib.evrt_rangeset_add(plain, ffi.new("struct evrt_range", CHUNK - 2, CHUNK + 5))
        assert.equal(text(plain, lib.evrt_rangeset_put), text(set, lib.evrt_ended_put))
    end)

    it("knows which chunks a commit has to write, and which to drop", function()
        local set = new()
        for chunk = 0, 9 do add(set, chunk * CHUNK + 5, 10) end
        lib.evrt_ended_trim(set, 1)
        assert.same({ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 }, changed(set))
        lib.evrt_ended_committed(set)
        add(set, 4 * CHUNK + 100, 3)
        lib.evrt_ended_trim(set, 1)
        assert.same({ 4 }, changed(set))
        assert.same({}, gone(set))
        lib.evrt_ended_committed(set)
        lib.evrt_ended_trim(set, 4 * CHUNK + 8)
        assert.same({ 4 }, changed(set))
        assert.same({ 0, 1, 2, 3 }, gone(set))
        lib.evrt_ended_trim(set, 4 * CHUNK + 200)
        assert.same({ 0, 1, 2, 3, 4 }, gone(set))
        assert.equal(5, tonumber(set.chunks[0].number))
    end)

    it("refuses a stored chunk that is none", function()
        local function load(set, number, ...)
            local bytes = string.char(...)
            return lib.evrt_ended_load(set, number, c.slice(bytes))
        end
        local set = new()
        assert.equal(0, load(set, 3, 5, 2, 1, 4))
        assert.equal(-74, load(set, 3, 5, 2))
        assert.equal(-74, load(set, 2, 5, 2))
        assert.equal(-74, load(set, 4))
        assert.equal(-74, load(set, 5, 5, 0))
        assert.equal(-74, load(set, 6, 5))
        assert.equal(-74, load(set, 7, 0xff, 0x3f, 9))
    end)

    it("is the plain set, however it was put together", function()
        for seed = 1, 20 do
            local random = support.random(seed)
            local one, other = new(), new()
            local plain = ffi.gc(ffi.new "struct evrt_rangeset", lib.evrt_rangeset_finish)
            lib.evrt_rangeset_init(plain)
            local floor, at = 0, 0
            for _ = 1, 400 do
                at = at + random(0, 300)
                local first, count = at + random(0, 20000), random(1, 40) == 1 and random(1, 30000) or random(1, 6)
                if first >= floor then
                    for _, set in ipairs { one, other } do add(set, first, count) end
                    lib.evrt_rangeset_add(plain, ffi.new("struct evrt_range", first, count))
                end
                if random(1, 10) == 1 then
                    floor = floor + random(0, 3000)
                    lib.evrt_ended_trim(one, floor)
                    if random(1, 3) == 1 then lib.evrt_ended_committed(one) end
                end
            end
            lib.evrt_ended_trim(one, floor)
            lib.evrt_ended_trim(other, floor)
            lib.evrt_rangeset_trim(plain, floor)
            assert.equal(text(plain, lib.evrt_rangeset_put), text(one, lib.evrt_ended_put), "seed " .. seed)
            assert.same(chunks(other), chunks(one), "seed " .. seed)
            -- Stored and loaded it is the same.
            local loaded = new()
            for i = 0, tonumber(one.count) - 1 do
                local chunk = one.chunks[i]
                local bytes = ffi.new("struct evrt_slice", chunk.bytes, chunk.n)
                assert.equal(0, lib.evrt_ended_load(loaded, chunk.number, bytes))
                assert.equal(chunk.sum, loaded.chunks[i].sum)
            end
            assert.same(chunks(one), chunks(loaded))
        end
    end)
end)
