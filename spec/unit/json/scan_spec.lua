local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("json", { "json/json.h" })
local depth = lib.EVRT_JSON_DEPTH

describe("json/scan", function()
    local err, info = ffi.new "struct evrt_error", ffi.new "struct evrt_json_info"

    -- nil when the document is good, else the message; and the code.
    local function check(text)
        local copy = c.exact(text)
        local slice = ffi.new("struct evrt_slice", copy, #text)
        local code = lib.evrt_json_check(slice, info, err)
        if code == 0 then return nil, 0 end
        return ffi.string(err.message), code
    end

    local good = {
        "null", "true", "false", "0", "-0", "7", "-12", "0.5", "1e5", "1E-5", "1e+05", "-0.0e-0",
        "123456789012345678901",
        '""', '"a"', '"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\u0000"', '"\\u00e9\\u65E5"', '"\\ud83d\\ude00"',
        '"\\uDBFF\\uDFFF"',
        '"\127"', '"\194\128"', '"\224\160\128"', '"\237\159\191"', '"\238\128\128"', '"\240\144\128\128"',
        '"\244\143\191\191"', '"\226\128\168"', '"// no comment"', "[]", "{}", "[[]]", '[{}]', "[1,2]", '{"":0}',
        '{"a":1,"b":[true,null,"x"],"c":{"a":{}}}', " \t\r\n[ 1 ,\n{ \"a\" : 1 } ] ", '[{"a":1},{"a":1}]',
        '{"a":{"a":{"a":1}}}', '{"a":1,"A":2}', '{"\\u0061":1,"\\u0062":2}', "1.7976931348623157e308", "5e-324",
        "1e-400",
        '"' .. ("x"):rep(5000) .. '"', '"' .. ("日本語"):rep(500) .. '"',
        ("["):rep(depth) .. ("]"):rep(depth),
        ('{"a":'):rep(depth) .. "0" .. ("}"):rep(depth), "0." .. ("0"):rep(400) .. "1", "1" .. ("0"):rep(308),
    }

    for _, text in ipairs(good) do
        it("accepts " .. (#text > 60 and text:sub(1, 30) .. "..." or text), function()
            assert.is_nil((check(text)))
        end)
    end

    -- Text, byte at which it is wrong, what is said.
    local bad = {
        { "", 1, "expected a value, found the end" },
        { "  ", 3, "expected a value, found the end" },
        { "nul", 1, "expected a value, found 'n'" },
        { "nulll", 5, "expected the end of the document, found 'l'" },
        { "True", 1, "expected a value, found 'T'" },
        { "NaN", 1, "expected a value, found 'N'" },
        { "[Infinity]", 2, "expected a value, found 'I'" },
        { "-Infinity", 2, "expected a digit, found 'I'" },
        { "+1", 1, "expected a value, found '+'" },
        { ".5", 1, "expected a value, found '.'" },
        { "1.", 3, "expected a digit after the decimal point, found the end" },
        { "[1.e5]", 4, "expected a digit after the decimal point, found 'e'" },
        { "1e", 3, "expected a digit in the exponent, found the end" },
        { "1e+", 4, "expected a digit in the exponent, found the end" },
        { "01", 1, "number with a leading zero" },
        { "-012", 2, "number with a leading zero" },
        { "0x1F", 2, "expected the end of the document, found 'x'" },
        { "1 2", 3, "expected the end of the document, found '2'" },
        { "1_000", 2, "expected the end of the document, found '_'" },
        { "-", 2, "expected a digit, found the end" },
        { "1e400", 1, "number out of range of a double" },
        { '{"a":-1e309}', 6, "number out of range of a double" },
        { "1" .. ("0"):rep(309), 1, "number out of range of a double" },
        { "[1,]", 4, "expected a value, found ']'" },
        { "[,1]", 2, "expected a value, found ','" },
        { "[1 2]", 4, "expected ',' or ']', found '2'" },
        { "[1", 3, "expected ',' or ']', found the end" },
        { "[", 2, "expected a value, found the end" },
        { "]", 1, "expected a value, found ']'" },
        { "[}", 2, "expected a value, found '}'" },
        { "{", 2, "expected a name in double quotes, found the end" },
        { "{]", 2, "expected a name in double quotes, found ']'" },
        { '{"a":1,}', 8, "expected a name in double quotes, found '}'" },
        { '{"a"}', 5, "expected ':', found '}'" },
        { '{"a" 1}', 6, "expected ':', found '1'" },
        { '{"a":}', 6, "expected a value, found '}'" },
        { '{"a":1', 7, "expected ',' or '}', found the end" },
        { '{"a":1 "b":2}', 8, "expected ',' or '}', found '\"'" },
        { "{a:1}", 2, "expected a name in double quotes, found 'a'" },
        { "{'a':1}", 2, "expected a name in double quotes, found '''" },
        { "{1:1}", 2, "expected a name in double quotes, found '1'" },
        { "['a']", 2, "expected a value, found '''" },
        { "/* c */ 1", 1, "expected a value, found '/'" },
        { "1 // c", 3, "expected the end of the document, found '/'" },
        { '"a', 1, "string is not closed" },
        { '"a\\', 4, "string is not closed" },
        { '"a\\"', 1, "string is not closed" },
        { '"\\x41"', 3, 'expected one of " \\ / b f n r t u after \\, found \'x\'' },
        { '"\\\0"', 3, 'expected one of " \\ / b f n r t u after \\, found byte 0x00' },
        { '"\\u12G4"', 6, "expected four hex digits after \\u, found 'G'" },
        { '"\\u12', 6, "expected four hex digits after \\u, found the end" },
        { '"\\ud83d"', 2, "lone surrogate in \\u escape" },
        { '"x\\ude00"', 3, "lone surrogate in \\u escape" },
        { '"\\ud83d\\ud83d"', 2, "lone surrogate in \\u escape" },
        { '"\\ud83dx\\ude00"', 2, "lone surrogate in \\u escape" },
        { '"\\ud83d\\n"', 2, "lone surrogate in \\u escape" },
        { '{"\\udc00":1}', 3, "lone surrogate in \\u escape" },
        { '"a\nb"', 3, "control character in a string, write it as \\u00XX" },
        { '"\0"', 2, "control character in a string, write it as \\u00XX" },
        { '"\31"', 2, "control character in a string, write it as \\u00XX" },
        { '"\128"', 2, "bytes that are not UTF-8" },
        { '"a\192\175"', 3, "bytes that are not UTF-8" },          -- overlong '/'
        { '"\224\128\175"', 2, "bytes that are not UTF-8" },
        { '"\240\128\128\175"', 2, "bytes that are not UTF-8" },
        { '"\237\160\128"', 2, "bytes that are not UTF-8" },        -- a surrogate
        { '"\244\144\128\128"', 2, "bytes that are not UTF-8" },    -- beyond U+10FFFF
        { '"\195"', 2, "bytes that are not UTF-8" },
        { '"\195', 2, "bytes that are not UTF-8" },
        { "\239\187\1911", 1, "byte-order mark before the document" },
        { "[\194\1601]", 2, "expected a value, found byte 0xc2" }, -- a no-break space
        { "[\11]", 2, "expected a value, found byte 0x0b" },
        { "1\0", 2, "expected the end of the document, found byte 0x00" },
        { '1 "x', 3, "expected the end of the document, found '\"'" },
        { "{}{}", 3, "expected the end of the document, found '{'" },
        { "[]]", 3, "expected the end of the document, found ']'" },
        { '{"a":1,"a":2}', 8, 'name "a" that stands twice in one object' },
        { '{"a":1,"\\u0061":2}', 8, 'name "\\u0061" that stands twice in one object' },
        { '{"\\u0061":1,"a":2}', 13, 'name "a" that stands twice in one object' },
        { '{"":1,"":2}', 7, 'name "" that stands twice in one object' },
        { '[{"x":{"b":1,"c":2,"b":3}}]', 20, 'name "b" that stands twice in one object' },
    }

    for _, case in ipairs(bad) do
        local text, byte, says = case[1], case[2], case[3]
        it("refuses " .. (#text > 60 and text:sub(1, 30) .. "..." or text:gsub("%c", "?")), function()
            local message, code = check(text)
            assert.equal(-22, code)
            assert.equal(says, (message:gsub(" at byte.*", "")))
            assert.equal(byte, tonumber(message:match " at byte (%d+) %(line"))
        end)
    end

    it("tells line and column, counting characters", function()
        assert.equal("expected a value, found 'x' at byte 24 (line 3, column 6)",
            (check '{"a":1,\n "b":2,\n "日":x}'))
    end)

    it("refuses what is nested too deep, by its own code", function()
        local message, code = check(("["):rep(depth + 1) .. ("]"):rep(depth + 1))
        assert.equal(-7, code)
        assert.equal(("nested too deep at byte %d (line 1, column %d)"):format(depth + 1, depth + 1), message)
        assert.equal(-7, select(2, check(('{"a":'):rep(100000))))
    end)

    it("says what kind of value a document is", function()
        local kinds = { NULL = "null", BOOL = "true", NUMBER = "1", STRING = '""', ARRAY = " []", OBJECT = "{}" }
        for kind, text in pairs(kinds) do
            assert.is_nil((check(text)))
            assert.equal(tonumber(lib["EVRT_JSON_" .. kind]), tonumber(info.type))
        end
    end)

    it("cuts a document at every byte without accepting it or reading past the end", function()
        local text = '{"a\\u00e9":[1.5e3,"\\ud83d\\ude00 日本",true,null],"b":{"c":false}}'
        for n = 0, #text - 1 do
            assert.is_string((check(text:sub(1, n))))
        end
        assert.is_nil((check(text)))
    end)

    describe("members", function()
        local seen, stop

        local callback = ffi.cast("evrt_json_member_cb", function(_, m)
            seen[#seen + 1] = { key = m.key.p ~= nil and c.string(m.key) or false, value = c.string(m.value),
                type = tonumber(m.info.type) }
            return stop and #seen == stop and -42 or 0
        end)

        local function members(text)
            seen = {}
            local copy = c.exact(text)
            return lib.evrt_json_members(ffi.new("struct evrt_slice", copy, #text), callback, nil, info, err)
        end

        before_each(function() stop = nil end)
        teardown(function() callback:free() end)

        it("tells each member's unescaped name and exact bytes", function()
            assert.equal(0, members ' { "a" : 1.50 , "b\\u0041\\n" : [ 1, {"x":2} ],"c":"\\u0041" , "d":{ } } ')
            assert.same({
                { key = "a", value = "1.50", type = 2 },
                { key = "bA\n", value = '[ 1, {"x":2} ]', type = 4 },
                { key = "c", value = '"\\u0041"', type = 3 },
                { key = "d", value = "{ }", type = 5 },
            }, seen)
        end)

        it("tells each element of an array", function()
            assert.equal(0, members '[null, [[]] ,{"a":[1]}]')
            assert.same({
                { key = false, value = "null", type = 0 },
                { key = false, value = "[[]]", type = 4 },
                { key = false, value = '{"a":[1]}', type = 5 },
            }, seen)
        end)

        it("tells nothing of a document that holds nothing", function()
            for _, text in ipairs { "{}", "[]", "1", '"x"' } do
                assert.equal(0, members(text))
                assert.same({}, seen)
            end
        end)

        it("stops when it is told to", function()
            stop = 2
            assert.equal(-42, members "[1,2,3]")
            assert.equal(2, #seen)
        end)

        it("has told what stands before an error", function()
            assert.equal(-22, members '{"a":1,"b":x}')
            assert.same({ { key = "a", value = "1", type = 2 } }, seen)
        end)
    end)
end)
