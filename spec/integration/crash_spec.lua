-- What evrt is for: kill -9 of the host, again and again, at random moments under load, loses nothing that
-- was acknowledged and makes nothing up.
--
-- A client sends events and remembers which were acknowledged; handlers write down what they handle. One of them has
-- effects, and fails with each event once before; one fails with some for good: their letters are given up by an
-- operator, or when there are too many. At each start the node's figures must add up; in the end the books are
-- compared: each event has one end for each handler, which is the one that it had to have. Then once more with
-- another store.
-- EVRT_SEED repeats a run's moments; EVRT_KILLS sets how many (100), of which one store gets at most 50.
local uv = require "luv"
local effects = require "spec.support.effects"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local oracle = require "spec.support.oracle"
local pages = require "spec.support.pages"

local KILLS = tonumber(os.getenv "EVRT_KILLS" or "") or 100
local STORE_KILLS = 50
local SEED = tonumber(os.getenv "EVRT_SEED" or "") or (uv.hrtime() % 1000000007)

local LETTERS = 200 -- that are kept

-- Fails with every 20th event as often as it is given it, and with half of these says so at once.
local function dying(books)
    books:handler {
        name = "Dies", events = { "load.a" }, again = true,
        options = 'policies = { evrt.policy.retry { max_retries = 2, initial_delay = "1ms", max_delay = "1ms" } },',
        after = [[
            if event.data.n % 40 == 0 then evrt.reject "as asked" end
            if event.data.n % 20 == 0 then error "as asked" end]],
    }
end

local function dies(id) return tonumber(id:match "%d+$") % 20 == 0 end

-- Each event has ended once, and as it had to. Returns what is told of that.
local function compare_ends(books, node, waited)
    local ends, count = {}, { dead = 0, discarded = 0 }
    node:await("letters above the limit to go", function() return node:handler "Dies".dead <= LETTERS end)
    for state in pairs(count) do
        pages(node, "/api/v1/events?limit=1000&handler=Dies&state=" .. state, function(event)
            assert(dies(event.id), event.id .. " is " .. state)
            assert(not ends[event.id], ("%s, event %d, is %s, and was %s"):format(event.id, event.seq, state,
                ends[event.id]))
            ends[event.id] = state
            count[state] = count[state] + 1
        end)
    end
    local done, must_die = 0, 0
    pages(node, "/api/v1/events?limit=1000&type=load.a", function(event)
        if dies(event.id) then
            must_die = must_die + 1
            assert(ends[event.id], event.id .. " has no end")
        else
            done = done + 1
        end
    end)
    local h = node:handler "Dies"
    assert.same({ done, count.dead, count.discarded, 0 }, { h.done, h.dead, h.discarded, h.pending + h.running })
    assert.equal(must_die, count.dead + count.discarded)
    assert.is_true(count.dead > 0)
    for name in pairs(books.handlers) do
        h = node:handler(name)
        if name ~= "Dies" then assert.same({ name, 0, 0 }, { name, h.dead, h.discarded }) end
    end
    local letters = 0
    pages(node, "/api/v1/dead-letters?limit=1000", function(l)
        letters = letters + 1
        assert.equal("dead", ends[l.event_id])
    end)
    assert.equal(count.dead, letters)
    -- Each of its events failed once before.
    local retried = effects.sound(books, node)
    assert.is_true(retried > 0 and count.discarded > 0)
    return retried, waited, count.dead, count.discarded
end

describe("a host killed with -9 under load", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function survive(seed, kills)
        print(("crash: EVRT_SEED=%d EVRT_KILLS=%d"):format(seed, kills))
        math.randomseed(seed)
        local dir = evrt.folder()
        local books, client = oracle.under_load(dir, 24, 0.02)
        effects.handler(books, { events = { "load.b" }, fails = { "load.b" }, ordered_by = "data.k",
            key = "event.data.k" })
        dying(books)
        local config = {
            retry = { max_retries = 3, initial_delay = "1ms" }, -- a worker that is killed fails what it runs
            dead_letters = { max = LETTERS },
            workers = { count = 2 },
            logging = { level = "info", sampling = { first = 1, then_every = 0 } },
        }

        local began, restarts, slowest, waited = uv.hrtime(), 0, 0, 0
        local function start(wait)
            local at = uv.hrtime()
            local node = evrt.start { dir = dir, config = config, handlers = books.scripts, wait = wait }
            if wait ~= false then
                restarts = restarts + 1
                slowest = math.max(slowest, (uv.hrtime() - at) / 1e6)
                local stats = oracle.balance(node)
                assert.is_true(stats.events >= client.acked_count)
                waited = math.max(waited, stats.retrying)
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
                if math.random() < 0.2 then -- an operator
                    assert.equal(200, node:delete_admin("/api/v1/dead-letters?reason=rejected").status)
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
        print(("crash: %d retried with effects, each once (up to %d waited at a start), %d dead, %d discarded")
            :format(compare_ends(books, node, waited)))
        assert.same({}, client.unexpected)
        assert.same({}, calm.unexpected)
        assert.equal(0, calm_duplicates, "duplicates without a kill")
        assert.is_true(restarts > 0 and client.acked_count > 0)
        assert.equal(0, (node:stop()))
    end

    for store = 1, math.ceil(KILLS / STORE_KILLS) do
        it("loses no acknowledged event, invents none, and counts densely: store " .. store, function()
            survive(SEED + store - 1, math.min(STORE_KILLS, KILLS - (store - 1) * STORE_KILLS))
        end)
    end
end)
