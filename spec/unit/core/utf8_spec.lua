local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/utf8.h" })

local function check(s)
    local bytes = c.exact(s)
    return tonumber(lib.evrt_utf8_check(bytes, #s))
end

local function put(code)
    local out = ffi.new "char[4]"
    return ffi.string(out, lib.evrt_utf8_put(out, code))
end

describe("core/utf8", function()
    it("puts and reads back every scalar value", function()
        local code = ffi.new "uint32_t[1]"
        local out = ffi.new "char[4]"
        for v = 0, 0x10ffff do
            if v < 0xd800 or v > 0xdfff then
                local n = tonumber(lib.evrt_utf8_put(out, v))
                if tonumber(lib.evrt_utf8_next(out, n, code)) ~= n or code[0] ~= v then
                    error(("U+%04X does not read back"):format(v))
                end
            end
        end
    end)

    it("writes the bytes of the standard's examples", function()
        assert.equal("A", put(0x41))
        assert.equal("\194\162", put(0xa2))
        assert.equal("\226\130\172", put(0x20ac))
        assert.equal("\240\144\141\136", put(0x10348))
    end)

    it("finds the first byte that is wrong", function()
        local prefix = ("a"):rep(19)
        for name, bad in pairs {
            ["lone continuation"] = "\128", ["overlong 2"] = "\192\175", ["overlong 3"] = "\224\128\175",
            ["overlong 4"] = "\240\128\128\175", ["surrogate"] = "\237\160\128",
            ["above U+10FFFF"] = "\244\144\128\128", ["5 bytes"] = "\248\136\128\128\128",
            ["0xff"] = "\255", ["cut short"] = "\226\130", ["bad continuation"] = "\226\40\161",
        } do
            for n = 0, #prefix do
                assert.equal(n, check(prefix:sub(1, n) .. bad), name)
                assert.equal(n, check(prefix:sub(1, n) .. bad .. prefix), name)
            end
        end
    end)

    it("accepts the edges of each length", function()
        for _, v in ipairs { 0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff } do
            local s = put(v)
            assert.equal(#s, check(s))
        end
        assert.equal(0, check "")
    end)

    it("rejects a character cut at any byte", function()
        local text = put(0x20ac) .. put(0x1f680)
        for n, good in pairs { [1] = 0, [2] = 0, [3] = 3, [4] = 3, [5] = 3, [6] = 3, [7] = 7 } do
            assert.equal(good, check(text:sub(1, n)))
        end
    end)
end)
