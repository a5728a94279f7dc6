-- ctx.span: a part of a handling as a span of its own.
local ctrace = require "evrt.c.trace"
local errors = require "evrt.worker.errors"
local wait = require "evrt.worker.wait"

local trace = {}

local scalar = { string = true, number = true, boolean = true }

local function check(name, fn, attributes)
    if type(name) ~= "string" or name == "" then
        wait.misuse("ctx.span: a name expected, got %s", type(name))
    elseif type(fn) ~= "function" then
        wait.misuse("ctx.span: a function expected, got %s", type(fn))
    elseif attributes ~= nil and type(attributes) ~= "table" then
        wait.misuse("ctx.span: attributes: a table expected, got %s", type(attributes))
    end
    for key, value in pairs(attributes or {}) do
        if type(key) ~= "string" then
            wait.misuse("ctx.span: attributes: names are strings, got the key %s", tostring(key))
        elseif not scalar[type(value)] then
            wait.misuse("ctx.span: attributes.%s: a string, number or boolean expected, got %s", key, type(value))
        end
    end
end

-- Ends the span with what fn came to, and passes that on.
local function finish(token, name, attributes, ok, first, second, ...)
    if not ok then
        local failure = errors.passed()
        ctrace.finish(token, name, attributes, failure.type, failure.message)
        error(first, 0)
    end
    if first == nil and second ~= nil then
        ctrace.finish(token, name, attributes, "error", errors.text(second))
    else
        ctrace.finish(token, name, attributes)
    end
    return first, second, ...
end

--- Calls fn and returns what it returns; how long it took and whether it failed is a span of the event's trace.
---@param name string
---@param fn fun(): ...
---@param attributes? table<string, string|number|boolean>  Read when fn has ended
function trace.span(name, fn, attributes)
    check(name, fn, attributes)
    local token = ctrace.begin()
    if token == nil then return fn() end
    return finish(token, name, attributes, xpcall(fn, errors.explain_and_pass))
end

return trace
