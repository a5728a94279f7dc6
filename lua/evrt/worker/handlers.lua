-- Checks what a handler file returned. One table of fields says what a handler may declare; every error
-- names file and line, the field, and what was expected.
local clock = require "evrt.c.clock"
local declared = require "evrt.worker.declared"
local key = require "evrt.worker.key"
local options = require "evrt.worker.options"
local policies = require "evrt.worker.policies"

local M = {
    loaded = {}, -- by index, as in the READY text, and by name
}

-- Each check returns the value to keep, or nil and what was expected.
local checks = {}

local EVENTS_MAX, PATTERN_MAX = 256, 256
local DURATION_MAX = 366 * 86400

checks.name = declared.check_name

-- "like.added", "comment.*", "**"
local function check_pattern(pattern)
    if type(pattern) ~= "string" then
        return ("a pattern (string), not a %s"):format(type(pattern))
    end
    if pattern == "" or #pattern > PATTERN_MAX then
        return ("a pattern of 1 to %d bytes"):format(PATTERN_MAX)
    end
    for segment in (pattern .. "."):gmatch "([^%.]*)%." do
        if segment ~= "*" and segment ~= "**" and not segment:find "^[%w_%-]+$" then
            return ("segments of letters, digits, '_' and '-' between single dots, '*' for one segment, "
                .. "'**' for any number (%q is no such pattern)"):format(pattern)
        end
    end
    return nil
end

function checks.events(value)
    local list = type(value) == "string" and { value } or value
    local count = type(list) == "table" and #list or 0
    if count == 0 then
        return nil, 'an event type or pattern, or a list of them, as in { "like.added", "comment.*" }'
    end
    if count > EVENTS_MAX then return nil, ("at most %d patterns"):format(EVENTS_MAX) end
    for k in pairs(list) do
        if type(k) ~= "number" or k < 1 or k > count then
            return nil, ("a list; %s is not one of its positions"):format(tostring(k))
        end
    end
    local kept = {}
    for i, pattern in ipairs(list) do
        local expected = check_pattern(pattern)
        if expected then return nil, expected end
        kept[i] = pattern
    end
    return kept
end

function checks.policies(value)
    return policies.check_list(value)
end

function checks.timeout(value)
    local seconds = options.duration(value)
    if seconds == nil or seconds <= 0 or seconds > DURATION_MAX then
        return nil, 'a duration above 0, as "250ms", "30s", "5m" or a number of seconds'
    end
    return seconds
end

function checks.concurrency(value)
    if type(value) ~= "number" or value % 1 ~= 0 or value < 1 or value > 2 ^ 20 then
        return nil, "a whole number from 1"
    end
    return value
end

-- What deliveries are kept in order by: a CloudEvents attribute (or extension), or a place in the data.
function checks.ordered_by(value)
    if key.check(value) then return value end
    return nil, key.expected
end

function checks.priority(value)
    if type(value) ~= "number" or value % 1 ~= 0 or value < -100 or value > 100 then
        return nil, "a whole number from -100 to 100; higher goes first"
    end
    return value
end

function checks.start(value)
    if value ~= "new" and value ~= "beginning" then
        return nil, '"new" or "beginning"'
    end
    return value
end

function checks.on_retry(value)
    if value ~= "hold" and value ~= "skip" then
        return nil, '"hold" (others of its key wait for a retry) or "skip" (they do not)'
    end
    return value
end

function checks.schedule(value)
    local form = 'a cron schedule, as "*/5 * * * *"'
    if type(value) ~= "string" then return nil, form end
    local wrong = clock.cron(value)
    if wrong then return nil, ("%s (%s)"):format(form, wrong) end
    return value
end

function checks.every(value)
    local seconds = options.duration(value)
    if seconds == nil or seconds < 0.1 or seconds > DURATION_MAX then
        return nil, 'a duration from "100ms" to "366d"'
    end
    return seconds
end

function checks.timezone(value)
    local form = 'a time zone, as "Europe/Berlin"'
    if type(value) ~= "string" then return nil, form end
    local wrong = clock.zone(value)
    if wrong then return nil, ("%s (%s)"):format(form, wrong) end
    return value
end

function checks.catch_up(value)
    if value ~= "skip" and value ~= "once" and value ~= "all" then
        return nil, '"skip" (what was missed is), "once" (one for all that were missed) or "all" (each)'
    end
    return value
end

function checks.on_dead_letter(value)
    if type(value) ~= "function" then
        return nil, "a function(event, letter, ctx)"
    end
    return value
end

function checks.handle(value)
    if type(value) ~= "function" then
        return nil, "a function(event, ctx)"
    end
    return value
end

-- In the order in which they are checked.
local fields = { "name", "events", "handle", "policies", "timeout", "concurrency", "ordered_by", "priority",
    "on_retry", "on_dead_letter", "start", "schedule", "every", "timezone", "catch_up" }
local required = {
    name = true, handle = true,
    events = function(one) return one.schedule == nil and one.every == nil end,
}

-- Reserved: declared now, they would be ignored, and a handler would run without what it relies on.
local later = {
    "batch", "retry_if",
}

local form = declared.form {
    what = "handler", plural = "handlers", fields = fields, required = required, later = later, checks = checks,
}

-- What a timer's firing is delivered as.
local TIMER_TYPE = "evrt.timer."

-- A handler with a schedule gets events of a type of its own.
local function check_timer(handler, check)
    local timed = handler.schedule or handler.every
    if handler.schedule and handler.every then
        check:complain("every", 'fields "schedule" and "every": only one of them says when')
    elseif handler.timezone and not handler.schedule then
        check:complain("timezone", 'field "timezone": only with "schedule"')
    elseif handler.catch_up and not timed then
        check:complain("catch_up", 'field "catch_up": only with "schedule" or "every"')
    elseif timed and check_pattern(TIMER_TYPE .. handler.name) then
        check:complain("name", 'field "name": with "schedule" or "every" expected what an event type may have: '
            .. "letters, digits, '_' and '-' between single dots")
    elseif timed then
        handler.events = handler.events or {}
        handler.events[#handler.events + 1] = TIMER_TYPE .. handler.name
    end
end

-- The table of one handler; nil when it has errors.
local function check_one(one, place, errors)
    local handler, check = form:check(one, place, errors, "handle")
    if not handler then return nil end
    local before = #errors
    check_timer(handler, check)
    handler.chain = {}
    for i, used in ipairs(handler.policies or {}) do
        handler.chain[i] = policies.resolve(used, check:at "policies", errors)
    end
    if #errors > before then return nil end
    return handler
end

--- Checks what a file returned and appends its handlers to `handlers`, what is wrong to `errors`.
---@param returned any
---@param place { path: string, text: string }
---@param handlers table[]
---@param errors string[]
function M.check(returned, place, handlers, errors)
    for _, one in ipairs(form:list(returned, place, errors)) do
        local handler = check_one(one, place, errors)
        local other = handler and handlers[handler.name]
        if other then
            errors[#errors + 1] = ("%s: handler %q is declared twice, first at %s"):format(
                handler.position, handler.name, other.position)
        elseif handler then
            handlers[#handlers + 1], handlers[handler.name] = handler, handler
        end
    end
end

return M
