-- The books of a node that dies: what was sent, what was acknowledged, what handlers wrote down, and what the
-- node says of itself, compared.
--
--     local books = oracle.new(dir)
--     books:handler { name = "A", events = { "load.*" } }           -- books.scripts["A.lua"] is its text
--     books.clients[1] = load.new { ... }                           -- anything with sent and acked
--     ... start, load, kill, and at each restart:  oracle.balance(node)
--     local report = books:compare(node)                            -- once all is settled
--
-- A handler appends a line for each event it handles (one write: no kill tears it or takes it back). Lost: an
-- acknowledged event that is not stored under its number, or that a handler which matches it did not see.
-- Phantom: handled or stored, and sent by nobody. Order: in a handler with `ordered_by`, an event whose first
-- line comes after the line of a later one of its key.
local load = require "spec.support.load"

local oracle = {}
local Books = {}
Books.__index = Books

local SCRIPT = [[
local evrt = require "evrt"
local log = assert(io.open("@SIDE", "a"))
log:setvbuf("full", 4096)
return {
    name = "@NAME", events = { "@EVENTS" }, start = "beginning", @OPTIONS
    handle = function(event, ctx)
        @BEFORE
        log:write("@NAME ", event.id, " ", event.seq, " ", @KEY, "\n")
        log:flush()
        @AFTER
    end,
}
]]

--- Books over a side log in a folder.
function oracle.new(dir)
    local books = setmetatable({ clients = {}, handlers = {}, scripts = {}, lines = 0, misordered = 0 }, Books)
    books.page = 1000 -- events asked for at once: fewer where they are big
    books.side = dir .. "/handled.log"
    books.follow = load.tail(books.side, function(line) books:handled(line) end)
    return books
end

--- A handler to keep books of. `before` and `after` are Lua text around the line it writes; `key` is Lua text
--- of the event's key (with `ordered_by`); `again`: it writes more than one line, and duplicates are not counted;
---@param h {name: string, events: string[], before?: string, after?: string, options?: string, key?: string,
---  again?: boolean}
function Books:handler(h)
    local values = {
        SIDE = self.side, NAME = h.name, EVENTS = table.concat(h.events, '", "'), OPTIONS = h.options or "",
        BEFORE = h.before or "", AFTER = h.after or "", KEY = h.key or '"-"',
    }
    self.scripts[h.name .. ".lua"] = SCRIPT:gsub("@(%u+)", values)
    local patterns = {}
    for i, pattern in ipairs(h.events) do
        patterns[i] = "^" .. pattern:gsub("%.", "%%."):gsub("%*", "[^.]+") .. "$"
    end
    self.handlers[h.name] = { name = h.name, events = h.events, patterns = patterns, again = h.again,
        times = {}, newest = {} }
end

--- The books of a plain, a slow and an ordered handler, and a client that loads them.
---@param connections integer
---@param nap number  how long the slow one waits now and then, in seconds: runs when the end comes
---@return table books, table client
function oracle.under_load(dir, connections, nap)
    local books = oracle.new(dir)
    books:handler { name = "A", events = { "load.*" } }
    books:handler { name = "B", events = { "load.b" },
        before = ("if event.data.n %% 10 == 0 then evrt.sleep(%g) end"):format(nap) }
    -- One at a time for each key, in order.
    books:handler { name = "Ordered", events = { "load.c" }, key = "event.data.k",
        options = 'ordered_by = "data.k", concurrency = 64,',
        before = "if event.data.n % 50 == 0 then evrt.sleep(0.005) end" }
    local client = load.new { keys = 101, connections = connections, batch = 20,
        types = { "load.a", "load.b", "load.c" } }
    books.clients[1] = client
    return books, client
end

local function matches(handler, kind)
    for _, pattern in ipairs(handler.patterns) do
        if kind:find(pattern) then return true end
    end
    return false
end

-- One line of the side log.
function Books:handled(line)
    local name, id, seq, key = line:match "^(%S+) (%S+) (%d+) (%S+)$"
    local h = assert(self.handlers[name], line)
    seq = tonumber(seq)
    self.lines = self.lines + 1
    if not h.times[id] and key ~= "-" then
        if seq < (h.newest[key] or 0) then self.misordered = self.misordered + 1 end
        h.newest[key] = math.max(seq, h.newest[key] or 0)
    end
    h.times[id] = (h.times[id] or 0) + 1
end

--- Takes in what handlers wrote since.
function Books:read() self.follow() end

-- The type an id was sent with. A handler that publishes names its events made-<id of the cause>, where each
-- execution has a name of its own with ~ and that behind.
function Books:sent(id)
    local made = id:match "^made%-([^~]*)"
    for _, client in ipairs(self.clients) do
        if client.sent[made or id] then return made and "made" or client.sent[id] end
    end
end

function Books:count(what)
    local n = 0
    for _, client in ipairs(self.clients) do n = n + client[what] end
    return n
end

--- What a node says must add up at any time: each event has one state for each handler it matched.
function oracle.balance(node)
    local s = node:get "/api/v1/stats".json
    local sum = s.pending + s.running + s.retrying + s.done + s.dead + s.discarded
    if sum ~= s.matched then
        error(("of %d deliveries %d are pending, %d running, %d done, %d dead, %d discarded")
            :format(s.matched, s.pending, s.running, s.done, s.dead, s.discarded), 2)
    end
    return s
end

--- Waits until nothing is pending or running, nothing waits for its time, and only so many (0) wait for another
--- attempt.
function Books:settle(node, seconds, retrying)
    local function settled()
        local s = oracle.balance(node)
        return s.pending == 0 and s.running == 0 and s.retrying == (retrying or 0) and s.scheduled.pending == 0 and s
    end
    node:await("every delivery to end", function()
        local before = settled()
        if not before then return false end
        -- Answered when all that has ended is in the journal, and with it what it published.
        node:get "/api/v1/dead-letters?limit=1"
        local now = settled()
        return now and now.events == before.events and now.scheduled.published == before.scheduled.published
    end, seconds)
    self:read()
end

-- id -> seq and id -> type of the events that the node has, type -> how many, the last number, and ids that
-- are there twice.
local function stored(node, first, at_once)
    local ids, kinds, count, last, twice = {}, {}, {}, first - 1, {}
    repeat
        local page = node:get(("/api/v1/events?limit=%d&after=%d"):format(at_once, last)).json
        for _, event in ipairs(page.items) do
            if event.seq ~= last + 1 then error(("event %d follows event %d"):format(event.seq, last)) end
            last = event.seq
            if ids[event.id] then twice[#twice + 1] = event.id end
            ids[event.id], kinds[event.id] = event.seq, event.type
            count[event.type] = (count[event.type] or 0) + 1
        end
    until #page.items == 0
    return ids, kinds, count, last, twice
end

local function add(list, ...) list[#list + 1] = table.concat({ ... }, " ") end

local function compare_acked(books, ids, r)
    for _, client in ipairs(books.clients) do
        for id, seq in pairs(client.acked) do
            if ids[id] ~= seq and seq >= r.first then
                add(r.lost, id, "acknowledged as", seq, "stored as", tostring(ids[id]))
            end
            for name, h in pairs(books.handlers) do
                if matches(h, client.sent[id]) and not h.times[id] then add(r.lost, id, "seq", seq, "for", name) end
            end
        end
    end
end

local function compare_handled(books, ids, kinds, r)
    for name, h in pairs(books.handlers) do
        for id, times in pairs(h.times) do
            local kind = books:sent(id)
            local known = ids[id] and matches(h, kinds[id]) or r.first > 1
            if not kind or not known then add(r.phantom, name, id) end
            local more = h.again and 0 or times - 1
            r.duplicates = r.duplicates + more
            r.again[id] = (r.again[id] or 0) + more
        end
    end
end

-- Each handler's own figures, once nothing is pending.
local function compare_ends(books, node, count, r)
    for _, item in ipairs(node:get "/api/v1/handlers".json.items) do
        local h, expected = books.handlers[item.name], 0
        for kind, n in pairs(count) do
            if h and matches(h, kind) then expected = expected + n end
        end
        local sum = item.pending + item.running + item.retrying + item.done + item.dead + item.discarded
        if h and sum ~= expected and r.first == 1 then add(r.unbalanced, item.name, "ended", sum, "of", expected) end
        r.dead, r.discarded = r.dead + item.dead, r.discarded + item.discarded
    end
end

--- Compares the books with a node that has settled all.
---@return {first: integer, stored: integer, acked: integer, sent: integer, lost: string[], phantom: string[],
---  twice: string[], unbalanced: string[], order: integer, duplicates: integer, again: table<string, integer>,
---  dead: integer, discarded: integer, effects: integer}
function Books:compare(node)
    self:read()
    local first = node:get "/api/v1/stats".json.store.first_seq -- segments before were dropped
    local ids, kinds, count, last, twice = stored(node, first, self.page)
    local r = {
        first = first, stored = last, acked = self:count "acked_count", sent = self:count "sent_count",
        lost = {}, phantom = {}, twice = {}, unbalanced = {}, order = self.misordered, duplicates = 0, again = {},
        dead = 0, discarded = 0, effects = 0,
    }
    for _, id in ipairs(twice) do
        if not id:find "^made%-" then add(r.twice, id) end
    end
    for id in pairs(ids) do
        if not self:sent(id) then add(r.phantom, "stored", id) end
    end
    compare_acked(self, ids, r)
    compare_handled(self, ids, kinds, r)
    compare_ends(self, node, count, r)
    return r
end

--- The figures of a report in one line.
function oracle.line(r)
    return ("%d sent, %d acked, %d stored, %d lost, %d phantom, %d order violations, %d duplicates")
        :format(r.sent, r.acked, r.stored, #r.lost, #r.phantom, r.order, r.duplicates)
        .. (r.effects > 0 and (", %d with effects, each once"):format(r.effects) or "")
end

--- A report to add others to, for a line of several stores.
function oracle.sum()
    return { sent = 0, acked = 0, stored = 0, lost = {}, phantom = {}, order = 0, duplicates = 0,
        effects = 0 }
end

function oracle.add(sum, r)
    for key, value in pairs(sum) do
        if type(value) == "number" then
            sum[key] = value + r[key]
        else
            for _, what in ipairs(r[key]) do value[#value + 1] = what end
        end
    end
end

--- Raises unless nothing is wrong in a report. Duplicates are the caller's to judge.
function oracle.sound(r)
    for _, what in ipairs { "lost", "phantom", "twice", "unbalanced" } do
        if #r[what] > 0 then
            error(("%d %s, as: %s"):format(#r[what], what, table.concat(r[what], "; ", 1, math.min(5, #r[what]))), 2)
        end
    end
    if r.order > 0 then error(("%d events were handled before an earlier one of their key"):format(r.order), 2) end
end

return oracle
