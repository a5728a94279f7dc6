local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("cli", { "cli/view.h", "cli/client.h" })

local function out_of(fn) return c.collect(lib, fn) end

local function text(json)
    return out_of(function(out) lib.evrt_view_text(c.slice(json), out) end)
end

describe("showing JSON", function()
    it("shows values as people write them", function()
        assert.are.equal("a\"b", text [["a\"b"]])
        assert.are.equal("a, 1, b, c", text [=[["a", 1, ["b", "c"]]]=])
        assert.are.equal("", text "null")
        assert.are.equal("", text "")
        assert.are.equal("9007199254740993", text "9007199254740993")
        assert.are.equal("false", text "false")
    end)

    it("counts things", function()
        for n, wanted in pairs { [0] = "0 segments", "1 segment", "2 segments" } do
            assert.are.equal(wanted, out_of(function(out) lib.evrt_view_count(n, "segment", out) end))
        end
    end)

    it("lists objects in columns", function()
        local columns = ffi.new("struct evrt_view_column[3]", { { "A", "a" }, { ">B", "b.c" } })
        assert.are.equal("A   B\nx   7\n-  10\n-   -\n", out_of(function(out)
            assert.are.equal(3, tonumber(lib.evrt_view_items(
                c.slice [=[[{"a":"x","b":{"c":7}},{"b":{"c":10},"a":null},5]]=], columns, out)))
        end))
        assert.are.equal("", out_of(function(out)
            assert.are.equal(0, tonumber(lib.evrt_view_items(c.slice "[]", columns, out)))
            assert.are.equal(0, tonumber(lib.evrt_view_items(c.slice "", columns, out)))
        end))
    end)

    it("shows an object by path", function()
        assert.are.equal("NAME    VALUE\na       1\nb.c     x\nd       p, q\ne[0].f  true\n", out_of(function(out)
            local skip = ffi.new "const char *[2]"
            skip[0] = "z"
            lib.evrt_view_object(
                c.slice [=[{"a":1,"b":{"c":"x"},"z":{"q":1},"d":["p","q"],"e":[{"f":true}]}]=], skip, out)
        end))
    end)

    it("encodes what goes into a query", function()
        assert.are.equal("user.*", out_of(function(out)
            lib.evrt_client_query(out, c.slice "user.*")
        end))
        assert.are.equal("a%20%26%3D%2B%C3%A4%00%25", out_of(function(out)
            lib.evrt_client_query(out, c.slice "a &=+ä\0%")
        end))
    end)
end)
