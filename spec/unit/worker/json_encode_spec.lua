local ffi = require "ffi"
local c = require "spec.support.c"
local json = assert(package.loadlib(c.build_dir() .. "/unit/libevrt_unit_worker.so", "evrt_json_open"))()
local array_mt = json.array_mt

describe("worker/json_encode", function()
    local function encoded(text, value)
        assert.equal(text, (json.encode(value)))
    end

    local function refused(message, value, code)
        local text, said, kind = json.encode(value)
        assert.is_nil(text)
        assert.equal(message, said)
        assert.equal(code or "invalid", kind)
    end

    it("writes Lua's values", function()
        encoded("null", nil)
        encoded("null", json.null)
        encoded("true", true)
        encoded("false", false)
        encoded("1", 1)
        encoded("-0.5", -0.5)
        encoded('""', "")
        encoded('"a\\"\\\\\\n\\u0000é\\u2028"', 'a"\\\n\0é\226\128\168')
        encoded("{}", {})
        encoded("[]", setmetatable({}, array_mt))
        encoded("[]", json.empty_array)
        encoded('[1,"x",[true]]', { 1, "x", { true } })
        encoded('{"a":{"b":[]}}', { a = { b = json.empty_array } })
        encoded("[null,null]", { json.null, json.null })
        encoded('{"1":2}', { ["1"] = 2 })
    end)

    it("writes members in the order of their names when asked to", function()
        local object, text = {}, {}
        for i = 99, 10, -1 do
            object["k" .. i] = { z = i, a = { 1, { y = 1, x = 2 } } }
        end
        for i = 10, 99 do text[#text + 1] = ('"k%d":{"a":[1,{"x":2,"y":1}],"z":%d}'):format(i, i) end
        assert.equal("{" .. table.concat(text, ",") .. "}", (json.encode(object, true)))
        assert.equal('{"":0,"a":1,"a\\u0000":2,"ab":3}', (json.encode({ ab = 3, a = 1, ["a\0"] = 2, [""] = 0 }, true)))
        assert.equal("{}", (json.encode({}, true)))
        local _, message = json.encode({ a = { [1.5] = 1, x = 2 } }, true)
        assert.equal("value.a: a table with both list items and named members, or whose numbers as keys are not 1 to n",
            message)
        _, message = json.encode({ a = { x = print } }, true)
        assert.equal("value.a.x: a function cannot be JSON", message)
    end)

    it("writes LuaJIT's integers", function()
        encoded("9007199254740993", 9007199254740993LL)
        encoded("-9223372036854775808", -9223372036854775807LL - 1)
        encoded("18446744073709551615", 18446744073709551615ULL)
        encoded("0", 0LL)
        refused("value: a cdata cannot be JSON", ffi.new("int[2]"))
        refused("value.x: a cdata cannot be JSON", { x = 1i })
        refused("value: a cdata cannot be JSON", ffi.typeof "int64_t")
    end)

    it("writes lists wherever Lua keeps their items", function()
        local backwards = {}
        for i = 100, 1, -1 do backwards[i] = i end
        local expected = {}
        for i = 1, 100 do expected[i] = i end
        encoded("[" .. table.concat(expected, ",") .. "]", backwards)
        encoded("[" .. table.concat(expected, ",") .. "]", setmetatable(backwards, array_mt))
        encoded("[[2],[1]]", { [2] = { 1 }, [1] = { 2 } })
        local shrunk = { 1, 2, 3 }
        shrunk[3] = nil
        encoded("[1,2]", shrunk)
    end)

    it("ignores metamethods", function()
        encoded('{"a":1}', setmetatable({ a = 1 }, {
            __index = function() error "asked" end, __pairs = function() error "asked" end,
            __len = function() return 7 end, __tostring = function() error "asked" end,
        }))
    end)

    it("names the path to what cannot be written", function()
        refused("value: a function cannot be JSON", print)
        refused("value.items[3].x: a function cannot be JSON", { items = { 1, 2, { x = print } } })
        refused("value.a: a thread cannot be JSON", { a = coroutine.create(print) })
        refused("value[1]: a userdata cannot be JSON", { io.stdout })
        refused('value["odd name"]["1st"]: NaN cannot be JSON', { ["odd name"] = { ["1st"] = 0 / 0 } })
        refused("value.x: infinity cannot be JSON", { x = math.huge })
        refused("value.x: infinity cannot be JSON", { x = -math.huge })
        refused('value["\\"\\n"]: a function cannot be JSON', { ['"\n'] = print })
    end)

    it("refuses strings and names that are not UTF-8", function()
        local why = "a string that is not UTF-8 (byte 3); encode binary data, as base64 say"
        refused("value.s: " .. why, { s = "ab\255" })
        refused("value[\"ab\\ufffd\"]: " .. why, { ["ab\255"] = 1 })
        refused("value: " .. why, "ab\192\128")
        refused("value: " .. why, "ab\237\160\128")
    end)

    it("refuses tables that are neither list nor object", function()
        local both = "a table with both list items and named members, or whose numbers as keys are not 1 to n"
        refused("value: " .. both, { 1, 2, x = 3 })
        refused("value.t: " .. both, { t = { x = 1, [1] = 2 } })
        refused("value: " .. both, { [1.5] = 1 })
        refused("value: " .. both, { [0] = 1 })
        refused("value: " .. both, { [-1] = 1 })
        refused("value: " .. both, setmetatable({ x = 1 }, array_mt))
        local holes = "a list with holes: put evrt.json.null where there is nothing"
        refused("value: " .. holes, { 1, nil, 3 })
        refused("value.a: " .. holes, { a = { [5] = 1 } })
        refused("value: " .. holes, { [2 ^ 53] = 1 })
        refused("value: " .. holes, setmetatable({ [2] = 1 }, array_mt))
        refused("value: a boolean as a key: names are strings", { [true] = 1 })
        refused("value.k: a table as a key: names are strings", { k = { [{}] = 1 } })
    end)

    it("refuses a table that contains itself", function()
        local t = { a = { b = {} } }
        t.a.b.c = t.a -- both a and b do
        refused("value.a.b: a table that contains itself", t, "too_deep")
        local list = {}
        list[1] = list
        refused("value: a table that contains itself", list, "too_deep")
    end)

    it("allows a table twice that does not", function()
        local part = { 1 }
        encoded("[[1],[1]]", { part, part })
    end)

    it("goes as deep as decoding does", function()
        local text = ("["):rep(128) .. ("]"):rep(128)
        encoded(text, (json.decode(text)))
        local deep = json.decode(text)
        refused("value" .. ("[1]"):rep(6) .. "..." .. ("[1]"):rep(6) .. ": nested too deep", { deep }, "too_deep")
    end)

    it("ends a table that unfolds without end", function()
        local t = { ("x"):rep(1000) }
        for _ = 1, 40 do t = { t, t } end
        local text, message, code = json.encode(t)
        assert.is_nil(text)
        assert.truthy(message:find("more text than allowed", 1, true))
        assert.equal("too_large", code)
        encoded("[1]", { 1 })
    end)

    it("stays one line of valid UTF-8 in its messages, however long the path", function()
        local t = print
        for _ = 1, 12 do t = { [("é\n"):rep(30)] = t } end
        local _, message = json.encode(t)
        assert.truthy(message:find(": a function cannot be JSON", 1, true))
        assert.is_nil(message:find "\n")
    end)
end)
