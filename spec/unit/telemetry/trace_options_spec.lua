-- What tracing is told: keys of the configuration, and OTEL_ variables before them.
local ffi = require "ffi"
local c = require "spec.support.c"

local lib = c.load("telemetry", { "telemetry/trace_options.h", "core/attributes.h" })

local NONE, OTLP, STDOUT = 0, 1, 2

local function options(variables, config)
    local of = { exporter = "otlp", endpoint = "http://localhost:4318", keep = "sampled", compression = "auto",
        service = "my-app", version = "1.0.0", environment = "production", sample_rate = 0.5,
        max_spans_per_second = 20000, batch_size = 512, queue_size = 8192, batch_delay_ms = 5000, timeout_ms = 10000 }
    for k, v in pairs(config or {}) do of[k] = v end
    local list = {}
    for k, v in pairs(variables or {}) do list[#list + 1] = k .. "=" .. v end
    local environment = ffi.new("const char *[?]", #list + 1)
    for i, text in ipairs(list) do environment[i - 1] = text end
    local o = ffi.gc(ffi.new "struct evrt_trace_options", lib.evrt_trace_options_finish)
    local problems = {}
    local each = ffi.cast("void (*)(void *, const char *, const char *)", function(_, name, why)
        problems[ffi.string(name)] = ffi.string(why)
    end)
    lib.evrt_trace_options_init(o, ffi.new("struct evrt_trace_config", of), environment, each, nil)
    each:free()
    return o, problems
end

local function text(b) return ffi.string(b.p, b.n) end

local function resource(o)
    local found, at, a = {}, ffi.new "size_t[1]", ffi.new "struct evrt_attribute"
    local all = ffi.new("struct evrt_slice", o.resource.p, o.resource.n)
    while lib.evrt_attributes_next(all, at, a) do
        local name = c.string(a.name)
        assert.is_nil(found[name], name)
        found[name] = tonumber(a.kind) == 0 and c.string(a.text) or tonumber(a.v.i)
    end
    return found
end

describe("tracing's options", function()
    it("are the configuration's when there are no variables", function()
        local o, problems = options()
        assert.same({}, problems)
        assert.equal(OTLP, tonumber(o.exporter))
        assert.equal("http://localhost:4318/v1/traces", text(o.url))
        assert.equal(0.5, o.ratio)
        assert.is_true(o.parent_based)
        assert.is_false(o.keep_errors)
        local r = resource(o)
        assert.equal("my-app", r["service.name"])
        assert.equal("1.0.0", r["service.version"])
        assert.equal("production", r["deployment.environment.name"])
        assert.equal("evrt", r["telemetry.sdk.name"])
        assert.equal(36, #r["service.instance.id"])
    end)

    it("add the path to a collector's address, once", function()
        for given, url in pairs {
            ["http://c:4318/"] = "http://c:4318/v1/traces", ["https://c/otlp"] = "https://c/otlp/v1/traces",
            ["http://c/v1/traces"] = "http://c/v1/traces",
        } do
            assert.equal(url, text(options({}, { endpoint = given }).url))
            assert.equal(url, text(options({ OTEL_EXPORTER_OTLP_ENDPOINT = given }).url))
        end
        local o = options { OTEL_EXPORTER_OTLP_ENDPOINT = "http://c",
            OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = "http://t/x" }
        assert.equal("http://t/x", text(o.url))
    end)

    it("take the exporter from a variable, and none when the SDK is disabled", function()
        for value, exporter in pairs { none = NONE, otlp = OTLP, console = STDOUT } do
            assert.equal(exporter, tonumber(options({ OTEL_TRACES_EXPORTER = value }).exporter))
        end
        assert.equal(NONE, tonumber(options({ OTEL_SDK_DISABLED = "TRUE" }).exporter))
        assert.equal(OTLP, tonumber(options({ OTEL_SDK_DISABLED = "false" }).exporter))
    end)

    it("know the samplers", function()
        for name, expected in pairs {
            always_on = { 1, false }, always_off = { 0, false }, traceidratio = { 0.25, false },
            parentbased_always_on = { 1, true }, parentbased_always_off = { 0, true },
            parentbased_traceidratio = { 0.25, true },
        } do
            local o, problems = options { OTEL_TRACES_SAMPLER = name, OTEL_TRACES_SAMPLER_ARG = "0.25" }
            assert.same({}, problems)
            assert.same(expected, { o.ratio, o.parent_based }, name)
        end
        assert.equal(1, options({ OTEL_TRACES_SAMPLER = "traceidratio" }).ratio)
    end)

    it("read headers, which are percent-encoded", function()
        local o = options { OTEL_EXPORTER_OTLP_HEADERS = "a=1,authorization=Bearer%20x%3D%3D , b = 2" }
        assert.equal("a: 1\0authorization: Bearer x==\0b: 2\0", text(o.headers))
        o = options { OTEL_EXPORTER_OTLP_HEADERS = "a=1", OTEL_EXPORTER_OTLP_TRACES_HEADERS = "t=2" }
        assert.equal("t: 2\0", text(o.headers))
        for _, bad in ipairs { "a", "a=%0d%0ax: y", "a=%", "a=%zz", "a b=1", "=1" } do
            local got, problems = options { OTEL_EXPORTER_OTLP_HEADERS = bad }
            assert.is_string(problems.OTEL_EXPORTER_OTLP_HEADERS, bad)
            assert.equal("", text(got.headers))
        end
    end)

    it("describe the service by variables first", function()
        local r = resource(options {
            OTEL_RESOURCE_ATTRIBUTES = "service.name=from-attributes,service.version=9,team=a%2Cb,service.instance.id=i"
        })
        assert.equal("from-attributes", r["service.name"])
        assert.equal("9", r["service.version"])
        assert.equal("a,b", r.team)
        assert.equal("i", r["service.instance.id"])
        r = resource(options { OTEL_SERVICE_NAME = "s", OTEL_RESOURCE_ATTRIBUTES = "service.name=x" })
        assert.equal("s", r["service.name"])
    end)

    it("take limits and files", function()
        local o, problems = options {
            OTEL_BSP_MAX_EXPORT_BATCH_SIZE = "7", OTEL_BSP_SCHEDULE_DELAY = "250", OTEL_BSP_MAX_QUEUE_SIZE = "99",
            OTEL_EXPORTER_OTLP_TIMEOUT = "1500", OTEL_EXPORTER_OTLP_TRACES_COMPRESSION = "gzip",
            OTEL_EXPORTER_OTLP_CERTIFICATE = "/ca.pem", OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf",
        }
        assert.same({}, problems)
        assert.same({ 7, 250, 99, 1500, 1 }, { tonumber(o.batch_size), tonumber(o.batch_delay_ms),
            tonumber(o.queue_size), tonumber(o.timeout_ms), tonumber(o.compression) })
        assert.equal("/ca.pem", text(o.ca))
        assert.equal(512, tonumber(options({ OTEL_BSP_MAX_QUEUE_SIZE = "10" }).queue_size)) -- holds a batch at least
    end)

    it("say which variable was not understood, and go on without it", function()
        local bad = {
            OTEL_TRACES_EXPORTER = "zipkin", OTEL_TRACES_SAMPLER = "jaeger_remote",
                OTEL_EXPORTER_OTLP_PROTOCOL = "grpc",
            OTEL_EXPORTER_OTLP_ENDPOINT = "c:4318", OTEL_EXPORTER_OTLP_TIMEOUT = "10s", OTEL_SDK_DISABLED = "1",
            OTEL_EXPORTER_OTLP_COMPRESSION = "zstd", OTEL_RESOURCE_ATTRIBUTES = "a=%1", OTEL_BSP_MAX_QUEUE_SIZE = "-1",
        }
        local o, problems = options(bad)
        for name in pairs(bad) do assert.is_string(problems[name], name) end
        assert.equal(OTLP, tonumber(o.exporter))
        assert.equal("http://localhost:4318/v1/traces", text(o.url))
        assert.equal(10000, tonumber(o.timeout_ms))
        local _, arg = options { OTEL_TRACES_SAMPLER = "traceidratio", OTEL_TRACES_SAMPLER_ARG = "2" }
        assert.is_string(arg.OTEL_TRACES_SAMPLER_ARG)
        assert.same({}, (select(2, options { OTEL_TRACES_EXPORTER = "" }))) -- empty is not set
    end)
end)
