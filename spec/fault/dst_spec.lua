-- Timers on a node while the clocks of their zone go forward and back, and across downtimes in which they did: the
-- right times, each at most once. libfaketime moves the wall clock.
local evrt = require "spec.support.evrt"
local faketime = require "spec.support.faketime"
local seconds = require "spec.support.time".seconds

if not faketime.is_here "timers across changes of daylight saving time" then return end

-- Berlin: 02:00 was 03:00 on 2027-03-28 at 01:00Z, and 03:00 was 02:00 on 2027-10-31 at 01:00Z.
describe("when daylight saving time begins and ends, #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local clock, node
    local function set(at) clock.set(seconds(at) - os.time()) end

    -- Handlers: name -> catch_up.
    local function start(schedule, handlers, at)
        local dir, list = evrt.folder(), {}
        for name, catch_up in pairs(handlers) do
            list[#list + 1] = ([[{ name = %q, schedule = %q, timezone = "Europe/Berlin", catch_up = %q,
                handle = function() end },]]):format(name, schedule, catch_up)
        end
        clock = faketime.clock(dir)
        set(at)
        node = evrt.start { dir = dir, env = clock.env,
            handlers = { ["a.lua"] = "return {" .. table.concat(list) .. "}" } }
    end

    -- What was fired for a handler: times, and what the last one said was missed.
    local function fired(name)
        local list, missed = {}, nil
        for _, e in ipairs(node:get("/api/v1/events?limit=1000&type=evrt.timer." .. name).json.items) do
            list[#list + 1] = e.data.scheduled_at:gsub(":00%.000Z$", "Z")
            missed = e.data.missed
        end
        return list, missed
    end

    local function next_of(name)
        return (node:handler(name).timer.next[1]:gsub(":00%.000Z$", "Z"))
    end

    local function await(name, count)
        node:await(count .. " times of " .. name, function() return #fired(name) >= count end)
    end

    local function kill()
        node:stop "sigkill"
        node = node:restart { env = clock.env }
    end

    it("a time that is left out comes once, at the change", function()
        start("30 2 * * *", { Daily = "skip" }, "2027-03-27T23:00:00Z")
        assert.equal("2027-03-28T01:00Z", next_of "Daily")
        set("2027-03-28T00:59:58Z")
        await("Daily", 1)
        kill()
        set("2027-03-28T01:30:10Z") -- where half past two would have been without the change
        node:await("the next day", function() return next_of "Daily" == "2027-03-29T00:30Z" end)
        set("2027-03-29T00:29:58Z")
        await("Daily", 2)
        kill()
        assert.same({ "2027-03-28T01:00Z", "2027-03-29T00:30Z" }, (fired "Daily"))
        assert.equal(0, node:stop())
    end)

    it("a time that comes twice counts once", function()
        start("30 2 * * *", { Daily = "skip" }, "2027-10-31T00:00:00Z")
        set("2027-10-31T00:29:58Z")
        await("Daily", 1)
        kill()
        set("2027-10-31T01:30:10Z") -- half past two again
        evrt.idle(2.5) -- the clock is looked at each second
        assert.equal("2027-11-01T01:30Z", next_of "Daily")
        set("2027-11-01T01:29:58Z")
        await("Daily", 2)
        kill()
        assert.same({ "2027-10-31T00:30Z", "2027-11-01T01:30Z" }, (fired "Daily"))
        assert.equal(0, node:stop())
    end)

    it("every hour goes on as time passes", function()
        for _, day in ipairs { "2027-03-28", "2027-10-31" } do
            start("0 * * * *", { Hourly = "skip" }, day .. "T00:30:00Z")
            local want = {}
            for hour = 1, 3 do
                set(("%sT%02d:59:58Z"):format(day, hour - 1))
                await("Hourly", hour)
                want[hour] = ("%sT%02d:00Z"):format(day, hour)
            end
            assert.same(want, (fired "Hourly"))
            assert.equal(0, node:stop())
        end
    end)

    -- Down over three nights, the middle one with the change.
    local downtimes = {
        { from = "2027-03-26", to = "2027-03-30", next = "2027-03-31T00:30Z",
            times = { "2027-03-27T01:30Z", "2027-03-28T01:00Z", "2027-03-29T00:30Z", "2027-03-30T00:30Z" } },
        { from = "2027-10-29", to = "2027-11-01", next = "2027-11-02T01:30Z",
            times = { "2027-10-30T00:30Z", "2027-10-31T00:30Z", "2027-11-01T01:30Z" } },
    }
    for _, d in ipairs(downtimes) do
        it("a downtime over it is made up for: all, once or not, " .. d.from, function()
            start("30 2 * * *", { All = "all", Once = "once", Skip = "skip" }, d.from .. "T12:00:00Z")
            assert.equal(0, node:stop())
            set(d.to .. "T12:00:00Z")
            node = node:restart { env = clock.env }
            await("All", #d.times)
            await("Once", 1)
            for _, name in ipairs { "All", "Once", "Skip" } do
                node:await("the next time of " .. name, function() return next_of(name) == d.next end)
            end
            kill()
            assert.same(d.times, (fired "All"))
            local once, missed = fired "Once"
            assert.same({ { d.times[#d.times] }, #d.times - 1 }, { once, missed })
            assert.same({}, (fired "Skip"))
            assert.equal(0, node:stop())
        end)
    end
end)
