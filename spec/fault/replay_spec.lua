-- A replay whose node is ended again and again, under load: it goes on where it was, gives the handler every event,
-- and after an orderly end none of them twice.
--
-- EVRT_REPLAY_STOPS sets how many times.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local load = require "spec.support.load"
local oracle = require "spec.support.oracle"

local STOPS = tonumber(os.getenv "EVRT_REPLAY_STOPS" or "") or (faults.soak and 60 or 5)
local EVENTS, WINDOW = 4000, 512

-- Writes down what it is given. A kill may leave a piece of a line.
local function script(path)
    return ([[return { name = "R", events = "r", ordered_by = "data.key", handle = function(event, ctx)
        local file = assert(io.open(%q, "a"))
        file:write(("\n%%s %%d .\n"):format(ctx.replay and "replay" or "live", event.seq))
        file:close()
        ctx.kv.incr(ctx.replay and "replayed" or "live")
    end }]]):format(path)
end

local function fill(node)
    for from = 1, EVENTS, 500 do
        local batch = {}
        for i = 1, 500 do
            batch[i] = { specversion = "1.0", id = tostring(from + i), source = "spec", type = "r",
                data = { key = i % 7 } }
        end
        local answer = node:post_batch(batch)
        assert.equal(202, answer.status, answer.body)
    end
end

-- How often each sequence was given, and how often in all.
local function given(path)
    local times, count = {}, 0
    for line in io.lines(path) do
        local seq = tonumber(line:match "^replay (%d+) %.$")
        if seq then times[seq], count = (times[seq] or 0) + 1, count + 1 end
    end
    return times, count
end

describe("a replay", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function lives(signal)
        local dir = evrt.folder()
        local path = dir .. "/given"
        local client = load.new { connections = 4, batch = 10, types = { "load.a" } }
        local function start()
            return evrt.start {
                dir = dir, config = { workers = { count = 2 }, jobs = { replay_concurrency = WINDOW },
                    logging = { level = "info", sampling = { first = 1, then_every = 0 } } },
                handlers = {
                    ["r.lua"] = script(path),
                    ["ask.lua"] = [[local evrt = require "evrt"
                        return { name = "Ask", events = "ask", handle = function()
                            local get = evrt.kv.get
                            evrt.log.info("counted", { live = get("live", "R"), replayed = get("replayed", "R") })
                        end }]],
                    ["load.lua"] = 'return { name = "Load", events = "load.*", handle = function() end }',
                },
            }
        end
        local node = start()
        fill(node)
        node:await("live deliveries to end", function()
            local s = oracle.balance(node)
            return s.done == EVENTS
        end)
        local id = node:post_admin("/api/v1/replays",
            ('{"handler":"R","from_seq":1,"rate":%d}'):format(EVENTS / (STOPS * 0.3))).json.id
        local function look() return node:get("/api/v1/replays/" .. id).json end
        local began, before = uv.hrtime(), 0
        for _ = 1, STOPS do
            client:start(node.ingest)
            evrt.idle(math.random() * 0.3)
            node:kill(signal)
            local code = node:wait()
            client:stop()
            if signal == "sigterm" then assert.equal(0, code, node:said()) end
            node = start()
            local now = look()
            assert.is_true(now.replayed_count >= before and now.replayed_count <= EVENTS)
            assert.is_true(oracle.balance(node).events >= EVENTS + client.acked_count)
            before = now.replayed_count
        end
        local last = node:await("the replay to end", function()
            local now = look()
            return now.state ~= "running" and now
        end, 120)
        assert.same({ "done", EVENTS, 0, 0 },
            { last.state, last.replayed_count, last.failed_count, last.skipped_count })
        -- What it wrote counts once, whatever was begun twice.
        assert.equal(202, node:publish { type = "ask" }.status)
        local told = node:await_log { msg = "counted" }
        assert.same({ EVENTS, EVENTS }, { told.live, told.replayed })
        assert.equal(0, (node:stop()))
        faults.verify(dir .. "/data")
        local times, count = given(path)
        for seq = 1, EVENTS do assert.truthy(times[seq], "lost " .. seq) end
        faults.say("%s during a replay: %d cycles in %.1f s; %d events, 0 lost, %d again", signal, STOPS,
            (uv.hrtime() - began) / 1e9, EVENTS, count - EVENTS)
        return count - EVENTS
    end

    faults.seed "replay"

    it("goes on after SIGTERM, and gives nothing twice", function() assert.equal(0, lives "sigterm") end)

    it("goes on after kill -9, and gives at most twice what was under way", function()
        assert.is_true(lives "sigkill" <= STOPS * WINDOW)
    end)
end)
