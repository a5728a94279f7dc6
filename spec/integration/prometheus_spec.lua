-- Prometheus itself, scraping a node under load: each query that the README, the rules, the dashboards and this
-- project's first report have, with its value beside what the load generator counted; and each alert, quiet
-- while all is well, pending when its cause is there. promtool and OpenMetrics' own parser read what it scrapes, too.
local uv = require "luv"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local faketime = require "spec.support.faketime"
local leak = require "spec.support.leak"
local P = require "spec.support.prometheus"
local tamper = require "spec.support.tamper"
local tools = require "spec.support.tools"

-- Numbers are over 0 but for the first event of each type, with which all goes well: it makes the series.
local handlers = { ["a.lua"] = [[
    local evrt = require "evrt"
    local done = evrt.metrics.counter("demo_done_total", { labels = { "kind" } })
    return {
        { name = "Steady", events = { "demo.*" }, handle = function(event)
            done:inc { kind = event.type == "demo.good" and "good" or "bad" }
        end },
        { name = "Shaky", events = { "demo.bad" }, handle = function(event, ctx)
            local n = event.data.n
            if n % 4 == 0 and n > 0 then evrt.reject "each fourth" end
            if n % 4 == 1 and ctx.attempt == 1 or n % 8 == 5 and ctx.attempt == 2 then error "at first" end
        end },
        { name = "Later", events = { "demo.wait" },
            handle = function(event) if event.data.n > 0 then error "not yet" end end,
            policies = { evrt.policy.retry { max_retries = 5, initial_delay = "1h", max_delay = "1h" } } },
        { name = "Crashing", events = { "odd.crash" },
            handle = function(event) if event.data.n > 0 then os.exit(3) end end },
        { name = "Slow", events = { "odd.slow" }, concurrency = 1, handle = function() evrt.sleep(0.005) end },
        { name = "Idle", events = { "idle.*" }, handle = function() end },
    } ]] }

-- What is published in the time that is looked at, and what becomes of it. Of n = 5..204 each fourth is rejected, each
-- n = 4k+1 fails once, and every second of these twice. A crash is charged three times. One dead letter is tried again,
-- which is no attempt of its event's.
local GOOD, BAD, WAIT, CRASHES, AGAIN = 400, 200, 1100, 3, 1
local REJECTED, ONCE, TWICE = BAD / 4, BAD / 4, BAD / 8
local SHAKY_ERRORS = REJECTED + ONCE + TWICE
local SHAKY_ATTEMPTS = BAD + ONCE + TWICE

describe("Prometheus #plain", function()
    leak.guard(before_each, after_each)

    local function start_node()
        return evrt.start {
            config = {
                workers = { count = 2 }, reload = { watch = false },
                retry = { max_retries = 3, initial_delay = "10ms" },
                logging = { level = "info", sampling = { first = 10, then_every = 0 } },
                http = { max_event_size = "32KiB" }, store = { max_backlog = "512KiB" }, metrics = { max_series = 50 },
            },
            handlers = handlers,
        }
    end

    -- Events n = from..to.
    local function publish(node, kind, from, to)
        for first = from, to, 1000 do
            local list = {}
            for n = first, math.min(first + 999, to) do
                list[#list + 1] = { specversion = "1.0", id = kind .. n, source = "/load", type = kind,
                    data = { n = n }, traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
            end
            local r = node:post_batch(list)
            assert.equal(202, r.status, r.body)
        end
    end

    local function settled(node, retrying)
        node:await("the end of deliveries", function()
            local s = node:get("/api/v1/stats").json
            return s.pending == 0 and s.running == 0 and s.retrying == retrying
        end)
    end

    -- The disk is too slow, there are too many sources, a handler has more than it takes at once, workers die, what
    -- is dead is given once more, a script is bad. Returns how many events were accepted and refused.
    local function odd_things(node, round)
        local list, count = {}, { [202] = 0, [429] = 0 }
        for i = 1, 60 do
            list[i] = { specversion = "1.0", id = ("odd%d-%d"):format(round, i), source = "/odd/" .. round .. "/" .. i,
                type = "odd.slow", data = ("x"):rep(20000) }
        end
        local r = node:post_batch(list)
        assert.equal(207, r.status, r.body)
        for _, one in ipairs(r.json) do count[one.status] = count[one.status] + 1 end
        publish(node, "odd.crash", round, round)
        r = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"handler":"Shaky","limit":1}')
        assert.is_true(r.status == 200 or r.status == 202, r.body)
        evrt.write(node.dir .. "/handlers/b.lua", "return {")
        assert.equal(422, node:post_admin("/api/v1/reload").status)
        assert(os.remove(node.dir .. "/handlers/b.lua"))
        node:await("the end of the crashing", function() return node:handler("Crashing").dead == round end)
        return count[202], count[429]
    end

    it("reads what evrt says, and so do promtool and the OpenMetrics parser", function()
        local node = start_node()
        publish(node, "demo.good", 1, 20)
        publish(node, "demo.bad", 1, 20)
        settled(node, 0)
        local code, said = tools.sh("promtool check metrics", { stdin = node:get("/metrics").body })
        assert.same({ 0, "" }, { code, said })
        local open = node:get("/metrics", { Accept = "application/openmetrics-text; version=1.0.0" }).body
        assert.truthy(open:find('# {trace_id="0af7651916cd43dd8448eb211c80319c"}', 1, true))
        code, said = tools.sh([[PYTHONPATH=build/spec/tools/usr/lib/python3/dist-packages /usr/bin/python3 -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
print(sum(len(f.samples) for f in families) > 300, len(families) == len({f.name for f in families}))']],
            { stdin = open })
        assert.same({ 0, "True True" }, { code, said })
    end)

    -- These may be slow without being told to be.
    local by_disk = { EvrtCommitSlow = true, EvrtPublishSlow = true }

    -- The rate of a week ago, of which half of an hour is before this time of the day: 0 to 1.5 events a second.
    local function last_week()
        local lines, at = {}, uv.gettimeofday() - 7 * 86400
        for offset = -3600, 3600, 60 do
            lines[#lines + 1] = ('job:events_published:rate5m{job="evrt"} %s %d'):format(
                offset % 120 == 0 and 0 or 1.5, at + offset)
        end
        return lines
    end

    -- In the window that is looked at, by the dashboards' panels and their queries.
    local function panels(slow, refused, events)
        local steady = { handler = "Steady" }
        local shaky, later, crashing = { handler = "Shaky" }, { handler = "Later" }, { handler = "Crashing" }
        local function status(kind, what) return { event_type = kind, status = what } end
        local duration = P.between(1e-5, 10)
        local nap = P.between(0.0025, 10, { event_type = "odd.slow" })
        local failed = {
            P.increase(WAIT, later), P.increase(SHAKY_ERRORS, shaky), P.increase(CRASHES, crashing),
            P.exactly(0, steady),
        }
        return {
            ["Publish rate"] = { {
                P.rate(GOOD, { event_type = "demo.good" }), P.rate(BAD, { event_type = "demo.bad" }),
                P.rate(WAIT, { event_type = "demo.wait" }), P.rate(1, { event_type = "odd.crash" }),
            } },
            ["Handling rate"] = { {
                P.rate(GOOD, status("demo.good", "success")), P.exactly(0, status("demo.good", "error")),
                P.rate(BAD + BAD - REJECTED, status("demo.bad", "success")),
                P.rate(SHAKY_ERRORS, status("demo.bad", "error")),
                P.rate(WAIT, status("demo.wait", "success")), P.rate(WAIT, status("demo.wait", "error")),
                P.rate(CRASHES, status("odd.crash", "error")), P.rate(slow, status("odd.slow", "success")),
            } },
            ["Mean handling time"] = { { nap } },
            ["P95 and P99 handling time"] = { { nap }, { nap } },
            ["Error rate"] = { {
                P.quotient(SHAKY_ERRORS, SHAKY_ATTEMPTS, { handler = "Shaky", event_type = "demo.bad" }),
                P.quotient(1, 1, { handler = "Later", event_type = "demo.wait" }),
                P.exactly(0, { handler = "Steady", event_type = "demo.good" }),
            } },
            ["Error types"] = { {
                P.increase(ONCE + TWICE + WAIT, { error_type = "error" }),
                P.increase(REJECTED, { error_type = "rejected" }),
                P.increase(CRASHES, { error_type = "crashed" }), P.exactly(0, { error_type = "timeout" }),
            } },
            ["Top 10 failing handlers"] = { failed },
            ["Error heat map"] = { failed },
            ["Retry queue"] = { { P.exactly(WAIT) } },
            ["Dead letters"] = { { P.exactly(1 + 1 + REJECTED + 1) } },
            ["Retry success"] = { {
                P.between(0.666, 0.667, shaky), P.between(-1e-9, 1e-9, crashing),
            } },
            ["Queue rates"] = {
                { P.rate(ONCE + TWICE + WAIT + CRASHES - 1) }, { P.rate(ONCE + TWICE + CRASHES - 1) },
                { P.rate(REJECTED + 1) }, { P.rate(AGAIN) },
            },
            ["Mean time by handler"] = { { P.between(0.0025, 10, { handler = "Slow" }) } },
            ["Throughput by handler"] = { {
                P.rate(GOOD + BAD + WAIT, steady), P.rate(SHAKY_ATTEMPTS, shaky), P.rate(WAIT, later),
                P.rate(CRASHES, crashing), P.rate(slow, { handler = "Slow" }),
            } },
            ["Active handlers"] = { { P.exactly(5) }, { P.exactly(0, steady), P.exactly(0, later) } },
            ["Top 10 slowest handlers"] = { { P.between(0.0025, 10, { handler = "Slow" }) } },
            Ready = { { P.exactly(1) } },
            Version = { { P.exactly(1, { durability = "fsync" }) } },
            Generation = { { P.exactly(1) } },
            ["Refused reloads"] = { { P.increase(1) } },
            ["Worker restarts"] = { { P.increase(CRASHES) } },
            ["Store full"] = { { P.exactly(0) } },
            Lag = { { P.exactly(0, steady), P.exactly(0, later) } },
            ["Oldest unprocessed event"] = { { P.exactly(0, steady), P.exactly(0, later) } },
            Waiting = {
                { P.exactly(0, steady), P.exactly(0, later) }, { P.exactly(WAIT, later), P.exactly(0, shaky) },
                { P.exactly(0, later) },
            },
            Credit = { { P.rate(1, { handler = "Slow" }, math.huge) } },
            ["Commit time"] = { { duration }, { duration } },
            ["Publish time"] = { { duration }, { duration } },
            ["Commits and their size"] = { { P.rate(6, nil, math.huge) }, { P.at_least(1) } },
            Written = { { P.rate(100 * (GOOD + BAD + WAIT) + 20000 * slow, nil, math.huge) } },
            Size = { { P.at_least(1) } },
            ["Segments and events kept"] = { { P.at_least(1) }, { P.exactly(events) } },
            ["state.db behind"] = { { P.at_least(0) } },
            ["Storage errors"] = { { P.rate(refused, { error_type = "backlog" }) } },
            Workers = { { P.exactly(2, { state = "ready" }), P.exactly(0, { state = "restarting" }) } },
            Restarts = { { P.increase(CRASHES, { cause = "exited" }), P.exactly(0, { cause = "crashed" }) } },
            ["Lua memory"] = { { P.at_least(50000, { worker = "0" }), P.at_least(50000, { worker = "1" }) } },
            ["Full collections"] = { { P.exactly(0, { worker = "0" }), P.exactly(0, { worker = "1" }) } },
            Requests = { {
                P.rate(5, { route = "/events", status = "202" }), P.rate(1, { route = "/events", status = "207" }),
                P.rate(1, { route = "/api/v1/reload", status = "422" }),
            } },
            P99 = { { P.between(1e-5, 10, { route = "/events" }) } },
            Connections = { { P.at_least(0, { listener = "ingest" }) } },
            ["Limits that came to bear"] = { {
                P.increase(refused, { limit = "store.max_backlog" }), P.exactly(0, { limit = "http.max_batch" }),
                P.increase(slow, { limit = "metrics.max_series" }),
            } },
            ["Telemetry lost"] = { { P.exactly(0) }, { P.increase(slow) }, { P.exactly(0, { outcome = "failed" }) } },
            ["CPU of the host process"] = { { P.between(1e-6, 100) } },
            ["Memory and descriptors"] = { { P.at_least(1e6) } },
        }
    end

    -- In all the time of the node: the window that is looked at, and what was before it. Of a series it is not sure
    -- whether its first event is counted as growth.
    local function rules(events)
        local counted = GOOD + BAD + WAIT
        local errors = SHAKY_ERRORS + 1 + WAIT + 2 * CRASHES
        local attempts = counted + 41 + SHAKY_ATTEMPTS + 1 + WAIT + 2 * CRASHES
        local ratio = P.quotient(errors, attempts, { job = "evrt" }, 1.1) -- beside them those of Slow
        return {
            ["job:events_published:rate5m"] = P.rate(counted, { job = "evrt" }, events),
            ["handler:events_handled:rate5m"] =
                P.rate(GOOD, { handler = "Steady", event_type = "demo.good" }, GOOD + 41),
            ["handler:events_handling_errors:ratio_rate5m"] =
                P.quotient(SHAKY_ERRORS + 1, SHAKY_ATTEMPTS + 1, { handler = "Shaky", event_type = "demo.bad" }, 1.01),
            ["handler:events_handling_duration_seconds:p95_5m"] = P.between(0.0025, 10, { handler = "Slow" }),
            ["instance:events_publish_duration_seconds:p99_5m"] = P.between(1e-5, 10),
            ["instance:evrt_journal_commit_duration_seconds:p99_5m"] = P.between(1e-5, 10),
            ["job:events_handled:error_ratio_rate5m"] = ratio,
            ["job:events_handled:error_ratio_rate30m"] = ratio,
            ["job:events_handled:error_ratio_rate1h"] = ratio,
            ["job:events_handled:error_ratio_rate2h"] = ratio,
            ["job:events_handled:error_ratio_rate6h"] = ratio,
            ["job:events_handled:error_ratio_rate1d"] = ratio,
            ["job:events_handled:error_ratio_rate3d"] = ratio,
            ["job:events_published:last_week_low"] = P.exactly(0, { job = "evrt" }),
            ["job:events_published:last_week_high"] = P.exactly(1.5, { job = "evrt" }),
        }
    end

    -- The alerts that all of this sets off, by their own labels.
    local function alerts(instance)
        local function of(severity, labels)
            labels.job, labels.instance, labels.severity = "evrt", instance, severity
            return labels
        end
        local function of_job(severity) return { { job = "evrt", severity = severity } } end
        return { -- those without any: not by this
            EvrtErrorBudgetBurnsFast = of_job "page", EvrtErrorBudgetBurns = of_job "ticket",
            EvrtVolumeUnusual = of_job "info",
            EvrtWorkersRestart = { of("ticket", { cause = "exited" }) },
            EvrtReloadRefused = { of("ticket", {}) },
            EvrtLimitHit = {
                of("info", { limit = "metrics.max_series" }), of("info", { limit = "store.max_backlog" }),
            },
            EvrtTelemetryLost = { of("info", {}) },
            EvrtHandlerFails = {
                of("ticket", { handler = "Later", event_type = "demo.wait" }),
                of("ticket", { handler = "Shaky", event_type = "demo.bad" }),
            },
            EvrtHandlerPaused = { of("info", { handler = "Idle" }) },
            EvrtRetriesGrow = { of("ticket", {}) }, EvrtRetriesDoNotDrain = { of("ticket", {}) },
            EvrtDeadLetters = { of("ticket", { handler = "Crashing" }), of("ticket", { handler = "Shaky" }) },
            EvrtDown = {}, EvrtNotReady = {}, EvrtStoreFull = {}, EvrtHandlerBehind = {},
        }
    end

    it("finds with each query what was done", function()
        local node = start_node()
        local prometheus = P.start(node, { old = last_week() })

        -- All is well: one event of each type, and no alert.
        for _, kind in ipairs { "demo.good", "demo.bad", "demo.wait", "odd.crash", "odd.slow" } do
            publish(node, kind, 0, 0)
        end
        settled(node, 0)
        prometheus:await_value('events_handled_total{event_type="odd.slow",status="success"}', 1)
        local asked = 0
        for name, rule in pairs(prometheus:rules()) do
            if not by_disk[name] then
                prometheus:await(name .. " to be quiet", function()
                    return #prometheus:query(rule.query) == 0
                end)
                asked = asked + 1
            end
        end
        assert.equal(16, asked)

        -- What is rare makes its series when it happens first; and there are more sources than metrics.max_series.
        publish(node, "demo.bad", 4, 4)
        for i = 1, 40 do
            node:accept { type = "demo.good", source = "/source/" .. i, data = { n = 0 } }
        end
        settled(node, 0)
        odd_things(node, 1)
        settled(node, 0)
        prometheus:scraped()
        local since = prometheus:scraped()

        -- What is counted.
        publish(node, "demo.good", 1, GOOD)
        publish(node, "demo.bad", 5, 4 + BAD)
        publish(node, "demo.wait", 1, WAIT)
        settled(node, WAIT)
        local slow, refused = odd_things(node, 2)
        settled(node, WAIT)
        assert.equal(200, node:post_admin("/api/v1/handlers/Idle/pause").status)
        local events = node:get("/api/v1/stats").json.events
        assert.is_true(events >= 5 + 1 + 40 + 1 + GOOD + BAD + WAIT + 1 + slow)
        prometheus:scraped()

        -- Counters, exactly.
        for _, q in ipairs {
            { 'events_published_total{event_type="demo.good",source="/load"}', GOOD + 1 },
            { 'events_published_total{event_type="demo.bad"}', BAD + 2 },
            { 'sum(events_stored_total)', events },
            { 'events_handled_total{handler="Steady",event_type="demo.good",status="success"}', GOOD + 41 },
            { 'events_handled_total{handler="Shaky",status="success"}', BAD - REJECTED + 1 },
            { 'events_handled_total{handler="Shaky",status="error"}', SHAKY_ERRORS + 1 },
            { 'events_handling_errors_total{handler="Shaky",error_type="rejected"}', REJECTED + 1 },
            { 'events_handling_errors_total{handler="Shaky",error_type="error"}', ONCE + TWICE },
            { 'events_retried_total{handler="Shaky",attempt="1"}', ONCE },
            { 'events_retried_total{handler="Shaky",attempt="2"}', TWICE },
            { 'events_retry_failed_total{handler="Shaky"}', TWICE },
            { 'events_retry_queued_total{handler="Later"}', WAIT },
            { 'events_dead_letter_total{handler="Shaky"}', REJECTED + 1 },
            { 'events_reprocessed_total{event_type="demo.bad",status="error"}', 2 },
            { 'events_handling_errors_total{handler="Crashing",error_type="crashed"}', 2 * CRASHES },
            { 'evrt_worker_restarts_total{cause="exited"}', 2 * CRASHES },
            { 'sum(events_handling_duration_seconds_count{handler="Shaky"})', SHAKY_ATTEMPTS + 2 },
            { 'sum(events_publish_duration_seconds_count{event_type="demo.good",source="/load"})', GOOD + 1 },
            { 'demo_done_total{kind="good"}', GOOD + 41 },
            { 'evrt_handler_retrying{handler="Later"}', WAIT },
            { "up", 1 },
        } do
            prometheus:await_value(q[1], q[2])
            print(("prometheus: %s = %d (expected %d)"):format(q[1], q[2], q[2]))
        end

        -- The more scrapes, the less rates reach over to the ends of their window.
        prometheus:await("scrapes", function() return prometheus:scrapes(since) >= 24 end)

        -- The first report's queries. Its error rate divides what never has the same labels: there is nothing.
        local shaky = { event_type = "demo.bad", handler = "Shaky" }
        for _, q in ipairs {
            { "rate(events_published_total[5m])",
                P.rate(GOOD, { event_type = "demo.good", source = "/load" }, GOOD + 1) },
            { "histogram_quantile(0.95, sum(rate(events_handling_duration_seconds_bucket[5m])) by (le, event_type))",
                P.between(0.0025, 10, { event_type = "odd.slow" }) },
            { "sum by (event_type, handler) (rate(events_handling_errors_total[5m])) / "
                .. "sum by (event_type, handler) (rate(events_handled_total[5m]))",
                P.quotient(SHAKY_ERRORS + 1, SHAKY_ATTEMPTS + 1, shaky, 1.01) },
            { "events_retry_queue_size", P.exactly(WAIT) },
            { "events_dead_letter_queue_size", P.exactly(1 + 1 + REJECTED + 1) },
        } do
            prometheus:await_expected(q[1], since, { q[2] }, 300)
        end
        assert.same({}, prometheus:query('rate(events_handling_errors_total{handler="Shaky"}[5m]) / '
            .. 'rate(events_handled_total{handler="Shaky"}[5m])'))
        assert.truthy(prometheus:exemplars "events_handling_duration_seconds_bucket"
            :find("0af7651916cd43dd8448eb211c80319c", 1, true))

        -- Each query of each panel; each is in the table.
        local wanted, queries = panels(slow, refused, events), 0
        for _, file in ipairs { "events", "runtime" } do
            for _, panel in ipairs(cjson.decode(evrt.read(("conf/grafana/dashboards/%s.json"):format(file))).panels) do
                local list = panel.targets and wanted[panel.title] or {}
                if panel.targets then wanted[panel.title] = nil end
                assert.equal(#(panel.targets or {}), #list, panel.title)
                for i, expected in ipairs(list) do
                    prometheus:await_expected(panel.targets[i].expr, since, expected)
                    queries = queries + 1
                end
            end
        end
        assert.same({}, wanted)
        assert.is_true(queries >= 50, queries)

        -- Each rule that is recorded, and each alert. Windows are wider than the node is old.
        local pending, recorded = prometheus:rules()
        wanted = rules(events)
        for name, rule in pairs(recorded) do
            assert.equal("ok", rule.health, name)
            assert.truthy(wanted[name], name)
            prometheus:await_expected(name, since, { wanted[name] }, 300)
            wanted[name] = nil
        end
        assert.same({}, wanted)
        wanted = alerts(prometheus.instance)
        for name, rule in pairs(pending) do
            assert.equal("ok", rule.health, name)
            if not by_disk[name] then
                assert.truthy(wanted[name], name)
                prometheus:await_alert(name, wanted[name])
            end
            wanted[name] = nil
        end
        assert.same({}, wanted)
    end)

    local function is_alert(prometheus, name, severity, handler)
        prometheus:await_alert(name, {
            { job = "evrt", instance = prometheus.instance, severity = severity, handler = handler },
        })
    end

    local function publish_bytes(node, count)
        local headers = { ["ce-type"] = "big", ["Content-Type"] = "text/plain" }
        return node:post("/events", ("x"):rep(count), headers).status
    end

    it("has alerts for a slow disk", function()
        local node = evrt.start {}
        local prometheus = P.start(node)
        assert.equal(202, publish_bytes(node, 1))
        prometheus:await_value('events_published_total{event_type="big"}', 1)
        tamper(node, node.dir .. "/data/journal/0000000000000001.seg", "pwritev2:delay_enter=300000")
        for _ = 1, 5 do assert.equal(202, publish_bytes(node, 1)) end
        is_alert(prometheus, "EvrtCommitSlow", "ticket")
        is_alert(prometheus, "EvrtPublishSlow", "ticket")
    end)

    it("has alerts for a node that is full, then behind, then gone", function()
        assert(faketime.library, "libfaketime is not installed")
        local dir = evrt.folder()
        local clock = faketime.clock(dir)
        local node = evrt.start {
            dir = dir, env = clock.env,
            config = { http = { max_event_size = "16MiB" }, store = { max_size = "192MiB", max_backlog = "64MiB" } },
            handlers = { ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "Held", events = { "big" }, timeout = "1h", handle = function() evrt.sleep(3000) end }
            ]] },
        }
        local prometheus = P.start(node)
        assert.equal(202, publish_bytes(node, 1))
        local status
        for _ = 1, 20 do
            status = publish_bytes(node, 15 * 2 ^ 20)
            if status ~= 202 then break end
        end
        assert.equal(503, status)
        is_alert(prometheus, "EvrtStoreFull", "page")
        is_alert(prometheus, "EvrtNotReady", "page")
        clock.set(400)
        is_alert(prometheus, "EvrtHandlerBehind", "page", "Held")
        node:stop "sigkill"
        is_alert(prometheus, "EvrtDown", "page")
    end)
end)
