--- JSON that loses nothing: what `decode` returns, `encode` writes again with the same meaning.
---
--- | JSON            | Lua                                                                             |
--- |-----------------|---------------------------------------------------------------------------------|
--- | null            | `evrt.json.null` (true in a condition: compare with it)                         |
--- | array           | a table with the array mark, so that it is an array even when it is empty       |
--- | object          | a table                                                                         |
--- | integer         | a number up to 2^53; beyond, LuaJIT's 64-bit integers (`9007199254740993LL`);   |
--- |                 | beyond those an `evrt.json.integer`, which keeps the digits                     |
--- | other number    | the nearest number                                                              |
---
--- LuaJIT's 64-bit integers calculate and compare exactly (`event.data.id == 9007199254740993LL`), drop
--- fractions, wrap around, and print with a suffix; as keys of a table two equal ones are not the same.
local c = require "evrt.c.json"

---@class evrt.json
local json = {}

---@class evrt.json.integer: userdata An integer of more than 64 bits. `tostring(x)`: its digits.
---@field number fun(self: evrt.json.integer): number  The nearest number.

--- JSON's null, in what `decode` returns and for `encode`. The same value as `cjson.null`.
---@type lightuserdata
json.null = c.null

--- Encodes as `[]`. For a list to add to, take `evrt.json.array {}`.
---@type lightuserdata
json.empty_array = c.empty_array

--- Decodes one JSON document, strictly: no comments, no trailing commas, no name twice in an object,
--- no number out of range, nothing behind the document, at most 128 levels.
---@param text string
---@return any value  nil when the text is not JSON
---@return string? message  what was expected, and where
---@return "invalid"|"too_deep"|nil code
---@nodiscard
json.decode = c.decode

--- Encodes a value. A table with keys 1 to n is an array, any other an object; an empty one is `{}`
--- unless it has the array mark. Functions, NaN, infinity, lists with holes, tables with both list items
--- and names, strings that are not UTF-8 and tables that contain themselves are refused. An event encodes
--- as a structured CloudEvent.
---@param value any
---@return string? text  nil when the value cannot be JSON
---@return string? message  the path to what cannot, and why
---@return "invalid"|"too_deep"|"too_large"|nil code
---@nodiscard
function json.encode(value)
    local class = type(value) == "table" and getmetatable(value)
    local totable = type(class) == "table" and rawget(class, "__totable")
    if totable then value = totable(value) end
    return c.encode(value)
end

--- Marks a table as an array, so that it encodes as `[]` when it is empty. Returns it.
---@generic T: table
---@param list? T
---@return T
function json.array(list)
    if list == nil then list = {} end
    if type(list) ~= "table" then
        error("evrt.json.array: expected a table, got " .. type(list), 2)
    end
    local mark = getmetatable(list)
    if mark ~= nil and mark ~= c.array_mt then
        error("evrt.json.array: the table has a metatable of its own", 2)
    end
    return setmetatable(list, c.array_mt)
end

--- Whether a value would encode as an array.
---@param value any
---@return boolean
function json.is_array(value)
    if value == c.empty_array then return true end
    return type(value) == "table" and (getmetatable(value) == c.array_mt or rawget(value, 1) ~= nil)
end

return json
