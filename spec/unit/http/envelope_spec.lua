local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("http", { "http/envelope.h" })

-- Modes, by HTTP binding and JSON format of CloudEvents 1.0.2.
describe("http/envelope", function()
    local envelope, err, keep

    before_each(function()
        envelope, err, keep = ffi.new "struct evrt_envelope", ffi.new "struct evrt_error", {}
        lib.evrt_envelope_init(envelope)
    end)
    after_each(function() lib.evrt_envelope_finish(envelope) end)

    local function exact(text)
        keep[#keep + 1] = c.exact(text)
        return ffi.new("struct evrt_slice", keep[#keep], #text)
    end

    local function headers(list)
        local n = #list / 2
        local h = ffi.new("struct evrt_header[?]", math.max(n, 1))
        for i = 0, n - 1 do
            h[i].name, h[i].value = exact(list[2 * i + 1]), exact(list[2 * i + 2])
        end
        keep[#keep + 1] = h
        return h, n
    end

    local names = { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema", "data" }
    local flags = { json = 1, base64 = 2, has_data = 4 }

    -- The event as a table; or nil and the reason.
    local function told(code)
        if code < 0 then
            assert.are.equal(-22, code)
            return nil, ffi.string(err.message)
        end
        local out, event = { extensions = {} }, envelope.event
        for _, name in ipairs(names) do
            if event[name].p ~= nil then out[name] = c.string(event[name]) end
        end
        local at, x = ffi.new "size_t[1]", ffi.new "struct evrt_extension"
        while lib.evrt_extensions_next(event.extensions, at, x) do
            out.extensions[c.string(x.name)] = string.char(x.kind) .. ":" .. c.string(x.value)
        end
        for name, bit in pairs(flags) do
            if math.floor(event.flags / bit) % 2 == 1 then out[name] = true end
        end
        return out
    end

    local function structured(text)
        return told(lib.evrt_envelope_structured(envelope, exact(text), err))
    end

    local function binary(list, body)
        local h, n = headers(list)
        return told(lib.evrt_envelope_binary(envelope, h, n, exact(body or ""), err))
    end

    local function fails(why, _, message)
        assert.truthy(message and message:find(why, 1, true), tostring(message) .. "\n  lacks: " .. why)
    end

    describe("mode", function()
        local function detect(list)
            local h, n = headers(list)
            local mode = ffi.new "enum evrt_envelope_mode[1]"
            local code = lib.evrt_envelope_detect(h, n, mode, err)
            if code < 0 then return nil, ffi.string(err.message), code end
            return tonumber(mode[0])
        end

        it("follows Content-Type and ce- headers", function()
            assert.are.equal(0, detect { "ce-type", "a" })
            assert.are.equal(0, detect { "CE-Id", "a", "Content-Type", "application/json" })
            assert.are.equal(1, detect { "Content-Type", "application/cloudevents+json" })
            assert.are.equal(1, detect { "Content-Type", "Application/CloudEvents+JSON ; charset=\"UTF-8\"" })
            assert.are.equal(1, detect { "Content-Type", "application/cloudevents+json", "ce-type", "a" })
            assert.are.equal(2, detect { "Content-Type", "application/cloudevents-batch+json" })
        end)

        it("refuses the rest with 415, saying what to send", function()
            for _, list in ipairs { {}, { "Content-Type", "application/json" }, { "ce-", "x" } } do
                local _, message, code = detect(list)
                assert.are.equal(-124, code)
                assert.truthy(message:find("application/cloudevents+json", 1, true))
                assert.truthy(message:find("ce-type", 1, true))
            end
            fails("application/cloudevents+avro", detect { "Content-Type", "application/cloudevents+avro" })
            fails("application/cloudevents is", detect { "Content-Type", "application/cloudevents" })
            fails("latin1", detect { "Content-Type", "application/cloudevents+json; charset=latin1" })
        end)
    end)

    describe("structured", function()
        it("takes attributes, extensions with their kinds, and data as the bytes that stand there", function()
            assert.are.same({
                id = "1", type = "a.b", source = "/s", time = "2025-01-01T00:00:00Z", subject = "x",
                datacontenttype = "application/json", dataschema = "http://x/y", data = '{ "n" : 1.50,"e":[ ] }',
                extensions = { partitionkey = "s:k", n = "i:-12", flag = "b:true", off = "b:false" },
                json = true, has_data = true,
            }, structured [[{"specversion":"1.0","id":"1","type":"a.b","source":"/s","time":"2025-01-01T00:00:00Z",
                "subject":"x","datacontenttype":"application/json","dataschema":"http://x/y",
                "data": { "n" : 1.50,"e":[ ] } , "partitionkey":"k","n":-12,"flag":true,"off":false}]])
        end)

        it("needs nothing but an object", function()
            assert.are.same({ extensions = {} }, structured "{}")
        end)

        it("unescapes texts", function()
            local e = structured [[{"id":"\u00e9\n","subject":"a\"b","x":"\\","\u0074ype":"t"}]]
            assert.are.same({ id = "é\n", subject = 'a"b', type = "t", extensions = { x = "s:\\" } }, e)
        end)

        it("reads a null attribute as absent, and null data as data", function()
            assert.are.same({ extensions = {}, data = "null", json = true, has_data = true },
                structured [[{"id":null,"x":null,"data":null}]])
        end)

        it("decodes data_base64", function()
            assert.are.same({ extensions = {}, datacontenttype = "image/png", data = "\0\255", base64 = true,
                has_data = true }, structured [[{"data_base64":"AP8=","datacontenttype":"image/png"}]])
            local e = structured [[{"data_base64":"eyJhIjoxfQ=="}]]
            assert.are.same({ extensions = {}, data = '{"a":1}', json = true, base64 = true, has_data = true }, e)
            assert.are.same({ extensions = {}, data = "", base64 = true, has_data = true },
                structured [[{"data_base64":""}]])
            assert.are.equal("\255", structured([[{"data_base64":"\/w=="}]]).data)
        end)

        it("takes the text of a string when datacontenttype is not JSON, wherever that stands", function()
            assert.are.equal("<a>\n</a>", structured([[{"data":"<a>\n</a>","datacontenttype":"text/xml"}]]).data)
            assert.are.equal("plain", structured([[{"datacontenttype":"text/plain","data":"plain"}]]).data)
            assert.is_nil(structured([[{"data":"x","datacontenttype":"text/xml"}]]).json)
            assert.are.equal('"x"', structured([[{"data":"x","datacontenttype":"application/geo+json"}]]).data)
            assert.are.equal('{"a":1}', structured([[{"data":{"a":1},"datacontenttype":"text/xml"}]]).data)
        end)

        local bad = {
            ["[]"] = "expected an event as a JSON object, got an array",
            ['"x"'] = "expected an event as a JSON object, got a text",
            ["{"] = "at byte 2",
            ['{"id":1}'] = "id: expected a text, got a number at byte 7",
            ['{"type":{}}'] = "type: expected a text, got an object at byte 9",
            ['{"specversion":"0.3"}'] = 'specversion: expected 1.0, got "0.3"',
            ['{"specversion":1.0}'] = 'specversion: expected the text "1.0", got a number at byte 16',
            ['{"x":1.5}'] = "x: expected a whole number of 32 bits, got a number at byte 6",
            ['{"x":1e2}'] = "whole number",
            ['{"x":2147483648}'] = "whole number",
            ['{"x":-2147483649}'] = "whole number",
            ['{"x":[]}'] = "x: expected a text, a whole number or a boolean, got an array at byte 6",
            ['{"X":1}'] = "X: an extension's name",
            ['{"a_b":1}'] = "a_b: an extension's name",
            ['{"":1}'] = "an extension's name",
            ['{"data":1,"data_base64":"AA=="}'] = "data and data_base64 are both given",
            ['{"data_base64":"AA=="  ,"data":null}'] = "data and data_base64 are both given",
            ['{"data_base64":17}'] = "data_base64: expected a text in base64, got a number",
            ['{"data_base64":"A*=="}'] = "data_base64: not base64 at character 2",
            ['{"data_base64":"e30","datacontenttype":"text/x"}'] = "data_base64: not base64 at character 4",
            ['{"data_base64":"ew==","datacontenttype":"application/json"}'] = "datacontenttype is JSON",
            ['{"id":"a","id":"b"}'] = "id",
            ['{"id":""}'] = "id: empty; give it a value, or leave it out",
            ['{"source":""}'] = "source: empty",
            ['{"subject":""}'] = "subject: empty",
            ['{"data":NaN}'] = "found 'N' at byte 9",
            ['{"id":"\255"}'] = "UTF-8",
            ['{"data":' .. ("["):rep(200) .. ("]"):rep(200) .. "}"] = "deep",
        }
        for text, why in pairs(bad) do
            it("refuses " .. text:sub(1, 60), function() fails(why, structured(text)) end)
        end

        it("forgets the event before", function()
            structured [[{"id":"1","x":"y","data":{"a":1}}]]
            assert.are.same({ type = "t", extensions = {} }, structured [[{"type":"t"}]])
        end)

        it("keeps 32-bit limits", function()
            assert.are.same({ a = "i:2147483647", b = "i:-2147483648" },
                structured([[{"a":2147483647,"b":-2147483648}]]).extensions)
        end)
    end)

    describe("binary", function()
        it("takes headers as attributes and the body as data", function()
            assert.are.same({
                id = "1", type = "a.b", source = "/s", time = "2025-01-01T00:00:00Z", subject = "x",
                dataschema = "http://x", datacontenttype = "application/json; charset=utf-8", data = ' {"a":1}\n',
                extensions = { partitionkey = "s:k", n = "s:12" }, json = true, has_data = true,
            }, binary({ "Host", "x", "CE-SpecVersion", "1.0", "ce-id", "1", "ce-type", "a.b", "ce-source", "/s",
                "Ce-Time", "2025-01-01T00:00:00Z", "ce-subject", "x", "ce-dataschema", "http://x", "CE-PartitionKey",
                "k", "ce-n", "12", "Content-Type", "application/json; charset=utf-8" }, ' {"a":1}\n'))
        end)

        it("keeps bytes that are not JSON as they are", function()
            assert.are.same({ type = "a", datacontenttype = "application/octet-stream", data = "\0\255{",
                extensions = {}, has_data = true },
                binary({ "ce-type", "a", "content-type", "application/octet-stream" }, "\0\255{"))
        end)

        it("has no data without a body", function()
            assert.are.same({ type = "a", datacontenttype = "application/json", extensions = {} },
                binary { "ce-type", "a", "content-type", "application/json" })
        end)

        it("takes a body without a type for JSON", function()
            assert.is_true(binary({ "ce-type", "a" }, "[1]").json)
            fails("data: expected a value", binary({ "ce-type", "a" }, "hello"))
        end)

        it("decodes values as the binding says", function()
            local e = binary { "ce-type", "t", "ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-id", "%41%c3%a9",
                "ce-a", '"quoted \\"text\\" %20"', "ce-b", "100%25", "ce-c", 'half"', "ce-d", '""', "ce-e", "a b" }
            assert.are.equal("Euro € 😀", e.subject)
            assert.are.equal("Aé", e.id)
            assert.are.same({ a = 's:quoted "text"  ', b = "s:100%", c = 's:half"', d = "s:", e = "s:a b" },
                e.extensions)
        end)

        local bad = {
            { { "ce-subject", "100%" }, "ce-subject: byte 4: '%' is not followed by two hex digits" },
            { { "ce-x", "a%zz" }, "ce-x: byte 2" },
            { { "ce-id", "%C0%A0" }, "ce-id: percent-decodes to bytes that are not UTF-8, at byte 1" },
            { { "ce-id", "a%ff" }, "not UTF-8, at byte 2" },
            { { "ce-id", "" }, "id: empty; give it a value, or leave it out" },
            { { "ce-type", '""' }, "type: empty" },
            { { "ce-specversion", "0.3" }, 'specversion: expected 1.0, got "0.3"' },
            { { "ce-datacontenttype", "a/b" }, "Content-Type header" },
            { { "ce-data", "x" }, "the data is the body" },
            { { "ce-data_base64", "x" }, "the data is the body" },
            { { "ce-a-b", "x" }, "a-b: an extension's name" },
            { { "ce-" .. ("x"):rep(65), "x" }, "at most 64" },
        }
        for _, case in ipairs(bad) do
            it("refuses " .. case[1][1] .. ": " .. case[1][2], function() fails(case[2], binary(case[1])) end)
        end
        it("says where data is not JSON", function()
            fails("data: expected a value, found 'N' at byte 6",
                binary({ "ce-type", "t", "content-type", "application/vnd.x+json" }, '{"a":NaN}'))
        end)
    end)

    describe("batch", function()
        local function batch(text, max)
            local b = ffi.new "struct evrt_batch"
            local code = lib.evrt_envelope_batch(b, exact(text), max or 10, err)
            if code < 0 then return nil, ffi.string(err.message), code end
            local items = {}
            for i = 0, tonumber(b.count) - 1 do items[#items + 1] = c.string(b.items[i].value) end
            ffi.C.free(b.items)
            return items
        end

        it("splits an array", function()
            assert.are.same({ '{"a":[1]}', "{}", "7" }, batch ' [ {"a":[1]} ,{},7 ] ')
            assert.are.same({}, batch "[]")
            assert.are.equal(300, #batch("[" .. ("{},"):rep(299) .. "{}]", 300))
        end)

        it("refuses what is none, or too long", function()
            fails("expected a batch as a JSON array of events, got an object", batch "{}")
            fails("at byte 5", batch "[{},")
            local _, message, code = batch("[1,2,3]", 2)
            assert.are.equal(-7, code)
            assert.truthy(message:find("at most 2 events (http.max_batch)", 1, true))
        end)
    end)
end)
