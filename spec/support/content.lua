-- All that a node tells of what it holds, to compare with what it tells after its store was damaged, copied or built
-- anew; and one of each, so that there is something to tell.
--
--     local node = evrt.start { handlers = content.handlers }
--     content.make(node)
--     local before = content.of(node) ...  content.same(before, other)
--
-- Times and ids are in it: nothing of it is made anew.
local pages = require "spec.support.pages"

local content = {}

content.handlers = { ["content.lua"] = [[
local evrt = require "evrt"
return {
    { name = "Keys", events = "content.keys", handle = function(event, ctx)
        if ctx.replay then return ctx.kv.incr "replayed" end
        for key, value in pairs { text = "t", bytes = "\0\255", half = 0.5, no = false, list = { 1, "x", { y = {} } },
            n = -7, long = evrt.json.decode "9007199254740993" } do ctx.kv.set(key, value) end
        ctx.kv.incr("n", 9)
        ctx.kv.set("for an hour", 1, { ttl = "1h" })
        evrt.kv.set("gone", 1)
        ctx.kv.delete "gone"
        evrt.kv.set("at once", event.id)
        for version = 1, 5 do
            assert(evrt.snapshot.save("order", "a/b", version, { total = version }, { keep = 2 }))
        end
        ctx.publish { type = "content.later", delay = "1h", data = { of = event.id } }
    end },
    { name = "Dies", events = "content.dies", handle = function(event) evrt.reject(event.id) end },
    { name = "Waits", events = "content.waits", handle = function() error "not yet" end,
        policies = { evrt.policy.retry { initial_delay = "1h", max_delay = "1h", max_retries = 9 } } },
    { name = "Paused", events = "content.paused", handle = function() end },
    { name = "Timed", every = "1h", handle = function() end },
}]] }

--- Makes one of each, and waits for it: keys, snapshots, a retry, dead letters, a discarded one, an event for
--- later, a timer, a paused handler with a backlog, a job.
function content.make(node)
    assert(node:post_admin("/api/v1/handlers/Paused/pause").status == 200)
    local before = node:get "/api/v1/stats".json
    for _, kind in ipairs { "keys", "dies", "dies", "waits", "paused" } do
        node:accept { type = "content." .. kind, data = { kind = kind } }
    end
    assert(node:publish { type = "content.later", deliverafter = "1h" }.status == 202)
    node:await("one of each", function()
        local s = node:get "/api/v1/stats".json
        return s.dead == before.dead + 2 and s.retrying == 1 and s.pending == 1 and s.running == 0
            and s.done == before.done + 1
    end)
    local letter = node:get "/api/v1/dead-letters?handler=Dies".json.items[1]
    assert(node:delete_admin("/api/v1/dead-letters/" .. letter.id).status == 200)
    local job = node:post_admin("/api/v1/replays?wait=true", '{"handler":"Keys","from_seq":1}')
    assert(job.status == 200 and job.json.replayed_count == 1, job.body)
end

local function list(node, path)
    local items = {}
    pages(node, path, function(item) items[#items + 1] = item end)
    return items
end

-- Where a script is and how far a handler is behind are of the running node; when a timer fires next is told by the
-- clock it waits by, to a millisecond: the events for later have it exactly.
local OF_HANDLER = { "name", "state", "paused", "events", "cursor", "pending", "running", "retrying", "done",
    "dead", "discarded", "parked" }

--- What users are told: handlers, each event and what became of it, retries, dead letters, events for later, jobs,
--- and every key of every namespace.
function content.of(node)
    local all = {
        handlers = {}, events = {}, keys = {},
        retries = list(node, "/api/v1/retries"),
        letters = list(node, "/api/v1/dead-letters?full=true"), -- behind a barrier: all that has ended is in state.db
        scheduled = list(node, "/api/v1/scheduled"),
        jobs = list(node, "/api/v1/jobs"),
    }
    for i, h in ipairs(node:get "/api/v1/handlers".json.items) do
        all.handlers[i] = {}
        for _, field in ipairs(OF_HANDLER) do all.handlers[i][field] = h[field] end
    end
    local stats = node:get "/api/v1/stats".json
    for seq = stats.store.first_seq, stats.events do
        all.events[seq] = node:get("/api/v1/events/" .. seq).json
    end
    for _, item in ipairs(list(node, "/api/v1/kv")) do
        all.keys[item.namespace] = list(node, "/api/v1/kv?limit=1000&namespace=" .. item.namespace)
    end
    return all
end

-- Where two differ first, and how.
local function difference(a, b, path)
    if type(a) ~= "table" or type(b) ~= "table" then
        return a ~= b and ("%s: %s, was %s"):format(path, tostring(b), tostring(a)) or nil
    end
    local keys = {}
    for _, t in ipairs { a, b } do
        for key in pairs(t) do keys[key] = true end
    end
    for key in pairs(keys) do
        local found = difference(a[key], b[key], path .. "." .. tostring(key))
        if found then return found end
    end
end

--- Raises unless a node tells the same as before.
function content.same(before, node, what)
    local found = difference(before, content.of(node), "content")
    if found then error((what and what .. ": " or "") .. found, 2) end
end

return content
