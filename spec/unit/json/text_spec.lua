local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("json", { "json/json.h", "json/text.h" })

describe("json/text", function()
    local function at(text, path)
        local found = lib.evrt_json_at(c.slice(text), c.slice(path))
        return found.p ~= nil and c.string(found) or nil
    end

    local function unquote(value)
        local b = ffi.new "struct evrt_buf"
        lib.evrt_buf_init(b)
        lib.evrt_json_unquote(c.slice(value), b)
        local s = c.string(b)
        lib.evrt_buf_finish(b)
        return s
    end

    it("unescapes", function()
        assert.equal("", unquote '""')
        assert.equal("plain", unquote '"plain"')
        assert.equal('"\\/\b\f\n\r\t', unquote '"\\"\\\\\\/\\b\\f\\n\\r\\t"')
        assert.equal("A\0é日😀.", unquote '"\\u0041\\u0000\\u00E9\\u65e5\\uD83D\\uDE00."')
        assert.equal("日本", unquote '"日本"')
        assert.equal("\244\143\191\191", unquote '"\\udbff\\udfff"')
    end)

    it("finds a member by its path", function()
        local text = ' { "a" : {"b":[1,{"c":2}],"c d":"}" } ,"x":"\\"", "e\\u0041" : true , "":{"":5} } '
        assert.equal('[1,{"c":2}]', at(text, "a.b"))
        assert.equal('"}"', at(text, "a.c d"))
        assert.equal('{"b":[1,{"c":2}],"c d":"}" }', at(text, "a"))
        assert.equal('"\\""', at(text, "x"))
        assert.equal("true", at(text, "eA"))
        assert.equal('{"":5}', at(text, ""))
        assert.equal("5", at(text, "."))
        assert.is_nil(at(text, "b"))
        assert.is_nil(at(text, "a.b.c"))
        assert.is_nil(at(text, "x.y"))
        assert.is_nil(at(text, "a.b.0"))
        assert.is_nil(at("[1]", "a"))
        assert.is_nil(at("1", "a"))
        assert.equal("1", at('{"a":1}', "a"))
        assert.equal("null", at('{"a":null}', "a"))
        assert.equal("-1.5e3", at('{"z":[],"a":-1.5e3 }', "a"))
    end)

    it("skips a value", function()
        local function skip(text)
            local copy = c.exact(text)
            return tonumber(lib.evrt_json_skip(copy, copy + #text) - ffi.cast("const char *", copy))
        end
        for text, n in pairs {
            ["1,2"] = 1, ["-1.5e3]"] = 6, ["true }"] = 4, ['"a\\"]",1'] = 6, ["[1,[2]],3"] = 7, ['{"a":"}"} '] = 9,
            ["[]"] = 2, ["12"] = 2, ['"x"'] = 3, ["null\n"] = 4,
        } do
            assert.equal(n, skip(text), text)
        end
    end)

    it("reads nothing outside of a text that nobody checked", function()
        local text = '{"a\\u12":"\\ud83d","b":[{"c":"\\'
        for n = 0, #text do
            local cut = text:sub(1, n)
            local copy = c.exact(cut)
            local slice = ffi.new("struct evrt_slice", copy, n)
            lib.evrt_json_at(slice, c.slice "b.c")
            local out = ffi.new("char[?]", n + 1)
            assert.is_true(lib.evrt_json_unescape(copy, n, out) <= n)
        end
    end)
end)
