-- Rates and quantiles over the last quarter of an hour, by a clock that the spec turns.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("host", { "host/monitor.h", "host/meter.h", "core/map.h", "telemetry/metrics.h" })

local SECOND = 1000000000LL

describe("host/monitor", function()
    local metrics, meters, m, now
    local kept -- what C points to

    local function slice(s)
        kept[#kept + 1] = s
        return c.slice(s)
    end

    local function type_meter(type)
        local t = ffi.new "struct host_type_meter"
        kept[#kept + 1] = t
        t.stored = lib.evrt_metrics_series(metrics, lib.EVRT_METRIC_STORED, slice(type))
        lib.evrt_map_set(meters.types, slice(type), t)
        return t
    end

    local function delivery_meter(handler, type)
        local t, name = ffi.new "struct host_meter", ffi.new("char[?]", #handler + 1, handler)
        kept[#kept + 1], kept[#kept + 2] = t, name
        t.handler, t.type = name, slice(type)
        for _, status in ipairs { "success", "error" } do
            local labels = ffi.new("struct evrt_slice[3]", { slice(type), slice(handler), slice(status) })
            t[status] = lib.evrt_metrics_series(metrics, lib.EVRT_METRIC_HANDLED, labels)
        end
        local labels = ffi.new("struct evrt_slice[2]", { slice(type), slice(handler) })
        t.duration = lib.evrt_metrics_series(metrics, lib.EVRT_METRIC_HANDLING_DURATION, labels)
        lib.evrt_map_set(meters.deliveries, slice(handler .. "\0" .. type), t)
        return t
    end

    local function observe(t, ms, count)
        local d = t.duration
        local i = 0
        while i < d.buckets.n and ms * 1000000LL > d.buckets.at[i] do i = i + 1 end
        d.counts[i] = d.counts[i] + count
        d.v.u = d.v.u + ms * 1000000LL * count
    end

    local function pass(seconds, each)
        for i = 1, seconds do
            now = now + SECOND
            if each then each(i) end
            lib.host_monitor_tick(m, meters, now)
        end
        lib.host_monitor_gather(m, meters)
    end

    local function observed(map, name)
        return ffi.cast("struct host_observed *", lib.evrt_map_get(map, slice(name)))
    end
    local function handler(name) return observed(m.handlers, name) end
    local function rate(w, what, seconds)
        return lib.host_monitor_rate(m, w, lib["HOST_WATCHED_" .. what], seconds, now)
    end

    before_each(function()
        kept, now = {}, 1000 * SECOND
        metrics = ffi.gc(lib.evrt_metrics_create(1000), lib.evrt_metrics_destroy)
        meters, m = ffi.new "struct host_meters", ffi.new "struct host_monitor"
        lib.host_monitor_init(m, now)
    end)
    after_each(function()
        lib.host_monitor_finish(m)
        lib.evrt_map_finish(meters.types)
        lib.evrt_map_finish(meters.deliveries)
    end)

    it("knows nothing at first", function()
        pass(1)
        assert.equal(0, rate(m.total, "HANDLED", 60))
        assert.is_true(lib.host_monitor_quantile(m, m.total, 0.5) ~= lib.host_monitor_quantile(m, m.total, 0.5)) -- NaN
    end)

    it("counts from the start while that is not long ago", function()
        local t = type_meter "a"
        pass(10, function() t.stored.v.u = t.stored.v.u + 7 end)
        for _, window in ipairs { 60, 300, 900 } do assert.equal(7, rate(m.total, "PUBLISHED", window)) end
    end)

    it("forgets what is older than the window, to a sample's length", function()
        local h = delivery_meter("H", "a")
        pass(900, function() h.success.v.u = h.success.v.u + 10 end)
        pass(90, function() h.success.v.u = h.success.v.u + 100 end)
        assert.equal(100, rate(handler "H", "HANDLED", 60))
        local quarter = rate(handler "H", "HANDLED", 900)
        assert.is_true(quarter > 18 and quarter < 20, quarter)
        pass(975)
        assert.equal(0, rate(handler "H", "HANDLED", 900))
        assert.equal(0, tonumber(lib.host_monitor_count(m, handler "H", lib.HOST_WATCHED_HANDLED, 900, now)))
    end)

    it("adds up types for a handler, handlers for a type, and everything in all", function()
        local a, b, other = delivery_meter("H", "a"), delivery_meter("H", "b"), delivery_meter("Other", "a")
        a.success.v.u, b.error.v.u, other.success.v.u = 1, 2, 4
        lib.host_monitor_gather(m, meters)
        local type_a = observed(m.types, "a")
        assert.equal(3, tonumber(handler "H".now[lib.HOST_WATCHED_HANDLED]))
        assert.equal(2, tonumber(handler "H".now[lib.HOST_WATCHED_ERRORS]))
        assert.equal(5, tonumber(type_a.now[lib.HOST_WATCHED_HANDLED]))
        assert.equal(7, tonumber(m.total.now[lib.HOST_WATCHED_HANDLED]))
    end)

    it("estimates quantiles of what came in the last quarter of an hour", function()
        local h = delivery_meter("H", "a")
        observe(h, 900, 1000)
        pass(1300)
        assert.is_true(lib.host_monitor_quantile(m, handler "H", 0.5) ~= lib.host_monitor_quantile(m, handler "H", 0.5))
        observe(h, 2, 90)
        observe(h, 400, 10)
        lib.host_monitor_gather(m, meters)
        local p50, p99 = lib.host_monitor_quantile(m, handler "H", 0.5), lib.host_monitor_quantile(m, handler "H", 0.99)
        assert.is_true(p50 > 0.0005 and p50 <= 0.0025, p50)
        assert.is_true(p99 > 0.2 and p99 <= 0.5, p99)
    end)

    it("lets go of what is counted no more, and takes counters that began anew", function()
        local h = delivery_meter("H", "a")
        h.success.v.u = 50
        pass(120)
        h.success.v.u = 6
        lib.host_monitor_gather(m, meters)
        assert.equal(6, tonumber(lib.host_monitor_count(m, handler "H", lib.HOST_WATCHED_HANDLED, 60, now)))
        lib.evrt_map_remove(meters.deliveries, slice "H\0a")
        lib.host_monitor_gather(m, meters)
        assert.equal(0, tonumber(m.handlers.count))
    end)
end)
