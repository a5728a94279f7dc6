-- Spans of an event's way, as a collector gets them: one trace through request, journal, handlers, what they
-- publish, retries and restarts; what is sampled, and what is kept of failures.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local Collector = require "spec.support.collector"

local TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
local SAMPLED = ("00-%s-%s-01"):format(TRACE, PARENT)
local UNSAMPLED = ("00-%s-%s-00"):format(TRACE, PARENT)

local HANDLERS = {
    ["a.lua"] = [[
        local evrt = require "evrt"
        return {
            name = "A", events = "a.*",
            handle = function(event, ctx)
                local data = event.data or {}
                ctx.log.info("seen", { trace = ctx.trace_id, span = ctx.span_id,
                    traceparent = event.extensions.traceparent, tracestate = event.extensions.tracestate })
                if data.span then
                    ctx.span("outer", function()
                        evrt.sleep(0.001)
                        ctx.span("inner", function() ctx.log.info("inside", { span = ctx.span_id }) end)
                        if data.publish then evrt.publish { type = "b.child", data = {} } end
                        if data.raise then error("deep trouble") end
                        return 1
                    end, { ["db.system"] = "spec", rows = 3, ok = true })
                elseif data.publish then
                    evrt.publish { type = "b.child", data = {} }
                end
                if data.leave then ctx.publish { type = "b.left", data = {} } end
                if data.fail and ctx.attempt <= data.fail then error("no luck") end
            end,
        }
    ]],
    ["b.lua"] = [[return { name = "B", events = "b.*", handle = function(event, ctx)
        ctx.log.info("child", { trace = ctx.trace_id, traceparent = event.extensions.traceparent })
    end }]],
}

describe("tracing", function()
    local node, collector
    before_each(function() collector = Collector.start() end)
    after_each(function()
        collector:stop()
        evrt.cleanup()
    end)

    local function start(tracing, options)
        local config = { tracing = { exporter = "otlp", endpoint = collector.url, batch_delay = "20ms",
            compression = "none" },
            retry = { max_retries = 3, initial_delay = "10ms" } }
        for k, v in pairs(tracing or {}) do config.tracing[k] = v end
        options = options or {}
        node = evrt.start { config = config, handlers = options.handlers or HANDLERS, env = options.env,
            dir = options.dir }
        return node
    end

    local function await(wanted, count)
        node:await("spans at the collector", function() return #collector:spans(wanted) >= (count or 1) end)
        return collector:span(wanted)
    end

    local function publish(data, headers)
        local all = { ["Content-Type"] = "application/cloudevents+json" }
        for k, v in pairs(headers or {}) do all[k] = v end
        local response = node:post("/events", cjson.encode {
            specversion = "1.0", id = data.id or "1", source = "/spec", type = "a.b", data = data,
            traceparent = data.traceparent, tracestate = data.tracestate,
        }, all)
        assert.equal(202, response.status)
    end

    it("makes one trace of a request, its event and the handling", function()
        start()
        publish { id = "e-1" }
        local handle = await { name = "EventHandler.Handle" }
        local server, publishing = await { name = "POST /events" }, await { name = "EventBus.Publish" }
        local store = await { name = "EventStore.Store" }
        for _, span in ipairs { handle, publishing, store } do assert.equal(server.trace_id, span.trace_id) end
        assert.is_nil(server.parent)
        assert.same({ server.span_id, publishing.span_id, publishing.span_id },
            { publishing.parent, store.parent, handle.parent })
        assert.same({ 2, 4, 1, 5 }, { server.kind, publishing.kind, store.kind, handle.kind })
        assert.same({ 0, 1, 1, 1 }, { server.status, publishing.status, store.status, handle.status })
        assert.equal(202, server.attributes["http.response.status_code"])
        assert.equal("127.0.0.1", server.attributes["client.address"])
        for name, value in pairs { ["event.type"] = "a.b", ["event.source"] = "/spec", ["messaging.message.id"] = "e-1",
            ["messaging.operation.type"] = "send", ["event.seq"] = 1 } do
            assert.equal(value, publishing.attributes[name], name)
        end
        for name, value in pairs { ["event.type"] = "a.b", ["handler.name"] = "A",
            ["messaging.operation.type"] = "process",
            ["messaging.consumer.group.name"] = "A" } do
            assert.equal(value, handle.attributes[name], name)
        end
        -- Publishing ends with the commit, which the answer waits for; handling begins after it.
        assert.is_true(server.start <= publishing.start and publishing["end"] <= server["end"])
        assert.is_true(publishing["end"] <= handle.start and handle.start < handle["end"])
        local resource = collector.requests[1].trace.resource
        assert.equal("my-app", resource["service.name"])
        assert.equal("/v1/traces", collector.requests[1].path)
        assert.equal("application/x-protobuf", collector.requests[1].headers["content-type"])
    end)

    it("tells scripts and log lines their ids", function()
        start()
        publish {}
        local handle = await { name = "EventHandler.Handle" }
        local seen = node:await_log { msg = "seen" }
        assert.same({ handle.trace_id, handle.span_id }, { seen.trace, seen.span })
        assert.equal("00-" .. handle.trace_id .. "-" .. handle.parent, seen.traceparent:sub(1, 52))
        for _, msg in ipairs { "seen", "Event handled successfully" } do
            local line = node:await_log { msg = msg }
            assert.same({ handle.trace_id, handle.span_id }, { line.trace_id, line.span_id }, msg)
        end
        local line = node:await_log { msg = "Event published" }
        assert.same({ handle.trace_id, handle.parent }, { line.trace_id, line.span_id })
        publish { id = "2", fail = 9 }
        local dead = node:await_log { msg = "Event moved to dead letter queue" }
        local failed = node:logged { msg = "Event handle failed", attempt = dead.attempt }[1]
        assert.same({ failed.trace_id, failed.span_id }, { dead.trace_id, dead.span_id })
        assert.equal(4, dead.attempt)
        assert.matches("^%x+$", dead.trace_id)
    end)

    it("goes on with the trace of a request's headers", function()
        start()
        publish({}, { traceparent = SAMPLED, tracestate = "a=1 , b=2" })
        local server, publishing = await { name = "POST /events" }, await { name = "EventBus.Publish" }
        assert.same({ TRACE, PARENT, "a=1,b=2" }, { server.trace_id, server.parent, server.state })
        assert.same({ TRACE, server.span_id, "a=1,b=2" }, { publishing.trace_id, publishing.parent, publishing.state })
        local seen = node:await_log { msg = "seen" }
        assert.same({ SAMPLED, "a=1,b=2", TRACE }, { seen.traceparent, seen.tracestate, seen.trace })
    end)

    it("goes on with the trace of an event, which is left as it came", function()
        start()
        publish { traceparent = SAMPLED, tracestate = "c=3" }
        local server, publishing = await { name = "POST /events" }, await { name = "EventBus.Publish" }
        assert.same({ TRACE, PARENT }, { server.trace_id, server.parent })
        assert.same({ TRACE, server.span_id, "c=3" }, { publishing.trace_id, publishing.parent, publishing.state })
        assert.equal(SAMPLED, node:await_log({ msg = "seen" }).traceparent)
    end)

    it("takes no notice of a traceparent that is none", function()
        start()
        for i, bad in ipairs { SAMPLED:upper(), SAMPLED .. "-00", "00-" .. ("0"):rep(32) .. "-" .. PARENT .. "-01",
            "x" } do
            publish({ id = "h" .. i }, { traceparent = bad, tracestate = "a=1" })
        end
        publish({ id = "e", traceparent = "garbage" })
        await({ name = "EventHandler.Handle" }, 5)
        local traces = {}
        for _, span in ipairs(collector:spans { name = "EventBus.Publish" }) do
            assert.is_nil(traces[span.trace_id])
            assert.is_nil(span.state)
            traces[span.trace_id] = true
            assert.is_not.equal(TRACE, span.trace_id)
        end
    end)

    it("does not record what was not sampled elsewhere, and passes that on", function()
        start()
        publish({ id = "1", publish = true }, { traceparent = UNSAMPLED })
        publish { id = "2", publish = true, traceparent = UNSAMPLED }
        local child = node:await_log({ msg = "child", trace = TRACE }, nil, 2)
        assert.equal("00-" .. TRACE, child.traceparent:sub(1, 35))
        assert.equal("-00", child.traceparent:sub(-3))
        publish { id = "3" }
        await { name = "EventHandler.Handle" }
        assert.equal(0, #collector:spans { trace_id = TRACE })
    end)

    it("has a handler's own spans, and what it publishes inside of them", function()
        start()
        publish { span = true, publish = true }
        local child = await { name = "EventBus.Publish", attributes = { ["event.type"] = "b.child" } }
        local outer, inner = await { name = "outer" }, await { name = "inner" }
        local handle = await { name = "EventHandler.Handle", attributes = { ["handler.name"] = "A" } }
        assert.same({ handle.span_id, outer.span_id, outer.span_id }, { outer.parent, inner.parent, child.parent })
        for _, span in ipairs { outer, inner, child } do assert.equal(handle.trace_id, span.trace_id) end
        assert.same({ "spec", 3, true }, { outer.attributes["db.system"], outer.attributes.rows, outer.attributes.ok })
        assert.equal(inner.span_id, node:await_log({ msg = "inside" }).span)
        assert.is_true(handle.start <= outer.start and outer["end"] <= handle["end"])
        assert.equal(child.span_id, (await { name = "EventHandler.Handle",
            attributes = { ["handler.name"] = "B" } }).parent)
    end)

    it("has what a handler leaves behind", function()
        start()
        publish { leave = true }
        local handle = await { name = "EventHandler.Handle", attributes = { ["handler.name"] = "B" } }
        local left = await { name = "EventBus.Publish", attributes = { ["event.type"] = "b.left" } }
        local from = await { name = "EventHandler.Handle", attributes = { ["handler.name"] = "A" } }
        assert.same({ from.trace_id, from.span_id, left.span_id }, { left.trace_id, left.parent, handle.parent })
    end)

    it("has what was put aside for later, when its time comes", function()
        start()
        for i, headers in ipairs { {}, { traceparent = SAMPLED } } do
            headers["Content-Type"] = "application/cloudevents+json"
            assert.equal(202, node:post("/events", cjson.encode { specversion = "1.0", id = tostring(i), source = "/s",
                type = "a.b", data = {}, deliverafter = "100ms" }, headers).status)
        end
        await({ name = "EventHandler.Handle" }, 2)
        for _, publishing in ipairs(collector:spans { name = "EventBus.Publish" }) do
            local server = collector:span { name = "POST /events", trace_id = publishing.trace_id }
            assert.equal(publishing.trace_id == TRACE and PARENT or server.span_id, publishing.parent)
        end
        assert.is_table(collector:span { name = "EventHandler.Handle", trace_id = TRACE })
    end)

    it("records failures, and retries with a link to the publishing", function()
        start()
        publish { span = true, raise = true, fail = 1, id = "x" }
        local first = await { name = "EventHandler.Handle", status = 2 }
        assert.equal("exception", first.events[1].name)
        assert.equal("error", first.events[1].attributes["exception.type"])
        assert.truthy(first.message:find "a.lua:%d+: deep trouble")
        assert.truthy(first.events[1].attributes["exception.stacktrace"]:find "a.lua:")
        assert.equal("error", first.attributes["error.type"])
        assert.equal(2, (await { name = "outer" }).status)
        local retry = await({ name = "EventRetry" }, 3)
        assert.same({ 1, "A", "a.b" }, { retry.attributes["retry.attempt"], retry.attributes["handler.name"],
            retry.attributes["event.type"] })
        local publishing = await { name = "EventBus.Publish" }
        assert.same({ publishing.trace_id, publishing.span_id, { publishing.span_id } },
            { retry.trace_id, retry.parent, retry.links })
        assert.is_table(collector:span { name = "EventHandler.Handle", parent = retry.span_id })
    end)

    it("joins an event's trace after a restart", function()
        start(nil, { handlers = { ["a.lua"] = [[return { name = "A", events = "a.*",
            handle = function() require "evrt".sleep(3600) end }]] } })
        publish({ id = "1" }, { traceparent = SAMPLED })
        publish { id = "2" }
        local publishing = { await({ name = "EventBus.Publish" }, 2),
            collector:spans({ name = "EventBus.Publish" })[2] }
        node:kill "sigkill"
        node:wait()
        local dir = node.dir
        evrt.write(dir .. "/handlers/a.lua", HANDLERS["a.lua"])
        start(nil, { dir = dir, handlers = {} })
        await({ name = "EventHandler.Handle" }, 2)
        for i, of in ipairs(publishing) do
            local handle = collector:span { name = "EventHandler.Handle",
                attributes = { ["messaging.message.id"] = tostring(i) } }
            assert.same({ of.trace_id, of.span_id, 1 }, { handle.trace_id, handle.parent, handle.status })
        end
        assert.equal(TRACE, publishing[1].trace_id)
    end)

    it("keeps the spans of events that are not sampled for failures, when it is told to", function()
        start { sample_rate = 0, keep = "errors" }
        publish { id = "good", span = true }
        publish { id = "bad", span = true, publish = true, fail = 1 }
        local handle = await { name = "EventHandler.Handle", status = 2 }
        local again = await { name = "EventHandler.Handle", status = 1 }
        local publishing = await { name = "EventBus.Publish" }
        assert.same({ publishing.span_id, publishing.trace_id }, { handle.parent, handle.trace_id })
        assert.equal("bad", publishing.attributes["messaging.message.id"])
        assert.equal(publishing.span_id, (await { name = "EventStore.Store" }).parent)
        assert.equal(handle.span_id, (await { name = "outer" }).parent)
        assert.equal((await { name = "EventRetry" }).span_id, again.parent)
        assert.equal(handle.trace_id, node:await_log({ msg = "Event handle failed" }).trace_id)
        node:stop()
        for _, span in ipairs(collector:spans()) do assert.equal(handle.trace_id, span.trace_id) end
        assert.equal(1, #collector:spans { name = "EventBus.Publish" })
    end)

    it("is told by OTEL_ variables before the configuration", function()
        start({ exporter = "none", endpoint = "http://127.0.0.1:1" }, { env = {
            OTEL_TRACES_EXPORTER = "otlp", OTEL_EXPORTER_OTLP_ENDPOINT = collector.url .. "/",
                OTEL_SERVICE_NAME = "other",
            OTEL_RESOURCE_ATTRIBUTES = "team=x%20y", OTEL_EXPORTER_OTLP_HEADERS = "api-key=s%3Decret",
            OTEL_TRACES_SAMPLER = "always_on", OTEL_EXPORTER_OTLP_PROTOCOL = "grpc", OTEL_BSP_SCHEDULE_DELAY = "10" } })
        assert.equal("OTEL_EXPORTER_OTLP_PROTOCOL", node:await_log({ msg = "Tracing setting ignored" }).key)
        publish({}, { traceparent = UNSAMPLED })
        await { name = "EventHandler.Handle", trace_id = TRACE } -- that sampler does not ask parents
        local request = collector.requests[1]
        assert.same({ "other", "x y", "s=ecret" },
            { request.trace.resource["service.name"], request.trace.resource.team, request.headers["api-key"] })
        for _, line in ipairs(node.out) do assert.is_nil(line:find "ecret") end
    end)

    it("is off, and silent, unless it is asked for", function()
        start({ exporter = "none" }, { env = { OTEL_EXPORTER_OTLP_ENDPOINT = collector.url } })
        publish({ span = true, publish = true }, { traceparent = SAMPLED })
        local seen = node:await_log { msg = "seen" }
        assert.same({}, { seen.trace, seen.span, seen.traceparent, seen.trace_id })
        node:await_log { msg = "child" }
        node:stop()
        assert.equal(0, collector.connections)
    end)

    it("takes a changed rate over with a reload", function()
        start()
        publish { id = "1" }
        await { name = "EventHandler.Handle" }
        local path = node.dir .. "/evrt.yaml"
        evrt.write(path, (evrt.read(path):gsub('"tracing":{', '"tracing":{"sample_rate":0,')))
        node:kill "sighup"
        node:await_log { msg = "Configuration changed", key = "tracing.sample_rate" }
        node:await_log { msg = "Reloaded" }
        publish { id = "2" }
        node:await_log { msg = "Event handled successfully", event_id = "2" }
        publish({ id = "3" }, { traceparent = SAMPLED })
        await { name = "EventHandler.Handle", trace_id = TRACE }
        assert.equal(0, #collector:spans { name = "EventBus.Publish", attributes = { ["messaging.message.id"] = "2" } })
    end)

    it("writes lines among the log's when that is where they go", function()
        start { exporter = "stdout" }
        publish { id = "x" }
        local handle = node:await_log { kind = "span", name = "EventHandler.Handle" }
        local publishing = node:await_log { kind = "span", name = "EventBus.Publish" }
        assert.same({ publishing.trace_id, publishing.span_id, "ok", "consumer" },
            { handle.trace_id, handle.parent_span_id, handle.status, handle.span_kind })
        node:stop()
        for _, line in ipairs(node.lines) do assert.is_nil(line.raw) end
    end)

    it("has lines on standard output for itself when the log is elsewhere", function()
        node = evrt.start { config = { tracing = { exporter = "stdout", batch_delay = "10ms" },
            logging = { outputs = { "stderr" } } }, handlers = HANDLERS, wait = false }
        node:await("readiness", function()
            for _, text in ipairs(node.err) do
                local listening = text:match '"ingest":"127.0.0.1:(%d+)"'
                if listening then node.ingest = tonumber(listening) end
                if text:find '"evrt ready"' then return true end
            end
        end)
        publish { id = "x" }
        node:await_log { kind = "span", name = "EventHandler.Handle" }
        node:stop()
        for _, line in ipairs(node.lines) do assert.equal("span", line.kind) end
    end)
end)
