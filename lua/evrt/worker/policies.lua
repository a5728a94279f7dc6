-- The policies there are: those of the policies folder and evrt's own, by name; and the use of one, by name
-- or built with options, made into an instance: what chain.lua puts around handlers.
local declared = require "evrt.worker.declared"
local options = require "evrt.worker.options"
local scripts = require "evrt.worker.scripts"

local M = {}

-- Modules evrt.policy.NAME, loaded when first used.
local built_in = {
    "audit", "circuit_breaker", "concurrency", "filter", "retry", "sample", "throttle", "timeout", "transform",
}
local is_built_in = {}
for _, name in ipairs(built_in) do is_built_in[name] = true end

local definitions = {} -- of files, by name

local Built = {}

--- A policy with options, for a handler's list: what `evrt.policy.NAME { ... }` returns.
---@param name string
---@param opts? table
function M.build(name, opts)
    if opts ~= nil and type(opts) ~= "table" then
        error(("%s: evrt.policy.%s: options (a table) expected, got %s"):format(scripts.where(2) or "?", name,
            declared.show(opts)), 0)
    end
    return setmetatable({ policy = name, opts = opts or {}, position = scripts.where(2) }, Built)
end

local function is_built(value)
    return type(value) == "table" and getmetatable(value) == Built
end

-- ---- Files ----

local checks = { name = declared.check_name }

function checks.wrap(value)
    if type(value) == "function" then return value end
    return nil, "a function(next, opts) that returns a function(event, ctx)"
end

function checks.policy(value)
    if is_built(value) then return value end
    return nil, "a policy built with options, as evrt.policy.throttle { rate = 10 }"
end

function checks.scope(value)
    if value == "handler" or value == "publish" then return value end
    return nil, '"handler" or "publish"'
end

function checks.opts(value)
    if type(value) == "function" then return value end
    if type(value) ~= "table" then
        return nil, 'a function(opts), or a table of options as { rate = { "number", required = true } }'
    end
    local problem = options.problem(value)
    if problem then return nil, problem end
    return value
end

local form = declared.form {
    what = "policy", plural = "policies", required = { name = true }, checks = checks,
    fields = { "name", "wrap", "scope", "opts", "policy" },
}

local function check_one(one, place, errors)
    local definition, check = form:check(one, place, errors, "wrap")
    if not definition then return nil end
    if definition.wrap == nil and definition.policy == nil then
        local _, expected = checks.wrap(nil)
        check:complain(nil, ('field "wrap" is missing: expected %s (or "policy", %s)'):format(expected,
            select(2, checks.policy(nil))))
        return nil
    elseif definition.policy then
        for _, field in ipairs { "wrap", "opts", "scope" } do
            if definition[field] ~= nil then
                check:complain(field, ('field %q does not go with "policy", which has its own'):format(field))
                return nil
            end
        end
    end
    definition.scope = definition.scope or "handler"
    return definition
end

--- Checks what a policy file returned and keeps its policies; what is wrong goes to `errors`.
---@param returned any
---@param place { path: string, text: string }
---@param errors string[]
function M.check(returned, place, errors)
    for _, one in ipairs(form:list(returned, place, errors)) do
        local definition = check_one(one, place, errors)
        local other = definition and definitions[definition.name]
        if other then
            errors[#errors + 1] = ("%s: policy %q is declared twice, first at %s"):format(definition.position,
                definition.name, other.position)
        elseif definition then
            definitions[definition.name] = definition
        end
    end
end

-- ---- Uses ----

local function names()
    local list = {}
    for name in pairs(definitions) do list[#list + 1] = name end
    for _, name in ipairs(built_in) do
        if not definitions[name] then list[#list + 1] = name end
    end
    table.sort(list)
    return list
end

local function find(name)
    local definition = definitions[name]
    if definition == nil and is_built_in[name] then
        definition = require("evrt.policy." .. name)
        definition.scope = definition.scope or "handler"
    end
    return definition
end

--- A handler's list: names, and policies built with options.
---@return table? list
---@return string? expected
function M.check_list(value)
    local expected = "a list of policies: names, or built with options as evrt.policy.retry { max_retries = 5 }"
    if type(value) ~= "table" or is_built(value) then return nil, expected end
    local count = #value
    for k, one in pairs(value) do
        if type(k) ~= "number" or k < 1 or k > count or k % 1 ~= 0 then
            return nil, ("%s; %s is not one of its positions"):format(expected, tostring(k))
        elseif type(one) == "function" then
            return nil, ("%s; item %d is a function: call it with its options"):format(expected, k)
        elseif type(one) ~= "string" and not is_built(one) then
            return nil, ("%s; item %d is %s"):format(expected, k, declared.show(one))
        end
    end
    return value
end

-- A policy's own function says what it thinks of the options.
local function ask(check, given)
    local ok, values, why = pcall(check, given)
    if not ok then return nil, { "opts: " .. tostring(values) } end
    if values == nil then return nil, { tostring(why or "the options are refused") } end
    if type(values) ~= "table" then return nil, { "opts must return the options (a table)" } end
    return values, given
end

local function check_options(definition, given)
    if type(definition.opts) == "function" then return ask(definition.opts, given) end
    if definition.opts == nil then return given, given end
    local values, shown = options.check(definition.opts, given)
    local problem = values and definition.check and definition.check(values)
    if problem then return nil, { problem } end
    return values, shown
end

-- Follows `policy = evrt.policy.x { ... }` of policy files to what has a wrap.
local function follow(used, position, errors, seen)
    local name, given = used, {}
    if is_built(used) then
        name, given, position = used.policy, used.opts, used.position or position
    end
    local function complain(...)
        errors[#errors + 1] = ("%s: policy %q: "):format(position, name) .. string.format(...)
    end
    local definition = find(name)
    if definition == nil then
        errors[#errors + 1] = ("%s: policy %q is not known%s; there are %s"):format(position, name,
            declared.meant(name, names()), table.concat(names(), ", "))
        return nil
    end
    if definition.policy == nil then
        local values, shown = check_options(definition, given)
        if values then return definition, values, shown end
        for _, problem in ipairs(shown) do complain("%s", problem) end
        return nil
    end
    if next(given) ~= nil then
        return complain("it takes no options: %s gives them", definition.position)
    elseif seen[name] then
        return complain("it is made of itself (%s)", definition.position)
    end
    seen[name] = true
    return follow(definition.policy, definition.position, errors, seen)
end

---@class evrt.Instance  One use of a policy.
---@field name string  As it was asked for
---@field definition table  What wraps
---@field opts table  Checked
---@field shown table  The same as written
---@field position string  Where it is used: "file:line"

--- One entry of a list of policies as an instance; nil when it cannot be, which `errors` then says.
---@param used string|table
---@param position string of the list
---@param errors string[]
---@return evrt.Instance?
function M.resolve(used, position, errors)
    local definition, values, shown = follow(used, position, errors, {})
    if not definition then return nil end
    local built = is_built(used)
    return {
        name = built and used.policy or used, definition = definition, opts = values, shown = shown,
        position = built and used.position or position,
    }
end

return M
