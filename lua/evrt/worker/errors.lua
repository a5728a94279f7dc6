-- What is told about a failure: its type, "script:line: text" whatever was raised, and the frames of
-- scripts. Everything else (evrt's frames, C's) would only hide the place.
local look = require "evrt.c.stack".look
local scripts = require "evrt.worker.scripts"

---@class evrt.Failure
---@field type "error"|"timeout"|"rejected"|"memory"
---@field message string
---@field traceback string

local errors = {}

-- Texts remembered, and how long one may be: they come from scripts, so there is an end to it.
local PLACED_MAX, PLACED_BYTES = 256, 512

local Failure = {}

--- What evrt.reject raises.
errors.Rejection = { __tostring = function(self) return self.reason end }
--- What a wait raises after the deadline.
errors.Timeout = { __tostring = function(self) return self.text or "timeout: the handler's deadline has passed" end }

--- function -> the policy that it is a layer of; false: the handler itself. Made by chain.lua.
---@type table<function, false|{ name: string, position: string, file?: string }>
errors.layers = setmetatable({}, { __mode = "k" })

local function is_a(value, class)
    return type(value) == "table" and getmetatable(value) == class
end

-- A table without a text of its own, as far as its plain fields go.
local function describe(t)
    local parts = {}
    for k, v in pairs(t) do
        local kind = type(v)
        if type(k) == "string" and (kind == "string" or kind == "number" or kind == "boolean") then
            parts[#parts + 1] = ("%s = %s"):format(k, kind == "string" and ("%q"):format(v) or tostring(v))
        end
    end
    table.sort(parts)
    return ("raised a table {%s}"):format(table.concat(parts, ", ", 1, math.min(#parts, 8)))
end

local function table_text(t)
    local meta = getmetatable(t)
    if type(meta) == "table" and meta.__tostring then
        local ok, text = pcall(tostring, t)
        if ok and type(text) == "string" then return text end
        return "raised a table whose __tostring fails"
    end
    for _, key in ipairs { "message", "error", "reason", 1 } do
        local text = rawget(t, key)
        if type(text) == "string" then return text end
    end
    return describe(t)
end

--- A text for any value that can be raised.
---@return string
function errors.text(value)
    local kind = type(value)
    if value == "not enough memory" then return "not enough memory (workers.memory_limit)" end
    if kind == "string" then return value end
    if kind == "table" then return table_text(value) end
    if kind == "number" or kind == "boolean" then return tostring(value) end
    if kind == "nil" then return "raised nil" end
    if kind == "cdata" or kind == "userdata" then
        local ok, text = pcall(tostring, value)
        if ok then return text end
    end
    return "raised a " .. kind
end

-- "script:line: text": the position that the text has, else the given one. The same texts come again and again.
local known, known_count = {}, 0

local function with_own_position(text)
    local own, rest = scripts.split(text)
    local whole = own and own .. ": " .. rest or false
    if #text > PLACED_BYTES then return whole end
    if known_count == PLACED_MAX then known, known_count = {}, 0 end
    known[text], known_count = whole, known_count + 1
    return whole
end

local function placed(text, position)
    local whole = known[text]
    if whole == nil then whole = with_own_position(text) end
    if whole then return whole end
    return position and (position .. ": " .. text) or text
end

local function type_of(value)
    if is_a(value, errors.Rejection) then return "rejected" end
    if is_a(value, errors.Timeout) then return "timeout" end
    if value == "not enough memory" then return "memory" end
    return "error"
end

--- The failure that a value means, when there is no stack to look at; `position` is where it counts as
--- raised.
---@return evrt.Failure
function errors.failure(value, position)
    if is_a(value, Failure) then return value end
    return setmetatable({
        type = type_of(value),
        message = placed(errors.text(value), position),
        traceback = "",
    }, Failure)
end

-- 'policy "audit" (policies/audit.lua:12): text'. What a user's policy caught of a handler and raises again is
-- the handler's: its text says so.
local function name_policy(value, layer, place)
    local position, text = scripts.split(errors.text(value))
    if position == nil then
        position, text = place or layer.position, errors.text(value)
    elseif layer.file and scripts.role(position:match "^(.*):%d+$") == "h" then
        return nil
    end
    return ("policy %q (%s): %s"):format(layer.name, position, text)
end

-- What was raised last through a handler of ours that raised it again, and what was told of it where it was first
-- raised.
local raised, told

--- The handler for xpcall: the stack of the error is still there. What was explained already stays as it is.
---@return evrt.Failure
function errors.explain(value)
    if is_a(value, Failure) then return value end
    if told and rawequal(value, raised) then
        local failure = told
        raised, told = nil, nil
        return failure
    end
    local where, traceback, layer, place = look(scripts.paths, errors.layers)
    local failure = errors.failure(value, where)
    failure.traceback = traceback
    failure.message = layer and name_policy(value, layer, place) or failure.message
    return failure
end

--- The same for one who raises the value again: what is explained then is what it was first.
function errors.explain_and_pass(value)
    local failure = errors.explain(value)
    raised, told = value, failure
    return value
end

--- The failure that errors.explain_and_pass has just made.
---@return evrt.Failure
function errors.passed() return told end

return errors
