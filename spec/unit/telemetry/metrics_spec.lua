-- The registry: label sets found again, cleaned, capped, dropped; histograms; families of scripts.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/metrics.h", "telemetry/metrics_render.h" })

describe("telemetry/metrics", function()
    local m
    before_each(function() m = ffi.gc(lib.evrt_metrics_create(100), lib.evrt_metrics_destroy) end)

    local function slices(values)
        local out = ffi.new("struct evrt_slice[?]", #values + 1)
        for i, v in ipairs(values) do out[i - 1] = c.slice(v) end
        return out
    end
    local function series(id, ...) return lib.evrt_metrics_series(m, lib["EVRT_METRIC_" .. id], slices { ... }) end
    local function text(openmetrics)
        local shot = lib.evrt_metrics_shoot(m)
        local out = c.collect(lib, function(b) lib.evrt_metrics_render(shot, openmetrics or false, b) end)
        lib.evrt_metrics_shot_end(shot)
        return out
    end
    local function lines(pattern, openmetrics)
        local found = {}
        for line in text(openmetrics):gmatch "[^\n]+" do
            if line:find(pattern) then found[#found + 1] = line end
        end
        return found
    end

    it("finds a label set again", function()
        local a = series("PUBLISHED", "like.added", "/app")
        assert.equal(a, series("PUBLISHED", "like.added", "/app"))
        assert.are_not.equal(a, series("PUBLISHED", "like.added", "/other"))
        assert.are_not.equal(a, series("PUBLISHED", "like", "added/app"))
        a.v.u = 3
        assert.same({ 'events_published_total{event_type="like.added",source="/app"} 3' }, lines '="/app"')
    end)

    it("escapes label values, and makes them text", function()
        series("STORED", 'a"b\\c\nd').v.u = 1
        series("STORED", "x\0y\xff\xfez").v.u = 2
        series("STORED", ("\xc3\xa9"):rep(200)).v.u = 3
        series("STORED", "").v.u = 4
        assert.same({
            'events_stored_total{event_type="a\\"b\\\\c\\nd"} 1',
            'events_stored_total{event_type="x\xef\xbf\xbdy\xef\xbf\xbd\xef\xbf\xbdz"} 2',
            'events_stored_total{event_type="' .. ("\xc3\xa9"):rep(128) .. '"} 3',
            'events_stored_total{event_type=""} 4',
        }, lines "^events_stored_total{")
    end)

    it("folds what is over the cap into one, and counts it", function()
        for i = 1, 105 do series("STORED", "t" .. i).v.u = 1 end
        assert.equal(series("STORED", "t106"), series("STORED", "t107"))
        assert.are_not.equal(series("STORED", "t106"), series("STORED", "t100"))
        assert.same({ 'events_stored_total{overflow="true"} 1' }, lines 'stored_total{overflow')
        assert.same({ 'evrt_metrics_overflow_total{metric="events_stored_total"} 8' }, lines "^evrt_metrics_overflow")
    end)

    it("drops the series that carry a label's value, while a shot is rendered too", function()
        for _, handler in ipairs { "A", "B" } do
            for _, status in ipairs { "success", "error" } do series("HANDLED", "t", handler, status).v.u = 7 end
            series("HANDLING_DURATION", "t", handler)
            series("HANDLER_LAG", handler).v.d = 2
        end
        local shot = lib.evrt_metrics_shoot(m)
        lib.evrt_metrics_drop(m, "handler", c.slice "A", true)
        assert.equal(0, #lines '^evrt_handler_lag_events{handler="A"}')
        assert.equal(2, #lines '^events_handled_total.*handler="A"')
        lib.evrt_metrics_drop(m, "handler", c.slice "A", false)
        assert.equal(0, #lines 'handler="A"')
        assert.equal(2, #lines '^events_handled_total.*handler="B"')
        local before = c.collect(lib, function(b) lib.evrt_metrics_render(shot, false, b) end)
        assert.truthy(before:find('evrt_handler_lag_events{handler="A"} 2', 1, true))
        lib.evrt_metrics_shot_end(shot)
        series("HANDLED", "t", "A", "success").v.u = 1
        assert.same({ 'events_handled_total{event_type="t",handler="A",status="success"} 1' }, lines 'handler="A"')
    end)

    it("has a head for each family, once, and none without series", function()
        series("STORED", "t")
        local seen = {}
        for name in text():gmatch "# TYPE (%S+)" do
            assert.is_nil(seen[name], name)
            seen[name] = true
        end
        assert.is_true(seen.events_stored_total)
        assert.is_true(seen.process_cpu_seconds_total)
        assert.is_nil(seen.events_published_total)
        assert.same({ "# TYPE events_stored counter" }, lines("^# TYPE events_stored ", true))
        assert.truthy(text(true):find "\n# EOF\n$")
    end)

    it("shows histograms cumulatively, with exemplars in OpenMetrics alone", function()
        local s = series("STORAGE_DURATION", "t")
        s.counts[0], s.counts[4], s.counts[17] = 2, 3, 1
        s.v.u = 12003500000ULL
        local trace = ("0af7651916cd43dd"):rep(2)
        lib.evrt_series_exemplar(s, 4, trace, 0.0007, 1700000000042LL)
        local got = lines "^events_storage_duration"
        assert.equal(20, #got)
        assert.equal('events_storage_duration_seconds_bucket{event_type="t",le="5e-05"} 2', got[1])
        assert.equal('events_storage_duration_seconds_bucket{event_type="t",le="0.001"} 5', got[5])
        assert.equal('events_storage_duration_seconds_bucket{event_type="t",le="10.0"} 5', got[17])
        assert.equal('events_storage_duration_seconds_bucket{event_type="t",le="+Inf"} 6', got[18])
        assert.equal('events_storage_duration_seconds_sum{event_type="t"} 12.0035', got[19])
        assert.equal('events_storage_duration_seconds_count{event_type="t"} 6', got[20])
        got = lines("^events_storage_duration", true)
        assert.equal('events_storage_duration_seconds_bucket{event_type="t",le="0.001"} 5 # {trace_id="'
            .. trace .. '"} 0.0007 1700000000.042', got[5])
        assert.equal('events_storage_duration_seconds_bucket{event_type="t",le="0.0025"} 5', got[6])
    end)

    it("writes numbers that read back as they are", function()
        for _, v in ipairs { 0, -1, 0.1, 1 / 3, 1e300, -2.5e-8, 123456789012345, 1.7976931348623157e308 } do
            local shown = c.collect(lib, function(b) lib.evrt_metrics_put_double(b, v) end)
            assert.equal(v, tonumber(shown), shown)
        end
        for v, shown in pairs { [1 / 0] = "+Inf", [-1 / 0] = "-Inf" } do
            assert.equal(shown, c.collect(lib, function(b) lib.evrt_metrics_put_double(b, v) end))
        end
        assert.equal("NaN", c.collect(lib, function(b) lib.evrt_metrics_put_double(b, 0 / 0) end))
    end)

    it("adds what the kernel says of this process", function()
        local shot = lib.evrt_metrics_shoot(m)
        lib.evrt_metrics_shot_process(shot)
        local out = c.collect(lib, function(b) lib.evrt_metrics_render(shot, false, b) end)
        lib.evrt_metrics_shot_end(shot)
        local function value(name) return tonumber(out:match("\n" .. name .. " (%S+)")) end
        assert.is_true(value "process_resident_memory_bytes" > 2 ^ 20)
        assert.is_true(value "process_virtual_memory_bytes" > value "process_resident_memory_bytes")
        assert.is_true(value "process_cpu_seconds_total" > 0)
        assert.is_true(value "process_open_fds" > 2)
        assert.is_true(value "process_max_fds" > 2)
        assert.is_true(math.abs(value "process_start_time_seconds" - os.time()) < 86400)
        assert.is_true(value "process_threads" >= 1)
    end)

    describe("families of scripts", function()
        local types = { counter = 0, gauge = 1, histogram = 2 }
        local function definition(d)
            local bounds = ffi.new("double[?]", #(d.bounds or {}) + 1, d.bounds or {})
            local def = ffi.new("struct evrt_metric_definition", {
                type = types[d.type or "counter"], name = c.slice(d.name), help = c.slice(d.help or ""),
                labels = c.slice(d.labels or ""), bounds = bounds, bound_count = #(d.bounds or {}),
                generation = d.generation or 1,
            })
            return def, { bounds, d }
        end
        local function define(d)
            local def, keep = definition(d)
            return lib.evrt_metrics_define(m, def), keep
        end

        it("is one for the same definition, and shows the newest generation's of those that differ", function()
            local a = define { name = "x_total", labels = "k", generation = 1 }
            assert.equal(a, (define { name = "x_total", labels = "k", generation = 1 }))
            lib.evrt_metrics_own(a, slices { "v" }).v.d = 1.5
            local b = define { name = "x_total", labels = "k,l", generation = 2 }
            assert.are_not.equal(a, b)
            lib.evrt_metrics_own(b, slices { "v", "w" }).v.d = 2
            assert.same({ 'x_total{k="v",l="w"} 2' }, lines "^x_total")
            assert.equal(a, (define { name = "x_total", labels = "k", generation = 1 }))
            assert.same({ 'x_total{k="v",l="w"} 2' }, lines "^x_total")
            for _ = 1, 3 do lib.evrt_metrics_undefine(a, 1000) end
            lib.evrt_metrics_expire(m, 1000)
            assert.equal(b, (define { name = "x_total", labels = "k,l", generation = 2 }))
            lib.evrt_metrics_expire(m, 1001)
            assert.same({ 'x_total{k="v",l="w"} 2' }, lines "^x_total")
            lib.evrt_metrics_undefine(b, 1000)
            lib.evrt_metrics_undefine(b, 1000)
            lib.evrt_metrics_expire(m, 1001)
            assert.same({}, lines "^x_total")
        end)

        it("shows bounds as they are", function()
            local f = define { type = "histogram", name = "h", bounds = { -1, 0.1, 1 / 3, 1e6, 1e21 } }
            lib.evrt_metrics_own(f, slices {})
            local le = {}
            for _, line in ipairs(lines "^h_bucket") do le[#le + 1] = line:match 'le="([^"]+)"' end
            assert.equal("-1.0 0.1 0.3333333333333333 1e+06 1e+21 +Inf", table.concat(le, " "))
        end)

        it("is refused when there are too many", function()
            for i = 1, 100 do assert.is_true(define { name = "x" .. i .. "_total" } ~= nil) end
            assert.is_true(define { name = "y_total" } == nil)
            assert.is_true(define { name = "x7_total" } ~= nil)
        end)
    end)
end)
