-- Debian's Prometheus, scraping a node with the rules that evrt ships; and what a query's value has to be.
--
--     local prometheus = require("spec.support.prometheus").start(node, { old = { "up{job=\"evrt\"} 1 1700000000" } })
--     prometheus:query "up"                                  -- a list of {metric, value}
--     local since = prometheus:scraped()                      -- from here on the load generator counts
--     ... 400 events ...
--     prometheus:await_expected("rate(x_total[$__rate_interval])", since, { P.rate(400, { event_type = "a" }) })
--
-- How late a scrape is does not matter: rate() and increase() reach over to the window's ends by some part of
-- the time between two scrapes, and the bounds are made of the times of those scrapes that were.
local uv = require "luv"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"
local ports = require "spec.support.ports"
local tools = require "spec.support.tools"

local P = {}
local Prometheus = {}
Prometheus.__index = Prometheus

local function now()
    local seconds, us = uv.gettimeofday()
    return seconds + us / 1e6
end

--- Starts it. As conf/prometheus/prometheus.yml, but quicker, of this node and without Alertmanager. `old`: lines of
--- OpenMetrics text with times in the past, to be there from the start.
function P.start(node, options)
    local dir, port = evrt.folder(), ports.free()
    evrt.write(dir .. "/prometheus.yml", ([[
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 1s}
rule_files: ["%s/conf/prometheus/evrt.rules.yml"]
scrape_configs:
  - job_name: evrt
    static_configs: [{targets: ["127.0.0.1:%d"]}]
]]):format(uv.cwd(), node.admin))
    if options and options.old then
        evrt.write(dir .. "/old", table.concat(options.old, "\n") .. "\n# EOF\n")
        local code, said = tools.sh("promtool tsdb create-blocks-from openmetrics old tsdb", { cwd = dir })
        assert(code == 0, said)
    end
    local self = evrt.spawn {
        program = "/bin/sh", env = { PATH = tools.path() }, cwd = dir,
        args = { "-c", "exec prometheus --config.file=prometheus.yml --storage.tsdb.path=tsdb "
            .. "--enable-feature=exemplar-storage --web.listen-address=127.0.0.1:" .. port },
    }
    self:await("Prometheus to be ready", function()
        local ok, r = pcall(http.request, port, "GET", "/-/ready")
        return ok and r.status == 200
    end, 60)
    return setmetatable({ process = self, port = port, instance = "127.0.0.1:" .. node.admin }, Prometheus)
end

local function encode(s) return (s:gsub("[^%w]", function(x) return ("%%%02X"):format(x:byte()) end)) end

--- An answer of its API, decoded.
function Prometheus:ask(path)
    local r = http.request(self.port, "GET", path)
    assert(r.status == 200, path .. ": " .. r.body)
    return r.json.data
end

--- What a query says, now or at a time: a list of {metric, value}, or {metric, values} for a range.
function Prometheus:query(text, at)
    return self:ask(("/api/v1/query?query=%s%s"):format(encode(text), at and ("&time=%.3f"):format(at) or "")).result
end

--- Traces that samples of a metric name.
function Prometheus:exemplars(metric)
    return http.request(self.port, "GET", "/api/v1/query_exemplars?start=0&end=4000000000&query=" .. metric).body
end

--- The rules that are alerts, each with those that are pending or fire, and those that record: name -> rule.
function Prometheus:rules()
    local alerts, recorded = {}, {}
    for _, group in ipairs(self:ask "/api/v1/rules".groups) do
        for _, rule in ipairs(group.rules) do
            if rule.type == "recording" then
                recorded[rule.name] = rule
            else
                alerts[rule.name] = rule
            end
        end
    end
    return alerts, recorded
end

local function has_labels(metric, labels)
    for k, v in pairs(labels or {}) do
        if metric[k] ~= v then return false end
    end
    return true
end

--- The value of the first series with these labels in an answer, or nil.
function P.pick(result, labels)
    for _, one in ipairs(result) do
        if has_labels(one.metric, labels) then return tonumber(one.value[2]) end
    end
end

--- Waits until holds(), as evrt.await does, for up to a minute.
function Prometheus:await(what, holds)
    return evrt.await(what, function()
        assert(not self.process.code, "Prometheus ended")
        return holds()
    end, 60)
end

--- Waits until one series of a query has a value.
function Prometheus:await_value(text, wanted, labels)
    local got
    self:await(function() return ("%s to be %s, is %s"):format(text, wanted, tostring(got)) end, function()
        got = P.pick(self:query(text), labels)
        return got == wanted
    end)
end

--- Waits for a scrape that began after this call; returns a time before it and after this call.
function Prometheus:scraped()
    local since = now()
    local series = ('timestamp(evrt_ready{instance="%s"})'):format(self.instance)
    self:await("a scrape", function() return (P.pick(self:query(series)) or 0) > since + 0.01 end)
    return since
end

-- ---- What is expected of a query's value ----

-- w: window in seconds; f: how much more than was counted rate() and increase() say at most.
local function expected(text, labels, bounds) return { text = text, labels = labels, bounds = bounds } end

--- A rate of so many in the window (at least; at most `most`).
function P.rate(n, labels, most)
    return expected(n .. " in the window", labels, function(w, f) return n / w, (most or n) * f / w end)
end

--- An increase by so many (at least; at most `most`).
function P.increase(n, labels, most)
    return expected(tostring(n), labels, function(_, f) return n, (most or n) * f end)
end

--- A quotient of rates; `off`: times which it may be off, beside what windows do to rates.
function P.quotient(a, b, labels, off)
    return expected(("%s / %s"):format(a, b), labels, function(_, f)
        f = f * (off or 1)
        return a / b / f, a / b * f
    end)
end

function P.exactly(n, labels) return expected(tostring(n), labels, function() return n, n end) end
function P.at_least(n, labels) return expected("at least " .. n, labels, function() return n, math.huge end) end
function P.between(a, b, labels)
    return expected(("%s to %s"):format(a, b), labels, function() return a, b end)
end

-- Scrapes in a window that ends at `at`.
local function scrapes(self, at, window)
    local result = self:query(('evrt_ready{instance="%s"}[%dms]'):format(self.instance, window * 1000), at)
    return result[1] and #result[1].values or 0
end

--- How many scrapes there were since then.
function Prometheus:scrapes(since) return scrapes(self, now(), now() - since) end

-- By how much rate() may exceed what was counted in a window that ends at `at`: it adds at most 1.1 times the mean
-- distance of two samples at each end.
local function excess(self, at, window)
    local n = scrapes(self, at, window)
    return n < 2 and math.huge or 1 + 2.2 / (n - 1)
end

local function sorted(list)
    local lines = {}
    for _, labels in ipairs(list) do
        local words = {}
        for k, v in pairs(labels) do words[#words + 1] = k .. "=" .. v end
        table.sort(words)
        lines[#lines + 1] = table.concat(words, " ")
    end
    table.sort(lines)
    return table.concat(lines, "; ")
end

--- Waits until an alert is pending, or fires, with these sets of labels and no others; prints what it says.
function Prometheus:await_alert(name, labels)
    local wanted, got, said = sorted(labels), nil, nil
    self:await(function() return ("%s to be {%s}, is {%s}"):format(name, wanted, got) end, function()
        local list = {}
        said = {}
        for _, alert in ipairs((self:rules())[name].alerts) do
            alert.labels.alertname = nil
            list[#list + 1] = alert.labels
            said[#said + 1] = alert.annotations.summary
            for _, text in pairs(alert.annotations) do
                assert(text ~= "" and not text:find "<error" and not text:find "<no value>", text)
            end
        end
        got = sorted(list)
        return got == wanted
    end)
    print(("prometheus: %s = {%s} (expected so)%s"):format(name, got, #said > 0 and ": " .. said[1] or ""))
end

-- Rounding of doubles.
local CLOSE = 1e-9

local function compare(self, query, at, window, list)
    local result, f, lines, good = self:query(query, at), excess(self, at, window), {}, true
    for _, e in ipairs(list) do
        local value = P.pick(result, e.labels)
        local low, high = e.bounds(window, f)
        local holds = value ~= nil and value >= low - math.abs(low) * CLOSE and value <= high + math.abs(high) * CLOSE
        good = good and holds
        local of = e.labels and " " .. cjson.encode(e.labels):gsub("\\/", "/") or ""
        lines[#lines + 1] = ("%s%s = %s (expected %s%s)%s"):format(query, of,
            value and ("%.6g"):format(value) or "nothing", e.text,
            low ~= high and (": %.6g to %.6g"):format(low, high) or "", holds and "" or " WRONG")
    end
    return good, lines
end

--- Waits until a query's values are as expected; prints each beside what is. `since`: where the window of its rates
--- begins, which takes the place of Grafana's variables; or `window`: how long it is.
function Prometheus:await_expected(query, since, list, window)
    local lines
    self:await(function() return "expected values:\n" .. table.concat(lines, "\n") end, function()
        local at = now()
        local w = window or at - since
        local text = query:gsub("%$job", "evrt"):gsub("%$instance", self.instance)
            :gsub("%$__rate_interval", "$__range"):gsub("%$__interval", "$__range")
            :gsub("%$__range", ("%dms"):format(w * 1000))
        local good
        good, lines = compare(self, text, at, w, list)
        return good
    end)
    for _, line in ipairs(lines) do print("prometheus: " .. line) end
end

return P
