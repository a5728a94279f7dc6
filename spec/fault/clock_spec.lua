-- Clocks that jump a year ahead and back, while a node runs and between its lives: nothing is lost or held up,
-- and what was stored says when that was, by the clock of then. libfaketime moves the wall clock.
local evrt = require "spec.support.evrt"
local faketime = require "spec.support.faketime"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"
local seconds = require "spec.support.time".seconds

local YEAR = 365 * 86400

if not faketime.is_here "clocks that jump" then return end

describe("a clock #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, books, client, clock

    before_each(function()
        dir = evrt.folder()
        books = oracle.new(dir)
        faults.handlers(books)
        client = faults.client()
        books.clients[1] = client
        clock = faketime.clock(dir)
    end)

    local function start(options)
        options = options or { handlers = books.scripts }
        options.dir = dir
        options.env = clock.env
        return evrt.start(options)
    end

    -- Publishes by a clock that is wrong by so much; all is handled at once, and says when.
    local function publish_at(node, offset)
        clock.set(offset)
        local first = oracle.balance(node).events + 1
        local before = os.time() + offset
        faults.work(node, client, 0)
        books:settle(node)
        local stats = oracle.balance(node)
        local after = os.time() + offset
        assert.is_true(stats.events >= first + 6, "not all was published")
        for seq = first, stats.events do
            local at = seconds(node:get("/api/v1/events/" .. seq).json.stored)
            local sane = at >= before - 1 and at <= after + 1
            assert.is_true(sane, ("event %d: %d s from its clock"):format(seq, at - before))
        end
        local line = node.lines[#node.lines]
        assert.is_true(math.abs(seconds(line.timestamp) - after) < 5, line.timestamp)
    end

    it("that jumps while the node runs holds up and loses nothing", function()
        clock.set(0)
        local node = start()
        for _, offset in ipairs { 0, YEAR, 0, -YEAR, YEAR, -1, 0 } do publish_at(node, offset) end
        oracle.sound(books:compare(node))
        assert.equal(0, (node:stop()))
        faults.verify(dir .. "/data")
        node = start()
        books:settle(node)
        local r = faults.sound(books, node)
        assert.equal(0, r.duplicates)
        assert.equal(0, (node:stop()))
        faults.say("clock that jumps in a life: %s", oracle.line(r))
    end)

    it("that jumps between two lives, and after a kill, does so neither", function()
        local node, r
        for i, offset in ipairs { 0, YEAR, -YEAR, 0, YEAR, 0 } do
            clock.set(offset)
            node = start()
            publish_at(node, offset)
            r = faults.sound(books, node)
            node:stop(i % 2 == 0 and "sigkill" or "sigterm")
        end
        faults.verify(dir .. "/data")
        faults.say("clock that jumps between lives: %s", oracle.line(r))
    end)

    -- Events that fail once; `side` gets a line for each attempt: its number, and when that was by the monotonic
    -- clock.
    local function start_failing(side, delay, count)
        local node = start {
            config = { retry = { policy = "fixed", max_retries = 1, initial_delay = delay, jitter = 0 } },
            handlers = { ["a.lua"] = ([[
                local evrt = require "evrt"
                local file = assert(io.open(%q, "a"))
                return { name = "A", events = "a", handle = function(event, ctx)
                    file:write(ctx.attempt, " ", event.id, " ", ("%%.6f"):format(evrt.time.monotonic()), "\n")
                    file:flush()
                    if ctx.attempt == 1 then error "once" end
                end }]]):format(side) },
        }
        local list = {}
        for i = 1, count or 0 do list[i] = { type = "a", id = tostring(i) } end
        if count then assert.equal(202, node:post_batch(list).status) end -- all fail at once
        -- Answered when these are in the journal.
        node:await("the first attempts", function()
            return #node:get("/api/v1/retries?limit=1000").json.items >= (count or 0)
        end)
        return node
    end

    -- What was tried again: after which delay at least, the time from the first to the last, how many.
    local function tried(side)
        local failed, again, shortest = {}, {}, math.huge
        for line in io.lines(side) do
            local attempt, id, at = line:match "^(%d) (%S+) (%S+)$"
            if attempt == "1" then
                failed[id] = tonumber(at)
            else
                again[#again + 1] = tonumber(at)
                shortest = math.min(shortest, at - failed[id])
            end
        end
        table.sort(again)
        return shortest, #again > 0 and again[#again] - again[1] or 0, #again
    end

    it("that was ahead leaves the age of what a handler has not begun right", function()
        clock.set(YEAR)
        local node = start { handlers = { ["a.lua"] = [[
            return { name = "A", events = "a", handle = function() end }]] } }
        local function age()
            local text = node:get("/metrics").body
            return tonumber(text:match 'evrt_handler_oldest_unprocessed_age_seconds{handler="A"} (%S+)')
        end
        node:accept { type = "a" }
        node:await_end()
        clock.set(0)
        assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
        node:accept { type = "a" }
        node:await("it to be older", function() return age() > 0.2 end)
        assert.is_true(age() < 3600)
        assert.equal(200, node:post_admin("/api/v1/handlers/A/resume").status)
        node:await_end()
        assert.equal(0, age())
        assert.equal(0, (node:stop()))
    end)

    it("that jumps leaves retries their time while the node runs", function()
        for i, offset in ipairs { YEAR, -YEAR } do
            clock.set(0)
            local side = dir .. "/side" .. i
            local node = start_failing(side, "3s", 20)
            clock.set(offset)
            assert.equal(20, node:await_end().done)
            local shortest, _, count = tried(side)
            assert.is_true(shortest >= 3, shortest)
            assert.equal(20, count)
            clock.set(0)
            assert.equal(0, (node:stop()))
            os.execute("rm -rf '" .. dir .. "/data'")
        end
    end)

    it("that jumps between two lives neither holds retries up nor makes them come at once", function()
        for i, offset in ipairs { YEAR, -YEAR } do
            clock.set(0)
            local side = dir .. "/side" .. i
            start_failing(side, "3s", 40):stop "sigkill"
            clock.set(offset)
            local node = start_failing(side, "3s")
            local stats = node:await_end()
            local _, spread, count = tried(side)
            assert.same({ 40, 0, 40 }, { stats.done, stats.dead, count })
            -- By chance within three seconds: that all of 40 are within a tenth of them has a chance of 1e-37.
            assert.is_true(spread > 0.2, spread)
            clock.set(0)
            assert.equal(0, (node:stop()))
            os.execute("rm -rf '" .. dir .. "/data'")
        end
    end)
end)
