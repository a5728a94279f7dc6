-- Every limit of the configuration comes to bear here once: what it says, and that evrt_limit_hits_total counts it
-- by its key. A limit in the table (runtime/telemetry/metrics_table.h) without a case is a failure.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"
local stream = require "spec.support.stream"

local ids = 0

-- So many events of one request; `more`: attributes, or a function of the number.
local function batch(node, count, more)
    local list = {}
    for i = 1, count do
        ids = ids + 1
        list[i] = { specversion = "1.0", id = tostring(ids), source = "/spec", type = "a" }
        for k, v in pairs(type(more) == "function" and more(i) or more or {}) do list[i][k] = v end
    end
    return node:post_batch(list)
end

local function accepted(answer)
    assert.equal(202, answer.status, answer.body)
    return answer
end

-- The message of an answer that refuses.
local function refused(status, answer)
    assert.equal(status, answer.status, answer.body)
    return answer.json.error.message
end

local function handler(body, fields)
    return { ["a.lua"] = ([[
        local evrt = require "evrt"
        return { name = "A", events = "a", %s handle = function(event, ctx) %s end }]]):format(fields or "", body) }
end

local SLEEPS = "evrt.sleep(600)"

-- What the handler fails with.
local function fails(node)
    local answer = node:publish({ type = "a" }, "?wait=handled")
    assert.truthy(answer.json.handlers, answer.body)
    assert.equal("dead", answer.json.handlers[1].outcome, answer.body)
    return answer.body
end

local function hold(node, count)
    local request = evrt.format("POST", "/events", '{"specversion":"1.0","source":"s","type":"x"}',
        { ["Content-Type"] = "application/cloudevents+json" })
    local open = {}
    for i = 1, count do
        open[i] = evrt.connect(node.ingest)
        open[i]:send(request)
        assert.equal(202, open[i]:response().status)
    end
    return open, request
end

-- One more connection than there may be: it gets an answer, and is closed; without a request, too.
local function one_too_many(node, status)
    local open, request = hold(node, 8)
    local more, mute = evrt.connect(node.ingest), evrt.connect(node.ingest)
    more:send(request)
    local answer = more:response()
    more:await_close()
    mute:await_close()
    assert.equal("", mute.buffer)
    assert.equal("1", answer.headers["retry-after"])
    local line = node:await_log { msg = "Request refused", status = status }
    assert.truthy(line.error:find("too many connections", 1, true))
    -- Those that were there go on, and a place that is free can be had.
    open[2]:send(request)
    assert.equal(202, open[2]:response().status)
    open[1]:close()
    node:await("a place", function() return node:publish { type = "x" }.status == 202 end)
    for _, c in ipairs(open) do c:close() end
    more:close()
    mute:close()
    return refused(status, answer)
end

local function replay(node, query)
    return node:post_admin("/api/v1/replays" .. (query or ""), cjson.encode { handler = "A" })
end

-- By key: the node's config and handlers; bite(node) makes the limit come to bear and returns what was said of it,
-- which names the key, or nothing where nobody is refused anything.
local cases = {
    ["workers.memory_limit"] = {
        config = { workers = { memory_limit = "8MiB" } },
        handlers = handler [[local t = {} for i = 1, 1e7 do t[i] = ("x"):rep(100) .. i end]],
        bite = fails,
    },
    ["workers.stall_timeout"] = {
        config = { workers = { stall_timeout = "1s" } },
        handlers = handler "while true do end",
        bite = fails,
    },
    ["workers.drain_timeout"] = {
        config = { workers = { drain_timeout = "100ms" } },
        handlers = handler(SLEEPS),
        bite = function(node)
            node:accept { type = "a" }
            node:await("the delivery", function() return node:get "/api/v1/stats".json.running == 1 end)
            evrt.write(node.dir .. "/handlers/a.lua", handler(SLEEPS .. " ")["a.lua"])
            assert.equal(200, node:post_admin("/api/v1/reload").status)
        end,
    },
    ["reload.interval"] = {
        config = { reload = { interval = "1h" } },
        handlers = handler "",
        bite = function(node)
            local reloads = 0
            while node:get "/api/v1/handlers".json.reload.state ~= "put_off" do
                reloads = reloads + 1
                evrt.write(node.dir .. "/handlers/a.lua", handler("-- " .. reloads)["a.lua"])
                node:kill "sighup"
                evrt.idle(0.02)
            end
        end,
    },
    ["workers.concurrency"] = {
        config = { workers = { concurrency = 1 } },
        handlers = handler(SLEEPS),
        bite = function(node) accepted(batch(node, 3)) end,
    },
    ["http.max_event_size"] = {
        config = { http = { max_event_size = "1KiB" } },
        handlers = handler [[
            local ok, why = evrt.publish { type = "b", data = ("x"):rep(2000) }
            assert(not ok)
            error(why, 0)]],
        bite = function(node)
            local large = { type = "b", data = ("x"):rep(1000) }
            local in_batch = batch(node, 2, large)
            assert.equal(413, in_batch.json[2].status, in_batch.body)
            large.data = large.data .. large.data
            return refused(413, node:publish(large)), in_batch.json[2].error.message, fails(node)
        end,
    },
    ["http.max_batch"] = {
        config = { http = { max_batch = 2 } },
        bite = function(node)
            accepted(batch(node, 2))
            return refused(413, batch(node, 3))
        end,
    },
    ["http.max_connections"] = {
        config = { http = { max_connections = 8 } },
        bite = function(node) return one_too_many(node, 503) end,
    },
    ["http.max_connections_per_address"] = {
        config = { http = { max_connections_per_address = 8 } },
        bite = function(node) return one_too_many(node, 429) end,
    },
    ["http.max_header_size"] = {
        config = { http = { max_header_size = "1KiB" } },
        bite = function(node)
            return refused(431, node:post("/events", "", { ["X-Long"] = ("x"):rep(1200) }))
        end,
    },
    ["http.max_body_size"] = {
        config = { http = { max_body_size = "1KiB" } },
        bite = function(node) return refused(413, batch(node, 30)) end,
    },
    ["http.request_timeout"] = {
        config = { http = { request_timeout = "500ms" } },
        bite = function(node)
            local c = evrt.connect(node.ingest)
            c:send "POST /ev"
            local answer = c:response()
            c:close()
            return refused(408, answer)
        end,
    },
    ["http.idle_timeout"] = {
        config = { http = { idle_timeout = "1s" } },
        bite = function(node)
            local c = evrt.connect(node.ingest)
            c:await_close()
            c:close()
        end,
    },
    ["admin.max_queries"] = {
        config = { admin = { max_queries = 1 } },
        bite = function(node)
            for _ = 1, 3 do accepted(batch(node, 1000)) end
            local busy
            evrt.await("one query too many", function()
                for _, r in ipairs(http.get_at_once(node.admin, 8, "/api/v1/events?type=none")) do
                    if r.status == 429 then busy = r end
                end
                return busy
            end)
            return refused(429, busy)
        end,
    },
    ["admin.max_tails"] = {
        config = { admin = { max_tails = 0 } },
        bite = function(node) return refused(429, node:get "/api/v1/tail") end,
    },
    ["admin.tail_lag"] = {
        config = { admin = { tail_lag = 1 }, logging = { level = "info", sampling = { first = 1, then_every = 0 } } },
        bite = function(node)
            local tail = stream.open(node.admin, "GET", "/api/v1/tail")
            tail:pause()
            for _ = 1, 40 do accepted(batch(node, 1000, { data = ("x"):rep(400) })) end
            tail:go_on()
            local gap = tail:find(function(line) return line.gap end).gap
            tail:close()
            assert.equal("slow", gap.reason)
        end,
    },
    ["store.max_size"] = {
        config = {
            http = { max_event_size = "16MiB" },
            store = { max_size = "192MiB", max_backlog = "64MiB", durability = "os" },
        },
        handlers = handler "",
        bite = function(node)
            assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status) -- needs all of them
            local large, answer = ("x"):rep(15 * 2 ^ 20), nil
            for i = 1, 16 do
                answer = node:post("/events", large, { ["ce-specversion"] = "1.0", ["ce-type"] = "a",
                    ["ce-source"] = "s", ["ce-id"] = tostring(i), ["Content-Type"] = "text/plain" })
                if answer.status ~= 202 then break end
            end
            return refused(503, answer)
        end,
    },
    ["store.max_backlog"] = {
        config = { http = { max_event_size = "32KiB" }, store = { max_backlog = "64KiB" } },
        bite = function(node)
            local answer = batch(node, 100, { data = ("x"):rep(4000) })
            assert.equal(207, answer.status)
            assert.equal(429, answer.json[100].status)
            return answer.json[100].error.message
        end,
    },
    ["store.max_state_backlog"] = {
        config = { store = { max_state_backlog = "4KiB" } },
        handlers = handler [[error(("x"):rep(7000))]],
        bite = function(node)
            accepted(batch(node, 500))
            node:await("every delivery to end", function() return node:get "/api/v1/stats".json.dead == 500 end)
        end,
    },
    ["bus.max_hops"] = {
        config = { bus = { max_hops = 1 } },
        handlers = handler [[
            local ok, why = evrt.publish { type = "a" }
            if not ok then error(why, 0) end]],
        bite = function(node)
            node:accept { type = "a" }
            return node:await_log({ msg = "Event handle failed" }).error
        end,
    },
    ["bus.window"] = {
        config = { bus = { window = 1 } },
        handlers = handler(SLEEPS),
        bite = function(node) accepted(batch(node, 3)) end,
    },
    ["bus.max_parked"] = {
        config = { bus = { max_parked = 1000 } },
        handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return {
                    { name = "A", events = "a", ordered_by = "subject", handle = function()
                        while not evrt.shared.get "go" do evrt.sleep(0.02) end
                    end },
                    { name = "B", events = "go", handle = function() assert(evrt.shared.cas("go", 0, "yes")) end },
                }]],
        },
        bite = function(node)
            for _ = 1, 2 do accepted(batch(node, 600, { subject = "s" })) end
            local parked
            node:await("most to be parked", function()
                parked = tonumber(node:get("/metrics").body:match '\nevrt_handler_parked{handler="A"} (%d+)')
                return parked > 900
            end)
            assert.is_true(parked <= 1000, parked)
            node:accept { type = "go" }
            assert.equal(1201, node:await_end().done)
        end,
    },
    ["bus.memory_limit"] = {
        config = { bus = { memory_limit = "1MiB" }, workers = { concurrency = 1 } },
        handlers = handler(SLEEPS),
        bite = function(node) accepted(batch(node, 60, { data = ("x"):rep(30000) })) end,
    },
    ["dead_letters.max"] = {
        config = { dead_letters = { max = 1 } },
        handlers = handler [[evrt.reject "no"]],
        bite = function(node)
            accepted(batch(node, 3))
            node:await("two to be discarded", function()
                local count = 0
                for _, line in ipairs(node:logged { msg = "Dead letters discarded", reason = "dead_letters.max" }) do
                    count = count + line.count
                end
                return count == 2
            end)
        end,
    },
    ["jobs.max"] = {
        config = { jobs = { max = 1 } },
        handlers = handler "",
        bite = function(node)
            node:accept { type = "a" }
            node:await_end()
            assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
            accepted(replay(node))
            return refused(429, replay(node))
        end,
    },
    ["jobs.keep"] = {
        config = { jobs = { keep = 1 } },
        handlers = handler "",
        bite = function(node)
            node:accept { type = "a" }
            node:await_end()
            local first = replay(node, "?wait=true").json.id
            assert.equal(200, replay(node, "?wait=true").status)
            return refused(404, node:get("/api/v1/replays/" .. first))
        end,
    },
    ["dedup.max"] = {
        config = { dedup = { max = 1 } },
        bite = function(node) accepted(batch(node, 10)) end,
    },
    ["schedule.max"] = {
        config = { schedule = { max = 1 } },
        bite = function(node)
            accepted(node:publish { type = "a", deliverafter = "1h" })
            return refused(429, node:publish { type = "a", deliverafter = "1h" })
        end,
    },
    ["schedule.max_delay"] = {
        config = { schedule = { max_delay = "1s" } },
        bite = function(node) return refused(400, node:publish { type = "a", deliverafter = "1h" }) end,
    },
    ["schedule.max_catch_up"] = {
        config = { schedule = { max_catch_up = 1 } },
        handlers = { ["a.lua"] = [[
            return { name = "A", every = "100ms", catch_up = "all", handle = function() end }]] },
        bite = function(node)
            node:await_log { msg = "Event handled successfully" }
            assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
            evrt.idle(0.5) -- misses some
            assert.equal(200, node:post_admin("/api/v1/handlers/A/resume").status)
        end,
    },
    ["snapshots.max_folds"] = {
        config = { snapshots = { max_folds = 1 } },
        handlers = handler [[
            evrt.fold("order", "s", function(n) return n + 1 end, { initial = 0 })
            ctx.log.info "folded"]],
        bite = function(node)
            accepted(batch(node, 100, { type = "order.placed", subject = "s" }))
            accepted(batch(node, 30))
            node:await_log({ msg = "folded" }, nil, 30)
        end,
    },
    ["shared.max_entries"] = {
        config = { shared = { max_entries = 0 } },
        handlers = handler [[
            local ok, why = evrt.shared.cas("k", 0, "v")
            assert(not ok)
            error(why, 0)]],
        bite = fails,
    },
    ["shared.max_value_size"] = {
        config = { shared = { max_value_size = "64B" } },
        handlers = handler [[
            local ok, why = evrt.shared.cas("k", 0, ("v"):rep(100))
            assert(not ok)
            error(why, 0)]],
        bite = fails,
    },
    ["kv.max_key"] = {
        config = { kv = { max_key = "16B" } },
        handlers = handler [[ctx.kv.get(("k"):rep(17))]],
        bite = function(node)
            return fails(node), refused(400, node:put_admin("/api/v1/kv?namespace=A&key=" .. ("k"):rep(17), "1"))
        end,
    },
    ["kv.max_value"] = {
        config = { kv = { max_value = "64B" } },
        handlers = handler [[ctx.kv.set("k", event.data == 1 and { ("v"):rep(65) } or ("v"):rep(65))]],
        bite = function(node)
            local url = "/api/v1/kv?namespace=A&key=k"
            return fails(node), refused(413, node:put_admin(url, '"' .. ("v"):rep(65) .. '"')),
                refused(413, node:put_admin(url, '"' .. ("v"):rep(1000) .. '"'))
        end,
    },
    ["kv.max_effects"] = {
        config = { kv = { max_effects = "4KiB" } },
        handlers = handler [[
            if event.data == 1 then
                local ok, why
                repeat ok, why = ctx.publish { type = "b", data = ("v"):rep(1000) } until not ok
                error(why, 0)
            end
            for i = 1, 5 do ctx.kv.set("k" .. i, ("v"):rep(1000)) end]],
        bite = function(node)
            local answer = node:publish({ type = "a", data = 1 }, "?wait=handled")
            return fails(node), answer.body
        end,
    },
    ["kv.max_conflicts"] = {
        config = { kv = { max_conflicts = 0 } },
        handlers = handler [[
            local n = ctx.kv.get("n") or 0
            assert(ctx.kv.cas("n", ctx.kv.get("n"), "mine"))
            evrt.kv.set("n", n + 1)]],
        bite = fails,
    },
    ["kv.overlay"] = {
        config = { kv = { overlay = "1MiB" } },
        handlers = handler [[for i = 1, 4 do ctx.kv.set("k" .. i .. ":" .. event.seq, ("x"):rep(200000)) end]],
        bite = function(node)
            accepted(batch(node, 10))
            node:await_end()
        end,
    },
    ["tracing.max_spans_per_second"] = {
        config = { tracing = { exporter = "stdout", max_spans_per_second = 1 } },
        bite = function(node) accepted(batch(node, 20)) end,
    },
    ["tracing.queue_size"] = {
        config = { tracing = { exporter = "otlp", endpoint = "http://127.0.0.1:9", batch_size = 1, queue_size = 1 } },
        bite = function(node) accepted(batch(node, 20)) end,
    },
    ["metrics.max_series"] = {
        config = { metrics = { max_series = 10 } },
        bite = function(node)
            accepted(batch(node, 15, function(i) return { source = "/s" .. i } end))
        end,
    },
}

local function keys_of_table()
    local keys = {}
    local text = evrt.read "runtime/telemetry/metrics_table.h"
    for key in assert(text:match "#define EVRT_LIMITS%(X%)(.-)/%* clang%-format on"):gmatch 'X%([%w_]+, "([%w_.]+)"' do
        keys[#keys + 1] = key
    end
    return keys
end

describe("a limit", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("of the table has a case here", function()
        local known = {}
        for _, key in ipairs(keys_of_table()) do
            known[key] = true
            assert.is_table(cases[key], "no case for " .. key)
        end
        for key in pairs(cases) do assert.is_true(known[key], "not in the table: " .. key) end
    end)

    for _, key in ipairs(keys_of_table()) do
        it(key .. " says so and is counted", function()
            local case = assert(cases[key], "no case")
            local node = evrt.start { config = case.config, handlers = case.handlers }
            local said = { case.bite(node) }
            for _, text in ipairs(said) do assert.truthy(text:find(key, 1, true), text) end
            local line = '\nevrt_limit_hits_total{limit="' .. key:gsub("%p", "%%%0") .. '"} (%d+)'
            node:await("evrt_limit_hits_total of " .. key, function()
                local text = node:get("/metrics").body
                local hits = text:match(line)
                return tonumber(hits) >= math.max(1, #said)
            end)
            node:stop "sigkill"
        end)
    end
end)
