-- The module of scripts: `local evrt = require "evrt"`.
local clock = require "evrt.c.clock"
local delivery = require "evrt.c.delivery"
local errors = require "evrt.worker.errors"
local publish = require "evrt.publish"
local snapshot = require "evrt.snapshot"
local wait = require "evrt.worker.wait"

---@class evrt
local evrt = {
    --- Of the runtime, as "0.1.0".
    version = require "evrt.c.script".version,
    fold = snapshot.fold,
    json = require "evrt.json",
    kv = require "evrt.kv".direct,
    log = require "evrt.log",
    metrics = require "evrt.metrics",
    policy = require "evrt.policy",
    publish = publish.publish,
    raw = publish.raw,
    shared = require "evrt.shared",
    snapshot = { save = snapshot.save, get = snapshot.get },
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

--- Ends the handling for good: the event goes straight to the dead letters, without a retry.
---@param reason string
function evrt.reject(reason)
    error(setmetatable({ reason = errors.text(reason) }, errors.Rejection), 0)
end

--- Should this handling fail, that is how long until it is tried again, whatever the retry policy says of
--- delays. It does not end the handling, and does not add attempts.
---@param seconds number
function evrt.retry_after(seconds)
    if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
        error("evrt.retry_after: seconds (a number from 0) expected", 2)
    end
    if not delivery.retry_after(seconds) then error("evrt.retry_after: only while an event is handled", 2) end
end

--- A new UUID, version 7: ids made later sort later.
---@return string
function evrt.uuid()
    return clock.uuid()
end

return evrt
