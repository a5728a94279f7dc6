-- How a failed delivery is tried again: `evrt.policy.retry { max_retries = 5, initial_delay = "1s" }`.
--
-- It is declared to the host when scripts load, because the host has to decide when no Lua is alive; of
-- several that match, the innermost counts. What is left out is the configuration's (retry). Nothing runs
-- around the handler but for functions, which are asked where it failed; after a crash, a stall or a worker
-- out of memory nobody is there to ask, and the configuration's delays hold.
--
-- Across workers, reloads and restarts: what is to be tried again is in the store, with its attempt and its
-- time; a delivery that fails is judged by the declaration in service when it fails.
--
--     policy          "exponential": initial_delay * multiplier ^ (n - 1); "fixed": initial_delay;
--                     "linear": initial_delay + increment * (n - 1); or function(attempt, failure, event)
--                     -> seconds, or nil: dead
--     max_retries     attempts after the first; a function may go on for ever, unless this is said
--     initial_delay, max_delay, multiplier, increment
--                     without max_delay an initial_delay that is longer than the configuration's is the longest
--     jitter          0 to 1: the part of a delay that chance takes away or adds
--     retry_if        function(failure, event) -> false: dead at once
local delivery = require "evrt.c.delivery"
local errors = require "evrt.worker.errors"

local uses = {
    multiplier = { exponential = true }, increment = { linear = true },
    initial_delay = { exponential = true, linear = true, fixed = true },
    max_delay = { exponential = true, linear = true, ["function"] = true },
}

local function decide(opts, custom, failure, event, ctx)
    if failure.type == "rejected" then return end
    if opts.retry_if and not opts.retry_if(failure, event) then
        delivery.retry_after(nil)
    elseif custom then
        local seconds = custom(ctx.attempt, failure, event)
        if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds or seconds < 0) then
            error(("policy must return seconds (a number from 0) or nil, got %s"):format(tostring(seconds)), 0)
        end
        if seconds and opts.max_delay and seconds > opts.max_delay then seconds = opts.max_delay end
        delivery.retry_after(seconds, true)
    end
end

local function asking(next, opts, custom)
    return function(event, ctx)
        local ok, result, why = xpcall(next, errors.explain, event, ctx)
        if ok and (result ~= nil or why == nil) then return result, why end
        local failure = ok and errors.failure(why) or result
        decide(opts, custom, failure, event, ctx)
        if ok then return nil, why end
        error(failure, 0)
    end
end

-- What the host is told: functions stay here, where it asks for them.
local function declare(opts)
    local function milliseconds(seconds) return seconds and math.ceil(seconds * 1000) end
    local custom = type(opts.policy) == "function"
    return {
        policy = custom and "function" or opts.policy, max_retries = opts.max_retries,
        initial_delay_ms = milliseconds(opts.initial_delay), max_delay_ms = milliseconds(opts.max_delay),
        multiplier = opts.multiplier, increment_ms = milliseconds(opts.increment), jitter = opts.jitter,
        retry_if = opts.retry_if ~= nil,
    }
end

return {
    name = "retry",
    opts = {
        policy = { { "choice", "function" }, of = { "exponential", "fixed", "linear" } },
        max_retries = { "integer", min = 0, max = 1000000 },
        initial_delay = { "duration" },
        max_delay = { "duration" },
        multiplier = { "number", min = 1, max = 1000 },
        increment = { "duration", min = 0 },
        jitter = { "number", min = 0, max = 1 },
        retry_if = { "function" },
    },
    check = function(opts)
        local policy = type(opts.policy) == "function" and "function" or opts.policy
        for _, name in ipairs { "initial_delay", "max_delay", "multiplier", "increment" } do
            if policy and opts[name] and not uses[name][policy] then
                return ("option %q means nothing when policy is %s"):format(name,
                    policy == "function" and "a function" or ("%q"):format(policy))
            end
        end
        if opts.initial_delay and opts.max_delay and opts.initial_delay > opts.max_delay then
            return 'option "max_delay": it is shorter than initial_delay'
        end
        return nil
    end,
    wrap = function(next, opts)
        local custom = type(opts.policy) == "function"
        return (custom or opts.retry_if) and asking(next, opts, custom and opts.policy) or next
    end,
    declare = declare,
}
