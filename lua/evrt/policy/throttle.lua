-- A token bucket: `evrt.policy.throttle { rate = 100, per = "1s", burst = 20, key = "data.tenant" }`. What comes
-- too early waits for its token, first come first served; with `max_wait`, what would have to wait longer fails.
-- A timeout around counts that waiting.
--
-- Across workers: the rate holds for all of them together, as the host keeps the bucket (when its room for
-- shared values is used up, each worker keeps a bucket of its own and says so in the log). Across reloads: the
-- bucket stays. A restart of the host begins with a full one. Uses with the same `name` share a bucket.
--
-- A bucket is one number: the time at which it is full again. Those of a worker that want a token while one
-- asks the host are served by the next question together.
local c = require "evrt.c.policy"
local clock = require "evrt.c.clock"
local delivery = require "evrt.c.delivery"
local key = require "evrt.worker.key"
local log = require "evrt.log"
local shared = require "evrt.shared"
local wait = require "evrt.worker.wait"

local OWN_MAX = 10000 -- buckets of this worker's own
local IDLE = 60       -- seconds that a full bucket is kept

local queues, own, own_count = {}, {}, 0 -- by id
local warned = false

-- The bucket without the host: only where there is no room.
local function own_bucket(id, full_at, why)
    if not warned then
        log.warn("throttle: each worker counts for itself now", { error = why })
        warned = true
    end
    if own_count >= OWN_MAX then own, own_count = {}, 0 end
    if own[id] == nil then own_count = own_count + 1 end
    own[id] = full_at
end

-- How many of `wanted` tokens may be taken, and when the first is there.
local function room(full_at, now, wanted, opts)
    local first = math.max(full_at, now) - (opts.burst - 1) * opts.cost
    if opts.max_wait == nil then return wanted, first end
    local most = math.floor((now + opts.max_wait - first) / opts.cost + 1e-6) + 1
    return math.max(0, math.min(wanted, most)), first
end

-- Takes tokens for this one and all that wait in the queue. Returns when the first is there and how many were
-- granted.
local function reserve(id, queue, opts)
    local value, version = shared.get(id)
    while true do
        local full_at, now = tonumber(value) or own[id] or 0, clock.monotonic()
        local count, first = room(full_at, now, #queue + 1, opts)
        if count == 0 then return first, 0 end
        local full_then = math.max(full_at, now) + count * opts.cost
        local ttl = full_then - now + IDLE
        local done, other, other_version = shared.cas(id, version, ("%.9f"):format(full_then), { ttl = ttl })
        if done then return first, count end
        if done == nil then
            own_bucket(id, full_then, other)
            return first, count
        end
        value, version = other, other_version
    end
end

-- Those who came while the host was asked are not served: one of them asks next.
local function serve(queue, asked, first, count, cost)
    for i = 1, asked do
        local one = table.remove(queue, 1)
        if i < count then
            one.at = first + i * cost
        else
            one.at = false
        end
        c.wake(one.ticket)
    end
end

local function hand_over(id, queue)
    queue.asking = false
    while queue[1] do
        if c.wake(table.remove(queue, 1).ticket) then return end
    end
    if queues[id] == queue then queues[id] = nil end
end

local function ask(id, queue, opts)
    queue.asking = true
    local ok, first, count = pcall(reserve, id, queue, opts)
    if ok then
        -- With max_wait, those behind the last token would wait too long as well.
        local asked = count == 0 and #queue or count - 1
        serve(queue, math.min(asked, #queue), first, count, opts.cost)
    end
    hand_over(id, queue)
    if not ok then error(first, 0) end
    return count > 0 and first
end

-- When this delivery has its token; false: it would have to wait too long.
local function token(id, opts)
    while true do
        local queue = queues[id]
        if queue == nil then
            queue = {}
            queues[id] = queue
        end
        if not queue.asking then return ask(id, queue, opts) end
        local me = { ticket = c.ticket() }
        queue[#queue + 1] = me
        wait.check(c.park(), "policy throttle")
        if me.at ~= nil then return me.at end
    end
end

return {
    name = "throttle",
    opts = {
        rate = { "number", above = 0, max = 1e6, required = true },
        per = { "duration", default = "1s" },
        burst = { "integer", min = 1, max = 1e6 },
        key = { { "key", "function" } },
        max_wait = { "duration", min = 0 },
        name = { "string" },
    },
    wrap = function(next, opts, place)
        local settings = {
            cost = opts.per / opts.rate, burst = opts.burst or math.max(1, math.floor(opts.rate)),
            max_wait = opts.max_wait,
        }
        local prefix = "evrt/throttle/" .. (opts.name or place.id) .. "/"
        local key_of = key.reader(opts.key)
        return function(event, ctx)
            local at = token(prefix .. key_of(event), settings)
            if not at then error(("no token within %gs"):format(opts.max_wait), 0) end
            local seconds = at - clock.monotonic()
            if seconds > 0 then
                delivery.note(("throttle: held back for %.3fs"):format(seconds))
                wait.check(delivery.sleep(seconds), "policy throttle")
            end
            return next(event, ctx)
        end
    end,
}
