local c = require "spec.support.c"
local json = assert(package.loadlib(c.build_dir() .. "/unit/libevrt_unit_worker.so", "evrt_json_open"))()

describe("worker/json_decode", function()
    local function is_array(t) return getmetatable(t) == json.array_mt end

    it("makes Lua's values", function()
        assert.equal(true, (json.decode "true"))
        assert.equal(false, (json.decode " false "))
        assert.equal(json.null, (json.decode "null"))
        assert.equal(-1.5, (json.decode "-1.5"))
        assert.equal("aé日😀\0\n", (json.decode '"aé\\u65e5\\ud83d\\ude00\\u0000\\n"'))
        local t = json.decode '{"a":[1,"x",{"b":null}],"c":{}}'
        assert.equal(1, t.a[1])
        assert.equal("x", t.a[2])
        assert.equal(json.null, t.a[3].b)
        assert.is_nil(next(t.c))
        assert.equal(3, #t.a)
    end)

    it("marks arrays and leaves objects plain", function()
        local t = json.decode '{"empty":[],"full":[1],"object":{},"nested":[[]]}'
        assert.is_true(is_array(t.empty))
        assert.is_true(is_array(t.full))
        assert.is_true(is_array(t.nested[1]))
        assert.is_nil(getmetatable(t.object))
        assert.is_nil(getmetatable(t))
    end)

    it("keeps integers exact", function()
        assert.equal("number", type((json.decode "9007199254740992")))
        assert.equal("number", type((json.decode "-9007199254740992")))
        assert.is_true(json.decode "9007199254740993" == 9007199254740993LL)
        assert.is_true(json.decode "-9007199254740993" == -9007199254740993LL)
        assert.is_true(json.decode "9223372036854775807" == 9223372036854775807LL)
        assert.is_true(json.decode "-9223372036854775808" == -9223372036854775807LL - 1)
        assert.is_true(json.decode "18446744073709551615" == 18446744073709551615ULL)
        assert.equal("9223372036854775807LL", tostring(json.decode "9223372036854775807"))
        assert.equal("18446744073709551615ULL", tostring(json.decode "18446744073709551615"))
        assert.equal("18446744073709551616", tostring(json.decode "18446744073709551616"))
        assert.equal("-9223372036854775809", tostring(json.decode "-9223372036854775809"))
        for _, n in ipairs { 0, 7, 999999999, 1000000000, 4294967296, 123456789012 } do
            assert.equal(n, (json.decode(("%d"):format(n))))
            assert.equal(-n, (json.decode(("-%d"):format(n))))
        end
        assert.equal(-math.huge, 1 / json.decode "-0")
        assert.equal(-math.huge, 1 / json.decode "-0.0")
    end)

    it("puts every member and element in its place, however many", function()
        for _, n in ipairs { 1, 15, 16, 17, 31, 32, 33, 48, 100, 1000, 20000 } do
            local members, elements = {}, {}
            for i = 1, n do
                members[i] = ('"k%d":[%d]'):format(i, i)
                elements[i] = ('{"x":%d}'):format(i)
            end
            local object = json.decode("{" .. table.concat(members, ",") .. "}")
            local array = json.decode("[" .. table.concat(elements, " , ") .. "]")
            local count = 0
            for k, v in pairs(object) do
                assert(k == "k" .. v[1])
                count = count + 1
            end
            assert.equal(n, count)
            assert.equal(n, #array)
            for i = 1, n do assert(array[i].x == i) end
        end
    end)

    it("goes as deep as is allowed", function()
        local text = ("["):rep(127) .. '{"a":1}' .. ("]"):rep(127)
        local v = json.decode(text)
        for _ = 1, 127 do v = v[1] end
        assert.equal(1, v.a)
        local wide = {}
        for i = 1, 40 do wide[i] = i end
        text = "[" .. table.concat(wide, ",") .. "]"
        for _ = 1, 126 do text = "[" .. ("0,"):rep(20) .. text .. "]" end -- much on the stack at each level
        v = json.decode(text)
        for _ = 1, 126 do v = v[21] end
        assert.equal(40, #v)
        local _, message, code = json.decode(("["):rep(129) .. ("]"):rep(129))
        assert.equal("nested too deep at byte 129 (line 1, column 129)", message)
        assert.equal("too_deep", code)
    end)

    it("unescapes strings of every length", function()
        for _, n in ipairs { 0, 1, 1000, 1023, 1024, 1025, 5000 } do
            assert.equal(("x"):rep(n) .. "\n", (json.decode('"' .. ("x"):rep(n) .. '\\n"')))
        end
    end)

    it("says what is wrong and where, and returns nil", function()
        local value, message, code = json.decode '{"a":1,\n "b":NaN}'
        assert.is_nil(value)
        assert.equal("expected a value, found 'N' at byte 14 (line 2, column 6)", message)
        assert.equal("invalid", code)
        assert.is_nil((json.decode ""))
        assert.is_nil((json.decode "\239\187\191{}"))
        assert.is_nil((json.decode '{"a":1,"a":1}'))
    end)

    it("leaves the stack as it was, after values and after errors", function()
        local function count(...) return select("#", ...) end
        assert.equal(1, count(json.decode '{"a":[1,{"b":"\\n"}],"n":9007199254740993}'))
        assert.equal(3, count(json.decode "[1,"))
    end)
end)
