-- The event and the ctx that a handler gets.
local worker = require "spec.support.worker"
local c = require "spec.support.c"

local HAS_DATA = 4

local function run(body, event, options)
    local outcome, printed = worker.run(body, event, options)
    assert.equal("done", outcome.message or outcome)
    return printed
end

local function extensions(list)
    local frame = c.load("frame", { "core/event.h" })
    local b = require "ffi".new "struct evrt_buf"
    for _, x in ipairs(list) do
        assert(frame.evrt_extensions_add(b, c.slice(x[1]), string.byte(x[2]), c.slice(x[3])) == 0)
    end
    local bytes = c.string(b)
    frame.evrt_buf_finish(b)
    return bytes
end

describe("event", function()
    it("has its attributes as fields", function()
        assert.same({ "id-1 a.b /spec 2025-01-07T10:30:45.123Z sub text/plain urn:x 12345" }, run([[
            print(table.concat({ event.id, event.type, event.source, event.time, event.subject,
                event.datacontenttype, event.dataschema, event.seq }, " "))]],
            { type = "a.b", subject = "sub", datacontenttype = "text/plain", dataschema = "urn:x", seq = 12345 }))
    end)

    it("is nil where nothing is", function()
        assert.same({ "nil nil nil nil nil nil" }, run [[
            local t = {}
            for i, k in ipairs { "subject", "datacontenttype", "dataschema", "data", "raw", "nonsense" } do
                t[i] = tostring(event[k])
            end
            print(table.concat(t, " "))]])
    end)

    it("decodes data once, when asked", function()
        assert.same({ "1 2 true nil" }, run(
            "local d = event.data print(d.x .. ' ' .. d.list[2] .. ' ' .. tostring(d == event.data) .. ' '"
            .. " .. tostring(d.none))",
            { type = "a", data = '{"x":1,"list":[1,2]}' }))
    end)

    it("keeps the exact bytes", function()
        local data = '{ "b": 1.50, "a":\t[ ] , "n": 9007199254740993 }'
        assert.same({ data }, run("print(event.raw)", { type = "a", data = data }))
        assert.same({ "[][]\t9007199254740993" }, run(
            [[print(evrt.json.encode(event.data.a) .. evrt.json.encode(event.data.a),
                evrt.json.encode(event.data.n))]], { type = "a", data = data }))
    end)

    it("gives data that is not JSON as a string", function()
        assert.same({ "string\t{not\0json\ttrue" }, run("print(type(event.data), event.data, event.raw == event.data)",
            { type = "a", data = "{not\0json", flags = HAS_DATA }))
    end)

    it("tells empty data from none", function()
        assert.same({ "\t" }, run("print(event.data, event.raw)", { type = "a", data = "", flags = HAS_DATA }))
    end)

    it("has extensions with their types", function()
        assert.same({ "string abc", "number -7", "boolean true", "boolean false", "nil nil" }, run([[
            for _, k in ipairs { "traceparent", "count", "yes", "no", "other" } do
                print(type(event.extensions[k]) .. " " .. tostring(event.extensions[k]))
            end]], { type = "a", extensions = extensions {
            { "traceparent", "s", "abc" }, { "count", "i", "-7" }, { "yes", "b", "true" }, { "no", "b", "false" },
        } }))
    end)

    it("belongs to the handler that changes it", function()
        local w = worker.start { ["h.lua"] = [[return { name = "H", events = "**", handle = function(event)
            print(event.data.x, event.mine) event.data.x = 2 event.mine = true end }]] }
        w:expect "READY"
        for _ = 1, 2 do w:handle { type = "a", data = '{"x":1}' } end
        assert.same({ "1\tnil", "1\tnil" }, w:printed())
        w:stop()
    end)

    it("cannot be made to read beyond itself", function()
        assert.equal("error", worker.run("event[0] = ('\\255'):rep(60) return event.type").error_type)
        assert.equal("error", worker.run("event[0] = nil return event.type").error_type)
    end)

    it("encodes as a structured CloudEvent", function()
        local cjson = require "cjson"
        local base = { specversion = "1.0", id = "id-1", type = "a.b", source = "/spec",
            time = "2025-01-07T10:30:45.123Z" }
        local function encoded(event)
            event.type = "a.b"
            return cjson.decode(run("print(evrt.json.encode(event))", event)[1])
        end
        assert.same(base, encoded {})
        base.data, base.traceparent = { x = 1 }, "abc"
        assert.same(base, encoded { data = '{"x":1}', extensions = extensions { { "traceparent", "s", "abc" } } })
        base.data, base.traceparent = nil, nil
        for bytes, text in pairs {
            ["\0"] = "AA==", ["\0\1"] = "AAE=", ["\255\254\253"] = "//79", ["abcd"] = "YWJjZA==",
        } do
            base.data_base64 = text
            assert.same(base, encoded { data = bytes, flags = HAS_DATA })
        end
    end)

    it("is not taken for data by mistake", function()
        assert.same({ "nil" }, run "print((evrt.json.encode { event = event }))")
    end)

    it("reads as text", function()
        assert.same({ "event a.b id-1 from /spec" }, run "print(event)")
    end)
end)

describe("ctx", function()
    it("tells handler, attempt, deadline and replay", function()
        assert.same({ "H\t3\tfalse\ttrue" }, run(
            "local left = ctx.deadline - evrt.time.monotonic()"
            .. " print(ctx.handler, ctx.attempt, ctx.replay, left > 40 and left <= 60)",
            nil, { attempt = 3, timeout_ms = 60000 }))
    end)

    it("says when an operator has the event made again", function()
        assert.same({ "true\t1\tnil" }, run("print(ctx.replay, ctx.attempt, ctx.deadline)", nil, { purpose = 1 }))
        assert.same({ "true\ttrue" }, run("print(ctx.replay, ctx.deadline > 0)", nil,
            { purpose = 1, timeout_ms = 1000 }))
    end)

    it("has one idempotency key for all attempts, and none in common with others", function()
        local keys = {}
        for i, case in ipairs {
            { {}, { attempt = 1 } }, { {}, { attempt = 2 } }, { { id = "other" }, {} }, { { source = "/other" }, {} },
            { {}, { handler = 1 } },
        } do
            local w = worker.start { ["h.lua"] = [[
                local function handle(_, ctx) print(ctx.idempotency_key) end
                return {
                    { name = "A", events = "**", handle = handle },
                    { name = "B", events = "**", handle = handle },
                }]] }
            w:expect "READY"
            case[1].type = "a"
            w:handle(case[1], case[2])
            keys[i] = w:printed()[1]
            w:stop()
        end
        assert.matches("^%x+$", keys[1])
        assert.equal(32, #keys[1])
        assert.equal(keys[1], keys[2])
        local seen = {}
        for i = 2, 5 do
            assert.is_nil(seen[keys[i]])
            seen[keys[i]] = true
        end
    end)

    it("raises on a field that it does not have", function()
        for _, field in ipairs { "db", "publis", "atempt" } do
            assert.equal(('h.lua:3: ctx has no field "%s"'):format(field), worker.run("return ctx." .. field).message)
        end
    end)
end)
