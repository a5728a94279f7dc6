-- What evrt is for: kill -9 of the host, again and again, at random moments under load, loses nothing that
-- was acknowledged and makes nothing up.
--
-- A client sends events and remembers which were acknowledged; three handlers write down what they handle. At each
-- start the node's figures must add up; in the end the books are compared. Then once more with another store.
-- EVRT_SEED repeats a run's moments; EVRT_KILLS sets how many (100), of which one store gets at most 50.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local oracle = require "spec.support.oracle"

local KILLS = tonumber(os.getenv "EVRT_KILLS" or "") or 100
local STORE_KILLS = 50
local SEED = tonumber(os.getenv "EVRT_SEED" or "") or (uv.hrtime() % 1000000007)

describe("a host killed with -9 under load", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function survive(seed, kills)
        print(("crash: EVRT_SEED=%d EVRT_KILLS=%d"):format(seed, kills))
        math.randomseed(seed)
        local dir = evrt.folder()
        local books, client = oracle.under_load(dir, 24, 0.02)
        local config = {
            retry = { max_retries = 3, initial_delay = "1ms" }, -- a worker that is killed fails what it runs
            workers = { count = 2 },
            logging = { level = "info", sampling = { first = 1, then_every = 0 } },
        }

        local began, restarts, slowest = uv.hrtime(), 0, 0
        local function start(wait)
            local at = uv.hrtime()
            local node = evrt.start { dir = dir, config = config, handlers = books.scripts, wait = wait }
            if wait ~= false then
                restarts = restarts + 1
                slowest = math.max(slowest, (uv.hrtime() - at) / 1e6)
                local stats = oracle.balance(node)
                assert.is_true(stats.events >= client.acked_count)
            end
            return node
        end

        local cycles, early, workers_killed = 0, 0, 0
        while cycles < kills do
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
                books:read()
            end
        end

        -- After the last kill: what is handled in here must be handled once, a clean stop included.
        local calm = load.new { keys = 101, connections = 8, batch = 20,
            types = { "load.a", "load.b", "load.c" }, prefix = "calm",
        }
        books.clients[2] = calm
        local node = start()
        calm:start(node.ingest)
        node:await("a calm load", function() return calm.acked_count > 500 end)
        assert.equal(0, (node:stop()))
        calm:stop()
        node = start()
        calm:start(node.ingest)
        node:await("a calm load again", function() return calm.acked_count > 1000 end)
        calm:stop(true)

        books:settle(node, 60)
        local r = books:compare(node)
        local calm_duplicates = 0
        for id in pairs(calm.sent) do calm_duplicates = calm_duplicates + (r.again[id] or 0) end
        print(("crash: %d cycles (%d killed while it recovered, %d workers killed) in %.1f s; %s, %d of them after "
            .. "the last kill; slowest start %.0f ms"):format(cycles, early, workers_killed,
            (uv.hrtime() - began) / 1e9, oracle.line(r), calm_duplicates, slowest))
        oracle.sound(r)
        assert.same({}, client.unexpected)
        assert.same({}, calm.unexpected)
        assert.equal(0, calm_duplicates, "duplicates without a kill")
        assert.is_true(restarts > 0 and client.acked_count > 0)
        assert.same({ 0, 0 }, { r.dead, r.discarded })
        assert.equal(0, (node:stop()))
    end

    for store = 1, math.ceil(KILLS / STORE_KILLS) do
        it("loses no acknowledged event, invents none, and counts densely: store " .. store, function()
            survive(SEED + store - 1, math.min(STORE_KILLS, KILLS - (store - 1) * STORE_KILLS))
        end)
    end
end)
