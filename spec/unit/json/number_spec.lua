local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("json", { "json/number.h" })

describe("json/number", function()
    local number = ffi.new "struct evrt_json_number"
    local out = ffi.new("char[?]", c.define.EVRT_JSON_NUMBER_SIZE)

    local function read(text)
        local copy = c.exact(text)
        lib.evrt_json_number_read(ffi.new("struct evrt_slice", copy, #text), number)
        return tonumber(number.kind), number.d
    end

    local function write(v)
        return ffi.string(out, lib.evrt_json_number_write(out, v))
    end

    local function bits(v)
        return ffi.cast("uint64_t *", ffi.new("double[1]", v))[0]
    end

    local DOUBLE, INT64, UINT64, BIG = 0, 1, 2, 3

    it("keeps integers apart by what holds them", function()
        local kinds = {
            ["0"] = DOUBLE, ["-0"] = DOUBLE, ["9007199254740992"] = DOUBLE, ["-9007199254740992"] = DOUBLE,
            ["9007199254740993"] = INT64, ["-9007199254740993"] = INT64, ["9223372036854775807"] = INT64,
            ["-9223372036854775808"] = INT64, ["9223372036854775808"] = UINT64, ["18446744073709551615"] = UINT64,
            ["18446744073709551616"] = BIG, ["-9223372036854775809"] = BIG, ["100000000000000000000"] = BIG,
            ["99999999999999999999999999999999999999"] = BIG,
            ["1e3"] = DOUBLE, ["1.0"] = DOUBLE, ["9007199254740993.0"] = DOUBLE, ["9007199254740993e0"] = DOUBLE,
        }
        for text, kind in pairs(kinds) do assert.equal(kind, (read(text)), text) end
        read "9223372036854775807"
        assert.equal(9223372036854775807LL, number.i)
        read "-9223372036854775808"
        assert.equal(-9223372036854775807LL - 1, number.i)
        read "-9007199254740993"
        assert.equal(-9007199254740993LL, number.i)
        read "18446744073709551615"
        assert.equal(18446744073709551615ULL, number.u)
    end)

    it("reads to the nearest double", function()
        -- Halfway cases, denormals, long digits; the right bits are known.
        local cases = {
            ["0.1"] = 0x3fb999999999999aULL, ["1e23"] = 0x44b52d02c7e14af6ULL, ["5e-324"] = 1ULL,
            ["2.2250738585072011e-308"] = 0x000fffffffffffffULL, ["2.2250738585072014e-308"] = 0x0010000000000000ULL,
            ["1.7976931348623157e308"] = 0x7fefffffffffffffULL, ["9007199254740993.0"] = 0x4340000000000000ULL,
            ["9007199254740993.00000000000000000000001"] = 0x4340000000000001ULL, ["-0"] = 0x8000000000000000ULL,
            ["-0.0"] = 0x8000000000000000ULL, ["0.3333333333333333148"] = 0x3fd5555555555555ULL,
            ["123456789012345678e-5"] = bits(1234567890123.45678), ["1E+2"] = bits(100), ["25e-1"] = bits(2.5),
            ["1e-400"] = 0ULL, ["0e999999999999"] = 0ULL, ["0.00001"] = bits(1e-5),
        }
        for text, right in pairs(cases) do
            local _, d = read(text)
            assert.equal(right, bits(d), text)
        end
        assert.equal(math.huge, select(2, read "1e400"))
        assert.equal(-math.huge, select(2, read "-1e99999999999999999999"))
    end)

    it("writes what people write", function()
        local cases = {
            [0] = "0", [1] = "1", [-42] = "-42", [0.5] = "0.5", [0.1] = "0.1", [19.99] = "19.99", [-1.25] = "-1.25",
            [123456789.125] = "123456789.125", [1e15] = "1000000000000000", [9007199254740992] = "9007199254740992",
            [0.3] = "0.3", [1e-5] = "0.00001", [1 / 3] = "0.3333333333333333", [0.1 + 0.2] = "0.30000000000000004",
            [1e300] = "1e+300", [1e23] = "1e+23", [0.001] = "0.001",
        }
        for v, text in pairs(cases) do assert.equal(text, write(v)) end
        assert.equal("-0.0", write(-0.0))
    end)

    it("never writes a double so that it reads as an integer of 64 bits", function()
        assert.equal("9007199254740994.0", write(9007199254740994))
        for _, v in ipairs { 9007199254740994, 1e17, 2 ^ 60, 2 ^ 63, -2 ^ 63, 2 ^ 64, 1e20, 1e22 } do
            local kind, d = read(write(v))
            assert.equal(DOUBLE, kind)
            assert.equal(v, d)
        end
    end)

    it("writes every double so that it reads back bit for bit", function()
        local word = ffi.new "union { uint64_t u; double d; }"
        local function same(v)
            local text = write(v)
            local _, d = read(text)
            assert(bits(d) == bits(v), text)
        end
        math.randomseed(7)
        for i = 1, 20000 do
            -- Not infinity, not NaN: the exponent is not all ones.
            word.u = math.random(0, 2046) * 2ULL ^ 52 + math.random(0, 2 ^ 52 - 1) + math.random(0, 1) * 2ULL ^ 63
            same(word.d)
            same(math.random(-1e9, 1e9) / 10 ^ math.random(0, 9)) -- a decimal
            same(math.random() * 10 ^ math.random(-20, 20))
            word.u = 2ULL ^ math.random(0, 51) + i -- a denormal
            same(word.d)
        end
    end)

    it("does not care for the locale", function()
        local before = os.setlocale()
        for _, name in ipairs { "de_DE.UTF-8", "fr_FR.UTF-8", "C" } do
            if os.setlocale(name) then
                assert.equal(1.7976931348623157e308, select(2, read "1.7976931348623157e308"))
                assert.equal("1.7976931348623157e+308", write(1.7976931348623157e308))
            end
        end
        os.setlocale(before)
    end)
end)
