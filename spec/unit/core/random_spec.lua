local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/random.h", "core/clock.h" })

describe("core/random", function()
    local r
    before_each(function()
        r = ffi.new "struct evrt_random"
        lib.evrt_random_init(r)
    end)

    local out = ffi.new("char[?]", 37)
    local function uuid()
        lib.evrt_uuid7(r, out)
        return ffi.string(out)
    end

    it("differs between states and between draws", function()
        local other = ffi.new "struct evrt_random"
        lib.evrt_random_init(other)
        local seen = {}
        for _ = 1, 1000 do
            for _, state in ipairs { r, other } do
                local v = tostring(lib.evrt_random_u64(state))
                assert.is_nil(seen[v])
                seen[v] = true
            end
        end
    end)

    it("is the published xoshiro256** sequence", function()
        r.s = ffi.new("uint64_t[4]", { 1, 2, 3, 4 })
        local first = {}
        for i = 1, 4 do first[i] = lib.evrt_random_u64(r) end
        assert.same({ 11520ULL, 0ULL, 1509978240ULL, 1215971899390074240ULL }, first)
    end)

    it("makes UUIDs of version 7 with the time in front", function()
        local before = tonumber(lib.evrt_wall_ms())
        local id = uuid()
        local after = tonumber(lib.evrt_wall_ms())
        assert.truthy(id:match "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-7%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$")
        assert.equal(id:lower(), id)
        local ms = tonumber(id:sub(1, 8) .. id:sub(10, 13), 16)
        assert.is_true(ms >= before and ms <= after)
    end)

    it("sorts UUIDs by time of making, thousands within one millisecond", function()
        local last = ""
        for _ = 1, 50000 do
            local id = uuid()
            assert.is_true(id > last)
            last = id
        end
    end)

    it("keeps the order when the wall clock steps back", function()
        r.uuid_ms = lib.evrt_wall_ms() + 100000
        local last = uuid()
        for _ = 1, 10000 do
            local id = uuid()
            assert.is_true(id > last)
            last = id
        end
    end)
end)
