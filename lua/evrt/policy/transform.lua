-- What is inside sees a changed copy of the event: `evrt.policy.transform { change = function(event) return
-- { data = upgrade(event.data) } end }`. The function gets a copy to change or returns the fields that differ;
-- policies outside of it, other handlers and the journal keep the event as it was, and event.raw stays the
-- bytes that were published.
--
-- Across workers and reloads: nothing is kept. Every attempt is made with the script in service then.
local Event = require "evrt.worker.event"

local fields = {}
for _, name in ipairs { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema", "extensions",
    "data" } do
    fields[name] = true
end

-- What a transform outside of this one changed is at [-1], as the encoded event is at [0]. Data that was merely
-- decoded is not copied: changing it would change the original's.
local function copy_of(event)
    local copy = { [0] = event[0] }
    for name, value in pairs(event[0] == nil and event or rawget(event, -1) or {}) do copy[name] = value end
    return setmetatable(copy, event[0] ~= nil and Event or nil)
end

return {
    name = "transform",
    opts = { change = { "function", required = true } },
    wrap = function(next, opts)
        local change = opts.change
        return function(event, ctx)
            local copy = copy_of(event)
            local differing = change(copy, ctx)
            if differing ~= nil and type(differing) ~= "table" then
                error(("change must return a table of fields or nothing, got a %s"):format(type(differing)), 0)
            end
            local changed = {}
            for name in pairs(fields) do changed[name] = rawget(copy, name) end
            for name, value in pairs(differing ~= copy and differing or {}) do
                if not fields[name] then error(("an event has no field %q to change"):format(tostring(name)), 0) end
                changed[name], copy[name] = value, value
            end
            rawset(copy, -1, changed)
            return next(copy, ctx)
        end
    end,
}
