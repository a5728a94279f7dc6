-- Records of spans, as lines and as OTLP: nothing is lost on the way, and whatever the bytes, what comes out is valid.
local ffi = require "ffi"
local cjson = require "cjson"
local c = require "spec.support.c"
local protobuf = require "spec.support.protobuf"

local lib = c.load("telemetry", { "telemetry/trace_record.h", "telemetry/trace_json.h", "telemetry/trace_otlp.h",
    "core/attributes.h" })

local function buffer() return ffi.gc(ffi.new "struct evrt_buf", lib.evrt_buf_finish) end

local function span(fields)
    local s = ffi.new "struct evrt_span"
    s.high, s.low, s.id, s.start_ns, s.end_ns = 0x0af7651916cd43ddULL, 0x8448eb211c80319cULL, 0xb7ad6b7169203331ULL, 5,
        9
    for k, v in pairs(fields) do s[k] = type(v) == "string" and c.slice(v) or v end
    return s
end

local function records(list)
    local out = buffer()
    for _, s in ipairs(list) do lib.evrt_span_put(out, s) end
    return out
end

local function slice(b) return ffi.new("struct evrt_slice", b.p, b.n) end

local function attribute(name, value)
    local out, a = buffer(), ffi.new "struct evrt_attribute"
    a.name, a.text = c.slice(name), c.slice(value)
    lib.evrt_attributes_put(out, a)
    return c.string(out)
end

local function as_line(s)
    local out = buffer()
    lib.evrt_span_json(out, s, c.slice "app", 0)
    local text = c.string(out)
    assert.equal("\n", text:sub(-1))
    assert.is_nil(text:sub(1, -2):find "[%c\127]")
    return cjson.decode(text)
end

local function as_otlp(list)
    local otlp = lib.evrt_otlp_create(c.slice(attribute("service.name", "app")))
    local bytes = c.string(lib.evrt_otlp_encode(otlp, slice(records(list)), 1000))
    lib.evrt_otlp_destroy(otlp)
    return protobuf.traces(bytes)
end

describe("a record of a span", function()
    it("comes back as it was put", function()
        local list = { span { kind = 2, type = "a.b", handler = "H", number = 3, seq = 9 }, span { kind = 5,
            name = "q" } }
        local b, at, s = records(list), ffi.new "size_t[1]", ffi.new "struct evrt_span"
        assert.is_true(lib.evrt_span_next(slice(b), at, s))
        assert.same({ "a.b", "H", 3, 9, 2 }, { c.string(s.type), c.string(s.handler), s.number, tonumber(s.seq),
            s.kind })
        assert.is_true(s.source.p == nil and s.id == 0xb7ad6b7169203331ULL)
        assert.is_true(lib.evrt_span_next(slice(b), at, s))
        assert.equal("q", c.string(s.name))
        assert.is_false(lib.evrt_span_next(slice(b), at, s))
    end)

    it("cuts what is too long", function()
        local b, at, s = records { span { kind = 2, message = ("\195\164"):rep(20000) } }, ffi.new "size_t[1]",
            ffi.new "struct evrt_span"
        assert.is_true(lib.evrt_span_next(slice(b), at, s))
        assert.equal(16384, tonumber(s.message.n))
    end)

    it("is a line that says it is a span", function()
        local line = as_line(span { kind = 2, type = "a.b", handler = "H", number = 2, status = 2, parent = 1, link = 7,
            error_type = "timeout", message = "too late", stack = "a.lua:1: x" })
        assert.same({ "span", "EventHandler.Handle", "consumer", "error" }, { line.kind, line.name, line.span_kind,
            line.status })
        assert.equal("0af7651916cd43dd8448eb211c80319c", line.trace_id)
        assert.equal("b7ad6b7169203331", line.span_id)
        assert.equal("0000000000000001", line.parent_span_id)
        assert.equal("0000000000000007", line.links[1].span_id)
        assert.same({ type = "timeout", message = "too late", stacktrace = "a.lua:1: x" }, line.exception)
        assert.equal("a.b", line.attributes["event.type"])
        assert.equal("timeout", line.attributes["error.type"])
    end)

    it("is OTLP", function()
        local all = as_otlp {
            span { kind = 0, type = "a.b", source = "/s", event_id = "1", status = 1, seq = 4, state = "a=1",
                flags = 1 },
            span { kind = 3, handler = "H", number = 3, status = 2, link = 7, parent = 1, error_type = "error",
                message = "m" },
            span { kind = 4, number = 503, status = 2, error_type = "503", name = "::1" },
            span { kind = 5, name = "query", attributes = attribute("db", "x") },
        }
        assert.equal("app", all.resource["service.name"])
        local publish, retry, server, script = unpack(all.spans)
        assert.same({ "EventBus.Publish", 4, 1, "a=1" }, { publish.name, publish.kind, publish.status, publish.state })
        assert.equal("0af7651916cd43dd8448eb211c80319c", publish.trace_id)
        assert.equal("b7ad6b7169203331", publish.span_id)
        assert.is_nil(publish.parent)
        assert.same({ 1005, 1009 }, { publish.start, publish["end"] })
        assert.equal("/s", publish.attributes["event.source"])
        assert.equal("send", publish.attributes["messaging.operation.type"])
        assert.equal(4, publish.attributes["event.seq"])
        assert.same({ "EventRetry", 1, 2, "0000000000000001" }, { retry.name, retry.kind, retry.status, retry.parent })
        assert.equal(2, retry.attributes["retry.attempt"])
        assert.equal("0000000000000007", retry.links[1])
        assert.same({ name = "exception", attributes = { ["exception.type"] = "error", ["exception.message"] = "m" } },
            retry.events[1])
        assert.equal(503, server.attributes["http.response.status_code"])
        assert.same({ "query", "x" }, { script.name, script.attributes.db })
    end)

    it("stands for the journal's part as well, when it says so", function()
        local publish, store, other = unpack(as_otlp {
            span { kind = 0, type = "a.b", source = "/s", event_id = "1", status = 1, seq = 4, parent = 2, flags = 1,
                state = "a=1", stores = true },
            span { kind = 2, type = "a.b" },
        }.spans)
        assert.same({ "EventBus.Publish", "EventStore.Store", "EventHandler.Handle" }, { publish.name, store.name,
            other.name })
        assert.same({ "0000000000000002", publish.span_id }, { publish.parent, store.parent })
        assert.is_true(store.span_id ~= publish.span_id)
        assert.same({ publish.trace_id, publish.start, publish["end"], 1, 1, "a=1" }, { store.trace_id, store.start,
            store["end"], store.status, store.kind, store.state })
        assert.same({ ["event.type"] = "a.b", ["event.seq"] = 4 }, store.attributes)
    end)

    it("is valid UTF-8 whatever it was given", function()
        local bad = "x\255\0\n\226\128\168\192\128y"
        local got = as_otlp { span { kind = 5, name = bad, status = 2, error_type = "error", message = bad,
            attributes = attribute(bad, bad) } }.spans[1]
        assert.equal("x\239\191\189\0\n\226\128\168\239\191\189\239\191\189y", got.name)
        assert.equal(got.name, got.attributes[got.name])
        as_line(span { kind = 5, name = bad, message = bad, status = 2, attributes = attribute(bad, bad) })
    end)

    it("is OTLP at any length", function()
        for _, n in ipairs { 0, 1, 20, 60, 100, 126, 127, 128, 129, 16000, 16250, 16384 } do
            local text = ("x"):rep(n)
            local got = as_otlp { span { kind = 5, name = "a", message = text, status = 2 }, span { kind = 5,
                name = text } }
            assert.same({ "a", 2 }, { got.spans[1].name, got.spans[1].status })
            assert.equal(text, got.spans[2].name or "")
            assert.equal(n, #(n == 0 and "" or got.spans[1].events[1].attributes["exception.message"]))
        end
    end)

    it("has room for what is longest and worst, and says how many attributes it left out", function()
        local text, list = ("\255"):rep(16384), {}
        for i = 1, 200 do list[i] = attribute(("\255"):rep(200) .. i, i % 2 == 0 and "\255" or "") end
        local attributes = table.concat(list):sub(1, 16384)
        local s = span { kind = 5, attributes = attributes, status = 2, number = 2 ^ 32 - 1, link = 1, parent = 2 }
        for _, field in ipairs { "type", "source", "event_id", "handler", "name", "error_type", "message", "stack" } do
            s[field] = c.slice(text)
        end
        local got = as_otlp { s, s, span { kind = 0, type = "a.b" } }
        assert.same({ 3, text:gsub("\255", "\239\191\189") }, { #got.spans, got.spans[2].name, 16384 })
        assert.equal("a.b", got.spans[3].attributes["event.type"])
        for i = 1, 200 do list[i] = attribute(("k%d"):format(i), "v") end
        got = as_otlp { span { kind = 5, name = "n", attributes = table.concat(list) } }.spans[1]
        assert.equal(200 - 144, got.dropped)
    end)

    it("says how many spans were refused", function()
        local why = buffer()
        local function rejected(bytes)
            return tonumber(lib.evrt_otlp_rejected(c.slice(bytes), why))
        end
        assert.equal(0, rejected "")
        assert.equal(3, rejected "\10\9\8\3\18\5wrong")
        assert.equal("wrong", c.string(why))
        assert.equal(7, rejected "\16\1\25........\37....\10\4\8\1\8\7") -- others' fields, the last one counts
        for _, bad in ipairs { "\255\255\255", "\10", "\10\5\8\1", "\10\1\8", "\10\2\11\1", "\25...", "\10\3\18\9x" } do
            assert.equal(0, rejected(bad))
        end
        assert.equal(0, rejected "\10\11\8\255\255\255\255\255\255\255\255\255\1")
    end)
end)
