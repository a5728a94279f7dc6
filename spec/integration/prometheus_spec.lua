-- Prometheus itself, scraping a node under load: each query that the README, the rules and this project's first
-- report have, beside what was done. promtool and OpenMetrics' own parser read what it scrapes, too.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"
local leak = require "spec.support.leak"
local ports = require "spec.support.ports"
local tools = require "spec.support.tools"

local handlers = { ["a.lua"] = [[
    local evrt = require "evrt"
    local done = evrt.metrics.counter("demo_done_total", { labels = { "kind" } })
    return {
        { name = "Steady", events = { "demo.*" }, handle = function(event)
            done:inc { kind = event.type == "demo.good" and "good" or "bad" }
        end },
        { name = "Shaky", events = { "demo.bad" }, handle = function(event, ctx)
            if event.data.n % 4 == 0 then evrt.reject "each fourth" end
            if event.data.n % 4 == 1 and ctx.attempt == 1 then error "at first" end
        end },
        { name = "Later", events = { "demo.wait" }, handle = function() error "not yet" end,
            policies = { evrt.policy.retry { max_retries = 5, initial_delay = "1h", max_delay = "1h" } } },
        { name = "Crashing", events = { "odd.crash" }, handle = function() os.exit(3) end },
        { name = "Slow", events = { "odd.slow" }, concurrency = 1, handle = function() evrt.sleep(0.001) end },
    } ]] }

local GOOD, BAD, WAIT = 400, 200, 7 -- events

local function sh(script, input)
    local node = evrt.spawn { program = "/bin/sh", args = { "-ec", script }, env = { PATH = tools.path() },
        stdin = input }
    node:wait(60)
    return node.code, table.concat(node.out, "\n") .. table.concat(node.err, "\n")
end

describe("Prometheus #plain", function()
    leak.guard(before_each, after_each)

    local function start_node()
        return evrt.start {
            config = {
                retry = { max_retries = 3, initial_delay = "10ms" }, logging = { level = "info" },
                http = { max_event_size = "32KiB" }, store = { max_backlog = "512KiB" }, metrics = { max_series = 20 },
            },
            handlers = handlers,
        }
    end

    local function publish(node, kind, from, count)
        local list = {}
        for i = 1, count do
            list[i] = { specversion = "1.0", id = kind .. from + i, source = "/load", type = "demo." .. kind,
                data = { n = from + i }, traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
        end
        local r = node:post("/events", cjson.encode(list), { ["Content-Type"] = "application/cloudevents-batch+json" })
        assert.equal(202, r.status, r.body)
    end

    local function settled(node, retrying)
        node:await("the end of deliveries", function()
            local s = node:get("/api/v1/stats").json
            return s.pending == 0 and s.running == 0 and s.retrying == retrying
        end)
    end

    -- Workers die, what is dead is given once more, the disk is too slow, there are too many sources, a script is bad,
    -- and a handler has more than it takes at once.
    local function odd_things(node, round)
        local list = {}
        for i = 1, 60 do
            list[i] = { specversion = "1.0", id = ("odd%d-%d"):format(round, i), source = "/odd/" .. round .. "/" .. i,
                type = "odd.slow", data = ("x"):rep(20000) }
        end
        local r = node:post("/events", cjson.encode(list), { ["Content-Type"] = "application/cloudevents-batch+json" })
        assert.equal(207, r.status, r.body)
        node:accept { type = "odd.crash" }
        r = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"handler":"Shaky","limit":1}')
        assert.is_true(r.status == 200 or r.status == 202, r.body)
        evrt.write(node.dir .. "/handlers/b.lua", "return {")
        assert.equal(422, node:post_admin("/api/v1/reload").status)
        assert(os.remove(node.dir .. "/handlers/b.lua"))
        node:await("the end of the crashing", function()
            for _, one in ipairs(node:get("/api/v1/handlers").json.items) do
                if one.name == "Crashing" then return one.dead == round end
            end
        end)
    end

    local function start_prometheus(node)
        local dir, port = evrt.folder(), ports.free()
        -- As conf/prometheus/prometheus.yml, quicker, and of this node.
        evrt.write(dir .. "/prometheus.yml", ([[
global: {scrape_interval: 200ms, scrape_timeout: 200ms}
scrape_configs:
  - job_name: evrt
    static_configs: [{targets: ["127.0.0.1:%d"]}]
]]):format(node.admin))
        local prometheus = evrt.spawn {
            program = "/bin/sh", env = { PATH = tools.path() }, cwd = dir,
            args = { "-c", "exec prometheus --config.file=prometheus.yml --storage.tsdb.path=tsdb "
                .. "--enable-feature=exemplar-storage --web.listen-address=127.0.0.1:" .. port },
        }
        prometheus:await("Prometheus to be ready", function()
            local ok, r = pcall(http.request, port, "GET", "/-/ready")
            return ok and r.status == 200
        end, 60)
        return prometheus, port
    end

    local function encode(s) return (s:gsub("[^%w]", function(x) return ("%%%02X"):format(x:byte()) end)) end

    -- What a query says: a list of {metric, value}.
    local function query(port, text)
        local r = http.request(port, "GET", "/api/v1/query?query=" .. encode(text))
        assert.equal(200, r.status, text .. ": " .. r.body)
        return r.json.data.result
    end

    -- Its value for the series with these labels, or nil.
    local function value(port, text, labels)
        for _, one in ipairs(query(port, text)) do
            local is = true
            for k, v in pairs(labels or {}) do is = is and one.metric[k] == v end
            if is then return tonumber(one.value[2]) end
        end
    end

    it("reads what evrt says, and so do promtool and the OpenMetrics parser", function()
        local node = start_node()
        publish(node, "good", 0, 20)
        publish(node, "bad", 0, 20)
        settled(node, 0)
        local code, said = sh("promtool check metrics", node:get("/metrics").body)
        assert.same({ 0, "" }, { code, said })
        local open = node:get("/metrics", { Accept = "application/openmetrics-text; version=1.0.0" }).body
        assert.truthy(open:find('# {trace_id="0af7651916cd43dd8448eb211c80319c"}', 1, true))
        code, said = sh([[PYTHONPATH=build/spec/tools/usr/lib/python3/dist-packages /usr/bin/python3 -c '
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
print(sum(len(f.samples) for f in families) > 300, len(families) == len({f.name for f in families}))']], open)
        assert.same({ 0, "True True" }, { code, said })
    end)

    it("finds with each query what was done", function()
        local node = start_node()
        local _, port = start_prometheus(node)
        local function await(text, wanted, labels)
            local got
            node:await(("%s to be %s"):format(text, wanted), function()
                got = value(port, text, labels)
                return got == wanted
            end, 60)
        end
        -- Its rates begin with the second scrape that has a series.
        publish(node, "good", 0, 1)
        publish(node, "bad", 0, 1)
        await('count_over_time(events_handled_total{handler="Shaky",status="success"}[1h]) > bool 2', 1)
        publish(node, "good", 1, GOOD - 1)
        publish(node, "bad", 1, BAD - 1)
        publish(node, "wait", 0, WAIT)
        settled(node, WAIT)

        -- Shaky: of n = 1..BAD each fourth is rejected, each n = 4k+1 fails once and then succeeds.
        local rejected, once = BAD / 4, BAD / 4
        local exact = {
            { 'sum(events_published_total{event_type="demo.good",source="/load"})', GOOD },
            { 'events_published_total{event_type="demo.bad"}', BAD },
            { "sum(events_stored_total)", GOOD + BAD + WAIT },
            { 'events_handled_total{handler="Steady",event_type="demo.good",status="success"}', GOOD },
            { 'events_handled_total{handler="Shaky",status="success"}', BAD - rejected },
            { 'events_handled_total{handler="Shaky",status="error"}', rejected + once },
            { 'events_handling_errors_total{handler="Shaky",error_type="rejected"}', rejected },
            { 'events_handling_errors_total{handler="Shaky",error_type="error"}', once },
            { 'events_retried_total{handler="Shaky",attempt="1"}', once },
            { 'events_dead_letter_total{handler="Shaky"}', rejected },
            { 'sum(events_handling_duration_seconds_count{handler="Shaky"})', BAD + once },
            { 'events_publish_duration_seconds_count{event_type="demo.good"}', GOOD },
            { 'demo_done_total{kind="good"}', GOOD },
            { "events_retry_queue_size", WAIT },
            { "events_dead_letter_queue_size", rejected },
            { 'evrt_handler_retrying{handler="Later"}', WAIT },
            { "evrt_ready", 1 },
            { "up", 1 },
        }
        for _, q in ipairs(exact) do await(q[1], q[2]) end

        -- The seed's queries; windows wide enough to have all of this in them.
        local by = { event_type = "demo.bad", handler = "Shaky" }
        -- Increases are estimated up to the window's ends; their quotients are exact.
        local publishing = value(port, "rate(events_published_total[5m])", { event_type = "demo.good" })
        assert.is_true(publishing > 0)
        local quotient = publishing / value(port, "rate(events_published_total[5m])", { event_type = "demo.bad" })
        assert.is_true(quotient > 1.5 and quotient < 2.7, "rates of publishing: " .. quotient)
        -- As the seed has it, its labels never match, and there is nothing; summed to the labels both sides have:
        assert.same({}, query(port, 'rate(events_handling_errors_total{handler="Shaky"}[5m]) / '
            .. 'rate(events_handled_total{handler="Shaky"}[5m])'))
        local ratio = value(port, "sum by (event_type, handler) (rate(events_handling_errors_total[5m])) / "
            .. "sum by (event_type, handler) (rate(events_handled_total[5m]))", by)
        -- The first bad event's failure and success were before the window's first scrape, or are in it.
        assert.is_true(ratio > 0.38 and ratio < 0.42, "error rate " .. tostring(ratio))
        local p95 = value(port, "histogram_quantile(0.95, sum(rate(events_handling_duration_seconds_bucket[5m])) "
            .. "by (le, event_type))", { event_type = "demo.good" })
        assert.is_true(p95 > 0 and p95 <= 10, "p95 " .. tostring(p95))
        assert.equal(WAIT, value(port, "events_retry_queue_size"))
        assert.equal(rejected, value(port, "events_dead_letter_queue_size"))

        -- Exemplars arrive, too.
        local r = http.request(port, "GET", "/api/v1/query_exemplars?start=0&end=4000000000&query="
            .. encode "events_handling_duration_seconds_bucket")
        assert.truthy(r.body:find("0af7651916cd43dd8448eb211c80319c", 1, true), r.body)

        -- And every recording rule's expression is taken, and has data where its window allows it.
        local rules = evrt.read "conf/prometheus/evrt.rules.yml"
        local asked = 0
        for name, expr in rules:gmatch "%- record: ([^\n]+:rate5m)\n%s+expr: ([^|\n][^\n]*)\n" do
            assert.is_true(#query(port, expr) > 0, name)
            asked = asked + 1
        end
        assert.is_true(asked >= 2)

        -- What happens rarely: each twice, as a rate begins with the second scrape of a series.
        local increases = {
            'evrt_worker_restarts_total', 'events_reprocessed_total', 'events_storage_errors_total',
            'evrt_metrics_overflow_total', 'evrt_limit_hits_total{limit="store.max_backlog"}',
            'evrt_reloads_total{outcome="refused"}', 'evrt_handler_credit_waits_total{handler="Slow"}',
        }
        for round = 1, 2 do
            odd_things(node, round)
            for _, series in ipairs(increases) do
                await(("max(count_over_time(%s[1h]) > bool 1)"):format(series), 1)
            end
        end
        for _, series in ipairs(increases) do
            node:await(series .. " to grow", function()
                return (value(port, ("sum(increase(%s[1h]))"):format(series)) or 0) > 0
            end)
        end

        -- And every panel has data.
        local panels = 0
        for _, file in ipairs { "events", "runtime" } do
            for _, panel in ipairs(cjson.decode(evrt.read(("conf/grafana/dashboards/%s.json"):format(file))).panels) do
                for _, target in ipairs(panel.targets or {}) do
                    local expr = target.expr:gsub("%$job", ".+"):gsub("%$instance", ".+")
                        :gsub("%$__rate_interval", "5m"):gsub("%$__range", "5m"):gsub("%$__interval", "5m")
                    node:await(panel.title .. ": " .. expr, function() return #query(port, expr) > 0 end)
                    panels = panels + 1
                end
            end
        end
        assert.is_true(panels >= 50, panels)
    end)
end)
