-- Values that workers share: compare-and-set, limits, and what expires.
local ffi = require "ffi"
local c = require "spec.support.c"

local lib = c.load("host", { "host/shared.h" })

local EAGAIN, ENOSPC, EMSGSIZE = -11, -28, -90
local SECOND = 1000000000

describe("host/shared", function()
    local shared, gone, on_gone
    local function open(entries, size)
        gone = {}
        on_gone = ffi.cast("evrt_shared_gone_cb", function(_, key) gone[#gone + 1] = c.string(key[0]) end)
        shared = lib.evrt_shared_create(entries, size, on_gone, nil)
    end

    local now = ffi.new "struct evrt_shared_entry"
    local function cas(key, version, value, options)
        options = options or {}
        local change = ffi.new("struct evrt_shared_entry", { key = c.slice(key), version = version })
        if value then change.value = c.slice(value) end
        local rc = lib.evrt_shared_cas(shared, change, options.ttl or 0, options.now or 0, now)
        return rc, tonumber(now.version), c.string(now.value)
    end

    local function stats()
        local s = ffi.new "struct evrt_shared_stats"
        lib.evrt_shared_stats(shared, s)
        return s
    end

    after_each(function()
        lib.evrt_shared_destroy(shared)
        on_gone:free()
    end)

    it("sets what is still as it was seen", function()
        open(10, 100)
        assert.same({ 0, 1, "a" }, { cas("k", 0, "a") })
        assert.same({ EAGAIN, 1, "a" }, { cas("k", 0, "b") })
        assert.same({ 0, 2, "b" }, { cas("k", 1, "b") })
        assert.same({ EAGAIN, 0, "" }, { cas("other", 7, "x") })
        assert.same({ 0, 3, "" }, { cas("k", 2, "") })
        assert.same({ 0, 0, "" }, { cas("k", 3, nil) })
        assert.same({ 0, 4, "again" }, { cas("k", 0, "again") })
        local s = stats()
        assert.same({ 1, 6, 5, 2 }, { tonumber(s.entries), tonumber(s.bytes), tonumber(s.changes),
            tonumber(s.conflicts) })
    end)

    it("keeps to its limits, and says so", function()
        open(2, 10)
        assert.equal(0, (cas("a", 0, "123456789")))
        assert.equal(EMSGSIZE, (cas("b", 0, "1234567890")))
        assert.equal(0, (cas("b", 0, "1")))
        assert.equal(ENOSPC, (cas("c", 0, "1")))
        assert.equal(0, (cas("b", 2, "2")))
        assert.equal(1, tonumber(stats().refused_size))
        assert.equal(1, tonumber(stats().refused_full))
    end)

    it("makes room of what was not changed for its time, looking once a second", function()
        open(2, 100)
        cas("a", 0, "1", { ttl = 1000 })
        cas("b", 0, "1")
        assert.equal(ENOSPC, (cas("c", 0, "1", { now = SECOND / 2 })))
        assert.equal(ENOSPC, (cas("c", 0, "1", { now = SECOND + 1 })))
        assert.equal(0, (cas("c", 0, "1", { now = 2 * SECOND })))
        assert.same({ "a" }, gone)
        assert.equal(1, tonumber(stats().expired))
    end)

    it("gives all entries", function()
        open(100, 100)
        for i = 1, 50 do cas("k" .. i, 0, "v" .. i) end
        local at, seen = ffi.new "size_t[1]", {}
        while lib.evrt_shared_next(shared, at, now) do seen[c.string(now.key)] = c.string(now.value) end
        for i = 1, 50 do assert.equal("v" .. i, seen["k" .. i]) end
    end)
end)
