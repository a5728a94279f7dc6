-- The files of this generation: by number, by module name, and by the source that Lua reports for a
-- function, which is how frames of scripts are told from evrt's own.
local script = ...

local scripts = {
    files = script.files(),
    modules = {}, -- module name -> number of its file
    ambiguous = {}, -- module name -> two files of that name
    paths = {},     -- source, as in debug.getinfo(f, "S").source -> path
}
local paths = scripts.paths
local known = {} -- path -> itself
local roles = {} -- path -> 'h' or 'p'; what is neither is a module

for number, file in ipairs(scripts.files or {}) do
    paths["@" .. file.path] = file.path
    known[file.path] = file.path
    if file.role == "m" then
        local other = scripts.modules[file.name]
        -- Both folders have one: which is meant cannot be told.
        if other then scripts.ambiguous[file.name] = { scripts.files[other].path, file.path } end
        scripts.modules[file.name] = number
    else
        roles[file.path] = file.role
    end
end

--- 'h': the path is a handler file's, 'p': a policy file's; nil otherwise.
---@param path string
---@return string?
function scripts.role(path)
    return roles[path]
end

--- The path of the script that the source belongs to, or nil.
---@param source string
---@return string?
function scripts.path(source)
    return paths[source]
end

--- "path:line" of the nearest frame that is a script's, from `level` up (1: the caller).
---@param level integer
---@return string?
function scripts.where(level)
    level = level + 1
    while true do
        local info = debug.getinfo(level, "Sl")
        if info == nil then return nil end
        local path = paths[info.source]
        if path and info.currentline > 0 then
            return path .. ":" .. info.currentline
        end
        level = level + 1
    end
end

-- Lua shortens a long path in messages to "...the/end/of/it.lua".
local function lengthen(short)
    if known[short] then return short end
    local tail = short:match "^%.%.%.(.+)$"
    for _, path in pairs(tail and paths or {}) do
        if path:sub(-#tail) == tail then return path end
    end
    return nil
end

--- Splits "path:12: text" where path is a script's; nil otherwise.
---@param message string
---@return string? position "path:12", with the whole path
---@return string? text
function scripts.split(message)
    local short, line, text = message:match "^(.-):(%d+): (.*)$"
    local path = short and lengthen(short)
    if path then
        return path .. ":" .. line, text
    end
    return nil
end

return scripts
