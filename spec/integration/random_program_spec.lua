-- Random programs: publishes, kills, reloads and pauses in any order, against what must hold whatever they are.
--
--     at any time      matched = pending + retrying + running + done + dead + discarded               (D3)
--     at quiet points  what was acknowledged is stored, and each handler that matches it has handled it at
--                      least once; with ordered_by, in sequence for each key                          (D3, D5)
--
-- A program follows from its seed: EVRT_SEED runs that of a failure again, EVRT_PROGRAMS that many.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local oracle = require "spec.support.oracle"

local STEPS = 30

-- Each handler writes a line for every event it begins. Its text varies: what a reload may change. A kill in
-- the middle of a write leaves a piece of a line: each begins a new one.
local function script(h, side)
    return ([[
        local evrt = require "evrt"
        local log = assert(io.open(%q, "a"))
        log:setvbuf("full", 4096)
        return { name = %q, events = { %s }, start = "beginning", %s handle = function(event)
            log:write(%q, event.seq, " ", event.data.k, "\n")
            log:flush()
            if event.data.n %% 3 == 0 then evrt.sleep(%g) end
        end }
        -- %d
    ]]):format(side, h.name, h.events, h.options, "\n" .. h.name .. " ", h.sleep, h.version)
end

local Program = {}
Program.__index = Program

local function start(seed)
    math.randomseed(seed)
    local dir = evrt.folder()
    local p = { seed = seed, dir = dir, count = 0, acked = {}, said = {}, paused = {}, kills = 0 }
    setmetatable(p, Program)
    p.handlers = {
        { name = "All", events = '"**"', options = "", sleep = 0.002, version = 0 },
        { name = "Ordered", events = '"a.*", "b.*"', options = 'ordered_by = "data.k",', sleep = 0.002, version = 0 },
        -- Those of b.* may not match it when they are published, or not any more when they are delivered.
        { name = "Changing", events = '"**"', options = "concurrency = 4,", sleep = 0.001, version = 0 },
    }
    local texts = {}
    for _, h in ipairs(p.handlers) do texts[h.name .. ".lua"] = script(h, dir .. "/side.log") end
    p.node = evrt.start {
        dir = dir, handlers = texts,
        config = { workers = { count = 2, drain_timeout = "2s" },
            reload = { watch = seed % 2 == 0, interval = seed % 3 == 0 and "1s" or "0s" },
            retry = { max_retries = 10, initial_delay = "5ms", max_delay = "20ms" },
            logging = { level = "info", sampling = { first = 5, then_every = 0 } } },
    }
    p.handled, p.order = { All = {}, Ordered = {}, Changing = {} }, {}
    p.follow = load.tail(dir .. "/side.log", function(line)
        local name, seq, key = line:match "^(%a+) (%d+) (%d+)$"
        if not name then return end
        seq = tonumber(seq)
        if name == "Ordered" and not p.handled.Ordered[seq] then p.order[#p.order + 1] = { seq, key } end
        p.handled[name][seq] = true
    end)
    return p
end

function Program:fail(what, ...)
    error(("EVRT_SEED=%d: %s\nafter:\n%s"):format(self.seed, what:format(...), table.concat(self.said, "\n")), 0)
end

function Program:say(what, ...) self.said[#self.said + 1] = ("    " .. what):format(...) end

function Program:restart(signal)
    local code = self.node:stop(signal)
    if signal == "sigterm" and code ~= 0 then self:fail("a clean stop gave %d", code) end
    self.node = self.node:restart()
end

function Program:publish(n)
    local batch = {}
    for i = 1, n do
        self.count = self.count + 1
        batch[i] = { specversion = "1.0", id = "e" .. self.count, source = "program",
            type = ({ "a.x", "a.y", "b.x" })[math.random(3)], data = { n = self.count, k = math.random(9) } }
    end
    local r = self.node:post_batch(batch)
    if r.status ~= 202 then self:fail("publishing gave %d %s", r.status, r.body) end
    for i, item in ipairs(r.json) do self.acked[item.seq] = batch[i] end
end

function Program:save(h)
    h.version = h.version + 1
    evrt.write(self.dir .. "/handlers/" .. h.name .. ".lua", script(h, self.dir .. "/side.log"))
end

local steps = {
    { 8, function(p)
        local n = math.random(300)
        p:say("publish %d", n)
        p:publish(n)
    end },
    { 4, function(p)
        local ms = math.random(60)
        p:say("let %d ms pass", ms)
        evrt.idle(ms / 1000)
    end },
    { 3, function(p)
        local pids = load.children(p.node.pid)
        p:say("kill a worker")
        if #pids > 0 then uv.kill(pids[math.random(#pids)], "sigkill") end
        p.kills = p.kills + 1
    end },
    { 1, function(p)
        p:say("kill the host")
        p:restart "sigkill"
    end },
    { 0.7, function(p)
        p:say("stop and start")
        p:restart "sigterm"
    end },
    { 3, function(p)
        local h = p.handlers[math.random(#p.handlers)]
        if h.name == "Changing" then
            h.events = ({ '"**"', '"a.*"', '"a.x", "a.y", "b.x"' })[math.random(3)]
            h.options = ("concurrency = %d, priority = %d,"):format(math.random(8), math.random(-3, 3))
        end
        h.sleep = math.random(0, 3) / 1000
        p:say("save %s, events %s%s", h.name, h.events, math.random(4) == 1 and "" or ", SIGHUP")
        p:save(h)
        if p.said[#p.said]:find "SIGHUP" then p.node:kill "sighup" end
    end },
    { 1, function(p)
        p:say("save a broken script, SIGHUP")
        evrt.write(p.dir .. "/handlers/Broken.lua", "return {")
        p.node:kill "sighup"
        if math.random(2) == 1 then evrt.idle(0.05) end
        os.remove(p.dir .. "/handlers/Broken.lua")
    end },
    { 2, function(p)
        local name = p.handlers[math.random(#p.handlers)].name
        local verb = p.paused[name] and "resume" or "pause"
        p:say("%s %s", verb, name)
        local r = p.node:post_admin(("/api/v1/handlers/%s/%s"):format(name, verb))
        if r.status ~= 200 then p:fail("%s gave %d %s", verb, r.status, r.body) end
        p.paused[name] = verb == "pause" or nil
    end },
}

local weight = 0
for _, step in ipairs(steps) do weight = weight + step[1] end

function Program:step()
    local dice = math.random() * weight
    for _, step in ipairs(steps) do
        dice = dice - step[1]
        if dice < 0 then return step[2](self) end
    end
end

-- Everything goes on and comes to its end; then the books are compared.
function Program:settle()
    for name in pairs(self.paused) do
        if self.node:post_admin(("/api/v1/handlers/%s/resume"):format(name)).status ~= 200 then
            self:fail("%s cannot be resumed", name)
        end
    end
    self.paused = {}
    local r = self.node:post_admin "/api/v1/reload"
    if r.status ~= 200 then self:fail("the last reload gave %d %s", r.status, r.body) end
    local ok, why = pcall(self.node.await, self.node, "every delivery to end", function()
        local s = oracle.balance(self.node)
        return s.pending == 0 and s.running == 0 and s.retrying == 0
    end, 20)
    if not ok then self:fail("%s", why) end
    self.follow()
    self:compare()
end

function Program:compare()
    local counts = {}
    for _, one in ipairs(self.node:get("/api/v1/handlers").json.items) do counts[one.name] = one end
    local events = self.node:get("/api/v1/stats").json.events
    if events ~= self.count then self:fail("%d events were acknowledged, %d are stored", self.count, events) end
    for seq, event in pairs(self.acked) do
        for name, handled in pairs(self.handled) do
            if not handled[seq] and not (name == "Changing" and event.type == "b.x") then
                self:say(self.node:get("/api/v1/events/" .. seq).body:gsub("%%", "%%%%"))
                self:fail("%s did not handle event %d (%s)", name, seq, event.type)
            end
        end
    end
    for name, one in pairs(counts) do
        local ends, changing = one.done + one.dead + one.discarded, name == "Changing"
        -- A delivery that ran when its worker was killed is charged with it, and dead at the third time.
        if one.dead * 3 > self.kills or one.cursor ~= events + 1 or ends > events
            or not changing and (ends ~= events or one.discarded ~= 0) then
            self:fail("%s: %d done, %d dead, %d discarded of %d; cursor %d", name, one.done, one.dead,
                one.discarded, events, one.cursor)
        end
    end
    local last = {}
    for _, line in ipairs(self.order) do
        local seq, key = line[1], line[2]
        if seq < (last[key] or 0) then
            self:fail("event %d of key %s began after event %d of it", seq, key, last[key])
        end
        last[key] = seq
    end
end

describe("a random program", function()
    require("spec.support.leak").guard(before_each, after_each)

    local base = tonumber(os.getenv "EVRT_SEED")
    local programs = tonumber(os.getenv "EVRT_PROGRAMS") or (base and 1 or 12)
    base = base or os.time()

    it("loses nothing, counts everything and keeps order", function()
        local began, events = uv.hrtime(), 0
        print(("random program: EVRT_SEED=%d EVRT_PROGRAMS=%d"):format(base, programs))
        for i = 0, programs - 1 do
            local p = start(base + i)
            for step = 1, STEPS do
                p:step()
                local ok, why = pcall(oracle.balance, p.node)
                if not ok then p:fail("%s", why) end
                if step == STEPS / 2 then p:settle() end
            end
            p:settle()
            events = events + p.count
            p.node:stop()
        end
        print(("random program: %d programs, %d events, %.1f s"):format(programs, events,
            (uv.hrtime() - began) / 1e9))
    end)
end)
