-- The event that a handler gets: a table that holds the encoded event as one string and decodes a field
-- when it is first asked for.
local fields = require "evrt.c.event"

local getters = {}
for _, name in ipairs { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema",
    "extensions", "seq", "data", "raw" } do
    getters[name] = fields[name]
end

local Event = {}

-- The encoded event is at [0], in event and ctx alike: there it costs no hash part, ipairs passes over it,
-- and JSON refuses it instead of taking it for data.

function Event.__index(event, key)
    local get = getters[key]
    if get == nil then return nil end
    local value = get(event[0])
    event[key] = value
    return value
end

function Event.__tostring(event)
    return ("event %s %s from %s"):format(event.type, event.id, event.source)
end

--- The event as a plain table in the form of a structured CloudEvent, for evrt.json.encode.
function Event.__totable(event)
    local t = { specversion = "1.0" }
    for _, name in ipairs { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema" } do
        t[name] = event[name]
    end
    for name, value in pairs(event.extensions) do
        t[name] = value
    end
    if fields.is_json(event[0]) then
        t.data = event.data
    elseif event.raw then
        t.data_base64 = fields.base64(event[0])
    end
    return t
end

return Event
