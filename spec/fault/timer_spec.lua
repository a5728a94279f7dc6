-- Timers and events for later across downtimes of hours, and when the clock is set while a node runs.
-- libfaketime moves the wall clock.
local evrt = require "spec.support.evrt"
local faketime = require "spec.support.faketime"
local timers = require "spec.support.timers"

if not faketime.is_here "timers by clocks that jump" then return end

local HOUR = 3600

describe("by a clock that jumps, #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, clock, node
    local function start(fields)
        dir = evrt.folder()
        clock = faketime.clock(dir)
        node = evrt.start { dir = dir, env = clock.env, handlers = { ["a.lua"] = ([[
            return { name = "Timed", %s, handle = function(event, ctx)
                ctx.log.info("time", { id = event.id, missed = event.data and event.data.missed })
            end }]]):format(fields) } }
    end
    local function down(seconds)
        assert.equal(0, node:stop())
        clock.set(seconds)
        node = node:restart { env = clock.env }
    end
    local function times() return timers.fired(node) end
    local function next_of() return node:get("/api/v1/handlers").json.items[1].timer.next[1] end

    for what, fields in pairs { every = 'every = "1h"', cron = 'schedule = "17 * * * *"' } do
        it("a timer makes up for a downtime: all, once or not, " .. what, function()
            start(fields .. ', catch_up = "all"')
            down(5 * HOUR + 60)
            -- Six, when the minute of the schedule is now.
            node:await("five times", function() return #times() >= 5 end)
            assert.is_true(#times() <= 6)
            assert.equal(0, node:stop())

            start(fields .. ', catch_up = "once"')
            down(5 * HOUR + 60)
            local line = node:await_log { msg = "time" }
            assert.is_true(line.missed == 4 or line.missed == 5, tostring(line.missed))
            assert.is_true(#times() <= 2)
            assert.equal(0, node:stop())

            start(fields .. ', catch_up = "skip"')
            local before = next_of()
            down(5 * HOUR + 120)
            node:await("the next time", function() return next_of() > before end)
            assert.is_true(#times() <= 1) -- it may be one of just now
            assert.equal(0, node:stop())
        end)
    end

    it("a timer makes up for no more than schedule.max_catch_up", function()
        start 'every = "1s", catch_up = "all"'
        assert.equal(0, node:stop())
        clock.set(5 * HOUR)
        node = node:restart { env = clock.env, config = { schedule = { max_catch_up = 50 } } }
        node:await("fifty times", function() return #times() >= 50 end)
        assert.is_true(#times() < 70)
        assert.equal(0, node:stop())
    end)

    it("a timer by the time of day begins anew when the clock is set back", function()
        start 'schedule = "*/2 * * * * *"'
        local function goes_on(what)
            local before = #times()
            node:await(what, function() return #times() >= before + 2 end)
        end
        clock.set(400 * 24 * HOUR)
        goes_on "times a year ahead"
        clock.set(0)
        goes_on "times of now"
        clock.set(400 * 24 * HOUR)
        goes_on "times a year ahead again"
        down(0)
        goes_on "times of now after a start"
        -- What is set back by less waits: those times have been.
        local last = next_of()
        clock.set(-HOUR)
        node:await("a look at the clock", function() return node:get("/api/v1/stats").json end)
        assert.is_true(next_of() >= last)
        assert.equal(0, node:stop())
    end)

    it("a time of day follows it, a delay does not", function()
        start 'events = "later.*"'
        local at = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 2 * HOUR)
        node:publish { type = "later.a", id = "at", deliverat = at }
        node:publish { type = "later.a", id = "after", deliverafter = "1h" }
        clock.set(3 * HOUR)
        node:await_log { msg = "time", id = "at" }
        assert.equal(1, #node:get("/api/v1/scheduled").json.items)
        assert.equal(0, #node:logged { msg = "time", id = "after" })
        -- After a start, wall time counts; but nothing waits longer than it was to.
        assert.equal(0, node:stop())
        clock.set(-100 * HOUR)
        node = node:restart { env = clock.env }
        assert.equal(1, node:get("/api/v1/stats").json.scheduled.pending)
        assert.equal(0, node:stop())
        clock.set(5 * HOUR)
        node = node:restart { env = clock.env }
        node:await_log { msg = "time", id = "after" }
        assert.equal(0, node:stop())
    end)
end)
