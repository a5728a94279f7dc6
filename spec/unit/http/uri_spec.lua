local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("http", { "http/uri.h" })

describe("http/uri", function()
    local out, bad = ffi.new "struct evrt_buf", ffi.new "size_t[1]"

    local function decode(with, text)
        out.n = 0
        local copy = c.exact(text)
        local code = with(ffi.new("struct evrt_slice", copy, #text), out, bad)
        if code < 0 then return nil, tonumber(bad[0]) end
        return c.string(out)
    end

    local function pairs_of(query)
        local name, value = ffi.new "struct evrt_slice", ffi.new "struct evrt_slice"
        local at, list = ffi.new "size_t[1]", {}
        while lib.evrt_query_next(c.slice(query), at, name, value) do
            list[#list + 1] = { c.string(name), c.string(value) }
        end
        return list
    end

    it("splits path and query", function()
        local path, query = ffi.new "struct evrt_slice", ffi.new "struct evrt_slice"
        for text, want in pairs { ["/a/b?x=1?2"] = { "/a/b", "x=1?2" }, ["/a"] = { "/a", false },
            ["/?"] = { "/", "" }, [""] = { "", false } } do
            lib.evrt_uri_split(c.slice(text), path, query)
            assert.are.equal(want[1], c.string(path))
            assert.are.equal(want[2], query.p ~= nil and c.string(query) or false)
        end
    end)

    it("decodes percent sequences of either case and keeps '+' in paths", function()
        assert.are.equal("a b/é+%", decode(lib.evrt_percent_decode, "a%20b%2f%c3%A9+%25"))
        assert.are.equal("\0", decode(lib.evrt_percent_decode, "%00"))
        assert.are.equal("", decode(lib.evrt_percent_decode, ""))
    end)

    it("decodes '+' as a space in queries", function()
        assert.are.equal("a b+c", decode(lib.evrt_query_decode, "a+b%2Bc"))
    end)

    it("names the offset of a malformed sequence", function()
        for text, at in pairs { ["%"] = 0, ["ab%4"] = 2, ["%zz"] = 0, ["%41%4g"] = 3, ["100%"] = 3 } do
            assert.are.same({ nil, at }, { decode(lib.evrt_percent_decode, text) })
        end
    end)

    it("walks a query's pairs", function()
        assert.are.same({ { "a", "1" }, { "b", "" }, { "c", "" }, { "", "x" }, { "d", "e=f" } },
            pairs_of "a=1&b=&c&&=x&d=e=f")
        assert.are.same({}, pairs_of "")
        assert.are.same({}, pairs_of "&&")
    end)
end)
