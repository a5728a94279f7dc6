-- evrt.publish: what goes to the host, what comes back to the script, and what is refused before.
local ffi = require "ffi"
local c = require "spec.support.c"
local worker = require "spec.support.worker"

local frame = c.load("frame", { "frame/frame.h", "core/event.h" })

-- Starts a worker whose handler publishes; returns it and the PUBLISH frame with its event decoded.
local function publish(expression, with, hello)
    local w = worker.start({ ["h.lua"] = ([[local evrt = require "evrt"
        return { name = "H", events = "**", handle = function(event, ctx)
            local sent, message, code = evrt.publish(%s)
            local outcomes = sent and sent.outcomes
            print(sent and sent.id, sent and sent.seq, message, code, outcomes and evrt.json.encode(outcomes))
        end }]]):format(expression) }, hello)
    w:expect "READY"
    w.delivery_id = w:deliver({ type = "a", hops = with and with.hops }, with)
    local f = w:next()
    if f.frame ~= "PUBLISH" then return w, f end
    local e = ffi.new "struct evrt_event"
    local keep = c.exact(f.event)
    assert(frame.evrt_event_decode(keep, #f.event, e) == 0)
    f.e = { seq = tonumber(e.seq), hops = e.hops, flags = e.flags }
    for _, name in ipairs { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema",
        "extensions", "data" } do
        f.e[name] = c.string(e[name])
    end
    return w, f
end

local function answer(w, f, fields)
    fields.token = f.token
    w:send("published", fields)
end

-- What the script printed in the end.
local function result(w)
    local outcome = w:settle(w.delivery_id)
    local printed = w:printed()
    w:stop()
    return printed[1] or outcome.message
end

local JSON, HAS_DATA, OWN_ID = 1, 4, 8

describe("publish", function()
    it("sends an event with defaults, and waits until it is durable", function()
        local w, f = publish "{ type = 'stats.changed', data = { likes = 3 } }"
        assert.equal("stats.changed", f.e.type)
        assert.equal("spec", f.e.source)
        assert.equal('{"likes":3}', f.e.data)
        assert.matches("^%x+%-%x+%-7", f.e.id)
        assert.matches("^%d+%-%d+%-%d+T.*Z$", f.e.time)
        assert.equal(JSON + HAS_DATA + OWN_ID, f.e.flags)
        assert.equal(1, f.e.hops)
        assert.equal(0, f.wait)
        assert.equal(w.delivery_id, f.delivery)
        answer(w, f, { status = 0, seq = 77, id = f.e.id })
        assert.equal(f.e.id .. "\t77\tnil\tnil\tnil", result(w))
    end)

    it("sends every attribute given", function()
        local w, f = publish [[{ type = "t", id = "i", source = "/s", time = "2025-01-07T10:30:45Z", subject = "u",
            dataschema = "urn:x", datacontenttype = "application/x+json", data = evrt.json.null,
            extensions = { n = 5, b = true, s = "text" } }]]
        assert.same({ "i", "/s", "2025-01-07T10:30:45Z", "u", "urn:x", "application/x+json", "null" }, { f.e.id,
            f.e.source, f.e.time, f.e.subject, f.e.dataschema, f.e.datacontenttype, f.e.data })
        local x, at, seen = ffi.new "struct evrt_extension", ffi.new "size_t[1]", {}
        while frame.evrt_extensions_next(c.slice(f.e.extensions), at, x) do
            seen[c.string(x.name)] = string.char(x.kind) .. c.string(x.value)
        end
        assert.same({ n = "i5", b = "btrue", s = "stext" }, seen)
        answer(w, f, { status = 0, seq = 1, id = "i" })
        result(w)
    end)

    for what, case in pairs {
        ["no data"] = { "{ type = 't' }", "", 0 },
        ["a string, as JSON"] = { "{ type = 't', data = 'x' }", '"x"', JSON + HAS_DATA },
        ["an empty string that is not JSON"] = { "{ type = 't', data = '', datacontenttype = 'text/plain' }", "",
            HAS_DATA },
        ["bytes that are not JSON"] = { "{ type = 't', data = 'x\\0y', datacontenttype = 'text/plain' }", "x\0y",
            HAS_DATA },
        ["raw JSON, byte for byte"] = { "{ type = 't', data = evrt.raw ' [1, 2] ' }", " [1, 2] ",
            JSON + HAS_DATA },
        ["JSON of a content type with parameters"] = {
            "{ type = 't', data = {1}, datacontenttype = 'application/json; charset=utf-8' }", "[1]",
            JSON + HAS_DATA },
        ["a 64-bit integer"] = { "{ type = 't', data = 9007199254740993LL }", "9007199254740993", JSON + HAS_DATA },
        ["an event's data"] = { "{ type = 't', data = { copy = event.type } }", '{"copy":"a"}',
            JSON + HAS_DATA },
    } do
        it("sends " .. what, function()
            local w, f = publish(case[1])
            assert.equal(case[2], f.e.data)
            assert.equal(case[3] + OWN_ID, f.e.flags)
            answer(w, f, { status = 0, seq = 1, id = f.e.id })
            result(w)
        end)
    end

    it("waits for the handlers when asked to", function()
        local w, f = publish "{ type = 't' }, { wait = 'handled', timeout = '5s' }"
        assert.equal(1, f.wait)
        assert.equal(5000, f.timeout_ms)
        answer(w, f, { status = 0, seq = 9, id = "x", outcomes = '[{"handler":"A","outcome":"success"}]' })
        assert.matches('^x\t9\tnil\tnil\t%[{.*"outcome":"success"', result(w))
    end)

    it("gives its place to others while it waits for handlers", function()
        local w, f = publish("{ type = 't' }, { wait = 'handled' }", nil, { concurrency = 1 })
        local second = w:deliver { type = "a" }
        local g = w:next()
        assert.equal(second, g.delivery)
        answer(w, g, { status = 0, seq = 2, id = "x", outcomes = "[]" })
        w:settle(second)
        answer(w, f, { status = 0, seq = 1, id = "x", outcomes = "[]" })
        assert.equal("done", w:settle(w.delivery_id))
        w:stop()
    end)

    it("tells the host's refusal", function()
        for status, code in pairs { [28] = "ENOSPC", [11] = "EAGAIN", [35] = "EDEADLK", [40] = "EHOPS",
            [90] = "EMSGSIZE", [108] = "ESHUTDOWN" } do
            local w, f = publish "{ type = 't' }"
            answer(w, f, { status = -status, message = "cannot be" })
            assert.equal("nil\tnil\tcannot be\t" .. code .. "\tnil", result(w))
        end
    end)

    it("stops at the hop limit", function()
        local w, f = publish("{ type = 't' }", { hops = 15 })
        assert.equal(16, f.e.hops)
        answer(w, f, { status = 0, seq = 1, id = "x" })
        result(w)
        w, f = publish("{ type = 't' }", { hops = 16 })
        assert.equal("LOG", f.frame)
        assert.matches('^nil\tnil\thop limit %(16%) reached: "t".*\tEHOPS\tnil$', f.message)
        assert.same({ "bus.max_hops" }, w.limits)
        w:settle(w.delivery_id)
        w:stop()
    end)

    it("times out with its delivery, and ignores the late answer", function()
        local w, f = publish("{ type = 't' }", { timeout_ms = 200 })
        local failed = w:settle(w.delivery_id)
        assert.equal("timeout", failed.error_type)
        answer(w, f, { status = 0, seq = 1, id = "late" })
        local next_one = w:deliver { type = "a" }
        local g = w:next()
        answer(w, f, { status = 0, seq = 1, id = "late" })
        answer(w, g, { status = 0, seq = 2, id = "right" })
        w:settle(next_one)
        assert.matches("^right\t2", w:printed()[1])
        w:stop()
    end)

    for expression, expected in pairs {
        ["{ type = 't', data = ('x'):rep(2^20) }"] = "[^\t]*%(http.max_event_size%)\tEMSGSIZE",
        ["{ type = 't', data = ('x'):rep(2^20), datacontenttype = 'text/plain' }"] =
            "[^\t]*%(http.max_event_size%)\tEMSGSIZE",
    } do
        it("gives the reason for refusing " .. expression, function()
            local w, f = publish(expression)
            assert.equal("LOG", f.frame)
            assert.matches("^nil\tnil\t" .. expected .. "\tnil$", f.message)
            w:settle(w.delivery_id)
            w:stop()
        end)
    end

    it("raises when the host says that the event is malformed", function()
        local w, f = publish "{ type = 't' }"
        answer(w, f, { status = -22, message = "deliverat: too far" })
        local failed = w:settle(w.delivery_id)
        assert.equal("h.lua:3: evrt.publish: deliverat: too far", failed.message)
        w:stop()
    end)

    it("leaves types of evrt's own to evrt, but in tests", function()
        local w, f = publish "{ type = 'evrt.timer.T' }"
        assert.equal("FAILED", f.frame)
        assert.matches('^h.lua:3: evrt.publish: type: only evrt itself publishes types that begin with "evrt%."',
            f.message)
        w:stop()
        w, f = publish("{ type = 'evrt.timer.T' }", nil, { testing = 1 })
        assert.equal("evrt.timer.T", f.e.type)
        answer(w, f, { status = 0, seq = 1, id = "x" })
        result(w)
    end)

    for expression, text in pairs {
        ["{ type = 'a b' }"] =
            "type: byte 2: expected segments of letters, digits, '_' or '-' separated by single dots",
        ["{ type = 't', time = 'noon' }"] = "time: byte 1: expected RFC 3339, as in 2025-01-07T10:30:45.123Z",
        ["{ type = 't', subject = '\\1' }"] = "subject: control character at byte 1",
        ["{ type = 't', extensions = { Bad = 1 } }"] =
            "extensions.Bad: expected a name of at most 64 lower-case letters and digits",
        ["{ type = 't', data = { f = print } }"] = "data.f: a function cannot be JSON",
        ["{ type = 't', data = { n = 0/0 } }"] = "data.n: NaN cannot be JSON",
        ["{ type = 't', data = evrt.raw '{' }"] = "expected a name in double quotes, found the end at byte 2 "
            .. "(line 1, column 2)",
        ["nil"] = "an event (table) expected, got nil",
        ["{}"] = "type is missing",
        ["{ type = 5 }"] = "type: a string expected, got number",
        ["{ type = 't', id = 5 }"] = "id: a string expected, got number",
        ["{ type = 't', id = '' }"] = "id: empty; give it a value, or leave it out",
        ["{ type = 't', dta = 1 }"] = 'unknown field "dta" (did you mean "data"?); other attributes belong in '
            .. "extensions",
        ["event"] = "a table of named fields expected, got the key 0; to pass on an event, make a new table of its "
            .. "fields",
        ["{ type = 't', extensions = 1 }"] = "extensions: a table expected, got number",
        ["{ type = 't', extensions = { x = {} } }"] =
            "extensions.x: a string, whole number or boolean expected, got table",
        ["{ type = 't', extensions = { x = 1.5 } }"] = "extensions.x: a number must be a whole number of 32 bits",
        ["{ type = 't', data = {}, datacontenttype = 'text/plain' }"] =
            'data: with datacontenttype "text/plain" a string expected, got table',
        ["{ type = 't' }, 1"] = "options: a table expected, got number",
        ["{ type = 't' }, { wait = 'done' }"] = 'wait: "handled" expected, got done',
        ["{ type = 't' }, { wiat = 'handled' }"] = 'unknown option "wiat"; there are wait and timeout',
        ["{ type = 't' }, { timeout = 0 }"] =
            'timeout: a duration above 0 expected, as "5s" or a number of seconds',
    } do
        it("raises on misuse: " .. expression, function()
            local w, f = publish(expression)
            assert.equal("FAILED", f.frame)
            assert.equal("h.lua:3: evrt.publish: " .. text, f.message)
            w:stop()
        end)
    end
end)
