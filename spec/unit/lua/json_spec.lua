-- The module that scripts see. Its C half comes from the unit library.
local ffi = require "ffi"
local c = require "spec.support.c"
local cjson = require "cjson"
package.preload["evrt.c.json"] =
    assert(package.loadlib(c.build_dir() .. "/unit/libevrt_unit_worker.so", "evrt_json_open"))
local json = require "evrt.json"

describe("evrt.json", function()
    -- The same value, kind and bits.
    local function same(a, b)
        if type(a) ~= type(b) then return false end
        if type(a) == "number" then
            return ffi.string(ffi.new("double[1]", a), 8) == ffi.string(ffi.new("double[1]", b), 8)
        end
        if type(a) == "cdata" then return ffi.typeof(a) == ffi.typeof(b) and a == b end
        if type(a) ~= "table" then return a == b end
        if getmetatable(a) ~= getmetatable(b) then return false end
        for k, v in pairs(a) do
            if not same(v, b[k]) then return false end
        end
        for k in pairs(b) do
            if a[k] == nil then return false end
        end
        return true
    end

    local function round_trip(text)
        local value, why = json.decode(text)
        assert(value ~= nil, why)
        local again = assert(json.encode(value))
        assert(same(value, (json.decode(again))), text .. " became " .. again)
        return again
    end

    it("writes again what it read", function()
        for _, text in ipairs {
            "null", "true", "[]", "{}", "[[],{}]", '{"a":[]}', '{"b":{}}', '[null]', '""', '"\\u0000"', "0", "-0.0",
            "9007199254740992", "9007199254740993", "-9007199254740993", "9223372036854775807", "-9223372036854775808",
            "18446744073709551615", "18446744073709551616", "-9223372036854775809",
            "123456789012345678901234567890123456789012345678901234567890", "0.3333333333333333", "0.1", "5e-324",
            "1.7976931348623157e+308", '"日本語😀"', '{"":""}', '{"__index":1}', '[[[[[]]]]]',
        } do
            local value = json.decode(text)
            local again = round_trip(text)
            assert.is_true(again == text or same(value, (json.decode(again))), again)
            if not text:find "[e\\]" then assert.equal(text, again) end
        end
    end)

    it("keeps the meaning of every kind of number", function()
        for _, text in ipairs { "1e2", "1E-7", "2.2250738585072014e-308", "4.9e-324", "1.0", "100", "-0", "1e22",
            "1e23",
            "9007199254740994.0", "3.141592653589793238462643", "0.1e1", "12345678.9e10" } do
            round_trip(text)
        end
    end)

    it("keeps an array one that has lost its elements", function()
        local t = json.decode '{"list":[1]}'
        table.remove(t.list)
        assert.equal('{"list":[]}', (json.encode(t)))
    end)

    it("marks arrays", function()
        assert.equal("[]", (json.encode(json.array())))
        assert.equal("[]", (json.encode(json.array {})))
        assert.equal("[1]", (json.encode(json.array { 1 })))
        local t = {}
        assert.equal(t, json.array(t))
        assert.equal(t, json.array(t))
        assert.is_true(json.is_array(t))
        assert.is_true(json.is_array { 1 })
        assert.is_true(json.is_array(json.empty_array))
        assert.is_true(json.is_array((json.decode "[]")))
        assert.is_false(json.is_array {})
        assert.is_false(json.is_array "x")
        assert.error_matches(function() json.array "x" end, "expected a table, got string")
        assert.error_matches(function() json.array(setmetatable({}, {})) end, "a metatable of its own")
    end)

    it("shares null with cjson", function()
        assert.equal(cjson.null, json.null)
        assert.equal('{"a":null}', (json.encode { a = cjson.null }))
    end)

    -- Random documents: text made here is read, written, read, and compared.
    describe("on random documents", function()
        local random = math.random

        local function pick(list) return list[random(#list)] end

        local function text_string()
            local parts = {}
            for i = 1, random(0, 6) do
                parts[i] = pick { "a", "key", "é", "日本", "😀", "\\n", "\\u0000", "\\ud83d\\ude00", "\\\\", '\\"', " ",
                    "/", "\\/", "\127", ("x"):rep(random(1, 40)), "\\u00e9", "0" }
            end
            return '"' .. table.concat(parts) .. '"'
        end

        local function number()
            return pick {
                function() return tostring(random(-1000, 1000)) end,
                function() return ("%d"):format(random(-2 ^ 53, 2 ^ 53)) end,
                function() return ("%.17g"):format((random() - 0.5) * 10 ^ random(-300, 300)) end,
                function() return ("%d.%d"):format(random(-99, 99), random(0, 999)) end,
                function() return pick { "9007199254740993", "18446744073709551615", "-9223372036854775808" } end,
                function() return pick { "-" , "" } .. random(1, 9) .. ("7"):rep(random(0, 40)) end,
            } ()
        end

        local value
        local function list(n, open, close, item)
            local parts = {}
            for i = 1, n do parts[i] = item(i) end
            local space = pick { "", " ", "\n\t" }
            return open .. space .. table.concat(parts, space .. "," .. space) .. space .. close
        end

        function value(depth)
            local kind = random(depth > 3 and 5 or 8)
            if kind <= 2 then return text_string() end
            if kind <= 4 then return number() end
            if kind == 5 then return pick { "true", "false", "null", "[]", "{}" } end
            if kind <= 7 then
                local names = {}
                return list(random(0, 24), "{", "}", function(i)
                    -- Names apart by their number.
                    names[i] = text_string():sub(1, -2) .. i .. '"'
                    return names[i] .. ":" .. value(depth + 1)
                end)
            end
            return list(random(0, 40), "[", "]", function() return value(depth + 1) end)
        end

        it("loses nothing", function()
            math.randomseed(11)
            for _ = 1, 150 do
                local ok, why = pcall(round_trip, value(1))
                assert(ok, why)
            end
        end)

        it("refuses a random byte put in, or stays whole", function()
            math.randomseed(12)
            for _ = 1, 600 do
                local text = value(2)
                local at = random(#text)
                local changed = text:sub(1, at - 1) .. string.char(random(0, 255)) .. text:sub(at + 1)
                if json.decode(changed) ~= nil then
                    local ok, why = pcall(round_trip, changed)
                    assert(ok, why)
                end
            end
        end)
    end)
end)
