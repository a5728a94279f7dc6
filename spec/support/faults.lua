-- A short life of a node in which one system call goes wrong: which calls there are is found by tracing a life
-- without a fault, then there is one life for each of them, and after each one without a fault, whose books
-- are compared.
--
--     local sweep = faults.sweep { first = true }
--     for _, target in ipairs(sweep:targets()) do sweep:cycle(target, "signal=KILL") end
--     print(sweep:line())
--
-- A life: start, events one by one, in a batch, one that fails, one whose handler publishes, then SIGTERM. With
-- `first` each is the first of its store, and goes over into a second segment; else all are of one store. With
-- `drop` the first segment is dropped when all in it has ended or failed, and only the calls of that are targets.
--
-- strace counts calls for each thread, so threads that make the same call on the same kind of file hide each
-- other's; that is why kinds are told apart.
local uv = require "luv"
local cjson = require "cjson"
local effects = require "spec.support.effects"
local evrt = require "spec.support.evrt"
local oracle = require "spec.support.oracle"
local tamper = require "spec.support.tamper"

local faults = {}
local Sweep = {}
Sweep.__index = Sweep

--- Whether there is time for all of it (spec/run.sh --soak).
faults.soak = os.getenv "EVRT_SOAK" == "1"

--- The seed of this run: EVRT_SEED repeats one.
function faults.seed(name)
    local seed = tonumber(os.getenv "EVRT_SEED" or "") or (uv.hrtime() % 1000000007)
    faults.say("%s: EVRT_SEED=%d", name, seed)
    math.randomseed(seed)
    return seed
end

--- A line that spec/run.sh shows.
function faults.say(...) print("fault: " .. (...):format(select(2, ...))) end

local CALLS = "pwritev2,pwritev,pwrite64,write,fdatasync,fsync,sync_file_range,rename,renameat,renameat2,unlink,"
    .. "unlinkat,fallocate,ftruncate,mkdir,mkdirat,openat"

local BIG = 5 -- events of 1 MB: the first segment is left after some 4 MiB

-- Kinds of files, by patterns of their path in the store. `rolls`: touched when a segment is left.
local KINDS = {
    { name = "store", "lock", "format", "format.new", "" },
    { name = "folder", rolls = true, "journal" },
    { name = "segment", rolls = true, "journal/segment.new", "journal/%016x.seg" },
    { name = "spare", rolls = true, "journal/spare.new", "journal/spare", "journal/reserve" },
    { name = "state", "state.db", "state.db-journal", "state.db-wal", "state.db-shm" },
    { name = "snapshot", "snapshots", "snapshots/copy.tmp", "snapshots/copy.tmp-journal", "snapshots/copy.tmp-wal",
        "snapshots/copy.tmp.sum" },
}

-- What `drop` removes, by the name that it is removed by, in its folder.
local DROPPED = { name = "dropped", in_folder = true, ("%016x.seg"):format(1) }

faults.kinds = {}
for _, kind in ipairs(KINDS) do faults.kinds[kind.name] = kind end

local function kind_paths(kind, data, newest)
    if kind.in_folder then return kind end
    local paths = {}
    for _, name in ipairs(kind) do
        if name:find "%%" then
            for number = 1, newest + 2 do paths[#paths + 1] = data .. "/" .. name:format(number) end
        else
            paths[#paths + 1] = name == "" and data or data .. "/" .. name
        end
    end
    return paths
end

local function newest_segment(data)
    local newest, request = 0, uv.fs_scandir(data .. "/journal")
    for name in function() return request and uv.fs_scandir_next(request) end do
        newest = math.max(newest, tonumber(name:match "^(%x+)%.seg$" or "0", 16))
    end
    return newest
end

-- ---- A life ----

--- Handlers that succeed, fail, publish, and have effects, with books.
function faults.handlers(books)
    books:handler { name = "A", events = { "load.*", "made.*" } }
    books:handler { name = "Fails", events = { "load.fail" }, after = 'error("as asked")' }
    books:handler { name = "Makes", events = { "load.make" },
        after = 'evrt.publish { type = "made.x", source = "made", id = "made-" .. event.id }' }
    effects.handler(books, { events = { "load.a", "load.b", "load.c" }, fails = { "load.b" },
        ordered_by = "source", key = "event.source" })
end

--- A client that asks one thing after the other, with the books of load.lua.
function faults.client()
    return { sent = {}, acked = {}, sent_count = 0, acked_count = 0, refused = 0, number = 0 }
end

-- An event of its own id, in the books.
local function event(client, kind, data)
    client.number = client.number + 1
    local id = "f" .. client.number
    client.sent[id] = kind
    client.sent_count = client.sent_count + 1
    return { specversion = "1.0", id = id, source = "faults", type = kind, data = data }
end

local function take(client, status, answer)
    if status == 202 or status == 200 then
        assert(client.sent[answer.id], answer.id)
        client.acked[answer.id] = answer.seq
        client.acked_count = client.acked_count + 1
    else
        client.refused = client.refused + 1
    end
end

-- One request; whether it was answered.
local function post(node, client, e, query)
    local ok, r = pcall(node.post, node, "/events" .. (query or ""), cjson.encode(e),
        { ["Content-Type"] = "application/cloudevents+json" })
    if ok then take(client, r.status, r.json) end
    client.response = ok and r or nil
    return ok
end

local function post_binary(node, client, e)
    local ok, r = pcall(node.post, node, "/events", cjson.encode(e.data), { ["Content-Type"] = "application/json",
        ["ce-specversion"] = "1.0", ["ce-id"] = e.id, ["ce-source"] = e.source, ["ce-type"] = e.type })
    if ok then take(client, r.status, r.json) end
end

local function post_batch(node, client, list)
    local ok, r = pcall(node.post, node, "/events", cjson.encode(list),
        { ["Content-Type"] = "application/cloudevents-batch+json" })
    if not ok or type(r.json[1]) ~= "table" then return end
    for i, item in ipairs(r.json) do
        if list[i].type then take(client, item.seq and 202 or item.status, item) end
    end
end

--- Publishes one event; the response, or nil when there was none.
function faults.publish(node, client, kind, data)
    local e = event(client, kind, data)
    return post(node, client, e) and client.response or nil
end

--- Publishes in each way there is, `big` events of 1 MB too. Answers need not come.
function faults.work(node, client, big)
    post(node, client, event(client, "load.a", { x = 1 }))
    post_binary(node, client, event(client, "load.b", { x = 2 }))
    post_batch(node, client, { event(client, "load.a"), { specversion = "1.0", id = "bad" },
        event(client, "load.c") })
    post(node, client, event(client, "load.fail"), "?wait=handled&timeout=5s")
    post(node, client, event(client, "load.make"))
    effects.replay(node, 3, "?wait=true")
    pcall(node.get, node, "/api/v1/events/1") -- answered when state.db has what ended
    for _ = 1, big do post(node, client, event(client, "load.big", ("x"):rep(1000000))) end
    post(node, client, event(client, "load.z"))
end

local function pid_of(node)
    local line = node:logged({ msg = "evrt starting" })[1]
    return line and line.pid
end

local function ended(node) return node.code ~= nil end

--- Compares the books of a node that has settled all, and raises when something is wrong in them.
function faults.sound(books, node)
    local r = books:compare(node)
    oracle.sound(r)
    if books.effects then r.effects = effects.sound(books, node) end
    return r
end

--- Checks a store that no node has open.
function faults.verify(data)
    local code, out, err = evrt.run { "store", "verify", data }
    assert(code == 0, out .. err)
end

--- The last life: all is settled, what was acknowledged is there, and the store is whole.
function faults.last_life(books, client, node)
    books:settle(node, 60)
    local r = faults.sound(books, node)
    assert(next(client.unexpected) == nil, client.unexpected[1])
    assert(client.acked_count > 0, "nothing was acknowledged")
    assert(node:stop() == 0, "the node does not stop in order")
    faults.verify(node.dir .. "/data")
    return r
end

-- ---- A sweep ----

---@param options {first?: boolean, drop?: boolean}
function faults.sweep(options)
    return setmetatable({
        options = options, cycles = 0, hit = 0, began = uv.hrtime(),
        sum = oracle.sum(),
    }, Sweep)
end

function Sweep:open()
    if self.dir then return end
    self.dir = evrt.folder()
    self.books = oracle.new(self.dir)
    faults.handlers(self.books)
    self.client = faults.client()
    self.books.clients[1] = self.client
    if self.options.drop then
        self.books:handler {
            name = "Later", events = { "load.later" },
            options = 'policies = { evrt.policy.retry { initial_delay = "1h", max_delay = "1h", max_retries = 9 } },',
            before = ("assert(io.open %q, 'not yet'):close()"):format(self.dir .. "/repaired"),
        }
    end
end

function Sweep:start(options)
    options.dir, options.handlers = self.dir, self.books.scripts
    return evrt.start(options)
end

-- Has the first segment dropped, in which one event is a dead letter and one waits for its next attempt. The
-- trace's lines of that are in between.
local function drop(sweep, node)
    local function length() return uv.fs_stat(sweep.trace).size end
    sweep.books:settle(node, 5, 1)
    sweep.from = length()
    node:post_admin("/api/v1/cleanup", '{"before":"0s"}')
    node:await("the segment to go", function() return not uv.fs_stat(sweep.dir .. "/data/journal/" .. DROPPED[1]) end)
    sweep.to = length()
end

--- A life under strace, with so many big events. Returns the node, ended, and whether it was ready.
function Sweep:live(paths, big, ...)
    self:open()
    self.trace = self.dir .. "/trace"
    os.remove(self.trace)
    local node = self:start { wait = false, wrap = tamper.wrap(paths, self.trace, CALLS, ...) }
    local ready = pcall(node.await_ready, node)
    if ready then
        if self.options.drop then faults.publish(node, self.client, "load.later") end
        faults.work(node, self.client, big)
        if not ended(node) then
            pcall(self.options.drop and drop or function() self.books:settle(node, 5) end, self, node)
        end
    end
    if not ended(node) and pid_of(node) then uv.kill(pid_of(node), "sigterm") end
    node:wait()
    return node, ready
end

-- Another life, without a fault, in which all that was begun ends; the books are compared.
function Sweep:check()
    evrt.write(self.dir .. "/repaired", "")
    local node = self:start {}
    for _, row in ipairs(node:get("/api/v1/retries").json.items) do
        node:post_admin("/api/v1/retries/" .. row.id .. "/run")
    end
    local stats = oracle.balance(node)
    assert(stats.events >= self.client.acked_count, "fewer events than were acknowledged")
    local r = faults.publish(node, self.client, "load.a")
    assert(r and r.status == 202, "nothing is taken in after a restart")
    self.books:settle(node)
    self.report = faults.sound(self.books, node)
    for _, letter in ipairs(node:get("/api/v1/dead-letters?full=true").json.items) do
        assert(letter.event.id == letter.event_id, "a dead letter without its event")
    end
    assert(node:stop() == 0, node:said())
    faults.verify(self.dir .. "/data")
end

-- Adds the report of a store to the sum, and forgets the store.
function Sweep:finish()
    if self.report then oracle.add(self.sum, self.report) end
    if self.dir then os.execute("rm -rf '" .. self.dir .. "'") end
    self.dir, self.report = nil, nil
end

--- The calls of a life without a fault: {kind, call, when}, when counting from 1 for each kind and call. With
--- `drop` those by which the segment goes.
function Sweep:targets()
    self:open()
    local data = self.dir .. "/data"
    if not self.options.first then -- not the first life of its store
        self:start {}:stop "sigkill"
    end
    local all, of = {}, {}
    for _, kind in ipairs(KINDS) do
        for _, path in ipairs(kind_paths(kind, data, newest_segment(data))) do
            all[#all + 1], of[path] = path, kind
        end
    end
    local node = self:live(all, self.options.first and BIG or 0)
    assert(node.code == 0, node:said())
    local counts, order, at = {}, {}, 0
    for line in io.lines(self.trace) do
        local pid, call = line:match "^(%d+) +([%w_]+)%("
        local path = call and (line:match "^[^<]*<([^>]*)>" or line:match '"([^"]*)"')
        if call == "openat" and not line:find "O_CREAT" then call = nil end
        local kind = call and of[path]
        if call == "unlinkat" and line:find(DROPPED[1], 1, true) then kind = DROPPED end
        if kind then
            local key = kind.name .. " " .. call
            if not counts[key] then
                counts[key] = { kind = kind, call = call, least = math.huge, most = 0 }
                order[#order + 1] = counts[key]
            end
            local c = counts[key]
            c[pid] = (c[pid] or 0) + 1
            if at >= (self.from or 0) and at < (self.to or math.huge) then
                c.least, c.most = math.min(c.least, c[pid]), math.max(c.most, c[pid])
            end
        end
        at = at + #line + 1
    end
    local targets = {}
    for _, c in ipairs(order) do
        for when = c.least, c.most do targets[#targets + 1] = { kind = c.kind, call = c.call, when = when } end
    end
    self:check()
    if self.options.first then self:finish() end
    return targets
end

--- One life with a fault and one without. `fault` is strace's, as "signal=KILL" or "error=EIO".
---@return Node node the life with the fault, ended
---@return boolean hit whether it came to the call
---@return boolean ready
function Sweep:cycle(target, fault, ...)
    self:open()
    local data = self.dir .. "/data"
    self.cycles = self.cycles + 1
    local what = ("%s:%s:when=%d"):format(target.call, fault, target.when)
    local paths = kind_paths(target.kind, data, newest_segment(data))
    local big = self.options.first and (self.options.drop or target.kind.rolls) and BIG or 0
    local ok, node, ready = pcall(self.live, self, paths, big, what, ...)
    local hit = ok and node.signal == 9
    if ok then
        for line in io.lines(self.trace) do
            hit = hit or line:find("INJECTED", 1, true) and line:find(target.call .. "[( ]") ~= nil
        end
        if hit then self.hit = self.hit + 1 end
        local why
        ok, why = pcall(self.check, self)
        if not ok then node = tostring(why) .. "\nthe node before said:\n" .. node:said() end
    end
    if not ok then error(("%s on %s: %s"):format(what, target.kind.name, tostring(node)), 0) end
    if self.options.first then self:finish() end
    return node, hit, ready
end

--- Fewer targets where there are many alike: of the zeros written ahead the first, one in the middle and the
--- last, unless there is time for all.
function faults.thin(targets)
    local few, most = {}, 0
    local function alike(t) return t.kind.name == "spare" and t.call == "pwritev2" end
    for _, t in ipairs(targets) do
        if alike(t) then most = math.max(most, t.when) end
    end
    for _, t in ipairs(targets) do
        local keep = t.when == 1 or t.when == most or t.when == math.floor(most / 2)
        if faults.soak or not alike(t) or keep then few[#few + 1] = t end
    end
    return few
end

--- The sweep's figures.
function Sweep:line()
    self:finish()
    return ("%d cycles, %d of them hit, in %.1f s; %s"):format(self.cycles, self.hit,
        (uv.hrtime() - self.began) / 1e9, oracle.line(self.sum))
end

return faults
