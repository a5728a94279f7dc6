local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("http", { "http/headers.h" })

describe("http/headers", function()
    -- {"Name", "value", ...} as an array of struct evrt_header. Keep the third result.
    local function headers(list)
        local n = #list / 2
        local h, keep = ffi.new("struct evrt_header[?]", math.max(n, 1)), {}
        for i = 0, n - 1 do
            for j, field in ipairs { "name", "value" } do
                local text = list[2 * i + j]
                keep[#keep + 1] = c.exact(text)
                h[i][field].p, h[i][field].n = keep[#keep], #text
            end
        end
        return h, n, keep
    end

    local function check(list, http10)
        local h, n, keep = headers(list)
        local err = ffi.new "struct evrt_error"
        local code = lib.evrt_headers_check(h, n, http10 or false, err)
        if code < 0 then return ffi.string(err.message) end
        local values = {}
        for i = 0, n - 1 do values[#values + 1] = c.string(h[i].value) end
        return nil, values, keep
    end

    it("finds a field whatever its case", function()
        local h, n, keep = headers { "Host", "a", "CE-Type", "t", "ce-type", "u" }
        assert.are.equal("t", c.string(lib.evrt_headers_get(h, n, "ce-type")))
        assert.is_true(lib.evrt_headers_get(h, n, "ce-typ").p == nil)
        assert.is_true(lib.evrt_headers_get(h, n, "ce-types").p == nil)
        assert.are.equal(6, #keep)
    end)

    it("accepts usual requests and trims values", function()
        local why, values = check { "Host", "localhost:80 ", "User-Agent", " curl/8 (x; \"y\")\t", "Accept", "*/*",
            "Content-Length", "12", "X-Utf8", "grün", "X-Empty", "", "Accept", "text/html" }
        assert.is_nil(why)
        assert.are.same({ "localhost:80", "curl/8 (x; \"y\")", "*/*", "12", "grün", "", "text/html" }, values)
        assert.is_nil((check { "Transfer-Encoding", "Chunked" }))
    end)

    -- What two parsers could read differently.
    local refused = {
        ["Content-Length together with Transfer-Encoding"] =
            { "Content-Length", "5", "Transfer-Encoding", "chunked" },
        ["only a single chunked"] = { "Transfer-Encoding", "gzip, chunked" },
        ["Transfer-Encoding: only"] = { "Transfer-Encoding", "xchunked" },
        ["Transfer-Encoding: only a"] = { "Transfer-Encoding", "" },
        ["Content-Length: given twice"] = { "Content-Length", "5", "Content-Length", "6" },
        ["content-length: given twice"] = { "Content-Length", "5", "content-length", "5" },
        ["Transfer-Encoding: given twice"] = { "Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked" },
        ["Content-Length: expected digits"] = { "Content-Length", "+5" },
        ["Content-Length: expected d"] = { "Content-Length", "5, 5" },
        ["Content-Length: expected"] = { "Content-Length", "0x5" },
        ["Content-Length: exp"] = { "Content-Length", "-1" },
        ["Content-Length: empty"] = { "Content-Length", " " },
        ["Host: given twice"] = { "Host", "a", "Host", "b" },
        ["Content-Type: given twice"] = { "Content-Type", "a/b", "Content-Type", "a/b" },
        ["Authorization: given twice"] = { "Authorization", "x", "Authorization", "y" },
        ["CE-Type: given twice"] = { "ce-type", "a", "CE-Type", "b" },
        ["ce-x: given twice"] = { "ce-x", "a", "ce-x", "a" },
        ["at byte 15"] = { "Content-Length ", "5" },
        ["at byte 1 of it"] = { " Host", "a" },
        ["has no name"] = { "", "a" },
        ["at byte 2 of it"] = { "A(b", "a" },
        ["X: control character at byte 2"] = { "X", "a\rb" },
        ["X: control character at byte 1"] = { "X", "\127" },
        ["X: control character at byte 3"] = { "X", "ab\0" },
    }
    for why, list in pairs(refused) do
        it("refuses: " .. why, function()
            local message = check(list)
            assert.truthy(message and message:find(why, 1, true), tostring(message))
        end)
    end

    it("refuses chunks in HTTP/1.0", function()
        assert.are.equal("Transfer-Encoding in an HTTP/1.0 request", (check({ "Transfer-Encoding", "chunked" }, true)))
    end)

    -- Lines as a parser leaves them that cuts in place: ':' and line ends overwritten by NUL.
    describe("contiguous", function()
        local function contiguous(raw, fields, cut)
            local text = ffi.cast("char *", c.exact(raw))
            local h = ffi.new("struct evrt_header[?]", math.max(#fields, 1))
            for i, f in ipairs(fields) do
                h[i - 1].name.p, h[i - 1].name.n = text + f[1], f[2]
                h[i - 1].value.p, h[i - 1].value.n = text + f[3], f[4]
            end
            return lib.evrt_headers_contiguous(h, #fields, text, text + (cut or #raw))
        end

        it("holds for lines that end with CRLF", function()
            assert.is_true(contiguous("A: b\r\nCd:e\r\n\r\n", { { 0, 1, 3, 1 }, { 6, 2, 9, 1 } }))
            assert.is_true(contiguous("\r\n", {}))
            assert.is_true(contiguous("A:\r\n\r\n", { { 0, 1, 2, 0 } }))
        end)

        it("does not hold otherwise", function()
            assert.is_false(contiguous("A: b\nCd:e\r\n\r\n", { { 0, 1, 3, 1 }, { 5, 2, 8, 1 } }), "bare LF")
            assert.is_false(contiguous("A: b\r\nCd:e\r\n\n", { { 0, 1, 3, 1 }, { 6, 2, 9, 1 } }), "bare LF at the end")
            assert.is_false(contiguous("A: b\r\n c\r\nD:e\r\n\r\n", { { 0, 1, 3, 1 }, { 10, 1, 12, 1 } }), "folded")
            assert.is_false(contiguous("A: b\r\n c\r\n\r\n", { { 0, 1, 3, 1 } }), "folded at the end")
            assert.is_false(contiguous("A: b\0c\r\nD:e\r\n\r\n", { { 0, 1, 3, 1 }, { 8, 1, 10, 1 } }), "NUL")
            assert.is_false(contiguous("\nA: b\r\n\r\n", { { 1, 1, 4, 1 } }), "something before")
            assert.is_false(contiguous("\n", {}))
        end)
    end)

    describe("media types", function()
        local function parse(text)
            local media = lib.evrt_media_parse(c.slice(text))
            return { c.string(media.type), c.string(media.charset) }
        end

        it("are taken apart", function()
            assert.are.same({ "application/json", "utf-8" }, parse "application/json; charset=utf-8")
            assert.are.same({ "a/b", "UTF-8" }, parse " a/b ;x=y; Charset=\"UTF-8\" ")
            assert.are.same({ "a/b", "" }, parse "a/b;charset;=;x=charset=utf-8;")
            assert.are.same({ "", "" }, parse "")
            assert.are.same({ "", "" }, parse(nil))
        end)
    end)
end)
