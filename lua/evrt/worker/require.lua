-- `require`: what is loaded already, modules beside the scripts (from the snapshot, never the disk),
-- evrt's own, then the system's Lua 5.1 modules.
local script, scripts = ...

local loaded, preload = package.loaded, package.preload
local loaders = package.loaders

-- The working directory is no place for modules: a snapshot would not hold them.
local function without_cwd(path)
    local kept = {}
    for template in path:gmatch "[^;]+" do
        if template:sub(1, 2) ~= "./" then
            kept[#kept + 1] = template
        end
    end
    return table.concat(kept, ";")
end
package.path, package.cpath = without_cwd(package.path), without_cwd(package.cpath)

-- A library that is opened by its C function can bring `ffi` back by another name.
local function is_ffi(name)
    return name:gsub("^.*%-", "") == "ffi"
end
if not script.allow_ffi then
    rawset(package, "loadlib", nil)
end

local function from_scripts(name)
    local number = scripts.modules[name]
    if not number then return nil end
    if scripts.ambiguous[name] then
        error(("module '%s' is both %s and %s: rename one of them"):format(name, scripts.ambiguous[name][1],
            scripts.ambiguous[name][2]), 0)
    end
    local chunk, message = script.load(number)
    if not chunk then error(message, 0) end
    return chunk
end

-- The first loader is the one of preload.
local function from_system(name)
    local tried = {}
    for i = 2, #loaders do
        local found = loaders[i](name)
        if type(found) == "function" then return found end
        tried[#tried + 1] = found
    end
    return nil, table.concat(tried)
end

local function find(name)
    local found = preload[name] or from_scripts(name) or script.embedded(name)
    if found then return found end
    if is_ffi(name) and not script.allow_ffi then
        error(("module '%s' is off; workers.allow_ffi: true in the configuration turns it on"):format(name), 3)
    end
    local tried
    found, tried = from_system(name)
    if not found then
        error(("module '%s' not found:\n\tno module of that name beside the scripts%s"):format(name, tried), 3)
    end
    return found
end

local loading = {} -- names, outermost first; and name -> true

local function load(name, chunk)
    loading[#loading + 1], loading[name] = name, true
    local ok, value = pcall(chunk, name)
    loading[#loading], loading[name] = nil, nil
    if not ok then error(value, 0) end
    if value ~= nil then
        loaded[name] = value
    elseif loaded[name] == nil then
        loaded[name] = true
    end
    return loaded[name]
end

function _G.require(name)
    if type(name) ~= "string" then
        error(("require: a module name (string) expected, got %s"):format(type(name)), 2)
    end
    local value = loaded[name]
    if value ~= nil then return value end
    if loading[name] then
        error(("module '%s' requires itself: %s -> %s"):format(name, table.concat(loading, " -> "), name), 2)
    end
    local chunk = find(name)
    return (load(name, chunk))
end
