local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/hash.h" })

describe("core/hash", function()
    it("is XXH3, so that stores outlive builds", function()
        assert.equal(0x2d06800538d394c2ULL, lib.evrt_hash64("", 0, 0))
        assert.equal(0x78af5f94892f3950ULL, lib.evrt_hash64("abc", 3, 0))
    end)

    it("depends on every byte, the length and the seed", function()
        local seen = {}
        local text = ("evrt"):rep(100)
        for i = 1, #text do
            local changed = text:sub(1, i - 1) .. "X" .. text:sub(i + 1)
            local h = tostring(lib.evrt_hash64(changed, #changed, 0))
            assert.is_nil(seen[h])
            seen[h] = true
        end
        assert.not_equal(lib.evrt_hash64(text, #text, 0), lib.evrt_hash64(text, #text, 1))
        assert.not_equal(lib.evrt_hash64("\0", 1, 0), lib.evrt_hash64("\0\0", 2, 0))
    end)

    it("hashes to 128 bits under a key, of which no two are the same", function()
        local a, b = ffi.new "struct evrt_hash_key", ffi.new "struct evrt_hash_key"
        lib.evrt_hash_key_init(a)
        lib.evrt_hash_key_init(b)
        for _, text in ipairs { "", "a", ("long "):rep(100) } do
            local one, same, other = lib.evrt_hash128(text, #text, a), lib.evrt_hash128(text, #text, a),
                lib.evrt_hash128(text, #text, b)
            assert.is_true(one.lo == same.lo and one.hi == same.hi)
            assert.is_true(one.lo ~= other.lo and one.hi ~= other.hi and one.lo ~= one.hi)
        end
    end)

    it("hashes pieces as it does the whole, however it is cut", function()
        math.randomseed(5)
        for _ = 1, 300 do
            local pieces = {}
            local iov = ffi.new "struct iovec[8]"
            local count = math.random(1, 8)
            for i = 1, count do
                pieces[i] = ("%c"):format(math.random(65, 90)):rep(math.random(0, 400))
                iov[i - 1].iov_base = ffi.cast("void *", pieces[i])
                iov[i - 1].iov_len = #pieces[i]
            end
            local whole = table.concat(pieces)
            assert.equal(lib.evrt_hash64(whole, #whole, 42), lib.evrt_hash64_iov(iov, count, 42))
        end
    end)
end)
