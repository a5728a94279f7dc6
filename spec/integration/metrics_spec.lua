-- /metrics of a running node: what it says against what was done.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local TRACE = "0af7651916cd43dd8448eb211c80319c"

local function scrape(node, headers, path)
    local r = node:get(path or "/metrics", headers)
    assert.equal(200, r.status, r.body)
    return r.body, r
end

-- The series of a text by their whole name, labels included.
local function read(text)
    local values = {}
    for line in text:gmatch "[^\n]+" do
        local name, value = line:match "^([^#].*) (%S+)$"
        if name then
            assert.is_nil(values[name], "twice: " .. name)
            values[name] = tonumber(value) or value
        end
    end
    return values
end

local function metrics(node) return read((scrape(node))) end

-- Waits until a series has a value.
local function await(node, name, value)
    local got
    node:await(("%s to be %s (is %s)"):format(name, tostring(value), tostring(got)), function()
        got = metrics(node)[name]
        return got == value
    end)
end

local function batch(node, n, event)
    local list = {}
    for i = 1, n do
        list[i] = { specversion = "1.0", id = ("%s-%d"):format(event.type, i), source = "/spec", data = { n = i } }
        for k, v in pairs(event) do list[i][k] = v end
    end
    local r = node:post_batch(list)
    assert.equal(202, r.status, r.body)
end

local function settled(node)
    node:await("the end of deliveries", function()
        local s = node:get("/api/v1/stats").json
        return s.pending == 0 and s.running == 0 and s.retrying == 0
    end)
end

local handlers = {
    ["a.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "Good", events = { "like.*", "slow.*" }, handle = function(event)
                if event.type == "slow.one" then evrt.sleep(60) end
            end },
            { name = "Bad", events = { "like.bad" }, handle = function(event)
                if event.data.n % 2 == 0 then evrt.reject "even" end
                error "odd"
            end },
        }]],
}

describe("/metrics", function()
    it("agrees with what was done and with the queues", function()
        local node = evrt.start {
            config = { retry = { max_retries = 2, initial_delay = "10ms" }, workers = { count = 2 } },
            handlers = handlers,
        }
        batch(node, 40, { type = "like.good" })
        batch(node, 10, { type = "like.bad", source = "/bad \"one\"" })
        settled(node)
        local m, stats = metrics(node), node:get("/api/v1/stats").json
        local function is(value, name) assert.equal(value, m[name], name) end
        is(40, 'events_published_total{event_type="like.good",source="/spec"}')
        is(10, 'events_published_total{event_type="like.bad",source="/bad \\"one\\""}')
        is(40, 'events_publish_duration_seconds_count{event_type="like.good",source="/spec"}')
        is(40, 'events_stored_total{event_type="like.good"}')
        is(10, 'events_storage_duration_seconds_count{event_type="like.bad"}')
        is(40, 'events_handled_total{event_type="like.good",handler="Good",status="success"}')
        is(0, 'events_handled_total{event_type="like.good",handler="Good",status="error"}')
        is(10, 'events_handled_total{event_type="like.bad",handler="Good",status="success"}')
        is(5 * 3 + 5, 'events_handled_total{event_type="like.bad",handler="Bad",status="error"}')
        is(20, 'events_handling_duration_seconds_count{event_type="like.bad",handler="Bad"}')
        is(15, 'events_handling_errors_total{event_type="like.bad",handler="Bad",error_type="error"}')
        is(5, 'events_handling_errors_total{event_type="like.bad",handler="Bad",error_type="rejected"}')
        is(10, 'events_retry_queued_total{event_type="like.bad",handler="Bad"}')
        is(5, 'events_retried_total{event_type="like.bad",handler="Bad",attempt="1"}')
        is(5, 'events_retried_total{event_type="like.bad",handler="Bad",attempt="2"}')
        is(10, 'events_retry_failed_total{event_type="like.bad",handler="Bad"}')
        is(10, 'events_dead_letter_total{event_type="like.bad",handler="Bad"}')
        is(stats.dead, "events_dead_letter_queue_size")
        is(0, "events_retry_queue_size")
        is(0, 'event_handlers_active{handler="Good",event_type="like.good"}')
        is(50, 'evrt_handler_done_total{handler="Good"}')
        is(0, 'evrt_handler_lag_events{handler="Bad"}')
        is(50, "evrt_journal_events")
        is(2, 'evrt_workers{state="ready"}')
        is(1, "evrt_ready")
        is(2, 'evrt_http_requests_total{listener="ingest",method="POST",route="/events",status="202"}')
        is(m['evrt_journal_commit_duration_seconds_count'], "evrt_journal_commits_total")
        is(m['evrt_journal_batch_records_sum'], "evrt_journal_records_total")
        assert.is_true(m['evrt_worker_lua_memory_bytes{worker="1"}'] > 50000)
        assert.is_true(m.process_resident_memory_bytes > 1e6)
        -- Buckets are cumulative, and the last is the count.
        local last = -1
        local bucket = 'events_publish_duration_seconds_bucket{event_type="like.good",source="/spec",le="%s"}'
        for _, le in ipairs { "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025",
            "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf" } do
            local n = m[bucket:format(le)]
            assert.is_true(n >= last, le)
            last = n
        end
        assert.equal(40, last)
    end)

    it("shows what waits, runs and is tried again, exactly", function()
        local node = evrt.start {
            config = { retry = { max_retries = 5, initial_delay = "1h", max_delay = "1h" } },
            handlers = handlers,
        }
        batch(node, 3, { type = "slow.one" })
        batch(node, 8, { type = "like.bad" })
        await(node, "events_retry_queue_size", 4)
        await(node, 'event_handlers_active{handler="Good",event_type="slow.one"}', 3)
        await(node, 'evrt_handler_in_flight{handler="Good"}', 3)
        local m, stats = metrics(node), node:get("/api/v1/stats").json
        assert.equal(stats.retrying, m.events_retry_queue_size)
        assert.equal(stats.running, m['evrt_handler_in_flight{handler="Good"}'])
        assert.equal(11, m['evrt_handler_lag_events{handler="Good"}'])
        assert.is_true(m['evrt_handler_oldest_unprocessed_age_seconds{handler="Good"}'] > 0)
        assert.equal(0, m['evrt_handler_oldest_unprocessed_age_seconds{handler="Bad"}'])
        assert.equal(3, m['evrt_worker_in_flight{worker="0"}'])
        node:stop "sigkill"
    end)

    it("is what was asked for: text or OpenMetrics, packed or not", function()
        local node = evrt.start { handlers = handlers }
        node:publish { type = "like.good", traceparent = "00-" .. TRACE .. "-b7ad6b7169203331-01" }
        local unsampled = "00-" .. ("1"):rep(32) .. "-b7ad6b7169203331-00"
        node:publish { type = "like.bad", traceparent = unsampled, data = { n = 1 } }
        settled(node)
        local text, r = scrape(node)
        assert.equal("text/plain; version=0.0.4; charset=utf-8", r.headers["content-type"])
        assert.is_nil(r.headers["content-encoding"])
        assert.is_nil(text:find("trace_id", 1, true))
        local open
        open, r = scrape(node, { Accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5" })
        assert.equal("application/openmetrics-text; version=1.0.0; charset=utf-8", r.headers["content-type"])
        assert.truthy(open:find "\n# EOF\n$")
        for _, name in ipairs { "events_publish_duration_seconds", "events_handling_duration_seconds" } do
            local line = "\n" .. name .. '_bucket{[^\n]+} %d+ # {trace_id="' .. TRACE .. '"} %S+ %d+%.%d%d%d\n'
            assert.truthy(open:find(line), name)
        end
        assert.is_nil(open:find(("1"):rep(32), 1, true)) -- a trace that nobody keeps
        r = select(2, scrape(node, { ["Accept-Encoding"] = "gzip" }))
        assert.equal("gzip", r.headers["content-encoding"])
        assert.equal("\31\139", r.body:sub(1, 2))
        assert.equal(400, node:get("/metrics?x=1").status)
        assert.equal(405, node:post_admin("/metrics").status)
    end)

    it("can be moved, and turned off", function()
        local node = evrt.start { config = { metrics = { path = "/prom/scrape" } }, handlers = handlers }
        assert.equal(404, node:get("/metrics").status)
        scrape(node, nil, "/prom/scrape")
        assert.equal(0, (node:stop()))
        node = evrt.start { config = { metrics = { enabled = false } }, handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                local n = evrt.metrics.counter "mine_total"
                return { name = "A", events = { "**" }, handle = function() n:inc() end }]],
        } }
        node:publish { type = "like.good" }
        settled(node)
        assert.equal(404, node:get("/metrics").status)
        assert.equal(1, node:get("/api/v1/stats").json.done)
        assert.equal(0, (node:stop()))
        local dir = evrt.lay { config = { metrics = { path = "/api/v1/x" } }, handlers = handlers }
        local code, _, err = evrt.run { "check", dir .. "/evrt.yaml" }
        assert.equal(78, code)
        assert.truthy(err:find("metrics.path: expected a path", 1, true), err)
    end)

    it("asks for the admin's token", function()
        local dir = evrt.folder()
        evrt.write(dir .. "/token", "secret\n")
        assert(os.execute("chmod 600 " .. dir .. "/token") == 0)
        local node = evrt.start { config = { admin = { token_file = dir .. "/token" } }, handlers = handlers }
        assert.equal(401, node:get("/metrics").status)
        scrape(node, { Authorization = "Bearer secret" })
    end)

    it("folds what is over max_series, and counts that", function()
        local node = evrt.start { config = { metrics = { max_series = 10 } }, handlers = handlers }
        local list = {}
        for i = 1, 15 do list[i] = { specversion = "1.0", id = "x" .. i, source = "/s" .. i, type = "like.good" } end
        node:post_batch(list)
        settled(node)
        local m = metrics(node)
        assert.equal(1, m['events_published_total{event_type="like.good",source="/s10"}'])
        assert.is_nil(m['events_published_total{event_type="like.good",source="/s11"}'])
        assert.equal(5, m['events_published_total{overflow="true"}'])
        assert.equal(5, m['evrt_metrics_overflow_total{metric="events_published_total"}'])
        assert.equal(15, m['events_stored_total{event_type="like.good"}'])
    end)

    it("lets go of handlers that are gone", function()
        local node = evrt.start { config = { metrics = { series_ttl = "0s" } }, handlers = {
            ["a.lua"] = handlers["a.lua"],
            ["b.lua"] = [[return { name = "Gone", events = { "like.*" }, handle = function() end }]],
        } }
        batch(node, 3, { type = "like.good" })
        await(node, 'events_handled_total{event_type="like.good",handler="Gone",status="success"}', 3)
        assert(os.remove(node.dir .. "/handlers/b.lua"))
        node:post_admin "/api/v1/reload"
        node:await("the series to go", function() return not scrape(node):find('handler="Gone"', 1, true) end)
        assert.equal(3, metrics(node)['events_handled_total{event_type="like.good",handler="Good",status="success"}'])
    end)

    it("counts deliveries that cost a worker", function()
        local scripts = { ["a.lua"] = [[return {
            { name = "Crash", events = { "crash" }, handle = function() os.exit(3) end },
            { name = "Stall", events = { "stall" }, handle = function() while true do end end },
        }]] }
        local node = evrt.start { handlers = scripts }
        node:publish { type = "crash" }
        await(node, 'events_handling_errors_total{event_type="crash",handler="Crash",error_type="crashed"}', 1)
        await(node, 'evrt_worker_restarts_total{cause="exited"}', 1)
        assert.equal(0, metrics(node)['event_handlers_active{handler="Crash",event_type="crash"}'])
        node = evrt.start { config = { workers = { stall_timeout = "1s" } }, handlers = scripts }
        node:publish { type = "stall" }
        await(node, 'events_handling_errors_total{event_type="stall",handler="Stall",error_type="stalled"}', 1)
        await(node, 'evrt_worker_restarts_total{cause="stalled"}', 1)
        assert.is_true(metrics(node)['evrt_limit_hits_total{limit="workers.stall_timeout"}'] >= 1)
    end)

    it("has all causes for which workers end from the start, and refusing scripts is none", function()
        local node = evrt.start { handlers = handlers }
        local function none()
            local m = metrics(node)
            for _, cause in ipairs { "crashed", "stalled", "memory", "exited", "protocol" } do
                assert.equal(0, m[('evrt_worker_restarts_total{cause="%s"}'):format(cause)], cause)
            end
        end
        none()
        evrt.write(node.dir .. "/handlers/b.lua", "return {")
        assert.equal(422, node:post_admin("/api/v1/reload").status)
        node:await_log { msg = "Worker exited", generation = 2 }
        none()
    end)

    it("has Lua memory and time of full collections of each worker", function()
        local scripts = { ["a.lua"] = [[
            local function pid() return tonumber(io.open("/proc/self/stat"):read "*n") end
            return {
                { name = "Waste", events = { "waste" }, handle = function(_, ctx)
                    local kept = {}
                    for i = 1, 26 do kept[i] = ("x"):rep(2^19) .. i end     -- 13 MiB of 16
                    ctx.log.info("wasted", { by = pid() })
                end },
                { name = "Quiet", events = { "quiet" }, handle = function() return 1 end },
            }]] }
        local node = evrt.start { config = { workers = { count = 2, memory_limit = "16MiB" } }, handlers = scripts }
        local function of(what, worker)
            return metrics(node)[('evrt_worker_lua_%s{worker="%d"}'):format(what, worker)]
        end
        local function is_quiet(worker)
            assert.equal(0, of("collections_total", worker))
            assert.equal(0, of("collection_seconds_total", worker))
            node:await("its memory", function() return of("memory_bytes", worker) > 50000 end)
        end
        local rounds = 0
        -- Some worker gets it: that one collects, once, and is not above three quarters of its limit any more.
        local function waste()
            rounds = rounds + 1
            node:accept { type = "waste" }
            local by, worker = node:await_log({ msg = "wasted" }, nil, rounds).by, nil
            for _, one in ipairs(node:get("/api/v1/stats").json.workers) do
                if one.pid == by then worker = one.worker end
            end
            node:await("the collection", function() return of("collections_total", worker) == 1 end)
            assert.is_true(of("collection_seconds_total", worker) > 0)
            node:await("memory to be free", function() return of("memory_bytes", worker) < 12 * 2^20 end)
            return worker
        end
        is_quiet(0)
        is_quiet(1)
        local worker = waste()
        is_quiet(1 - worker)
        local seconds = of("collection_seconds_total", worker)
        batch(node, 100, { type = "quiet" })
        node:await_end()
        is_quiet(1 - worker)
        assert.equal(1, of("collections_total", worker))
        assert.equal(seconds, of("collection_seconds_total", worker))

        -- Workers of a new generation have their predecessors' numbers, and begin with 0.
        evrt.write(node.dir .. "/handlers/b.lua", 'return { name = "B", events = { "b" }, handle = function() end }')
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        is_quiet(0)
        is_quiet(1)
        is_quiet(1 - waste())
        assert.is_nil(of("collections_total", 2))
    end)

    it("counts replays", function()
        local node = evrt.start { handlers = handlers }
        batch(node, 6, { type = "like.good" })
        batch(node, 2, { type = "like.bad" })
        settled(node)
        local before = metrics(node)
        for _, body in ipairs { { handler = "Good", type = "like.good" }, { handler = "Bad" } } do
            assert.equal(200, node:post_admin("/api/v1/replays?wait=true", cjson.encode(body)).status)
        end
        local m = metrics(node)
        assert.equal(6, m['events_replay_total{event_type="like.good",status="success"}'])
        assert.equal(2, m['events_replay_total{event_type="like.bad",status="error"}'])
        assert.equal(1, m['events_replay_failed_total{event_type="like.bad",error_type="rejected"}'])
        assert.equal(6, m['events_replay_duration_seconds_count{event_type="like.good"}'])
        local handled = 'events_handled_total{event_type="like.good",handler="Good",status="success"}'
        assert.equal(before[handled], m[handled]) -- a replay is none of a subscription's attempts
    end)

    it("counts dead letters that are handled once more", function()
        local node = evrt.start { handlers = handlers }
        batch(node, 4, { type = "like.bad" })
        settled(node)
        assert.equal(4, metrics(node).events_dead_letter_queue_size)
        evrt.write(node.dir .. "/handlers/a.lua", (handlers["a.lua"]:gsub('error "odd"', "")))
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        local r = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", cjson.encode { handler = "Bad" })
        assert.is_true(r.status == 200 or r.status == 202, r.body)
        await(node, 'events_reprocessed_total{event_type="like.bad",status="success"}', 2)
        await(node, 'events_reprocessed_total{event_type="like.bad",status="error"}', 2)
        await(node, "events_dead_letter_queue_size", 2)
        await(node, 'evrt_handler_dead_letters{handler="Bad"}', 2)
    end)

    describe("of scripts", function()
        local function script(labels, more)
            return ([[
                local evrt = require "evrt"
                local n = evrt.metrics.counter("orders_total", { help = "Orders.", labels = { %s } })
                local g = evrt.metrics.gauge("level")
                local h = evrt.metrics.histogram("size", { buckets = { 1, 10 } })
                return { name = "A", events = { "order" }, handle = function(event)
                    n:inc { country = event.data.country, %s }
                    g:set(event.data.n)
                    h:observe(event.data.n)
                end }]]):format(labels, more or "")
        end

        it("are one over workers, crashes and reloads", function()
            local node = evrt.start { config = { workers = { count = 2 } },
                handlers = { ["a.lua"] = script '"country"' } }
            await(node, "level", 0) -- there before anything is counted
            for i = 1, 30 do
                node:publish { type = "order", data = { country = i % 3 == 0 and "cn" or "de", n = i } }
            end
            await(node, 'orders_total{country="de"}', 20)
            await(node, 'orders_total{country="cn"}', 10)
            await(node, "size_sum", 465)
            local m = metrics(node)
            assert.same({ 1, 10, 30, 30 },
                { m['size_bucket{le="1.0"}'], m['size_bucket{le="10.0"}'], m['size_bucket{le="+Inf"}'], m.size_count })
            -- Other workers, the same counters.
            evrt.write(node.dir .. "/handlers/b.lua",
                [[return { name = "B", events = { "no" }, handle = function() end }]])
            assert.equal(200, node:post_admin("/api/v1/reload").status)
            node:publish { type = "order", data = { country = "de", n = 7 } }
            await(node, 'orders_total{country="de"}', 21)
            await(node, "level", 7)
            -- Another definition of the same name takes its place.
            evrt.write(node.dir .. "/handlers/a.lua", script('"country", "kind"', 'kind = "x"'))
            assert.equal(200, node:post_admin("/api/v1/reload").status)
            node:publish { type = "order", data = { country = "de", n = 8 } }
            await(node, 'orders_total{country="de",kind="x"}', 1)
            assert.is_nil(metrics(node)['orders_total{country="de"}'])
            assert.equal(0, (node:stop()))
        end)

        it("go when no script has them any more", function()
            local node = evrt.start { config = { metrics = { series_ttl = "0s" } },
                handlers = { ["a.lua"] = script '"country"' } }
            node:publish { type = "order", data = { country = "de", n = 1 } }
            await(node, 'orders_total{country="de"}', 1)
            evrt.write(node.dir .. "/handlers/a.lua",
                [[return { name = "A", events = { "order" }, handle = function() end }]])
            assert.equal(200, node:post_admin("/api/v1/reload").status)
            node:await("the metrics to go", function() return not scrape(node):find "orders" end)
        end)

        it("may be policies'", function()
            local node = evrt.start { handlers = { ["a.lua"] =
                [[return { name = "A", events = { "a" }, policies = { "seen" }, handle = function() end }]] },
                files = { ["policies/seen.lua"] = [[
                    local seen = require "evrt".metrics.counter "seen_total"
                    return { name = "seen", wrap = function(next) return function(event, ctx)
                        seen:inc()
                        return next(event, ctx)
                    end end }]] } }
            node:publish { type = "a" }
            await(node, "seen_total", 1)
        end)
    end)
end)
