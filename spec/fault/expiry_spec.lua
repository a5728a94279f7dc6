-- What lives for a time, under clocks that jump a year ahead and back: keys, dead letters, retries nobody makes, ids of
-- events, segments. While a node runs it lives as long as it should; between two lives the wall clock tells.
-- libfaketime moves it.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local faketime = require "spec.support.faketime"
local oracle = require "spec.support.oracle"
local sqlite = require "spec.support.sqlite"

local HOUR, YEAR = 3600, 365 * 86400
local LOOKS = 1.5 -- seconds in which a node looks at what may go

if not faketime.is_here "expiry under clocks that jump" then return end

describe("what lives for a time", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, clock, node

    before_each(function()
        dir = evrt.folder()
        clock = faketime.clock(dir)
    end)

    local function start(config, handlers)
        node = evrt.start { dir = dir, env = clock.env, config = config, handlers = handlers }
    end

    local function again(offset, signal)
        node:stop(signal or "sigkill")
        clock.set(offset)
        node = node:restart { env = clock.env }
    end

    local function now() return uv.hrtime() / 1e9 end

    -- The keys that handler A sees, those that operators see, and those in state.db.
    local function keys(kind)
        if kind == "rows" then
            return table.concat(sqlite.column(dir .. "/data/state.db",
                "SELECT key FROM kv WHERE ns = 'A' AND key NOT LIKE 'seen%' ORDER BY key"), " ")
        end
        local list = {}
        for _, one in ipairs(node:get("/api/v1/kv?namespace=A").json.items) do
            if not one.key:find "^seen" then list[#list + 1] = one.key end
        end
        return table.concat(list, " ")
    end

    local function await_keys(wanted)
        node:await("the keys " .. wanted, function() return keys() == wanted end)
        node:await("the rows " .. wanted, function() return keys "rows" == wanted end)
    end

    it("as keys: their ttl of passing time, then not a row is left #plain", function()
        start(nil, { ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                local d = event.data
                if d.ttl then ctx.kv.set(d.key, 1, { ttl = d.ttl }) return end
                local seen = {}
                for key in ctx.kv.scan "" do if not key:find "^seen" then seen[#seen + 1] = key end end
                ctx.kv.set("seen", table.concat(seen, " "))
            end }]] })
        local function set(key, ttl)
            node:accept { type = "a", data = { key = key, ttl = ttl } }
            node:await_end()
        end
        local function seen()
            node:accept { type = "a", data = {} }
            node:await_end()
            return node:get("/api/v1/kv?namespace=A&key=seen").json.value
        end
        set("hour", "1h")
        assert.equal(200, node:put_admin("/api/v1/kv?namespace=A&key=operator&ttl=1h", "1").status)
        for i, offset in ipairs { 0, YEAR, -YEAR, 0 } do
            clock.set(offset)
            local before, short = now(), "short" .. i
            set(short, "2s")
            node:await("it to expire", function() return keys() == "hour operator" end)
            assert.is_true(now() - before >= 1.99, "expired early")
            assert.equal("hour operator", seen())
            await_keys "hour operator"
        end
        -- Between two lives: an hour is not over, it is by half, and it is.
        again(0)
        assert.equal("hour operator", keys())
        again(HOUR / 2)
        set("later", "1h")
        assert.equal("hour later operator", seen())
        clock.set(YEAR)
        again(HOUR + 60, "sigterm")
        assert.equal("later", seen())
        await_keys "later"
        assert.equal(0, node:stop())
    end)

    local DYING = { ["a.lua"] = [[
        local evrt = require "evrt"
        return { name = "A", events = "a", handle = function() evrt.reject "no" end }]] }

    local function dead(count) return oracle.balance(node).dead == count end

    it("as dead letters: dead_letters.ttl of passing time", function()
        start({ dead_letters = { ttl = "1h" } }, DYING)
        for i, offset in ipairs { 0, YEAR, -YEAR, 0 } do
            clock.set(offset)
            node:accept { type = "a" }
            node:await("a letter", function() return dead(i) end)
            evrt.idle(LOOKS)
            assert.is_true(dead(i), "a letter went")
        end
        again(HOUR / 2)
        evrt.idle(LOOKS)
        assert.is_true(dead(4), "a letter went")
        again(HOUR + 60)
        node:await_log { msg = "Dead letters discarded", reason = "dead_letters.ttl", count = 3 }
        -- That of next year is not old.
        assert.is_true(dead(1))
        assert.equal(3, oracle.balance(node).discarded)
        assert.equal(0, node:stop())
    end)

    it("as dead letters behind more of the future than are looked at at once", function()
        start({ dead_letters = { ttl = "1h" } }, DYING)
        clock.set(YEAR)
        local future, batch = 1100, {}
        for i = 1, future / 2 do
            batch[i] = { specversion = "1.0", id = tostring(i), source = "spec", type = "a" }
        end
        assert.equal(202, node:post_batch(batch).status)
        for i = 1, #batch do batch[i].source = "other" end
        assert.equal(202, node:post_batch(batch).status)
        node:await("their letters", function() return dead(future) end)
        clock.set(0)
        node:accept { type = "a" }
        node:await("a letter of now", function() return dead(future + 1) end)
        again(HOUR + 60, "sigterm")
        node:await_log { msg = "Dead letters discarded", reason = "dead_letters.ttl", count = 1 }
        assert.is_true(dead(future))
        assert.equal(1, oracle.balance(node).discarded)
        assert.equal(0, node:stop())
    end)

    it("as dead letters that were made after a jump, too", function()
        start({ dead_letters = { ttl = "3s" } }, DYING)
        for i, offset in ipairs { -YEAR, -2 * YEAR } do
            clock.set(offset)
            local before = now()
            node:accept { type = "a" }
            node:await("the letter to go", function() return oracle.balance(node).discarded == i end)
            assert.is_true(now() - before >= 1.9, "it went early") -- a jump is noticed within a second
        end
        assert.equal(0, node:stop())
    end)

    it("as retries of a handler that left: retry.ttl of passing time", function()
        local config = { retry = { max_retries = 3, initial_delay = "1h", max_delay = "1h", ttl = "1h" },
            reload = { watch = false } }
        start(config, { ["b.lua"] = [[return { name = "B", events = "b", handle = function() end }]],
            ["a.lua"] = [[return { name = "A", events = "a", handle = function() error "no" end }]] })
        node:accept { type = "a" }
        local function retrying() return oracle.balance(node).retrying == 1 end
        node:await("the retry", retrying)
        os.remove(dir .. "/handlers/a.lua")
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        for _, offset in ipairs { YEAR, -YEAR, 0 } do
            clock.set(offset)
            evrt.idle(LOOKS)
            assert.is_true(retrying(), "a retry went")
        end
        again(-YEAR)
        evrt.idle(LOOKS)
        assert.is_true(retrying(), "a retry went")
        again(HOUR + 60)
        node:await("it to be dead", function() return dead(1) end)
        assert.equal("orphaned", node:get("/api/v1/dead-letters").json.items[1].reason)
        assert.equal(0, node:stop())
    end)

    -- Whether it was known.
    local function twice(id)
        local answer = node:publish { type = "b", id = id }
        assert.equal(202, answer.status)
        return answer.json.duplicate == true
    end

    it("as ids that are known: dedup.window of passing time", function()
        start { dedup = { window = "1h" } }
        assert.is_false(twice "one")
        for _, offset in ipairs { YEAR, -YEAR, 0 } do
            clock.set(offset)
            evrt.idle(1.2)
            assert.is_true(twice "one")
        end
        again(-YEAR)
        assert.is_true(twice "one")
        again(HOUR / 2)
        assert.is_true(twice "one")
        again(2 * HOUR)
        assert.is_false(twice "one")
        assert.is_true(twice "one")
        assert.equal(0, node:stop())
    end)

    it("as ids whose window ends while the node runs and its clock jumps", function()
        start { dedup = { window = "2s" } }
        for i, offset in ipairs { 0, YEAR, -YEAR } do
            local id, before = "id" .. i, now()
            assert.is_false(twice(id))
            clock.set(offset)
            local known
            node:await("it to be forgotten", function()
                known = twice(id)
                return not known
            end)
            assert.is_true(now() - before >= 1.99, "forgotten early")
        end
        assert.equal(0, node:stop())
    end)

    it("as segments: store.retention of passing time", function()
        start({ store = { retention = "1d" }, http = { max_event_size = "8MiB" } })
        local large = ("x"):rep(6 * 2 ^ 20)
        for _ = 1, 23 do node:accept { type = "b", data = large } end -- more than two segments hold
        local function first() return node:get("/api/v1/stats").json.store.first_seq end
        for _, offset in ipairs { YEAR, -YEAR, 0 } do
            clock.set(offset)
            evrt.idle(LOOKS)
            assert.equal(1, first())
        end
        again(3 * 24 * HOUR, "sigterm")
        node:await("a segment to go", function() return first() > 1 end)
        assert.equal(0, node:stop())
    end)
end)
