-- evrt.time: the wall clock, RFC 3339, and a clock for measuring.
local clock = require "evrt.c.clock"

---@class evrt.time
local time = {}

--- Seconds since 1970-01-01T00:00:00Z, to the millisecond.
---@return number seconds
function time.now()
    return clock.now()
end

--- Seconds on a clock that never steps, to the nanosecond; only differences mean something. `ctx.deadline`
--- is on this clock.
---@return number seconds
function time.monotonic()
    return clock.monotonic()
end

--- The time as RFC 3339 in UTC: "2025-01-07T10:30:45.123Z".
---@param seconds? number since 1970; now when absent
---@return string
function time.iso(seconds)
    if seconds ~= nil and type(seconds) ~= "number" then
        error(("evrt.time.iso: seconds (number) expected, got %s"):format(type(seconds)), 2)
    end
    local text = clock.format(seconds or clock.now())
    if not text then
        error("evrt.time.iso: the year must have four digits", 2)
    end
    return text
end

--- Seconds since 1970 of an RFC 3339 time with any offset.
---@param text string
---@return number? seconds nil when the text is no such time
---@return string? message
---@return string? code "EINVAL"
function time.parse(text)
    if type(text) ~= "string" then
        error(("evrt.time.parse: a string expected, got %s"):format(type(text)), 2)
    end
    local seconds, bad = clock.parse(text)
    if seconds then return seconds end
    return nil, ("byte %d: expected RFC 3339, as in 2025-01-07T10:30:45.123Z"):format(bad), "EINVAL"
end

return time
