-- Timers and events for later across downtimes of hours, and when the clock is set while a node runs.
-- libfaketime moves the wall clock.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"

local function library()
    for _, arch in ipairs { "x86_64-linux-gnu", "aarch64-linux-gnu" } do
        local path = "/usr/lib/" .. arch .. "/faketime/libfaketimeMT.so.1"
        if uv.fs_stat(path) then return path end
    end
end

local faketime = library()
if not faketime then
    faults.say "NOT RUN, timers by clocks that jump: faketime is not installed"
    return
end

local HOUR = 3600

describe("by a clock that jumps, #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, clock, node
    local function set(offset)
        evrt.write(clock .. ".new", ("%+d\n"):format(offset))
        assert(os.rename(clock .. ".new", clock))
    end
    local function env()
        return { LD_PRELOAD = faketime, FAKETIME_TIMESTAMP_FILE = clock, FAKETIME_NO_CACHE = "1",
            FAKETIME_DONT_FAKE_MONOTONIC = "1" }
    end
    local function start(fields)
        dir = evrt.folder()
        clock = dir .. "/clock"
        set(0)
        node = evrt.start { dir = dir, env = env(), handlers = { ["a.lua"] = ([[
            return { name = "Timed", %s, handle = function(event, ctx)
                ctx.log.info("time", { id = event.id, missed = event.data and event.data.missed })
            end }]]):format(fields) } }
    end
    local function down(seconds)
        assert.equal(0, node:stop())
        set(seconds)
        node = node:restart { env = env() }
    end
    local function times()
        local list = {}
        for _, e in ipairs(node:get("/api/v1/events?type=evrt.timer.*&limit=1000").json.items) do
            list[#list + 1] = e.data.scheduled_at
        end
        return list
    end
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
        set(5 * HOUR)
        node = node:restart { env = env(), config = { schedule = { max_catch_up = 50 } } }
        node:await("fifty times", function() return #times() >= 50 end)
        assert.is_true(#times() < 70)
        assert.equal(0, node:stop())
    end)

    it("a time of day follows it, a delay does not", function()
        start 'events = "later.*"'
        local at = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 2 * HOUR)
        node:publish { type = "later.a", id = "at", deliverat = at }
        node:publish { type = "later.a", id = "after", deliverafter = "1h" }
        set(3 * HOUR)
        node:await_log { msg = "time", id = "at" }
        assert.equal(1, #node:get("/api/v1/scheduled").json.items)
        assert.equal(0, #node:logged { msg = "time", id = "after" })
        -- After a start, wall time counts; but nothing waits longer than it was to.
        assert.equal(0, node:stop())
        set(-100 * HOUR)
        node = node:restart { env = env() }
        assert.equal(1, node:get("/api/v1/stats").json.scheduled.pending)
        assert.equal(0, node:stop())
        set(5 * HOUR)
        node = node:restart { env = env() }
        node:await_log { msg = "time", id = "after" }
        assert.equal(0, node:stop())
    end)
end)
