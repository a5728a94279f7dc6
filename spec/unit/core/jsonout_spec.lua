local ffi = require "ffi"
local cjson = require "cjson"
local c = require "spec.support.c"
local lib = c.load("core", { "core/jsonout.h" })

describe("core/jsonout", function()
    local b, o
    before_each(function()
        b = ffi.new "struct evrt_buf"
        lib.evrt_buf_init(b)
        o = ffi.new "struct evrt_jsonout[1]"
        o[0] = lib.evrt_jsonout_start(b)
    end)
    after_each(function() lib.evrt_buf_finish(b) end)

    local function quote(s)
        b.n = 0
        lib.evrt_json_quote(b, c.slice(s))
        return c.string(b)
    end

    it("places commas and closes levels", function()
        lib.evrt_jsonout_object(o)
        lib.evrt_jsonout_key(o, "list")
        lib.evrt_jsonout_array(o)
        lib.evrt_jsonout_u64(o, 18446744073709551615ULL)
        lib.evrt_jsonout_i64(o, -5)
        lib.evrt_jsonout_array(o)
        lib.evrt_jsonout_end(o)
        lib.evrt_jsonout_end(o)
        lib.evrt_jsonout_key(o, "s")
        lib.evrt_jsonout_cstr(o, 'a"b')
        lib.evrt_jsonout_key(o, "none")
        lib.evrt_jsonout_cstr(o, nil)
        lib.evrt_jsonout_key(o, "yes")
        lib.evrt_jsonout_bool(o, true)
        lib.evrt_jsonout_key(o, "raw")
        lib.evrt_jsonout_raw(o, c.slice '{"x":1}')
        lib.evrt_jsonout_key(o, "o")
        lib.evrt_jsonout_object(o)
        lib.evrt_jsonout_end(o)
        lib.evrt_jsonout_end(o)
        assert.equal('{"list":[18446744073709551615,-5,[]],"s":"a\\"b","none":null,"yes":true,'
            .. '"raw":{"x":1},"o":{}}', c.string(b))
    end)

    it("puts members, and leaves out what was not given", function()
        lib.evrt_jsonout_object(o)
        lib.evrt_jsonout_put_str(o, "s", c.slice 'a"b')
        lib.evrt_jsonout_put_cstr(o, "none", nil)
        lib.evrt_jsonout_put_u64(o, "u", 18446744073709551615ULL)
        lib.evrt_jsonout_put_i64(o, "i", -5)
        lib.evrt_jsonout_put_double(o, "d", 0.5)
        lib.evrt_jsonout_put_bool(o, "no", false)
        lib.evrt_jsonout_put_null(o, "nil")
        lib.evrt_jsonout_put_raw(o, "raw", c.slice "[1]")
        lib.evrt_jsonout_put_time(o, "t", 1234)
        lib.evrt_jsonout_put_given_str(o, "empty", c.slice "")
        lib.evrt_jsonout_put_given_str(o, "given", c.slice "x")
        lib.evrt_jsonout_put_given_u64(o, "zero", 0)
        lib.evrt_jsonout_put_given_u64(o, "one", 1)
        lib.evrt_jsonout_end(o)
        assert.equal('{"s":"a\\"b","none":null,"u":18446744073709551615,"i":-5,"d":0.5,"no":false,"nil":null,"raw":[1],'
            .. '"t":"1970-01-01T00:00:01.234Z","given":"x","one":1}', c.string(b))
    end)

    it("goes as deep as it says", function()
        local depth = c.define.EVRT_JSONOUT_DEPTH
        for _ = 1, depth do lib.evrt_jsonout_array(o) end
        for _ = 1, depth do lib.evrt_jsonout_end(o) end
        assert.equal(("["):rep(depth) .. ("]"):rep(depth), c.string(b))
    end)

    it("writes doubles that read back to the last bit, and null for what JSON has no number for", function()
        for _, v in ipairs { 0, 1 / 3, 0.1, 5e-324, 1.7976931348623157e308, -2 ^ 53 - 2, 1e21, 100, -0.5 } do
            b.n = 0
            o[0] = lib.evrt_jsonout_start(b)
            lib.evrt_jsonout_double(o, v)
            assert.equal(v, tonumber(c.string(b)))
        end
        for _, v in ipairs { 0 / 0, math.huge, -math.huge } do
            b.n = 0
            o[0] = lib.evrt_jsonout_start(b)
            lib.evrt_jsonout_double(o, v)
            assert.equal("null", c.string(b))
        end
    end)

    it("escapes controls, quotes, backslashes and line separators; keeps other UTF-8", function()
        assert.equal([["\u0000\u0001\t\n\r\"\\\u007f"]], quote "\0\1\t\n\r\"\\\127")
        assert.equal([["\u2028\u2029"]], quote "\226\128\168\226\128\169")
        assert.equal('"\195\169\240\159\154\128"', quote "\195\169\240\159\154\128")
    end)

    it("replaces each byte that is not UTF-8", function()
        assert.equal([["a\ufffdb"]], quote "a\255b")
        assert.equal([["\ufffd\ufffd"]], quote "\192\128")
        assert.equal([["\ufffd\ufffd\ufffd"]], quote "\237\160\128")
        assert.equal([["\ufffd"]], quote "\195")
    end)

    it("makes one valid JSON string on one line of any bytes", function()
        math.randomseed(11)
        for _ = 1, 3000 do
            local bytes = {}
            for i = 1, math.random(0, 40) do bytes[i] = string.char(math.random(0, 255)) end
            local text = quote(table.concat(bytes))
            assert.is_nil(text:find "[%c\127]")
            assert.is_string(cjson.decode("[" .. text .. "]")[1])
        end
        for first = 0, 255 do
            for second = 0, 255, 5 do
                assert.is_string(cjson.decode("[" .. quote(string.char(first, second)) .. "]")[1])
            end
        end
    end)

    it("decodes to the same text when it was valid UTF-8", function()
        local text = "\0 tab\t \226\130\172 \240\159\154\128 quote\" back\\slash / \127"
        assert.equal(text, cjson.decode("[" .. quote(text) .. "]")[1])
    end)
end)
