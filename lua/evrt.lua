-- The module of scripts: `local evrt = require "evrt"`.
local clock = require "evrt.c.clock"
local delivery = require "evrt.c.delivery"
local errors = require "evrt.worker.errors"
local publish = require "evrt.publish"
local wait = require "evrt.wait"

---@class evrt
local evrt = {
    --- Of the runtime, as "0.1.0".
    version = require "evrt.c.script".version,
    json = require "evrt.json",
    log = require "evrt.log",
    time = require "evrt.time",
}

--- Waits without blocking others. Raises when the handler's deadline passes meanwhile.
---@param seconds number
function evrt.sleep(seconds)
    if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
        error("evrt.sleep: seconds (a number from 0) expected", 2)
    end
    local problem = delivery.sleep(seconds)
    wait.check(problem, "evrt.sleep")
end

--- Publishes an event and waits until it is durable; with `{ wait = "handled" }` until the first attempt
--- of every handler that it matches has settled, or the timeout (30 s unless given).
---
---     local sent, why, code = evrt.publish { type = "stats.changed", data = { likes = 3 } }
---
---@param event evrt.NewEvent
---@param options? { wait?: "handled", timeout?: number|string }
---@return evrt.Published? published nil on failure
---@return string? message
---@return string? code "EHOPS", "EINVAL", "EMSGSIZE", "ENOSPC", "EAGAIN", "ESHUTDOWN"
function evrt.publish(event, options)
    local sent, message, code = publish.publish(event, options)
    return sent, message, code
end

--- Data that is JSON text already, to be published as these bytes.
---@param text string
---@return evrt.Raw
function evrt.raw(text)
    local raw = publish.raw(text)
    return raw
end

--- Ends the handling for good: the event goes straight to the dead letters, without a retry.
---@param reason string
function evrt.reject(reason)
    error(setmetatable({ reason = errors.text(reason) }, errors.Rejection), 0)
end

--- A new UUID, version 7: ids made later sort later.
---@return string
function evrt.uuid()
    return clock.uuid()
end

return evrt
