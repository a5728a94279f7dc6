local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/map.h" })

describe("core/map", function()
    local m
    before_each(function()
        m = ffi.new "struct evrt_map"
        lib.evrt_map_init(m)
    end)
    after_each(function()
        lib.evrt_map_finish(m)
    end)

    local function ptr(n) return ffi.cast("void *", n) end
    local function num(p) return p ~= nil and tonumber(ffi.cast("uintptr_t", p)) or nil end
    local function get(k) return num(lib.evrt_map_get(m, c.slice(k))) end
    local function set(k, v) return num(lib.evrt_map_set(m, c.slice(k), ptr(v))) end
    local function remove(k) return num(lib.evrt_map_remove(m, c.slice(k))) end

    it("finds nothing in an empty map", function()
        assert.is_nil(get "a")
        assert.is_nil(remove "a")
        local at = ffi.new("size_t[1]")
        assert.is_true(lib.evrt_map_next(m, at, nil) == nil)
    end)

    it("returns the value that was replaced or removed", function()
        assert.is_nil(set("a", 1))
        assert.equal(1, set("a", 2))
        assert.equal(2, get "a")
        assert.equal(2, remove "a")
        assert.is_nil(get "a")
        assert.equal(0, tonumber(m.count))
    end)

    it("tells keys apart by all their bytes, NULs and emptiness included", function()
        set("", 1) set("\0", 2) set("\0\0", 3) set("a\0b", 4) set("a\0c", 5)
        assert.same({ 1, 2, 3, 4, 5 }, { get "", get "\0", get "\0\0", get "a\0b", get "a\0c" })
    end)

    it("behaves as a Lua table under random changes", function()
        math.randomseed(7)
        local model, count = {}, 0
        for step = 1, 40000 do
            local k = "key" .. math.random(1, step < 20000 and 2000 or 300)
            if math.random() < 0.6 then
                assert.equal(model[k], set(k, step))
                if not model[k] then count = count + 1 end
                model[k] = step
            else
                assert.equal(model[k], remove(k))
                if model[k] then count = count - 1 end
                model[k] = nil
            end
            assert.equal(count, tonumber(m.count))
        end
        local at, key, seen = ffi.new("size_t[1]"), ffi.new("struct evrt_slice"), 0
        while true do
            local v = lib.evrt_map_next(m, at, key)
            if v == nil then break end
            assert.equal(model[c.string(key)], num(v))
            seen = seen + 1
        end
        assert.equal(count, seen)
        for k, v in pairs(model) do assert.equal(v, get(k)) end
    end)

    it("borrows keys when told to, and leaves them alone", function()
        lib.evrt_map_init_borrowing(m)
        local texts, at, key = {}, ffi.new("size_t[1]"), ffi.new("struct evrt_slice")
        for i = 1, 100 do
            texts[i] = "key" .. i
            lib.evrt_map_set(m, c.slice(texts[i]), ptr(i))
        end
        for i = 1, 100, 2 do assert.equal(i, remove("key" .. i)) end
        for i = 1, 100 do assert.equal(i % 2 == 0 and i or nil, get("key" .. i)) end
        lib.evrt_map_next(m, at, key)
        assert.equal(ffi.cast("const char *", texts[get(c.string(key))]), key.p)
    end)
end)
