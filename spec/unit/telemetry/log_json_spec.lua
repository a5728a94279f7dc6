-- Foreign JSON: copied compactly, made canonical, refused when it is not JSON.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/log_json.h" })

describe("telemetry/log_json", function()
    local out, scratch
    before_each(function()
        out, scratch = ffi.new "struct evrt_buf", ffi.new "struct evrt_buf"
    end)
    after_each(function()
        lib.evrt_buf_finish(out)
        lib.evrt_buf_finish(scratch)
    end)

    -- The copy, or nil; input in memory of exactly its size.
    local function copy(text)
        local bytes = c.exact(text)
        local r = ffi.new("struct evrt_log_json", bytes, bytes + #text, scratch, 0)
        out.n = 0
        if lib.evrt_log_json_value(r, out, 1000) < 0 or r.p ~= r["end"] then return nil end
        return c.string(out)
    end

    it("copies every kind of value without its spaces", function()
        for text, want in pairs { ["0"] = "0", ["-0.5e+10"] = "-0.5e+10", ["1E9"] = "1E9", [" true "] = "true",
            ["\t[ ]\r\n"] = "[]", ["{ }"] = "{}", ["null"] = "null", ["[1 , false]"] = "[1,false]",
            ['{ "a" : { "b" : [ { } ] } , "c":"d" }'] = '{"a":{"b":[{}]},"c":"d"}' } do
            assert.equal(want, copy(text))
        end
    end)

    it("writes strings anew, in one canonical form", function()
        for text, want in pairs { [ [["\u0061\/\b\f\n\r\t\"\\"]] ] = [["a/\u0008\u000c\n\r\t\"\\"]],
            [ [["\ud83d\ude00"]] ] = '"\240\159\152\128"', [ [["\ud83d"]] ] = '"\\ufffd"',
            [ [["\ude00x"]] ] = '"\\ufffdx"', [ [["\ud83d\u0041"]] ] = '"\\ufffdA"',
            [ [["\u2028"]] ] = [["\u2028"]], ['"\255"'] = '"\\ufffd"', ['"a\nb"'] = '"a\\nb"' } do
            local got = copy(text)
            -- A lone surrogate becomes the character U+FFFD itself.
            assert.equal((want:gsub("\\ufffd", text:find "\255" and "\\ufffd" or "\239\191\189")), got)
        end
    end)

    it("refuses what is not JSON, wherever it ends", function()
        for _, text in ipairs { "", " ", "-",
            "01", "1.", ".5", "1e", "+1", "nulL", "[", "[1", "[1,", "{", '{"a"', '{"a":',
            '{"a":1', '{"a":1,', "{1:2}", '"', '"\\', '"\\u', '"\\u12', '"\\u12g4"', '"\\q"', "[1 2]", "[]]", "'a'" } do
            assert.is_nil(copy(text), text)
        end
        local whole = '{"a":[1.5e3,true,null,"x\\u00e9\\ud83d\\ude00"],"b":{}}'
        for n = 0, #whole - 1 do assert.is_nil(copy(whole:sub(1, n))) end
        assert.is_string(copy(whole))
    end)

    it("goes as deep as it says and no deeper", function()
        local depth = c.define.EVRT_LOG_JSON_DEPTH
        assert.equal(("["):rep(depth) .. ("]"):rep(depth), copy(("["):rep(depth) .. ("]"):rep(depth)))
        assert.is_nil(copy(("["):rep(depth + 1) .. ("]"):rep(depth + 1)))
    end)

    it("reads members one by one", function()
        local text = [[ "a" : 1 , "\u0062":"x" ]]
        local bytes = c.exact(text)
        local r = ffi.new("struct evrt_log_json", bytes, bytes + #text, scratch, 0)
        assert.equal(1, lib.evrt_log_json_key(r, true))
        assert.equal("a", c.string(scratch))
        assert.equal(0, lib.evrt_log_json_value(r, out, 1000))
        assert.equal(1, lib.evrt_log_json_key(r, false))
        assert.equal("b", c.string(scratch))
        assert.equal(0, lib.evrt_log_json_value(r, out, 1000))
        assert.equal(0, lib.evrt_log_json_key(r, false))
        assert.equal('1"x"', c.string(out))
    end)

    it("cuts strings between characters", function()
        lib.evrt_log_json_quote(out, c.slice "aa\195\188bb", 3)
        assert.equal('"aa... (cut, 6 bytes)"', c.string(out))
    end)
end)
