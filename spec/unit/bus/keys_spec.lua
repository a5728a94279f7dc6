-- The table of busy keys against a Lua table.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("bus", { "bus/keys.h" })

describe("bus/keys", function()
    it("is what a table would be", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        math.randomseed(seed)
        local keys, plain, count = ffi.new "struct evrt_keys", {}, 0
        lib.evrt_keys_init(keys)
        assert.is_true(lib.evrt_keys_find(keys, 5) == nil)
        for step = 1, 20000 do
            -- Few homes, so that they crowd.
            local hash = math.random(40) * 64 + math.random(3) + (step > 10000 and math.random(400) * 4096 or 0)
            local key = lib.evrt_keys_find(keys, hash)
            if plain[hash] then
                assert.is_true(key ~= nil, "EVRT_SEED=" .. seed)
                assert.equal(plain[hash], tonumber(key.head), "EVRT_SEED=" .. seed)
                if math.random(2) == 1 then
                    lib.evrt_keys_remove(keys, hash)
                    plain[hash], count = nil, count - 1
                end
            else
                assert.is_true(key == nil, "EVRT_SEED=" .. seed)
                lib.evrt_keys_add(keys, hash)
                lib.evrt_keys_find(keys, hash).head = step
                plain[hash], count = step, count + 1
            end
            assert.equal(count, tonumber(keys.count))
        end
        for hash, head in pairs(plain) do assert.equal(head, tonumber(lib.evrt_keys_find(keys, hash).head)) end
        lib.evrt_keys_finish(keys)
    end)
end)
