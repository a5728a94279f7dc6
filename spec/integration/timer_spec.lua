-- Handlers with a schedule: one event for each of its times, whatever happens to workers and hosts; what was
-- missed as they say; next times shown; bad schedules refused with their place.
local evrt = require "spec.support.evrt"
local timers = require "spec.support.timers"

local function start(fields, config)
    return evrt.start { handlers = { ["a.lua"] = ([[
        return { name = "Timed", %s, handle = function(event, ctx)
            ctx.log.info("time", { type = event.type, subject = event.subject, at = event.data.scheduled_at,
                missed = event.data.missed, id = event.id })
        end }]]):format(fields) }, config = config or { workers = { count = 2 } } }
end

local function timer(node) return node:get("/api/v1/handlers").json.items[1].timer end

local function rows(node)
    local count = 0
    for _, item in ipairs(node:get("/api/v1/scheduled").json.items) do
        if item.kind == "timer" then count = count + 1 end
    end
    return count
end

local function distinct(list)
    local seen = {}
    for _, at in ipairs(list) do
        assert.is_nil(seen[at], at)
        seen[at] = true
    end
end

describe("a handler with a schedule", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("gets an event of its own at each time, once for all workers", function()
        local node = start 'schedule = "* * * * * *", timezone = "Europe/Berlin"'
        node:await_log({ msg = "time" }, 30, 3)
        local line = node:await_log { msg = "time", missed = 0 } -- a busy machine may miss one
        assert.same({ "evrt.timer.Timed", "Timed", "Timed/" .. line.at }, { line.type, line.subject, line.id })
        assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+%.000Z$", line.at)
        local list = timers.fired(node)
        distinct(list)
        assert.is_true(#list >= 3)
        assert.equal(1, rows(node))
        assert.equal(0, node:stop())
    end)

    it("gets one after each so much time, beside other events", function()
        local node = start 'events = "other", every = "150ms"'
        node:await_log({ msg = "time", type = "evrt.timer.Timed" }, 30, 4)
        node:publish { type = "other", data = {} }
        node:await_log { msg = "time", type = "other" }
        distinct(timers.fired(node))
        assert.equal(0, node:stop())
    end)

    it("shows its next times", function()
        local node = start 'schedule = "0 9 * * *", timezone = "Asia/Kolkata", catch_up = "once"'
        local t = timer(node)
        assert.same({ "0 9 * * *", "Asia/Kolkata", "once", 3 },
            { t.spec.schedule, t.spec.timezone, t.catch_up, #t.next })
        for _, at in ipairs(t.next) do assert.matches("T03:30:00%.000Z$", at) end
        local code, out = evrt.run { "handlers", "Timed", "--url", "http://127.0.0.1:" .. node.admin }
        assert.equal(0, code)
        assert.truthy(out:find(t.next[1], 1, true), out)
        assert.equal(0, node:stop())
    end)

    it("is there once after kills", function()
        local node = start 'every = "100ms", catch_up = "all"'
        for _ = 1, 5 do
            evrt.idle(0.05 + math.random() * 0.3)
            node:stop "sigkill"
            node = node:restart()
        end
        node:await("some times", function() return #timers.fired(node) >= 10 end)
        distinct(timers.fired(node))
        assert.equal(1, rows(node))
        assert.equal(0, node:stop())
    end)

    it("does not run while it is paused, or when it left the scripts", function()
        local node = start 'every = "100ms"'
        node:await_log { msg = "time" }
        assert.equal(200, node:post_admin("/api/v1/handlers/Timed/pause").status)
        local before = #timers.fired(node)
        evrt.idle(0.3)
        assert.is_true(#timers.fired(node) <= before + 1)
        assert.equal(200, node:post_admin("/api/v1/handlers/Timed/resume").status)
        node:await("more", function() return #timers.fired(node) > before + 1 end)
        evrt.write(node.dir .. "/handlers/a.lua", 'return { name = "Other", events = "x", handle = function() end }')
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        assert.equal(0, rows(node))
        evrt.write(node.dir .. "/handlers/a.lua",
            'return { name = "Other", schedule = "@yearly", handle = function() end }')
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        assert.equal(1, rows(node))
        assert.equal(0, node:stop())
    end)

    it("is refused at load when its schedule is bad, with the place", function()
        for fields, want in pairs {
            ['schedule = "61 * * * *"'] = 'a.lua:2: field "schedule": expected a cron schedule, as "*/5 * * * *" '
                .. "(byte 1: minute: expected 0-59",
            ["schedule = 5"] = "expected a cron schedule",
            ['schedule = "* * * * *", timezone = "Europe/Nowhere"'] = 'field "timezone": expected a time zone',
            ['every = "soon"'] = 'field "every": expected a duration from "100ms"',
            ['every = "1ms"'] = 'field "every": expected a duration',
            ['every = "1s", schedule = "* * * * *"'] = "only one of them says when",
            ['every = "1s", timezone = "UTC"'] = 'field "timezone": only with "schedule"',
            ['events = "a", catch_up = "all"'] = 'field "catch_up": only with',
            ['every = "1s", catch_up = "maybe"'] = 'field "catch_up": expected "skip"',
            ['priority = 1'] = 'field "events" is missing',
        } do
            local dir = evrt.lay { handlers = { ["a.lua"] = "return { name = 'Timed',\n" .. fields
                .. ",\nhandle = function() end }" } }
            local code, _, said = evrt.run { "check", dir .. "/evrt.yaml" }
            assert.equal(78, code, fields)
            assert.truthy(said:find(want, 1, true), fields .. ": " .. said)
        end
        local dir = evrt.lay {
            handlers = { ["a.lua"] = "return { name = 'a:b', every = '1s',\nhandle = function() end }" },
        }
        local code, _, said = evrt.run { "check", dir .. "/evrt.yaml" }
        assert.same({ 78, true }, { code, said:find('field "name"', 1, true) ~= nil })
    end)
end)
