-- A collector that is slow, gone, overloaded or hostile: spans are tried again as the protocol says, or lost and
-- counted; events go on, and so does the node's end.
local evrt = require "spec.support.evrt"
local uv = require "luv"
local Collector = require "spec.support.collector"

describe("a collector", function()
    local node, collector
    before_each(function() collector = Collector.start() end)
    after_each(function()
        collector:stop()
        evrt.cleanup()
    end)

    local function start(tracing, env)
        local config = { exporter = "otlp", endpoint = collector.url, batch_delay = "10ms", compression = "none" }
        for k, v in pairs(tracing or {}) do config[k] = v end
        node = evrt.start { config = { tracing = config }, env = env,
            handlers = { ["a.lua"] = [[return { name = "A", events = "a.b", handle = function() end }]] } }
    end

    local function publish(id)
        assert.equal(202, node:publish({ type = "a.b", id = id, data = {} }).status)
    end

    local function stats() return node:get("/api/v1/stats").json.tracing end

    local function await(what, holds)
        return node:await(what, function() return holds(stats()) end)
    end

    local function handled(id)
        return collector:span { name = "EventHandler.Handle", attributes = { ["messaging.message.id"] = id } }
    end

    it("that is busy is asked again when it says so, and gets every span once", function()
        local times = {}
        collector.answer = function(n)
            times[n] = uv.hrtime()
            if n == 1 then return { status = 503, headers = { ["Retry-After"] = "1" } } end
            if n == 2 then return { status = 429,
                headers = { ["Retry-After"] = os.date("!%a, %d %b %Y %H:%M:%S GMT") } } end
            if n == 3 then return { status = 502, headers = { ["Retry-After"] = "0" } } end
        end
        start { batch_size = 4, batch_delay = "1h" }
        publish "x"
        node:await("the spans", function() return handled "x" end)
        await("the count", function(s) return s.exported >= 4 and s.retries >= 3 end)
        assert.is_true(times[2] - times[1] > 0.95e9)
        assert.equal(1, #collector:spans { name = "EventBus.Publish" })
        assert.same({ 0, 0, 0 }, { stats().failed, stats().rejected, stats().over_queue })
    end)

    it("that refuses a request is not asked again", function()
        collector.answer = function(n)
            if n == 1 then return { status = 400, body = "no" } end
            if n == 2 then return { status = 307, headers = { Location = collector.url .. "/elsewhere" } } end
        end
        start { batch_size = 4, batch_delay = "1h" }
        publish "1"
        local line = node:await_log { msg = "Spans lost" }
        assert.equal("the collector answers 400", line.error)
        assert.equal(line.failed, line.count)
        publish "2"
        await("a loss", function(s) return s.requests >= 2 and s.failed > line.failed end)
        publish "3"
        node:await("the spans", function() return handled "3" end)
        assert.equal(0, stats().retries)
        for _, request in ipairs(collector.requests) do assert.equal("/v1/traces", request.path) end
    end)

    it("that rejects some of a request's spans is believed", function()
        collector.answer = function(n)
            if n == 1 then return { body = "\10\9\8\3\18\5wrong" } end
        end
        start { batch_size = 4, batch_delay = "1h" }
        publish "1"
        local line = node:await_log { msg = "Spans lost" }
        assert.same({ 3, 3, "the collector rejected spans: wrong" }, { line.count, line.rejected, line.error })
        assert.same({ 3, 0 }, { stats().rejected, stats().retries })
    end)

    it("that resets connections is tried again", function()
        collector.answer = function(n)
            if n <= 2 then return { reset = true } end
        end
        start()
        publish "1"
        node:await("the spans", function() return handled "1" end)
        assert.equal(0, stats().failed)
    end)

    it("that is gone and comes back is found again", function()
        local port = collector.port
        collector:stop()
        start()
        publish "1"
        await("a try", function(s) return s.requests >= 1 end)
        collector = Collector.start(port)
        node:await("the spans", function() return handled "1" end)
    end)

    it("that never answers holds nothing up, and costs what does not fit", function()
        collector.answer = function() return { silent = true } end
        start { batch_size = 4, batch_delay = "1h", queue_size = 8, timeout = "10m" }
        for i = 1, 10 do publish(tostring(i)) end
        node:await_log({ msg = "Event handled successfully" }, nil, 10)
        await("spans left out", function(s) return s.over_queue > 0 and s.waiting <= 8 end)
        local began = uv.hrtime()
        assert.equal(0, node:stop())
        local took = (uv.hrtime() - began) / 1e9
        -- It is waited for, for five seconds.
        assert.is_true(took > 4, took)
        local line = node:await_log { msg = "Spans lost" }
        assert.is_true(line.queue > 0)
    end)

    it("that times out is tried again on another connection", function()
        collector.answer = function(n)
            if n == 1 then return { silent = true } end
        end
        start { timeout = "200ms" }
        publish "1"
        node:await("the spans", function() return handled "1" end)
        assert.is_true(collector.connections >= 2)
    end)

    it("that sends without end is cut off", function()
        collector.answer = function(n)
            if n == 1 then return { status = 200, body = ("x"):rep(1e6) } end
            if n == 2 then return { status = 500, headers = { ["X-Long"] = ("y"):rep(1e5) } } end
        end
        start { batch_size = 4, batch_delay = "1h" }
        publish "1"
        await("a request", function(s) return s.requests >= 1 and s.waiting == 0 end)
        publish "2"
        await("a request", function(s) return s.requests >= 2 end)
        publish "3"
        node:await("the spans", function() return handled "3" end)
    end)

    it("gets what is there before the node ends", function()
        start { batch_delay = "1h", batch_size = 10000 }
        for i = 1, 5 do publish(tostring(i)) end
        node:await_log({ msg = "Event handled successfully" }, nil, 5)
        assert.equal(0, collector.seen)
        assert.equal(0, node:stop())
        assert.same({ 1, 20 }, { #collector.requests, #collector:spans() })
    end)

    it("gets spans in batches over one connection, compressed when asked", function()
        collector.decode = function(request) return { spans = {}, gzip = request.body:sub(1, 2) == "\31\139" } end
        start { compression = "gzip", batch_size = 8, batch_delay = "1h" }
        for i = 1, 8 do publish(tostring(i)) end
        node:await("batches", function() return #collector.requests >= 4 end)
        for _, request in ipairs(collector.requests) do
            assert.equal("gzip", request.headers["content-encoding"])
            assert.is_true(request.trace.gzip)
        end
        assert.equal(1, collector.connections)
    end)

    it("is not told of more than the limit, which new traces feel first", function()
        start { max_spans_per_second = 4 }
        publish "1"
        node:await_log { msg = "Event handled successfully" } -- it has taken its share
        for i = 2, 20 do publish(tostring(i)) end
        node:await_log({ msg = "Event handled successfully" }, nil, 20)
        await("spans left out", function(s) return s.over_limit > 0 and s.waiting == 0 end)
        assert.equal(0, node:stop())
        assert.equal(4, #collector:spans { trace_id = handled("1").trace_id })
        assert.is_true(#collector:spans { name = "EventBus.Publish" } < 20)
    end)
end)
