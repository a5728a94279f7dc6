-- Checks what a handler file returned. One table of fields says what a handler may declare; every error
-- names file and line, the field, and what was expected.
local clock = require "evrt.c.clock"
local nearest = require "evrt.worker.nearest"

local M = {}

-- Each check returns the value to keep, or nil and what was expected.
local checks = {}

local NAME_MAX, EVENTS_MAX, PATTERN_MAX = 128, 256, 256
local DURATION_MAX = 366 * 86400

function checks.name(value)
    if type(value) ~= "string" or #value > NAME_MAX or not value:find "^[%w_%.:%-]+$" then
        return nil, ("a name of at most %d letters, digits and any of _ - . :"):format(NAME_MAX)
    end
    return value
end

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
            return ("%q is not a pattern: segments of letters, digits, '_' and '-' between single dots, "
                .. "'*' for one segment, '**' for any number"):format(pattern)
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
    if type(value) ~= "table" then return nil, "a list of policies" end
    local _, policy = next(value)
    if policy == nil then return value end
    if type(policy) ~= "string" then return nil, ("the name of a policy, not a %s"):format(type(policy)) end
    return nil, ("the name of a policy; policy %q is not known"):format(policy)
end

function checks.timeout(value)
    local seconds = M.duration(value)
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
    local expected = 'an attribute as "partitionkey", or a place in the data as "data.order_id"'
    if type(value) ~= "string" or #value > 256 then return nil, expected end
    local path = value:match "^data%.(.+)$"
    if path and not ("." .. path .. "."):find("..", 1, true) then return value end
    if value == "data" or not value:find "^[a-z0-9]+$" or #value > 64 then return nil, expected end
    return value
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

function checks.handle(value)
    if type(value) ~= "function" then
        return nil, "a function(event, ctx)"
    end
    return value
end

-- In the order in which they are checked.
local fields = { "name", "events", "handle", "policies", "timeout", "concurrency", "ordered_by", "priority", "start" }
local required = { name = true, events = true, handle = true }

-- Reserved: declared now, they would be ignored, and a handler would run without what it relies on.
local later = {
    "batch", "schedule", "every", "on_dead_letter", "on_retry", "retry_if",
}
local is_later = {}
for _, name in ipairs(later) do is_later[name] = true end

--- Seconds of "30s" or of a number; nil for anything else.
---@param value any
---@return number?
function M.duration(value)
    if type(value) == "number" and value == value then return value end
    return type(value) == "string" and clock.duration(value) or nil
end

-- The line on which a field is set: tables do not know it, so it is looked for in the text, nearest to the
-- handler's function.
local function field_line(text, name, near)
    local best, line = nil, 0
    for row in (text .. "\n"):gmatch "(.-)\n" do
        line = line + 1
        local code = row:gsub("%-%-.*$", "")
        if code:find("%f[%w_]" .. name .. "%f[^%w_]%s*=%f[^=]") then
            if best == nil or math.abs(line - near) < math.abs(best - near) then best = line end
        end
    end
    return best
end

local function show(value)
    local kind = type(value)
    if kind == "string" then return ("%q"):format(#value > 60 and value:sub(1, 57) .. "..." or value) end
    if kind == "number" or kind == "boolean" then return tostring(value) end
    return "a " .. kind
end

local Check = {}
Check.__index = Check

function Check:complain(field, message)
    local line = field and field_line(self.text, field, self.line) or self.line
    self.errors[#self.errors + 1] = ("%s:%d: %s"):format(self.path, line, message)
end

function Check:unknown(declared)
    local names = {}
    for key in pairs(declared) do names[#names + 1] = key end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(names) do
        if type(key) ~= "string" then
            self:complain(nil, ("a handler has named fields; %s is not one"):format(show(key)))
        elseif is_later[key] then
            self:complain(key, ("field %q is not supported by this version"):format(key))
        elseif not checks[key] then
            local near = nearest(key, fields)
            self:complain(key, ("unknown field %q%s; a handler has %s"):format(key,
                near and (" (did you mean %q?)"):format(near) or "", table.concat(fields, ", ")))
        end
    end
end

function Check:known(declared)
    local kept = {}
    for _, name in ipairs(fields) do
        local value = declared[name]
        if value ~= nil then
            local good, expected = checks[name](value)
            if good == nil then
                self:complain(name, ("field %q: expected %s, got %s"):format(name, expected, show(value)))
            end
            kept[name] = good
        elseif required[name] then
            local _, expected = checks[name](nil)
            self:complain(nil, ("field %q is missing: expected %s"):format(name, expected))
        end
    end
    return kept
end

-- The table of one handler; nil when it has errors.
local function check_one(declared, place, errors)
    local check = setmetatable({ errors = errors, path = place.path, text = place.text, line = 1 }, Check)
    if type(declared) ~= "table" then
        check:complain(nil, ("expected a handler (table) or a list of handlers, got %s"):format(show(declared)))
        return nil
    end
    local before = #errors
    local handle = rawget(declared, "handle")
    if type(handle) == "function" then
        local info = debug.getinfo(handle, "S")
        if info.source == "@" .. place.path then check.line = info.linedefined end
    end
    check:unknown(declared)
    local handler = check:known(declared)
    if #errors > before then return nil end
    handler.file, handler.line = place.path, check.line
    handler.position = handler.file .. ":" .. handler.line
    return handler
end

--- Checks what a file returned and appends its handlers to `handlers`, what is wrong to `errors`.
---@param declared any
---@param place { path: string, text: string }
---@param handlers table[]
---@param errors string[]
function M.check(declared, place, handlers, errors)
    if declared == nil then
        errors[#errors + 1] = ("%s:1: the file returns nothing: expected a handler (table) or a list of handlers")
            :format(place.path)
        return
    end
    local list = { declared }
    if type(declared) == "table" and (declared[1] ~= nil and declared.name == nil or next(declared) == nil) then
        list = declared
    end
    for _, one in ipairs(list) do
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
