-- The table of metrics: its own rules, and that what is shipped names nothing else.
local TYPES = { COUNTER = true, GAUGE = true, HISTOGRAM = true }

-- Options that measure something and are no limits, with what they are instead.
local NO_LIMIT = {
    ["workers.count"] = "how many there are",
    ["workers.nice"] = "whose CPU it is",
    ["store.retention"] = "how long events are kept: Segment dropped",
    ["bus.orphan_ttl"] = "how long a removed handler's are: Handler forgotten, evrt_handler_discarded_total",
    ["retry.max_retries"] = "the policy: events_dead_letter_total",
    ["retry.initial_delay"] = "the policy",
    ["retry.max_delay"] = "the policy",
    ["retry.increment"] = "the policy",
    ["retry.ttl"] = "how long a removed handler's are kept: events_dead_letter_total",
    ["dead_letters.ttl"] = "how long they are kept: Dead letters discarded, evrt_handler_discarded_total",
    ["jobs.concurrency"] = "a job's pace",
    ["jobs.replay_concurrency"] = "a job's pace",
    ["dedup.window"] = "how long ids are known",
    ["kv.cache"] = "what is read from memory: evrt_kv_reads_of_state_total",
    ["kv.shared_cache"] = "the same, by workers",
    ["tracing.batch_size"] = "how spans are sent",
    ["tracing.batch_delay"] = "how spans are sent",
    ["tracing.timeout"] = "when a request is tried again: evrt_span_request_retries_total",
    ["metrics.series_ttl"] = "how long they are kept",
    ["logging.sampling.first"] = "how much of the log is written: evrt_log_lines_sampled_out_total",
    ["logging.sampling.then_every"] = "the same",
}

local function read(path)
    local file = assert(io.open(path))
    local text = file:read "*a"
    file:close()
    return text
end

local metrics, limits = {}, {}
for name, kind, unit, labels, rest in read "runtime/telemetry/metrics_table.h"
    :gmatch 'X%([%w_]+, "([^"]+)", (%u+), (%u+), "([^"]*)",(.-)%) \\?\n' do
    metrics[#metrics + 1] = { name = name, kind = kind, unit = unit, labels = labels, help = rest:match '"(.*)"' }
end
for key in read "runtime/telemetry/metrics_table.h":gmatch 'X%([%w_]+, "([%w_.]+)", "[^"]+"%)' do
    limits[#limits + 1] = key
end

describe("telemetry/metrics_table", function()
    it("has names as promtool wants them, and help", function()
        assert.is_true(#metrics >= 90, #metrics)
        local seen = {}
        for _, m in ipairs(metrics) do
            assert.is_nil(seen[m.name], m.name)
            seen[m.name] = true
            assert.is_true(TYPES[m.kind], m.name)
            assert.truthy(m.name:find "^[%l][%l%d_]+$", m.name)
            assert.truthy(m.name:find "^events_" or m.name:find "^event_handlers_" or m.name:find "^evrt_"
                or m.name:find "^process_", m.name)
            assert.equal(m.kind == "COUNTER", m.name:find "_total$" ~= nil, m.name)
            if m.kind == "HISTOGRAM" and m.unit == "SECONDS" then assert.truthy(m.name:find "_seconds$", m.name) end
            assert.truthy(m.help and m.help:find "%.$", m.name)
        end
    end)

    it("has every option that bounds something as a limit", function()
        local is_limit, known = {}, {}
        for _, key in ipairs(limits) do is_limit[key] = true end
        for key, kind in read "runtime/config/options.c":gmatch "X%(([%w_.]+), (%u+)," do
            known[key] = true
            local measured = kind == "NUMBER" or kind == "SIZE" or kind == "DURATION"
            assert.equal(measured and not NO_LIMIT[key], is_limit[key] == true, key)
        end
        for _, key in ipairs(limits) do assert.is_true(known[key], key) end
        for key in pairs(NO_LIMIT) do assert.is_true(known[key], key) end
    end)

    it("has every metric that rules, dashboards and the README name", function()
        local known = { event_type = true, evrt_token = true }
        for _, m in ipairs(metrics) do
            known[m.name] = true
            if m.kind == "HISTOGRAM" then
                for _, suffix in ipairs { "_bucket", "_sum", "_count" } do known[m.name .. suffix] = true end
            end
        end
        local pipe = assert(io.popen "find conf/prometheus conf/grafana -type f")
        local files = { "README.md" }
        for file in pipe:lines() do files[#files + 1] = file end
        pipe:close()
        assert.is_true(#files > 3)
        for _, file in ipairs(files) do
            local text = read(file)
            if file == "README.md" then text = assert(text:match "\n## Measure it\n(.-)\n## ") end
            for name in text:gmatch "%f[%w_:]([%l][%l%d_]+[%l%d])%f[^%w_:]" do
                local ours = name:find "^evrt_" or name:find "^events_" or name:find "^event_" or name:find "^process_"
                assert.is_true(not ours or known[name], file .. ": " .. name)
            end
        end
    end)
end)
