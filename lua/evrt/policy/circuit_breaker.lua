-- Spares what keeps failing: `evrt.policy.circuit_breaker { failures = 5, cooldown = "30s" }`.
--
--     closed ──`failures` in a row──▶ open ──after `cooldown`──▶ half-open: one delivery tries
--        ▲                              ▲                             │ fails
--        └───────────── it succeeds ────┴─────────────────────────────┘
--
-- While it is open, deliveries fail at once (when_open = "fail") or wait until it closes (when_open = "wait";
-- a timeout around counts that). evrt.reject says that the event is at fault, and counts as a success here.
--
-- Across workers: there is one breaker for all of them, kept by the host; a change reaches the other workers
-- within a moment, and deliveries that were begun before may still get through. Across reloads: it stays. A
-- restart of the host closes it. Uses with the same `name` share a breaker; else each handler has its own.
local delivery = require "evrt.c.delivery"
local errors = require "evrt.worker.errors"
local get = require "evrt.c.shared".get
local log = require "evrt.log"
local monotonic = require "evrt.c.clock".monotonic
local shared = require "evrt.shared"
local wait = require "evrt.worker.wait"

local explain = errors.explain
local POLL = 0.1 -- seconds between looks at one that is half-open
local SURE = { sure = true }

-- "closed 3" (failures in a row), "open 12.5" and "half 12.5" (since when); absent: closed, no failures.
local function read(value)
    if value == nil then return "closed", 0 end
    local state, number = value:match "^(%a+) (%S+)$"
    return state or "closed", tonumber(number) or 0
end

local function since_now(state) return ("%s %.6f"):format(state, monotonic()) end

-- "closed": go on; "probe": go on, it is the one that tries; else how long to stay away, in seconds.
local function admit(breaker)
    local value, version = get(breaker.id)
    while true do
        local state, since = read(value)
        if state == "closed" then return state end
        -- A probe that never came back (its worker died) makes room for another.
        local left = since + breaker.cooldown - monotonic()
        if left > 0 then return state == "half" and math.min(left, POLL) or left end
        local done, other, other_version = shared.cas(breaker.id, version, since_now "half")
        if done ~= false then return "probe" end
        value, version = other, other_version
    end
end

local function enter(breaker)
    while true do
        local how = admit(breaker)
        if type(how) == "string" then
            if how == "probe" then delivery.note "circuit_breaker: half-open, tried with this one" end
            return how
        end
        if not breaker.waits then
            delivery.note(("circuit_breaker: open for %.1fs more, failed at once"):format(how))
            error(("open: what is inside failed %d times in a row; next try in %.1fs"):format(breaker.failures,
                how), 0)
        end
        delivery.note(("circuit_breaker: open, waited %.3fs"):format(how))
        wait.check(delivery.sleep(how), "policy circuit_breaker")
    end
end

local function failed(breaker, how)
    local opens
    shared.update(breaker.id, function(value)
        local state, count = read(value)
        opens = how == "probe" and state == "half" or state == "closed" and count + 1 >= breaker.failures
        if opens then return since_now "open" end
        return state == "closed" and ("closed %d"):format(count + 1) or value
    end, SURE)
    if opens then
        log.warn("Circuit opened", { policy = breaker.name, breaker = breaker.id })
    end
end

local function succeeded(breaker, how)
    if how ~= "probe" and get(breaker.id) == nil then return end
    shared.update(breaker.id, function(value)
        local state = read(value)
        if how == "probe" and state == "half" or state == "closed" then return nil end
        return value
    end, SURE)
    if how == "probe" then log.info("Circuit closed", { policy = breaker.name, breaker = breaker.id }) end
end

return {
    name = "circuit_breaker",
    opts = {
        failures = { "integer", min = 1, max = 1000000, default = 5 },
        cooldown = { "duration", default = "30s" },
        when_open = { "choice", of = { "fail", "wait" }, default = "fail" },
        name = { "string" },
    },
    wrap = function(next, opts, place)
        local breaker = {
            id = "evrt/breaker/" .. (opts.name or place.id), name = place.policy, cooldown = opts.cooldown,
            failures = opts.failures, waits = opts.when_open == "wait",
        }
        return function(event, ctx)
            local how = enter(breaker)
            local ok, a, b, c = xpcall(next, explain, event, ctx)
            if not ok and a.type == "rejected" or ok and (a ~= nil or b == nil) then
                succeeded(breaker, how)
            else
                failed(breaker, how)
            end
            if not ok then error(a, 0) end
            return a, b, c
        end
    end,
}
