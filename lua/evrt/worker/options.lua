-- Options of policies: a policy says what it takes, as name -> { kind, ... }, and what is given is checked
-- against that when scripts load.
--
--     opts = { rate = { "number", above = 0, required = true }, per = { "duration", default = "1s" } }
local clock = require "evrt.c.clock"
local declared = require "evrt.worker.declared"
local key = require "evrt.worker.key"

local M = {}

local DURATION_MAX = 366 * 86400

--- Seconds of "30s" or of a number; nil for anything else.
---@param value any
---@return number?
function M.duration(value)
    if type(value) == "number" and value == value then return value end
    return type(value) == "string" and clock.duration(value) or nil
end

local function range(what, spec)
    if spec.above then what = ("%s above %s"):format(what, spec.above) end
    if spec.min and spec.max then return ("%s from %s to %s"):format(what, spec.min, spec.max) end
    if spec.min then return ("%s from %s"):format(what, spec.min) end
    if spec.max then return ("%s up to %s"):format(what, spec.max) end
    return what
end

local function in_range(value, spec)
    return value == value and value >= (spec.min or -math.huge) and value <= (spec.max or math.huge)
        and value > (spec.above or -math.huge) and math.abs(value) ~= math.huge
end

local function of_type(name, what)
    return {
        check = function(value) if type(value) == name then return value end end,
        expected = function() return what end,
    }
end

-- Each kind: check(value, spec) gives the value to keep or nil; expected(spec) says what is wanted.
local kinds = {
    any = { check = function(value) return value end, expected = function() return "anything" end },
    boolean = of_type("boolean", "true or false"),
    ["function"] = of_type("function", "a function"),
    string = of_type("string", "a text"),
    table = of_type("table", "a table"),
    number = {
        check = function(value, spec)
            if type(value) == "number" and in_range(value, spec) then return value end
        end,
        expected = function(spec) return range("a number", spec) end,
    },
    integer = {
        check = function(value, spec)
            if type(value) == "number" and value % 1 == 0 and in_range(value, spec) then return value end
        end,
        expected = function(spec) return range("a whole number", spec) end,
    },
    duration = {
        check = function(value, spec)
            local seconds = M.duration(value)
            local least = spec.min or 0
            if seconds and seconds <= DURATION_MAX and (seconds > least or spec.min and seconds == least) then
                return seconds
            end
        end,
        expected = function(spec)
            return ('a duration %s %s, as "250ms", "30s", "5m" or a number of seconds'):format(
                spec.min and "from" or "above", spec.min or 0)
        end,
    },
    choice = {
        check = function(value, spec)
            for _, one in ipairs(spec.of) do
                if value == one then return value end
            end
        end,
        expected = function(spec) return 'one of "' .. table.concat(spec.of, '", "') .. '"' end,
    },
    key = {
        check = function(value) if key.check(value) then return value end end,
        expected = function() return key.expected end,
    },
}

local kind_names = {}
for name in pairs(kinds) do kind_names[#kind_names + 1] = name end
table.sort(kind_names)

local function kinds_of(spec)
    return type(spec[1]) == "table" and spec[1] or { spec[1] }
end

local function expected(spec)
    local words = {}
    for i, kind in ipairs(kinds_of(spec)) do words[i] = kinds[kind].expected(spec) end
    return table.concat(words, ", or ")
end

local function check_one(value, spec)
    for _, kind in ipairs(kinds_of(spec)) do
        local good = kinds[kind].check(value, spec)
        if good ~= nil then return good end
    end
    return nil
end

local function sorted(t)
    local names = {}
    for name in pairs(t) do names[#names + 1] = name end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    return names
end

--- What is wrong with a table of options that a policy declares; nil when it is good.
---@return string?
function M.problem(specs)
    for _, name in ipairs(sorted(specs)) do
        local spec = specs[name]
        if type(name) ~= "string" then return ("a table by names of options, not %s"):format(declared.show(name)) end
        if type(spec) ~= "table" or spec[1] == nil then
            return ('%s = { "number" } or another kind: %s'):format(name, table.concat(kind_names, ", "))
        end
        for _, kind in ipairs(kinds_of(spec)) do
            if type(kind) ~= "string" or not kinds[kind] then
                return ("%s: one of the kinds %s, not %s%s"):format(name, table.concat(kind_names, ", "),
                    declared.show(kind), type(kind) == "string" and declared.meant(kind, kind_names) or "")
            end
            if kind == "choice" and type(spec.of) ~= "table" then return name .. ': of = { "a", "b" } for a choice' end
        end
        if spec.default ~= nil and check_one(spec.default, spec) == nil then
            return ("%s: a default that is %s"):format(name, expected(spec))
        end
    end
    return nil
end

--- Checks what was given: the values to use, and the same as they were written, for people. nil and a list
--- of what is wrong.
---@param specs table
---@param given table
---@return table? values
---@return table shown_or_problems
function M.check(specs, given)
    local problems, values, shown, names = {}, {}, {}, sorted(specs)
    for _, name in ipairs(sorted(given)) do
        if specs[name] == nil then
            problems[#problems + 1] = ("unknown option %s%s; %s"):format(declared.show(name),
                type(name) == "string" and declared.meant(name, names) or "",
                #names == 0 and "there are none" or "there are " .. table.concat(names, ", "))
        end
    end
    for _, name in ipairs(names) do
        local spec, value = specs[name], given[name]
        if value == nil then value = spec.default end
        if value == nil and spec.required then
            problems[#problems + 1] = ("option %q is missing: expected %s"):format(name, expected(spec))
        elseif value ~= nil then
            values[name], shown[name] = check_one(value, spec), value
            if values[name] == nil then
                problems[#problems + 1] = ("option %q: expected %s, got %s"):format(name, expected(spec),
                    declared.show(value))
            end
        end
    end
    if #problems > 0 then return nil, problems end
    return values, shown
end

return M
