-- The tracer as the host sees it: what is sampled, what the limit leaves out, and spans as lines.
local ffi = require "ffi"
local cjson = require "cjson"
local c = require "spec.support.c"

local lib = c.load("telemetry", { "telemetry/trace.h", "telemetry/trace_options.h", "telemetry/log.h", "core/random.h",
    "core/attributes.h" })

local S, MS = 1000000000, 1000000

describe("telemetry/trace", function()
    local path, log, tracer, options, random, now
    before_each(function()
        path, now = os.tmpname(), 1000 * S
        random = ffi.new "struct evrt_random"
        lib.evrt_random_init(random)
    end)
    after_each(function()
        lib.evrt_tracer_destroy(tracer, 5000)
        if log then lib.evrt_log_destroy(log) end
        if options then lib.evrt_trace_options_finish(options) end
        tracer, log, options = nil, nil, nil
        os.remove(path)
    end)

    -- Lines go to the log's file: it stands for standard output there.
    local function create(config)
        local of = { exporter = "stdout", endpoint = "http://localhost:4318", keep = "sampled", compression = "auto",
            service = "app", version = "1", environment = "e", sample_rate = 1, max_spans_per_second = 1000000,
            batch_size = 4, queue_size = 100000, batch_delay_ms = 1000, timeout_ms = 1000 }
        for k, v in pairs(config or {}) do of[k] = v end
        options = ffi.new "struct evrt_trace_options"
        lib.evrt_trace_options_init(options, ffi.new("struct evrt_trace_config", of), nil, nil, nil)
        local out, err = ffi.new "struct evrt_tracer *[1]", ffi.new "struct evrt_error"
        assert.equal(0, lib.evrt_tracer_create(out, options, log, err))
        tracer = out[0]
        return tracer
    end

    local function begin(at)
        local context = ffi.new "struct evrt_trace_context"
        return lib.evrt_tracer_begin(tracer, random, at or now, context), context
    end

    local function counts()
        local out = ffi.new "struct evrt_tracer_counts"
        lib.evrt_tracer_counts(tracer, out)
        return out
    end

    local function put(fields)
        local s = ffi.new "struct evrt_span"
        s.high, s.low, s.id, s.start_ns, s.end_ns = 1, 2, 3, now - MS, now
        for k, v in pairs(fields or {}) do s[k] = type(v) == "string" and c.slice(v) or v end
        lib.evrt_tracer_put(tracer, s)
    end

    it("is nothing when the exporter is none", function()
        assert.is_true(create { exporter = "none" } == nil)
        assert.is_true(lib.evrt_tracer_threshold(nil) == 0)
        assert.equal(-1, tonumber(lib.evrt_tracer_turn(nil, now)))
        assert.equal(0, tonumber(counts().exported))
    end)

    it("begins its share of traces", function()
        create { exporter = "otlp", sample_rate = 0.25 }
        local begun = 0
        for _ = 1, 4000 do
            local yes, context = begin()
            if yes then
                begun = begun + 1
                assert.equal(3, context.flags)
            else
                assert.is_true(context.low == 0)
            end
        end
        assert.is_true(begun > 800 and begun < 1200, begun)
        lib.evrt_tracer_set(tracer, 0, 1000)
        for _ = 1, 100 do assert.is_false((begin())) end
    end)

    it("joins as was decided elsewhere", function()
        create { exporter = "otlp", sample_rate = 0 }
        local context = ffi.new("struct evrt_trace_context", { high = 1, low = 2, span = 3, flags = 1 })
        assert.is_true(lib.evrt_tracer_join(tracer, context))
        context.flags = 0
        assert.is_false(lib.evrt_tracer_join(tracer, context))
    end)

    it("leaves spans out beyond its limit, whole traces first, and counts them", function()
        create { exporter = "otlp", max_spans_per_second = 100, batch_size = 10000 }
        assert.is_true((begin()))
        for _ = 1, 80 do put() end
        assert.is_false((begin())) -- what is left is for traces that have begun
        for _ = 1, 40 do put() end
        assert.equal(1 + 20, tonumber(counts().limited))
        now = now + S / 2
        assert.is_true((begin()))
        for _ = 1, 60 do put() end
        assert.equal(21 + 10, tonumber(counts().limited))
    end)

    it("counts one that stores as two in the limit", function()
        create { exporter = "otlp", max_spans_per_second = 5, batch_size = 10000 }
        for _ = 1, 3 do put { kind = 0, stores = true } end
        assert.equal(1, tonumber(counts().limited))
    end)

    it("counts one that stores as two in a batch", function()
        create { exporter = "otlp", endpoint = "http://127.0.0.1:1", batch_size = 3 }
        put { kind = 0, stores = true }
        assert.equal(1000, tonumber(lib.evrt_tracer_turn(tracer, now)))
        put()
        assert.equal(-1, tonumber(lib.evrt_tracer_turn(tracer, now))) -- full: handed over
        -- Where one of the two has no room, it is in the next one.
        for _ = 1, 2 do put { kind = 0, stores = true } end
        assert.equal(1000, tonumber(lib.evrt_tracer_turn(tracer, now)))
        for _ = 1, 2 do put() end
        assert.equal(-1, tonumber(lib.evrt_tracer_turn(tracer, now)))
    end)

    it("hands over what is full or old", function()
        create { exporter = "otlp", endpoint = "http://127.0.0.1:1", batch_size = 2, queue_size = 2 }
        assert.equal(-1, tonumber(lib.evrt_tracer_turn(tracer, now)))
        put()
        assert.equal(1000, tonumber(lib.evrt_tracer_turn(tracer, now)))
        assert.equal(400, tonumber(lib.evrt_tracer_turn(tracer, now + 600 * MS)))
        assert.equal(-1, tonumber(lib.evrt_tracer_turn(tracer, now + 1000 * MS)))
        assert.equal(-1, tonumber(lib.evrt_tracer_turn(tracer, now)))
    end)

    it("counts what finds no room in the queue", function()
        create { exporter = "otlp", endpoint = "http://127.0.0.1:1", batch_size = 2, queue_size = 4, timeout_ms = 10 }
        for _ = 1, 20 do put() end
        lib.evrt_tracer_destroy(tracer, 0) -- nobody listens there: all is lost, and nothing hangs
        tracer = nil
    end)

    it("bounds what waits in bytes, too", function()
        create { exporter = "otlp", endpoint = "http://127.0.0.1:1", batch_size = 10000, queue_size = 1000000 }
        local text = ("x"):rep(16000)
        for _ = 1, 3000 do put { kind = 2, message = text, stack = text } end
        local now_counts = counts()
        assert.is_true(now_counts.queue > 0)
        assert.is_true(tonumber(now_counts.waiting) * 32000 < 17 * 2 ^ 20)
        lib.evrt_tracer_destroy(tracer, 0)
        tracer = nil
    end)

    local function read(list)
        local out = ffi.new "struct evrt_log *[1]"
        local outputs = ffi.new "const char *[2]"
        outputs[0] = path
        local log_options = ffi.new("struct evrt_log_options", { level = 1, outputs = outputs })
        assert.equal(0, lib.evrt_log_create(out, log_options, nil))
        log = out[0]
        for _, one in ipairs(list) do
            local line = cjson.encode(one) .. "\n"
            assert.is_true(lib.evrt_log_line(log, c.slice(line)))
        end
        lib.evrt_log_flush(log, 5000)
        local lines = {}
        for line in io.lines(path) do lines[#lines + 1] = cjson.decode(line) end
        return lines
    end

    it("lets lines that were made elsewhere stand among the log's", function()
        assert.same({ { kind = "span", n = 1 }, { kind = "span", n = 2 } }, read { { kind = "span", n = 1 },
            { kind = "span", n = 2 } })
        assert.is_true(lib.evrt_log_writes_to(log, path))
        assert.is_false(lib.evrt_log_writes_to(log, "stdout"))
        assert.is_false(lib.evrt_log_line(nil, c.slice "x\n"))
    end)
end)
