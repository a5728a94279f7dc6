-- What events are told apart by: an attribute or extension ("source", "partitionkey"), a place in the data
-- ("data.user.id"), or a function of the event.
local key = {
    expected = 'an attribute as "partitionkey", or a place in the data as "data.order_id"',
}

local attributes = { id = true, type = true, source = true, time = true, subject = true, datacontenttype = true,
    dataschema = true }

--- Whether the text names an attribute or a place in the data.
---@return boolean
function key.check(value)
    if type(value) ~= "string" or #value > 256 then return false end
    local path = value:match "^data%.(.+)$"
    if path then return not ("." .. path .. "."):find("..", 1, true) end
    return value ~= "data" and #value <= 64 and value:find "^[a-z0-9]+$" ~= nil
end

local function text(value)
    local kind = type(value)
    if kind == "string" then return value end
    if kind == "number" or kind == "boolean" or kind == "cdata" then return tostring(value) end
    return "" -- absent, null, or no plain value
end

local function place_in_data(path)
    local names = {}
    for name in path:gmatch "[^%.]+" do names[#names + 1] = name end
    return function(event)
        local value = event.data
        for _, name in ipairs(names) do
            if type(value) ~= "table" then return "" end
            value = value[name]
        end
        return text(value)
    end
end

--- A function that gives an event's key as a text: "" when the event has none, or there is nothing to tell
--- events apart by.
---@param by nil|string|fun(event: evrt.Event): any
---@return fun(event: evrt.Event): string
function key.reader(by)
    if by == nil then return function() return "" end end
    if type(by) == "function" then return function(event) return text(by(event)) end end
    local path = by:match "^data%.(.+)$"
    if path then return place_in_data(path) end
    if attributes[by] then return function(event) return text(event[by]) end end
    return function(event)
        local extensions = event.extensions
        return text(extensions and extensions[by])
    end
end

return key
