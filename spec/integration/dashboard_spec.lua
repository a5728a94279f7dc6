-- GET /api/v1/dashboard and the commands that show it, against what was published.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local leak = require "spec.support.leak"
local time = require "spec.support.time"

local HANDLERS = [[
local evrt = require "evrt"
return {
    { name = "Quick", events = { "a", "b" }, handle = function() end },
    { name = "Slow", events = { "a" }, handle = function() evrt.sleep(0.05) end },
    { name = "Bad", events = { "b" }, handle = function() evrt.reject "no" end },
    { name = "Late", events = { "c" }, policies = { evrt.policy.retry { initial_delay = "1h", max_delay = "1h" } },
      handle = function() error "not yet" end },
    { name = "Paused", events = { "a" }, handle = function() end },
}
]]

describe("the dashboard", function()
    leak.guard(before_each, after_each)

    local node
    local function dashboard() return node:get "/api/v1/dashboard".json end
    local function row(rows, key, name)
        for _, r in ipairs(rows) do
            if r[key] == name then return r end
        end
    end
    local function publish(type, count)
        for _ = 1, count do assert.equal(202, node:publish({ type = type }).status) end
    end

    before_each(function()
        node = evrt.start {
            handlers = { ["a.lua"] = HANDLERS }, env = { TZ = time.noon() },
            config = { retry = { max_retries = 3 } },
        }
        assert.equal(200, node:post_admin("/api/v1/handlers/Paused/pause").status)
        publish("a", 20)
        publish("b", 10)
        publish("c", 3)
        node:await("everything to settle", function()
            local s = node:get "/api/v1/stats".json
            return s.running == 0 and s.pending == 20 and s.retrying == 3
        end)
    end)

    it("has true counts, rates, quantiles and ranks", function()
        local d = dashboard()
        assert.equal(33, d.events_last_hour)
        assert.equal(33, d.events_today)
        assert.equal(3, d.retry_queue_size)
        assert.equal(10, d.dead_letter_queue_size)
        assert.equal(4, d.active_handlers)
        assert.equal("SPEC", d.time_zone)
        local published = d.rates.published["1m"] * d.uptime_seconds
        assert.is_true(published > 31 and published < 35, published)
        for _, window in ipairs { "5m", "15m" } do
            assert.is_true(math.abs(d.rates.published[window] / d.rates.published["1m"] - 1) < 0.01)
        end

        assert.equal(5, #d.handlers)
        local slow, bad, paused = row(d.handlers, "handler", "Slow"), row(d.handlers, "handler", "Bad"),
            row(d.handlers, "handler", "Paused")
        assert.equal(0, slow.error_ratio)
        assert.is_true(slow.p50 > 0.025 and slow.p50 <= slow.p95 and slow.p95 <= slow.p99, slow.p50)
        assert.equal(1, bad.error_ratio)
        assert.equal(20, paused.pending)
        assert.is_true(paused.paused)
        assert.equal(cjson.null, paused.p95)
        assert.equal(3, row(d.handlers, "handler", "Late").retrying)
        assert.equal(3, #d.types)
        assert.is_true(math.abs(row(d.types, "event_type", "a").rates.published["1m"] * d.uptime_seconds - 20) < 2)

        assert.equal("Slow", d.slowest[1].handler)
        assert.same({ { handler = "Bad", errors = 10 }, { handler = "Late", errors = 3 } }, d.most_failing)
        assert.equal(0, (node:stop()))
    end)

    it("counts the hour and the day from the journal, so after a restart as well", function()
        assert.equal(0, (node:stop()))
        node = node:restart()
        local d = dashboard()
        assert.equal(33, d.events_last_hour)
        assert.equal(33, d.events_today)
        assert.equal(0, d.rates.published["1m"])
        publish("a", 1)
        assert.equal(34, dashboard().events_today)
        assert.equal(0, (node:stop()))
    end)

    it("has its counts without metrics, and says nothing of what it cannot know", function()
        assert.equal(0, (node:stop()))
        node = node:restart { config = { metrics = { enabled = false } } }
        local d = dashboard()
        assert.equal(33, d.events_last_hour)
        assert.equal(3, d.retry_queue_size)
        assert.is_nil(d.rates)
        assert.is_nil(d.handlers)
        assert.equal(0, (node:stop()))
    end)
end)
