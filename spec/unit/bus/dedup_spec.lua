-- The window of what was published lately, against a Lua table.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("bus", { "bus/dedup.h" })

local function slice(text) return ffi.new("struct evrt_slice", text, #text) end

describe("bus/dedup", function()
    local function create(max, window)
        return ffi.gc(lib.evrt_dedup_create(max, window or 1000), lib.evrt_dedup_destroy)
    end
    local function hash(d, id) return lib.evrt_dedup_hash(d, slice "/s", slice(id)) end
    local function find(d, id, now) return tonumber(lib.evrt_dedup_find(d, hash(d, id), now)) end
    local function add(d, id, value, now) lib.evrt_dedup_add(d, hash(d, id), value, now) end

    it("tells source from id, and knows only what it was given", function()
        local d = create(10)
        lib.evrt_dedup_add(d, lib.evrt_dedup_hash(d, slice "ab", slice "c"), 7, 0)
        assert.equal(7, tonumber(lib.evrt_dedup_find(d, lib.evrt_dedup_hash(d, slice "ab", slice "c"), 0)))
        assert.equal(0, tonumber(lib.evrt_dedup_find(d, lib.evrt_dedup_hash(d, slice "a", slice "bc"), 0)))
        assert.equal(0, tonumber(lib.evrt_dedup_find(d, lib.evrt_dedup_hash(d, slice "", slice ""), 0)))
    end)

    it("has a key of its own, so that hashes tell nothing", function()
        local a, b = create(1), create(1)
        assert.not_equal(hash(a, "x").lo, hash(b, "x").lo)
        assert.equal(hash(a, "x").lo, hash(a, "x").lo)
    end)

    it("forgets what is as old as the window", function()
        local d = create(10, 100)
        add(d, "a", 1, 0)
        assert.same({ 1, 0 }, { find(d, "a", 99), find(d, "a", 100) })
        add(d, "b", 2, 100)
        lib.evrt_dedup_expire(d, 100)
        assert.same({ 1, 0 }, { d.count, tonumber(d.evicted) })
    end)

    it("lets the oldest go when it is full, and counts those that had time left", function()
        local d = create(3, 100)
        for i = 1, 3 do add(d, "id" .. i, i, 0) end
        add(d, "id4", 4, 1)
        assert.same({ 0, 2, 3, 4, 1 },
            { find(d, "id1", 1), find(d, "id2", 1), find(d, "id3", 1), find(d, "id4", 1), tonumber(d.evicted) })
        add(d, "id5", 5, 100) -- two are old by now
        assert.equal(1, tonumber(d.evicted))
        assert.same({ 2, 5 }, { d.count, find(d, "id5", 100) })
    end)

    it("has another value for what is there, and only for that", function()
        local d = create(2, 100)
        add(d, "a", 1, 0)
        assert.is_true(lib.evrt_dedup_set(d, hash(d, "a"), 2, 50))
        assert.is_false(lib.evrt_dedup_set(d, hash(d, "b"), 2, 50))
        assert.is_false(lib.evrt_dedup_set(d, hash(d, "a"), 2, 100))
        assert.equal(2, find(d, "a", 99))
        add(d, "a", 3, 100) -- the old one is still there
        assert.same({ 3, 2 }, { find(d, "a", 100), d.count })
    end)

    it("takes memory as it fills, and gives it back", function()
        local d = create(100000)
        local least = tonumber(lib.evrt_dedup_bytes(d))
        assert.is_true(least < 4096)
        for i = 1, 100000 do add(d, "id" .. i, i, 0) end
        local most = tonumber(lib.evrt_dedup_bytes(d))
        assert.is_true(most / 100000 < 54, tostring(most / 100000))
        for i = 1, 100000, 991 do assert.equal(i, find(d, "id" .. i, 1)) end
        lib.evrt_dedup_expire(d, 1000)
        assert.equal(0, d.count)
        assert.is_true(tonumber(lib.evrt_dedup_bytes(d)) <= 2 * least)
    end)

    it("is what a table would be", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        math.randomseed(seed)
        local d, plain, now = create(300, 500), {}, 0
        for step = 1, 30000 do
            now = now + math.random(0, step % 2000 < 1000 and 1 or 20)
            local id = "id" .. math.random(600)
            local entry = plain[id]
            local want = entry and entry.now + 500 > now and entry.value or 0
            -- One that had to go is found no more, though a table would have it.
            local found = find(d, id, now)
            if not (entry and entry.evicted) then assert.equal(want, found, "EVRT_SEED=" .. seed) end
            if found == 0 then
                local before = tonumber(d.evicted)
                add(d, id, step, now)
                plain[id] = { value = step, now = now }
                if tonumber(d.evicted) > before then for _, e in pairs(plain) do e.evicted = true end end
                plain[id].evicted = nil
            end
            if math.random(100) == 1 then lib.evrt_dedup_expire(d, now) end
            assert.is_true(d.count <= 300)
        end
    end)
end)
