-- evrt.publish: checks the table, hands it to the host, waits until it is durable (or handled).
local cpublish = require "evrt.c.publish"
local clock = require "evrt.c.clock"
local cjson = require "evrt.c.json"
local duration = require "evrt.worker.options".duration
local log = require "evrt.log"
local nearest = require "evrt.worker.nearest"
local running = require "evrt.c.policy".handler
local wait = require "evrt.worker.wait"

local handlers = require "evrt.worker.handlers".loaded

local M = {}

local Raw = {}

--- Marks text as data that is sent as it is: JSON that is encoded already.
---@param text string
---@return evrt.Raw
function M.raw(text)
    if type(text) ~= "string" then
        error(("evrt.raw: a string expected, got %s"):format(type(text)), 2)
    end
    return setmetatable({ text }, Raw)
end

local attributes = { "type", "id", "source", "time", "subject", "datacontenttype", "dataschema" }
local is_attribute, names = {}, { "data", "extensions", "deliver_at", "delay" }
local is_other = { data = true, extensions = true, deliver_at = true, delay = true }
for _, name in ipairs(attributes) do
    is_attribute[name] = true
    names[#names + 1] = name
end

local who = "evrt.publish"

local function misuse(...)
    wait.misuse("%s: %s", who, string.format(...))
end

local function check_names(event)
    for name in pairs(event) do
        if type(name) == "string" and not is_attribute[name] and not is_other[name] then
            local near = nearest(name, names)
            misuse("unknown field %q%s; other attributes belong in extensions", name,
                near and (" (did you mean %q?)"):format(near) or "")
        elseif type(name) ~= "string" then
            misuse("a table of named fields expected, got the key %s; to pass on an event, make a new table "
                .. "of its fields", tostring(name))
        end
    end
end

local function check_extensions(extensions)
    if extensions == nil then return end
    if type(extensions) ~= "table" then
        misuse("extensions: a table expected, got %s", type(extensions))
    end
    for name, value in pairs(extensions) do
        local kind = type(value)
        if type(name) ~= "string" then
            misuse("extensions: names are strings, got the key %s", tostring(name))
        elseif kind == "number" and (value % 1 ~= 0 or value < -2 ^ 31 or value >= 2 ^ 31) then
            misuse("extensions.%s: a number must be a whole number of 32 bits", name)
        elseif kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
            misuse("extensions.%s: a string, whole number or boolean expected, got %s", name, kind)
        end
    end
end

-- When it is to be published, as the host wants to be told: extensions of the event.
local function with_time(event)
    local at, delay = event.deliver_at, event.delay
    if at == nil and delay == nil then return event.extensions end
    if at ~= nil and delay ~= nil then misuse "deliver_at and delay: only one of them says when" end
    local extensions = {}
    for name, value in pairs(event.extensions or extensions) do extensions[name] = value end
    extensions.deliverat, extensions.deliverafter = nil, nil
    if delay ~= nil then
        local seconds = duration(delay)
        if seconds == nil or seconds < 0 or seconds > 1e12 then
            misuse 'delay: a duration expected, as "90s" or a number of seconds'
        end
        extensions.deliverafter = ("%.0fms"):format(seconds * 1000)
    else
        local text = type(at) == "number" and clock.format(at) or at
        if type(text) ~= "string" or not clock.parse(text) then
            misuse "deliver_at: a time expected, RFC 3339 or a number of seconds since 1970"
        end
        extensions.deliverat = text
    end
    return extensions
end

-- "application/json", "application/problem+json; charset=utf-8"
local function is_json(content_type)
    if content_type == nil then return true end
    local media = content_type:lower():match "^%s*([^;%s]*)"
    return media:find "/json$" ~= nil or media:find "%+json$" ~= nil
end

-- A copy with `raw` for data that is bytes already.
local function checked(event)
    if type(event) ~= "table" then misuse("an event (table) expected, got %s", type(event)) end
    check_names(event)
    local copy = {}
    for _, name in ipairs(attributes) do
        local value = event[name]
        if value ~= nil and type(value) ~= "string" then
            misuse("%s: a string expected, got %s", name, type(value))
        elseif value == "" then
            misuse("%s: empty; give it a value, or leave it out", name)
        end
        copy[name] = value
    end
    if copy.type == nil then misuse "type is missing" end
    check_extensions(event.extensions)
    copy.extensions = with_time(event)
    local data, json = event.data, is_json(copy.datacontenttype)
    if getmetatable(data) == Raw then
        copy.raw = data[1]
    elseif not json and data ~= nil then
        if type(data) ~= "string" then
            misuse("data: with datacontenttype %q a string expected, got %s", copy.datacontenttype, type(data))
        end
        copy.raw = data
    else
        copy.data = data
    end
    return copy, json
end

local function checked_options(options)
    if options == nil then return false, 0 end
    if type(options) ~= "table" then misuse("options: a table expected, got %s", type(options)) end
    for name in pairs(options) do
        if name ~= "wait" and name ~= "timeout" then
            misuse("unknown option %q; there are wait and timeout", tostring(name))
        end
    end
    if options.wait ~= nil and options.wait ~= "handled" then
        misuse('wait: "handled" expected, got %s', tostring(options.wait))
    end
    local timeout = duration(options.timeout == nil and "30s" or options.timeout)
    if timeout == nil or timeout <= 0 then
        misuse('timeout: a duration above 0 expected, as "5s" or a number of seconds')
    end
    return options.wait == "handled", timeout
end

local function emit(event)
    local problem, id, message, code = cpublish.emit(event)
    if problem == "unchecked" then
        who = "ctx.publish"
        problem, id, message, code = cpublish.emit(checked(event))
    end
    if problem then wait.check(problem, "ctx.publish") end
    -- Raised: nobody asks what became of an event that is published with the rest.
    if id == nil then
        who = "ctx.publish"
        misuse("%s (%s)", message, code)
    end
    return { id = id }
end

--- What is inside of all policies: sends the event, waits for what became of it.
function M.send(event, ctx)
    if ctx.emits then return emit(event) end
    local problem, id, seq, rest, duplicate, scheduled = cpublish.send(event, nil, ctx.handled, ctx.timeout)
    if problem == "unchecked" then
        who = "evrt.publish"
        local copy, json = checked(event)
        problem, id, seq, rest, duplicate, scheduled = cpublish.send(copy, json, ctx.handled, ctx.timeout)
    end
    wait.check(problem, "evrt.publish")
    if id == nil then
        -- A malformed event is the script's mistake; what it has no part in is told.
        who = "evrt.publish"
        if rest == "EINVAL" then misuse("%s", seq) end
        return nil, seq, rest
    end
    local outcomes = rest ~= "" and cjson.decode(rest) or nil
    if scheduled then return { id = id, scheduled = ("%.0f"):format(seq), duplicate = duplicate or nil } end
    return { id = id, seq = seq, outcomes = outcomes, duplicate = duplicate or nil }
end

-- A policy around publishing sees a ctx too: that of the publish.
local function context_of(handler, handled, timeout)
    return { handler = handler, handled = handled, timeout = timeout, log = log }
end

--- `ctx.publish` of a handler: the event is published when the delivery is done, with all else that it leaves
--- behind, or not at all.
function M.emitter(handler)
    return function(event, options)
        who = "ctx.publish"
        if options ~= nil then
            misuse "takes no options: what it publishes waits for the delivery's end; evrt.publish can wait"
        end
        if not handler.publish_of then return emit(event) end
        checked(event)
        return handler.publish_of(event.type)(event, { handler = handler.name, emits = true, log = log })
    end
end

--- Publishes an event and waits until it is durable; with `{ wait = "handled" }` until the first attempt
--- of every handler that it matches has settled, or the timeout (30 s unless given). Raises when the event is
--- malformed; a limit, a full store and the like are told as nil, message, code.
---
---     local sent, why, code = evrt.publish { type = "stats.changed", data = { likes = 3 } }
---
---@param event evrt.NewEvent
---@param options? { wait?: "handled", timeout?: number|string }
---@return evrt.Published? published nil on failure
---@return string? message
---@return string? code "EHOPS", "EDEADLK", "EMSGSIZE", "ENOSPC", "EAGAIN", "ESHUTDOWN"
function M.publish(event, options)
    who = "evrt.publish"
    local handled, timeout = checked_options(options)
    local handler = handlers[running()]
    local ctx = context_of(handler and handler.name, handled, timeout)
    if not (handler and handler.publish_of) then return M.send(event, ctx) end
    checked(event)
    return handler.publish_of(event.type)(event, ctx)
end

return M
