-- The overlay against a model: whatever is written, committed, applied and read when, a read gives what the
-- accepted writes come to; a reading of state.db as of any group that it may see is completed rightly.
local ffi = require "ffi"
local c = require "spec.support.c"
local generator = require "spec.support.random"

local lib = c.load("host", { "host/overlay.h", "core/kv.h", "core/buf.h", "frame/values.h" })

ffi.cdef "int close(int fd);"

local function integer(n)
    return c.collect(lib, function(b) lib.evrt_kv_put_integer(b, n) end)
end

local function name_of(key)
    return ffi.new("struct evrt_overlay_name", { c.slice "ns", c.slice(key) })
end

local function row_of(value, expires)
    return ffi.new("struct evrt_kv_row", { c.slice(value or ""), expires or 0 })
end

local Overlay = {}
Overlay.__index = Overlay

local function create(cache, keep, values)
    local options = ffi.new("struct evrt_overlay_options", { cache or 1e6, keep or false, values })
    return setmetatable({ o = ffi.gc(lib.evrt_overlay_create(options), lib.evrt_overlay_destroy) }, Overlay)
end

-- The value, false for "not known", nil for none.
function Overlay:get(key, now)
    local value = ffi.new "struct evrt_slice[1]"
    if not lib.evrt_overlay_get(self.o, name_of(key), now or 0, value) then return false end
    return value[0].n > 0 and c.string(value[0]) or nil
end

function Overlay:set(key, value, expires) lib.evrt_overlay_set(self.o, name_of(key), row_of(value, expires)) end
function Overlay:incr(key, by, at) lib.evrt_overlay_incr(self.o, name_of(key), by, at or 0) end
function Overlay:learn(key, value, expires, group)
    lib.evrt_overlay_learn(self.o, name_of(key), row_of(value, expires), group)
end

function Overlay:keys(from, to)
    local key, seen, behind = ffi.new "struct evrt_slice[1]", {}, false
    local function range()
        return ffi.new("struct evrt_overlay_range", { c.slice "ns", c.slice(from or ""), c.slice(to or ""), behind })
    end
    while lib.evrt_overlay_next(self.o, range(), key) do
        from, behind = c.string(key[0]), true
        seen[#seen + 1] = from
    end
    return seen
end

-- ---- The model: rows as they are after each write ----

local function copy(rows)
    local out = {}
    for k, v in pairs(rows) do out[k] = v end
    return out
end

local function incr(row, by, at)
    if row and row.expires ~= 0 and row.expires <= at then row = nil end
    if row == nil then return { n = by, expires = 0 } end
    if row.n == nil then return row end
    return { n = row.n + by, expires = row.expires }
end

local function bytes(row)
    return row and (row.n and integer(row.n) or row.text)
end

describe("host/overlay", function()
    it("gives what the accepted writes come to, against a model", function()
        for seed = 1, 60 do
            local random = generator(seed)
            local o = create(random(1, 2) == 1 and 300 or 1e6)
            local now, group, applied = 100, 0, 0
            local accepted = {}             -- rows, by key
            local states = { [0] = {} }     -- as of each group
            local sealed, open = {}, false  -- states not committed yet
            local reading
            for _ = 1, 400 do
                local key, what = "k" .. random(1, 8), random(1, 20)
                if what <= 4 then
                    local expires = random(1, 3) == 1 and now + random(1, 6) or 0
                    local row = random(1, 2) == 1 and { n = random(-9, 9), expires = expires }
                        or { text = "s" .. ("x"):rep(random(0, 40)), expires = expires }
                    o:set(key, bytes(row), expires)
                    accepted[key], open = row, true
                elseif what == 5 then
                    o:set(key, nil)
                    accepted[key], open = nil, true
                elseif what <= 9 then
                    local by = random(-5, 5)
                    o:incr(key, by, now)
                    accepted[key], open = incr(accepted[key], by, now), true
                elseif what <= 12 and open then
                    lib.evrt_overlay_seal(o.o)
                    sealed[#sealed + 1], open = copy(accepted), false
                    now = now + random(0, 2)
                elseif what == 13 and #sealed > 0 then
                    group = group + 1
                    for _ = 1, random(1, #sealed) do
                        states[group] = table.remove(sealed, 1)
                        lib.evrt_overlay_committed(o.o, group)
                    end
                elseif what == 14 and applied < group then
                    applied = random(applied + 1, group)
                    lib.evrt_overlay_applied(o.o, applied)
                elseif what == 15 and not reading then
                    reading = { group = applied, rows = states[applied] }
                    lib.evrt_overlay_reading(o.o, 1)
                elseif what == 16 and reading then
                    -- State.db went on meanwhile; this one saw it as it was.
                    local row = reading.rows[key]
                    o:learn(key, bytes(row), row and row.expires, reading.group)
                elseif what == 17 and reading then
                    lib.evrt_overlay_reading(o.o, -1)
                    reading = nil
                end
                local row, seen = accepted[key], o:get(key, now)
                if row and row.expires ~= 0 and row.expires <= now then row = nil end
                if seen ~= false then assert.equal(bytes(row), seen, ("seed %d, %s"):format(seed, key)) end
            end
        end
    end)

    it("forgets what state.db has when there is no room for it, and nothing else", function()
        local o = create(0)
        for i = 1, 100 do o:set("k" .. i, "sx") end
        lib.evrt_overlay_seal(o.o)
        o:incr("later", 1)
        lib.evrt_overlay_committed(o.o, 7)
        lib.evrt_overlay_applied(o.o, 6)
        assert.equal("sx", o:get "k1")
        lib.evrt_overlay_applied(o.o, 7)
        local stats = ffi.new "struct evrt_overlay_stats"
        lib.evrt_overlay_stats(o.o, stats)
        assert.is_true(stats.entries <= 2)
        assert.is_false(o:get "k1")
        assert.is_false(o:get "later")
        o:learn("later", integer(41), 0, 7)
        assert.equal(integer(42), o:get "later")
        assert.is_true(tonumber(lib.evrt_overlay_dirty(o.o)) > 0)
    end)

    it("gathers no differences of a key that is written all the time, but for those that state.db lacks", function()
        local o = create(0)
        for group = 1, 1000 do
            o:incr("hot", 1)
            lib.evrt_overlay_seal(o.o)
            lib.evrt_overlay_committed(o.o, group)
            if group > 5 then lib.evrt_overlay_applied(o.o, group - 5) end
            assert.is_true(tonumber(lib.evrt_overlay_dirty(o.o)) < 1000)
        end
        o:learn("hot", integer(995), 0, 995)
        assert.equal(integer(1000), o:get "hot")
    end)

    it("keeps everything where there is no state.db", function()
        local o = create(0, true)
        o:set("a", "sx")
        o:incr("n", 2)
        o:set("gone", nil)
        lib.evrt_overlay_seal(o.o)
        lib.evrt_overlay_committed(o.o, 1)
        lib.evrt_overlay_applied(o.o, 1)
        assert.same({ "sx", integer(2) }, { o:get "a", o:get "n" })
        assert.is_nil(o:get "never")
        assert.same({ "a", "n" }, o:keys())
    end)

    it("that keeps everything lets go of what expired, a part at a time", function()
        local o = create(0, true)
        for i = 1, 10 do o:set("k" .. i, "sx", i % 2 == 0 and 50 or 0) end
        o:set("late", "sx", 200)
        lib.evrt_overlay_seal(o.o)
        o:set("dirty", "sx", 50)
        lib.evrt_overlay_committed(o.o, 1)
        lib.evrt_overlay_applied(o.o, 1)
        assert.equal(0, lib.evrt_overlay_sweep(o.o, 49, 100))
        assert.equal(2, lib.evrt_overlay_sweep(o.o, 100, 4))
        assert.equal(2, lib.evrt_overlay_sweep(o.o, 100, 4))
        assert.equal(1, lib.evrt_overlay_sweep(o.o, 100, 100))
        assert.equal(0, lib.evrt_overlay_sweep(o.o, 100, 100))
        assert.same({ "dirty", "k1", "k3", "k5", "k7", "k9", "late" }, o:keys())
        o:incr("k2", 3)
        assert.equal(integer(3), o:get("k2", 100))
    end)

    it("reads the value of a key that has differences, wherever those before it stand", function()
        local o = create(0)
        for i = 1, 20 do
            o:incr("k" .. i, i)
            lib.evrt_overlay_seal(o.o)
            lib.evrt_overlay_committed(o.o, i)
        end
        for _, i in ipairs { 7, 20, 1, 12 } do
            o:learn("k" .. i, integer(100), 0, 0)
            assert.equal(integer(100 + i), o:get("k" .. i))
        end
        -- What state.db has goes in the order in which it was written.
        for i = 1, 20 do
            local stats = ffi.new "struct evrt_overlay_stats"
            lib.evrt_overlay_applied(o.o, i)
            lib.evrt_overlay_stats(o.o, stats)
            assert.is_true(stats.entries >= 20 - i and stats.entries <= 21 - i)
        end
        assert.equal(0, tonumber(lib.evrt_overlay_dirty(o.o)))
    end)

    it("lists in order what may differ from state.db, and the namespaces", function()
        local o = create()
        for _, key in ipairs { "b", "a", "c:1", "c" } do o:set(key, "s") end
        assert.same({ "a", "b", "c", "c:1" }, o:keys())
        assert.same({ "c", "c:1" }, o:keys "bb")
        assert.same({ "a", "b" }, o:keys("", "c"))
        assert.same({ "c", "c:1" }, o:keys("c", "c\255"))
        assert.same({}, o:keys("bb", "c"))
        lib.evrt_overlay_set(o.o, ffi.new("struct evrt_overlay_name", { c.slice "ns2", c.slice "z" }), row_of "s")
        assert.same({ "a", "b", "c", "c:1" }, o:keys())
        local ns = ffi.new "struct evrt_slice[1]"
        assert.is_true(lib.evrt_overlay_namespace(o.o, c.slice "", ns))
        assert.equal("ns", c.string(ns[0]))
        assert.is_true(lib.evrt_overlay_namespace(o.o, c.slice "ns", ns))
        assert.equal("ns2", c.string(ns[0]))
        assert.is_false(lib.evrt_overlay_namespace(o.o, c.slice "ns2", ns))
    end)

    it("gives a key a place where workers read only when somebody reads it", function()
        local values, fd, value = ffi.new "struct evrt_values *[1]", ffi.new "int[1]", ffi.new "struct evrt_slice[1]"
        assert.equal(0, lib.evrt_values_create(values, 4096, fd))
        ffi.C.close(fd[0])
        local o, room = create(nil, false, values[0]), ffi.new "char[120]"
        local ns, key = c.slice "ns", c.slice "a"
        local function here()
            local name = ffi.new("struct evrt_values_name[1]", { lib.evrt_values_name(ns, key) })
            return lib.evrt_values_get(values[0], name, room, value) and c.string(value[0])
        end
        o:set("a", integer(1))
        lib.evrt_overlay_show(o.o)
        assert.is_true(lib.evrt_overlay_peek(o.o, name_of "a", 0, value))
        assert.equal(integer(1), c.string(value[0]))
        assert.is_false(here())
        assert.equal(integer(1), o:get "a")
        assert.equal(integer(1), here())
        assert.is_false(lib.evrt_overlay_peek(o.o, name_of "b", 0, value))
        ffi.gc(o.o, nil)
        lib.evrt_overlay_destroy(o.o)
        lib.evrt_values_close(values[0])
    end)
end)
