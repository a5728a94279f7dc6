-- Events for later: published once, when it is time, whatever is killed; listed, cancelled, refused.
local cjson = require "cjson"
local uv = require "luv"
local evrt = require "spec.support.evrt"

local handlers = {
    ["all.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "Seen", events = "later.*", handle = function(event, ctx)
                ctx.log.info("seen", { id = event.id, at = event.extensions.deliverat })
            end },
            { name = "Leaver", events = "leave", handle = function(event, ctx)
                ctx.publish { type = "later.left", id = "left " .. ctx.attempt, delay = "100ms" }
                if ctx.attempt < event.data.attempts then error "not yet" end
            end },
            { name = "Publisher", events = "go", handle = function(event, ctx)
                local sent, why, code = evrt.publish(event.data)
                sent = sent or {}
                ctx.log.info("sent", { id = sent.id, scheduled = sent.scheduled, n = sent.seq, why = why,
                    code = code })
            end },
        }]],
}

local function start(config) return evrt.start { handlers = handlers, config = config } end
local function stats(node) return node:get("/api/v1/stats").json end
local function scheduled(node, query) return node:get("/api/v1/scheduled" .. (query or "")).json end

local function iso(ms)
    return os.date("!%Y-%m-%dT%H:%M:%S", math.floor(ms / 1000)) .. (".%03dZ"):format(ms % 1000)
end
local function now()
    local s, us = uv.gettimeofday()
    return s * 1000 + math.floor(us / 1000)
end

local function publish(node, event)
    event.type = event.type or "later.a"
    local answer = node:publish(event)
    assert.equal(202, answer.status, answer.body)
    return answer.json
end

-- How often each id was published.
local function published(node)
    local counts, after = {}, "0"
    repeat
        local page = node:get("/api/v1/events?type=later.*&limit=1000&after=" .. after).json
        for _, e in ipairs(page.items) do counts[e.id] = (counts[e.id] or 0) + 1 end
        after = page.next
    until after == cjson.null
    return counts
end

describe("an event for later", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is published in pieces when many large ones are due at once", function()
        local node = start { http = { max_event_size = "4MiB" } }
        for id = 1, 4 do
            assert.equal(202, node:post("/events", ("x"):rep(3 * 2 ^ 20), { ["ce-type"] = "later.a",
                ["ce-id"] = tostring(id), ["ce-deliverafter"] = "1h", ["Content-Type"] = "text/plain" }).status)
        end
        node:stop()
        node = node:restart { config = { schedule = { max_delay = "1ms" } } }
        for id = 1, 4 do node:await_log { msg = "seen", id = tostring(id) } end
        node:await_end()
        assert.same({ ["1"] = 1, ["2"] = 1, ["3"] = 1, ["4"] = 1 }, published(node))
        assert.equal(0, stats(node).scheduled.pending)
        assert.equal(0, node:stop())
    end)

    it("is told to be that, and published when it is time", function()
        local node = start()
        local from = now()
        local answer = publish(node, { id = "x", deliverafter = "2s" })
        assert.same({ "x", cjson.null, "string", "fsync" },
            { answer.id, answer.seq, type(answer.scheduled), answer.durability })
        local list = scheduled(node)
        assert.equal(cjson.null, list.next)
        local one = list.items[1]
        assert.same({ answer.scheduled, "after", "x", "later.a", 1 },
            { one.id, one.kind, one.event.id, one.event.type, #list.items })
        assert.is_nil(one.event.deliverafter)
        assert.equal(one.deliver_at, one.event.deliverat)
        local seen = node:await_log { msg = "seen", id = "x" }
        assert.is_true(now() - from >= 1990)
        assert.equal(one.deliver_at, seen.at)
        assert.equal(0, #scheduled(node).items)
        assert.same({ 0, 1, 0 }, { stats(node).scheduled.pending, stats(node).scheduled.published,
            stats(node).scheduled.cancelled })
        -- Its id is known from both moments on.
        answer = publish(node, { id = "x" })
        assert.same({ true, 1 }, { answer.duplicate, answer.seq })
        assert.equal(0, node:stop())
    end)

    it("comes in every mode and from Lua, at a time or after one", function()
        local node = start()
        local at = iso(now() + 2500) -- not before all are published
        node:post("/events", "", { ["ce-specversion"] = "1.0", ["ce-type"] = "later.b", ["ce-source"] = "s",
            ["ce-id"] = "binary", ["ce-deliverat"] = at })
        publish(node, { id = "structured", deliverat = at })
        local answer = node:post_batch {
            { specversion = "1.0", type = "later.c", source = "s", id = "batch", deliverat = at },
            { specversion = "1.0", type = "later.c", source = "s", id = "at once" },
        }
        assert.same({ "string", cjson.null, "number" },
            { type(answer.json[1].scheduled), answer.json[1].seq, type(answer.json[2].seq) })
        publish(node, { type = "go", data = { type = "later.d", id = "lua at", deliver_at = at } })
        publish(node, { type = "go", data = { type = "later.d", id = "lua after", delay = "150ms" } })
        publish(node, { type = "go", data = { type = "later.d", id = "lua seconds", delay = 0.1 } })
        publish(node, { type = "go", data = { type = "later.d", id = "lua past", deliver_at = 1 } })
        for _, id in ipairs { "binary", "structured", "batch", "at once", "lua at", "lua after", "lua seconds",
            "lua past" } do
            node:await_log { msg = "seen", id = id }
        end
        local sent = node:await_log { msg = "sent", id = "lua after" }
        assert.same({ "string" }, { type(sent.scheduled) })
        assert.is_nil(sent.n)
        assert.is_number(node:await_log { msg = "sent", id = "lua past" }.n)
        for id, count in pairs(published(node)) do assert.same({ id, 1 }, { id, count }) end
        assert.equal(0, node:stop())
    end)

    it("comes with a delivery's completion, or not at all", function()
        local node = start { retry = { max_retries = 3, initial_delay = "1ms", jitter = 0 } }
        node:publish { type = "leave", data = { attempts = 3 } }
        node:await_log { msg = "seen", id = "left 3" }
        node:await("its end", function() return stats(node).scheduled.pending == 0 end)
        assert.same({ ["left 3"] = 1 }, published(node))
        assert.equal(0, node:stop())
    end)

    it("is the same event twice, too", function()
        local node = start()
        local first = publish(node, { id = "x", deliverafter = "1h" })
        local second = publish(node, { id = "x", deliverafter = "1h" })
        assert.same({ first.scheduled, true }, { second.scheduled, second.duplicate })
        node:stop "sigkill"
        node = node:restart()
        local third = publish(node, { id = "x" })
        assert.same({ first.scheduled, true }, { third.scheduled, third.duplicate })
        assert.equal(200, node:delete_admin("/api/v1/scheduled/" .. first.scheduled).status)
        -- Cancelled, it may come again.
        assert.same({ 1 }, { publish(node, { id = "x" }).seq })
        node:stop "sigkill"
        node = node:restart()
        assert.same({ 1, true }, { publish(node, { id = "x" }).seq, publish(node, { id = "x" }).duplicate })
        assert.equal(0, node:stop())
    end)

    it("is listed in pages, and cancelled for good", function()
        local node = start()
        local ids = {}
        for i = 1, 5 do ids[i] = publish(node, { id = "e" .. i, deliverafter = (6 - i) .. "h" }).scheduled end
        local page = scheduled(node, "?limit=3")
        local rest = scheduled(node, "?limit=3&after=" .. page.next)
        assert.same({ "e5", "e4", "e3" }, { page.items[1].event.id, page.items[2].event.id, page.items[3].event.id })
        assert.same({ "e2", "e1" }, { rest.items[1].event.id, rest.items[2].event.id })
        local code, out = evrt.run { "events", "--scheduled", "--url", "http://127.0.0.1:" .. node.admin }
        assert.equal(0, code)
        assert.truthy(out:find("later.a", 1, true) and out:find(ids[1], 1, true), out)
        code = evrt.run { "events", "--cancel", ids[2], "--url", "http://127.0.0.1:" .. node.admin }
        assert.equal(64, code)
        code = evrt.run { "events", "--cancel", ids[2], "--yes", "--url", "http://127.0.0.1:" .. node.admin }
        assert.equal(0, code)
        node:await_log { msg = "Operator action", action = "cancel scheduled event", target = ids[2],
            outcome = "cancelled" }
        assert.equal(404, node:delete_admin("/api/v1/scheduled/" .. ids[2]).status)
        assert.equal(400, node:delete_admin("/api/v1/scheduled/abc").status)
        node:stop "sigkill"
        node = node:restart()
        assert.equal(4, #scheduled(node).items)
        assert.equal(4, stats(node).scheduled.pending)
        assert.equal(0, node:stop())
    end)

    it("is refused where it makes no sense", function()
        local node = start { schedule = { max = 2, max_delay = "1d" } }
        local function refused(status, text, event)
            event.type = "later.a"
            local answer = node:publish(event)
            assert.equal(status, answer.status)
            assert.truthy(answer.json.error.message:find(text, 1, true), answer.body)
        end
        refused(400, "deliverat: byte 1", { deliverat = "tomorrow" })
        refused(400, "deliverafter: expected a duration", { deliverafter = "soon" })
        refused(400, "further ahead than 1d (schedule.max_delay)", { deliverafter = "25h" })
        refused(400, "further ahead", { deliverat = "2999-01-01T00:00:00Z" })
        publish(node, { deliverafter = "1h" })
        publish(node, { deliverafter = "1h" })
        refused(429, "schedule.max", { deliverafter = "1h" })
        publish(node, { type = "go", data = { type = "later.d", id = "x", delay = "1h" } })
        assert.same({ "EAGAIN" }, { node:await_log({ msg = "sent" }).code })
        assert.equal(2, #scheduled(node).items)
        assert.equal(0, node:stop())
    end)

    it("does not wait for handlers that it has not reached", function()
        local node = start()
        local answer = node:publish({ type = "later.a", deliverafter = "1h" }, "?wait=handled")
        assert.same({ 202, "string" }, { answer.status, type(answer.json.scheduled) })
        assert.equal(0, node:stop())
    end)

    it("is published once, whatever is killed when", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or uv.hrtime() % 1000000007
        math.randomseed(seed)
        local node, expected, round = start(), {}, 0
        local count = 0
        while round < 6 do
            round = round + 1
            for _ = 1, 40 do
                count = count + 1
                local id = "e" .. count
                local delay = math.random(0, 300)
                local event = { id = id, type = "later.a" }
                if count % 2 == 0 then event.deliverafter = delay .. "ms" else event.deliverat = iso(now() + delay) end
                if node:publish(event).status == 202 then expected[id] = true end
            end
            evrt.idle(math.random() * 0.25)
            node:stop "sigkill"
            node = node:restart()
        end
        node:await("the end of waiting", function() return stats(node).scheduled.pending == 0 end)
        -- The last ones wait no more, and are being written.
        local counts = node:await("all of them", function()
            local list = published(node)
            for id in pairs(expected) do if not list[id] then return false end end
            return list
        end)
        for id, n in pairs(counts) do assert.same({ id, 1 }, { id, n }, "EVRT_SEED=" .. seed) end
        assert.equal(0, #scheduled(node).items)
        assert.equal(0, node:stop())
    end)
end)
