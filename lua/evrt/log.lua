-- evrt.log: lines of the runtime's own log, with the script's place, the event and the handler added.
local clog = require "evrt.c.log"
local scripts = require "evrt.worker.scripts"

---@class evrt.log
local log = {}

local function writer(name, level)
    return function(message, fields)
        if not clog.enabled(level) then return end
        if fields ~= nil and type(fields) ~= "table" then
            error(("evrt.log.%s: fields: a table expected, got %s"):format(name, type(fields)), 2)
        end
        clog.write(level, scripts.where(2) or "", tostring(message), fields)
    end
end

--- For finding a mistake; usually not written (`logging.level`).
---@type fun(message: any, fields?: table<string, any>)
log.debug = writer("debug", 0)
--- Something worth knowing happened.
---@type fun(message: any, fields?: table<string, any>)
log.info = writer("info", 1)
--- Something is not as it should be, and went on.
---@type fun(message: any, fields?: table<string, any>)
log.warn = writer("warn", 2)
--- Something failed.
---@type fun(message: any, fields?: table<string, any>)
log.error = writer("error", 3)

return log
