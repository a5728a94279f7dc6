-- A handler with effects, and their books: what it writes, publishes and publishes for later is there once for each
-- event that it has handled, and not at all for an attempt that failed, whatever was killed in between (D7).
--
--     effects.handler(books, { events = { "load.a" }, fails = { "load.b" }, ordered_by = "source" })
--     effects.replay(node, 3)                 -- a job, whose deliveries count apart from the others
--     ... kill, start; once all is settled:  local count = effects.sound(books, node)
--
-- Each execution names what it publishes anew: one that took effect twice would be seen, and not be taken for a
-- duplicate.
local cjson = require "cjson"
local oracle = require "spec.support.oracle"
local pages = require "spec.support.pages"

local effects = {}

local NAME = "Effects"

-- Reading its own key and writing it is serial by `ordered_by`.
local WORK = [[
if ctx.replay then ctx.kv.incr "replayed" return end
local sum = "sum/" .. tostring(@KEY)
ctx.kv.incr "count"
ctx.kv.set("seq/" .. event.id, event.seq)
ctx.kv.set(sum, (ctx.kv.get(sum) or 0) + 1)
local random = assert(io.open "/proc/sys/kernel/random/uuid")
local id = ("made-%s~%s"):format(event.id, random:read "*l")
random:close()
ctx.publish { type = "made.now", source = "made", id = id }
ctx.publish { type = "made.later", source = "made", id = id .. "-later", delay = "10ms" }
if ctx.attempt == 1 and ("@FAILS"):find(" " .. event.type .. " ", 1, true) then
    ctx.kv.set("failed/" .. event.id, true)
    ctx.publish { type = "made.never", source = "made", id = id .. "-never" }
    error "as asked, with effects"
end
]]

--- Adds the handler. `fails` are types whose first attempt fails when all is done.
---@param h {events: string[], fails?: string[], ordered_by: string, key: string}
function effects.handler(books, h)
    local values = { KEY = h.key, FAILS = " " .. table.concat(h.fails or {}, " ") .. " " }
    books:handler {
        name = NAME, events = h.events, key = h.key,
        options = ('ordered_by = %q, '):format(h.ordered_by)
            .. 'policies = { evrt.policy.retry { max_retries = 3, initial_delay = "1ms", max_delay = "1ms" } },',
        before = (WORK:gsub("@(%u+)", values)),
    }
    books.effects = true
end

--- Has so many of the first events delivered to it once more. An answer need not come.
---@param query? string
function effects.replay(node, count, query)
    pcall(node.post_admin, node, "/api/v1/replays" .. (query or ""),
        ('{"handler":%q,"limit":%d}'):format(NAME, count))
end

-- What it wrote: id -> seq, the sum of its sums, and the other keys.
local function written(node)
    local seqs, count, sum, other = {}, 0, 0, {}
    pages(node, ("/api/v1/kv?namespace=%s&limit=1000"):format(NAME), function(item)
        local what, id = item.key:match "^(%a+)/(.*)$"
        if what == "seq" then
            seqs[id], count = item.value, count + 1
        elseif what == "sum" then
            sum = sum + item.value
        else
            other[item.key] = item.value
        end
    end)
    return seqs, count, sum, other
end

-- What it published: type -> id of the cause -> how often.
local function made(node)
    local all = { ["made.now"] = {}, ["made.later"] = {}, ["made.never"] = {} }
    pages(node, "/api/v1/events?type=made.*&limit=1000", function(event)
        local cause = event.id:match "^made%-(.*)~"
        if cause then
            local times = assert(all[event.type], event.type)
            times[cause] = (times[cause] or 0) + 1
        end
    end)
    return all
end

-- Times that jobs delivered an event to it.
local function replayed(node)
    local count = 0
    node:await("jobs to end", function()
        count = 0
        for _, job in ipairs(node:get "/api/v1/jobs".json.items) do
            if job.state == "running" then return false end
            assert(job.failed_count == 0, cjson.encode(job))
            count = count + job.replayed_count
        end
        return true
    end)
    return count
end

local function check(holds, ...)
    if not holds then error("effects: " .. (...):format(select(2, ...)), 0) end
end

-- Everything by its event: stored events that it matches have been handled, or died.
local function compare_events(books, node, first, seqs)
    local dead = {}
    pages(node, "/api/v1/dead-letters?limit=1000&handler=" .. NAME, function(l) dead[l.event_id] = true end)
    local known = {}
    for _, kind in ipairs(books.handlers[NAME].events) do
        pages(node, ("/api/v1/events?limit=%d&type=%s"):format(books.page, kind), function(event)
            known[event.id] = true
            local seq = seqs[event.id]
            check(seq == (not dead[event.id] and event.seq or nil), "event %d, %s, %s, was written down as %s",
                event.seq, event.id, dead[event.id] and "which is dead" or "handled", tostring(seq))
        end)
    end
    for id, seq in pairs(seqs) do
        check(known[id] or seq < first, "%s was written down as %d, and is not stored", id, seq)
    end
end

-- Each event that took effect published once, now and for later. What is known of those before `first` was dropped.
local function compare_made(node, first, seqs)
    local all = made(node)
    for _, kind in ipairs { "made.now", "made.later" } do
        for id, seq in pairs(seqs) do
            local times = all[kind][id] or 0
            check(times == 1 or times == 0 and seq < first, "%s of %s was published %d times", kind, id, times)
        end
        for id in pairs(all[kind]) do check(seqs[id], "%s of %s, which took no effect", kind, id) end
    end
    check(next(all["made.never"]) == nil, "a failed attempt of %s published", next(all["made.never"]))
end

--- Raises unless each event took its effects once. Returns how many there are.
---@return integer
function effects.sound(books, node)
    local again = replayed(node)
    local stats, ended = oracle.balance(node), node:handler(NAME)
    local seqs, count, sum, other = written(node)
    check(count == ended.done, "%d events are done, %d were written down", ended.done, count)
    check(count == (other.count or 0), "%d events, counted as %d", count, other.count or 0)
    check(count == sum, "%d events, summed up to %d", count, sum)
    check(again == (other.replayed or 0), "%d were delivered again, counted as %d", again, other.replayed or 0)
    other.count, other.replayed = nil, nil
    check(next(other) == nil, "a failed attempt wrote %s", next(other))
    check(stats.scheduled.pending == 0, "%d events wait for their time", stats.scheduled.pending)
    compare_events(books, node, stats.store.first_seq, seqs)
    compare_made(node, stats.store.first_seq, seqs)
    return count
end

return effects
