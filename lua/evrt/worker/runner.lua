-- The loop of a runner: one coroutine that takes deliveries and calls their handlers, for as long as the
-- worker lives. When a handler waits, this coroutine waits with it, and another runner goes on.
-- Returns the loop; the only place where handlers are called.
local delivery = require "evrt.c.delivery"
local errors = require "evrt.worker.errors"
local Event = require "evrt.worker.event"
local handlers = require "evrt.worker.loader".handlers
local is_runner = require "evrt.worker.coroutine".is_runner
local json = require "evrt.json"

local run_of = require "evrt.worker.chain".run_of

local next, fail, explain = delivery.next, delivery.fail, errors.explain
local setmetatable, xpcall = setmetatable, xpcall

local function settle_failed(handler, value)
    local failure = errors.failure(value, handler.position)
    fail(failure.type, failure.message, failure.traceback)
end

-- The handler returned, but the delivery cannot be done: it was told of its timeout, or its worker is out
-- of memory.
local reasons = {
    timeout = setmetatable({}, errors.Timeout),
    memory = "not enough memory",
}

local function nobody() end

-- A dead letter is told without policies: its handler was tried with them. After a reload it may have nobody to tell.
local function tell(handler, info)
    local told = handler.on_dead_letter
    if not told then return nobody end
    return function(event, ctx) return told(event, assert(json.decode(info)), ctx) end
end

return function()
    is_runner()
    local handler
    while true do
        -- Settles the delivery before it as done, unless that has failed already.
        local index, record, attempt, deadline, purpose, info = next()
        if index then
            handler = handlers[index]
            local ctx = setmetatable({ [0] = record, attempt = attempt, deadline = deadline }, handler.ctx)
            if purpose == "REPLAY" then ctx.replay = true end
            local run = purpose == "NOTICE" and tell(handler, info) or handler.run or run_of(handler, record)
            local ok, result, why = xpcall(run, explain,
                setmetatable({ [0] = record }, Event), ctx)
            if not ok then
                settle_failed(handler, result)
            elseif result == nil and why ~= nil then
                settle_failed(handler, why)
            end
        elseif record then
            settle_failed(handler, reasons[record])
        end
    end
end
