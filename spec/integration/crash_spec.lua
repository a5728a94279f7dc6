-- What evrt is for: kill -9 of the host, again and again, at random moments under load, loses nothing that
-- was acknowledged and makes nothing up.
--
-- A client sends events and remembers which were acknowledged; two handlers append the id of every event
-- they handle to a side log (one write each, appended: it survives any kill). Then the books are compared.
-- EVRT_SEED repeats a run's moments; EVRT_KILLS sets how many (50).
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"

local KILLS = tonumber(os.getenv "EVRT_KILLS" or "") or 50

-- A handler that writes down what it handled. What else it does differs.
local SCRIPT = [[
local evrt = require "evrt"
local log = assert(io.open("SIDE", "a"))
log:setvbuf("full", 4096)
return {
    name = "NAME", events = { "EVENTS" }, start = "beginning",
    handle = function(event)
        EXTRA
        log:write("NAME ", event.id, "\n")
        log:flush()
    end,
}
]]

describe("a host killed with -9 under load", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("loses no acknowledged event, invents none, and counts densely", function()
        local seed = tonumber(os.getenv "EVRT_SEED" or "") or (uv.hrtime() % 1000000007)
        print(("crash: EVRT_SEED=%d EVRT_KILLS=%d"):format(seed, KILLS))
        math.randomseed(seed)
        local dir = evrt.folder()
        local side = dir .. "/handled.log"
        local function script(name, events, extra)
            return (SCRIPT:gsub("%u%u%u%u+", { SIDE = side, NAME = name, EVENTS = events, EXTRA = extra or "" }))
        end
        local client = load.new { connections = 24, batch = 20, types = { "load.a", "load.b", "load.c" } }
        local options = {
            dir = dir,
            config = {
                workers = { count = 2 },
                logging = { level = "info", sampling = { first = 1, then_every = 0 } },
            },
            handlers = {
                ["a.lua"] = script("A", "load.*"),
                -- Waits now and then, so that deliveries are in progress when the end comes.
                ["b.lua"] = script("B", "load.b", "if event.data.n % 10 == 0 then evrt.sleep(0.02) end"),
            },
        }

        local handled = { A = {}, B = {} } -- id -> times
        local read = load.tail(side, function(line)
            local who, id = line:match "^(%u) (%S+)$"
            handled[who][id] = (handled[who][id] or 0) + 1
        end)

        local began, restarts, slowest = uv.hrtime(), 0, 0
        local function start(wait)
            local at = uv.hrtime()
            local node = evrt.start { dir = dir, config = options.config, handlers = options.handlers, wait = wait }
            if wait ~= false then
                restarts = restarts + 1
                slowest = math.max(slowest, (uv.hrtime() - at) / 1e6)
            end
            return node
        end

        local cycles, early, workers_killed = 0, 0, 0
        while cycles < KILLS do
            cycles = cycles + 1
            if math.random() < 0.15 then -- killed while it recovers
                early = early + 1
                local node = start(false)
                evrt.idle(math.random() * 0.06)
                node:stop "sigkill"
            else
                local node = start()
                client:start(node.ingest)
                evrt.idle(math.random() * 0.7)
                if math.random() < 0.3 then
                    local pids = load.children(node.pid)
                    if #pids > 0 then
                        uv.kill(pids[math.random(#pids)], "sigkill")
                        workers_killed = workers_killed + 1
                        evrt.idle(math.random() * 0.2)
                    end
                end
                assert.is_nil(node.code, "the host ended by itself")
                node:stop "sigkill"
                client:stop()
                read()
            end
        end

        -- After the last kill: what is handled in here must be handled once, a clean stop included.
        local after_kills = client.sent_count
        local calm = load.new { connections = 8, batch = 20, types = { "load.a", "load.b" }, prefix = "calm" }
        local node = start()
        calm:start(node.ingest)
        node:await("a calm load", function() return calm.acked_count > 500 end)
        assert.equal(0, (node:stop()))
        calm:stop()
        node = start()
        calm:start(node.ingest)
        node:await("a calm load again", function() return calm.acked_count > 1000 end)
        calm:stop(true)

        -- Everything that matched is handled.
        local stats, answer
        local done, why = pcall(node.await, node, "every handler to be done", function()
            stats = {}
            local pending = 0
            answer = node:get "/api/v1/handlers"
            for _, item in ipairs(answer.json.items) do
                stats[item.name] = item
                pending = pending + item.pending
            end
            return pending == 0
        end, 60)
        assert.is_true(done, answer.body .. "\n" .. tostring(why))
        read()

        -- The journal's own account: every sequence once, every id once.
        local stored, last, twice = {}, 0, 0
        local matching = { A = 0, B = 0 }
        while true do
            local page = node:get(("/api/v1/events?limit=1000&after=%d"):format(last)).json
            for _, event in ipairs(page.items) do
                assert.equal(last + 1, event.seq)
                last = event.seq
                if stored[event.id] then twice = twice + 1 end
                stored[event.id] = event.seq
                matching.A = matching.A + 1
                if event.type == "load.b" then matching.B = matching.B + 1 end
            end
            if #page.items == 0 then break end
        end

        local lost, phantom, misnumbered, duplicates, calm_duplicates = {}, {}, 0, 0, 0
        for _, c in ipairs { client, calm } do
            for id, seq in pairs(c.acked) do
                if stored[id] ~= seq then misnumbered = misnumbered + 1 end
                if not handled.A[id] then lost[#lost + 1] = "A " .. id .. " seq " .. seq end
                if c.sent[id] == "load.b" and not handled.B[id] then lost[#lost + 1] = "B " .. id .. " seq " .. seq end
            end
        end
        for who, ids in pairs(handled) do
            for id, times in pairs(ids) do
                local kind = client.sent[id] or calm.sent[id]
                if not kind or (who == "B" and kind ~= "load.b") or not stored[id] then
                    phantom[#phantom + 1] = who .. " " .. id
                end
                duplicates = duplicates + times - 1
                if calm.sent[id] then calm_duplicates = calm_duplicates + times - 1 end
            end
        end
        print(("crash: %d kills of the host (%d while it recovered), %d of workers, in %.1f s; %d sent, %d acked, "
            .. "%d stored; %d lost, %d phantom, %d duplicates (%d after the last kill); slowest start %.0f ms")
            :format(cycles, early, workers_killed, (uv.hrtime() - began) / 1e9, client.sent_count + calm.sent_count,
                client.acked_count + calm.acked_count, last, #lost, #phantom, duplicates, calm_duplicates, slowest))

        local function none(list, what)
            local some = table.concat(list, "; ", 1, math.min(5, #list))
            assert.equal(0, #list, ("%d %s, as: %s"):format(#list, what, some))
        end
        none(lost, "acknowledged events were not handled")
        none(phantom, "events were handled that nobody sent")
        none(client.unexpected, "unexpected answers")
        none(calm.unexpected, "unexpected answers")
        assert.equal(0, twice, "ids stored twice")
        assert.equal(0, misnumbered, "events whose sequence is not the acknowledged one")
        assert.equal(0, calm_duplicates, "duplicates without a kill")
        assert.is_true(after_kills > 0 and client.acked_count > 0)
        for _, who in ipairs { "A", "B" } do
            local s = stats[who]
            assert.equal(matching[who], s.done + s.dead + s.discarded)
            assert.equal(0, s.dead)
            assert.equal(0, s.discarded)
        end
        assert.equal(0, (node:stop()))
    end)
end)
