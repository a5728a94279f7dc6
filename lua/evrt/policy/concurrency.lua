-- At most so many deliveries inside at once, per key: `evrt.policy.concurrency { max = 4, key = "data.account_id" }`.
-- The others wait their turn, in the order in which they came; a timeout around counts that waiting.
--
-- Across workers: each worker keeps its own count, so there are at most `max` times workers.count of them (for
-- an exact limit of one handler use its own `concurrency`, for one at a time per key `ordered_by`). Across
-- reloads: the new generation counts anew while the old one finishes. Uses with the same `name` share a count.
local c = require "evrt.c.policy"
local errors = require "evrt.worker.errors"
local key = require "evrt.worker.key"
local note = require "evrt.c.delivery".note
local wait = require "evrt.worker.wait"

local explain = errors.explain
local named = {} -- name -> slots

-- A slot that is handed on stays taken; those who gave up waiting are passed over.
local function release(slots, id)
    local slot = slots[id]
    while slot.first <= slot.last do
        local ticket = slot[slot.first]
        slot[slot.first], slot.first = nil, slot.first + 1
        if c.wake(ticket) then return end
    end
    slot.busy = slot.busy - 1
    if slot.busy == 0 then slots[id] = nil end
end

local function acquire(slots, id, max)
    local slot = slots[id]
    if slot == nil then
        slot = { busy = 0, first = 1, last = 0 }
        slots[id] = slot
    end
    if slot.busy < max then
        slot.busy = slot.busy + 1
        return
    end
    slot.last = slot.last + 1
    slot[slot.last] = c.ticket()
    note(("concurrency: waited behind %d"):format(slot.last - slot.first))
    wait.check(c.park(), "policy concurrency")
end

return {
    name = "concurrency",
    opts = {
        max = { "integer", min = 1, max = 1000000, required = true },
        key = { { "key", "function" } },
        name = { "string" },
    },
    wrap = function(next, opts, place)
        local slots = place.state
        if opts.name then
            slots = named[opts.name] or {}
            named[opts.name] = slots
        end
        local key_of, max = key.reader(opts.key), opts.max
        return function(event, ctx)
            local id = key_of(event)
            acquire(slots, id, max)
            local ok, a, b, d = xpcall(next, explain, event, ctx)
            release(slots, id)
            if not ok then error(a, 0) end
            return a, b, d
        end
    end,
}
