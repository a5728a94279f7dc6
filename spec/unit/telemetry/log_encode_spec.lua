-- Lines: one valid object a line whatever goes in, no key twice, exact text for what is usual.
local ffi = require "ffi"
local cjson = require "cjson"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/log_encode.h" })
local field = require "spec.support.logfield"

local WHEN = 1736245845123LL -- 2025-01-07T10:30:45.123Z

describe("telemetry/log_encode", function()
    local e

    local function encoder(options)
        if e then lib.evrt_log_encoder_finish(e) end
        e = ffi.new "struct evrt_log_encoder"
        lib.evrt_log_encoder_init(e, ffi.new("struct evrt_log_options", options or {}),
            options ~= nil and options.colour == true)
    end

    before_each(function() encoder() end)
    after_each(function()
        lib.evrt_log_encoder_finish(e)
        e = nil
    end)

    local function encode(fields, msg, level, caller)
        msg = msg or "m"
        lib.evrt_log_encode(e, WHEN, level or 1, caller, c.slice(msg), field.list(fields))
        return c.string(e.line)
    end

    -- The value of a line that is one object on one line.
    local function object(line)
        assert.equal(#line, (line:find("\n", 1, true)))
        local value = cjson.decode(line)
        assert.is_table(value)
        return value
    end

    it("writes the usual line exactly", function()
        encoder { caller = true }
        assert.equal('{"level":"info","timestamp":"2025-01-07T10:30:45.123Z","caller":"bus/bus.c:12",'
            .. '"msg":"Event handled successfully","event_type":"like.added","duration":"0.023s","attempt":1,'
            .. '"ok":true,"delta":-9223372036854775808,"big":18446744073709551615,"x":0.5,'
            .. '"event_time":"1970-01-01T00:00:00.001Z","list":[1,{"a":"b"}]}\n',
            encode({ { "str", "event_type", "like.added" }, { "duration", "duration", 23000000 },
                { "u64", "attempt", 1 }, { "bool", "ok", true },
                { "i64", "delta", -9223372036854775807LL - 1 },
                { "u64", "big", 18446744073709551615ULL }, { "double", "x", 0.5 },
                { "time", "event_time", 1 }, { "json", "list", ' [ 1 , {"a" : "b"} ] ' } },
                "Event handled successfully", 1, "bus/bus.c:12"))
    end)

    it("writes the runtime's own keys as it writes anyone's", function()
        local values = { { "u64", 0ULL }, { "u64", 18446744073709551615ULL }, { "i64", -5LL }, { "bool", true },
            { "duration", -1234567000 }, { "duration", 60e9 }, { "time", 1 }, { "double", 0.5 }, { "json", "[1]" },
            { "str", "" }, { "str", 'a"b' }, { "str", ("x"):rep(20000) }, { "str", "caf\195\169" } }
        for n = 1, 40 do values[#values + 1] = { "str", ("v"):rep(n) } end
        local list = { { "str", "level", "debug" }, { "str", "msg", "two" }, { "str", "stacktrace", "a.lua:1" } }
        for i, v in ipairs(values) do list[#list + 1] = { v[1], ("k"):rep(i), v[2] } end
        for _, options in ipairs { {}, { stacktrace = true }, { console = true } } do
            encoder(options)
            local expected = encode(list)
            local fields, count = field.list(list)
            for i = 0, count - 1 do fields[i].own_n = #ffi.string(fields[i].key) end
            lib.evrt_log_encode(e, WHEN, 1, nil, c.slice "m", fields, count)
            assert.equal(expected, c.string(e.line))
        end
    end)

    it("has no caller when there is none or it is not wanted", function()
        assert.is_nil(object(encode({}, "m", 1, "a.c:1")).caller)
        encoder { caller = true }
        assert.is_nil(object(encode({})).caller)
    end)

    it("follows the clock across a second", function()
        for ms, text in pairs { [999] = "1970-01-01T00:00:00.999Z", [1000] = "1970-01-01T00:00:01.000Z",
            [59999] = "1970-01-01T00:00:59.999Z", [7] = "1970-01-01T00:00:00.007Z" } do
            lib.evrt_log_encode(e, ms, 0, nil, c.slice "m", nil, 0)
            assert.equal(('{"level":"debug","timestamp":"%s","msg":"m"}\n'):format(text), c.string(e.line))
        end
    end)

    it("shows durations in seconds, to the millisecond or the microsecond", function()
        local want = { [0] = "0.000s", [999] = "0.000s", [1000] = "0.000001s", [23000000] = "0.023s",
            [23417999] = "0.023417s", [61000000000] = "61.000s", [-1500000000] = "-1.500s",
            [3600000000000] = "3600.000s" }
        for ns, text in pairs(want) do
            assert.equal(text, object(encode { { "duration", "d", ns } }).d)
        end
    end)

    it("writes a key once, the first", function()
        assert.equal('{"level":"info","timestamp":"2025-01-07T10:30:45.123Z","msg":"m","a":1,"b":2,"c":3}\n',
            encode { { "u64", "a", 1 }, { "u64", "b", 2 }, { "u64", "a", 9 }, { "str", "b", "x" },
                { "members", [["a":7, "c":3,"c":4,"\u0062":5]] }, { "json", "c", "{}" } })
    end)

    it("finds a key given twice among hundreds", function()
        local fields = {}
        for i = 1, 300 do fields[i] = { "u64", "key" .. i, i } end
        for i = 1, 300 do fields[#fields + 1] = { "u64", "key" .. i, 0 } end
        local _, count = encode(fields):gsub('"key%d+":', "")
        assert.equal(300, count)
    end)

    it("keeps its own keys to itself", function()
        local line = encode { { "str", "level", "x" }, { "str", "msg", "y" }, { "str", "msg_", "z" },
            { "members", '"timestamp":1,"caller":2,"m\\u0073g":3' } }
        assert.truthy(line:find('"msg":"m","level_":"x","msg_":"y","timestamp_":1,"caller_":2}', 1, true))
    end)

    it("leaves out what is absent, and stack traces unless they are wanted", function()
        assert.equal('"msg":"m","a":"","c":1}\n',
            encode({ { "str", "a", "" }, { "str", "b", nil }, { "json", "j", nil }, { "u64", "c", 1 },
                { "str", "stacktrace", "x:1" } }):match '"msg".*')
        encoder { stacktrace = true }
        assert.equal("x:1", object(encode { { "str", "stacktrace", "x:1" } }).stacktrace)
    end)

    it("escapes what would break the line or a terminal, and repairs what is not UTF-8", function()
        local line = encode({ { "str", "a", "\0\n\r\t\27[31m\127\"\\" }, { "str", "b", "\226\128\168\194\155" },
            { "str", "c", "gr\195\188n \240\159\152\128" }, { "str", "d", "\255\192\128\237\160\128" } }, "x\ny")
        assert.equal('"msg":"x\\ny","a":"\\u0000\\n\\r\\t\\u001b[31m\\u007f\\"\\\\","b":"\\u2028\\u009b",'
            .. '"c":"gr\195\188n \240\159\152\128","d":"' .. ("\\ufffd"):rep(6) .. '"}\n', line:match '"msg".*')
    end)

    it("cuts long values between characters and says so", function()
        local long = ("\195\188"):rep(20000)
        local v = object(encode({ { "str", "v", long }, { "json", "j", '{"deep":["' .. long .. '"]}' },
            { "members", '"m":"' .. long .. '"' } }, long))
        local text = ("\195\188"):rep(8192) .. "... (cut, 40000 bytes)"
        assert.equal(text, v.msg)
        assert.equal(text, v.v)
        assert.equal(text, v.j.deep[1])
        assert.equal(text, v.m)
        local array = "[" .. ("1,"):rep(20000) .. "1]"
        v = object(encode { { "json", "j", array }, { "members", '"m":' .. array } })
        assert.equal(array:sub(1, 16384) .. "... (cut, 40003 bytes)", v.j)
        assert.equal(v.j, v.m)
    end)

    it("shows as text what is not the JSON it is said to be", function()
        for _, bad in ipairs { "", "{", "[1,]", "01", "1 2", "tru", '"\\x"', '"open', '{"a"}', "nul\n", "]",
            ("["):rep(100) .. ("]"):rep(100) } do
            assert.equal(bad, object(encode { { "json", "j", bad } }).j)
        end
        for _, bad in ipairs { "x", '"a"', '"a":', '"a":1,', '"a":1 "b":2', '"a":1}', '"a":1},"b":{' } do
            local v = object(encode { { "u64", "z", 1 }, { "members", bad }, { "u64", "a", 5 } })
            assert.equal(bad, v.fields)
            assert.equal(5, v.a)
        end
    end)

    it("makes one object of any bytes", function()
        math.randomseed(7)
        local kinds = { "str", "json", "members" }
        local alphabet = { '"', "\\", "{", "}", "[", "]", ":", ",", "\n", "\0", "u", "d8", "00", "1", "-", "e", ".",
            "true", "null", "\226\128\169", "\255", "key", '"a":1', '"level":"x"' }
        for _ = 1, 4000 do
            local fields = {}
            for i = 1, math.random(0, 5) do
                local t = {}
                for j = 1, math.random(0, 12) do
                    t[j] = math.random() < 0.7 and alphabet[math.random(#alphabet)]
                        or string.char(math.random(0, 255))
                end
                local kind = kinds[math.random(#kinds)]
                local text = table.concat(t)
                fields[i] = kind == "members" and { kind, text }
                    or { kind, "k" .. (t[1] or ""):gsub("%z", "0"), text }
            end
            object(encode(fields, fields[1] and fields[1][2]))
            encoder { console = true }
            assert.equal(1, select(2, encode(fields):gsub("[%c\127]", "")))
            encoder()
        end
    end)

    it("gives back the memory that a huge line took", function()
        local fields = {}
        for i = 1, 64 do fields[i] = { "str", "k" .. i, ("x"):rep(16000) } end
        encode(fields)
        assert.is_true(e.line.cap > 1000000)
        encode {}
        assert.is_true(e.line.cap < 100000)
    end)

    describe("for the console", function()
        it("is readable and quotes only what needs it", function()
            encoder { console = true, caller = true }
            assert.equal('2025-01-07T10:30:45.123Z WARN  it\\nbroke caller=a.c:1 type=like.added why="a b" n=3 '
                .. 'd=0.005s q="a=\\"b\\"" none="" j={"a":1} "odd key"=1\n',
                encode({ { "str", "type", "like.added" }, { "str", "why", "a b" }, { "u64", "n", 3 },
                    { "duration", "d", 5000000 }, { "str", "q", 'a="b"' }, { "str", "none", "" },
                    { "json", "j", '{ "a":1}' }, { "members", '"odd key":1' } }, "it\nbroke", 2, "a.c:1"))
        end)

        it("colours the level when told to", function()
            encoder { console = true, colour = true }
            assert.equal("2025-01-07T10:30:45.123Z \27[31mERROR \27[0mm\n", encode({}, "m", 3))
        end)
    end)
end)
