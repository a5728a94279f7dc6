-- What waiting functions share: turning what stands in the way of a wait into an error.
local errors = require "evrt.worker.errors"
local scripts = require "evrt.worker.scripts"

local wait = {}

local reasons = {
    outside = "%s: only while a handler handles an event; a script that loads has no side effect",
    blocked = "%s: cannot wait inside a callback of a C function (string.gsub, table.sort, require, ...); "
        .. "do the waiting before or after it",
}

--- Raises an error at the nearest frame that is a script's.
function wait.misuse(...)
    error(("%s: %s"):format(scripts.where(2) or "?", string.format(...)), 0)
end

--- Raises when a wait did not come about.
---@param problem string? the first result of a waiting binding
---@param name string
function wait.check(problem, name)
    if problem == nil then return end
    if problem == "timeout" then
        error(setmetatable({}, errors.Timeout), 0)
    end
    wait.misuse(reasons[problem], name)
end

return wait
