-- A worker process as its host sees it: starts one on a snapshot made of strings, sends frames, and gives
-- back those that come. The process is a bare LuaJIT that calls evrt_worker_main() in the unit library.
--
--     local w = worker.start { ["h.lua"] = "return { name = 'h', ... }" }
--     w:deliver { type = "a.b", data = '{"x":1}' }
--     local done = w:expect "DONE"
--     w:stop()
local bit = require "bit"
local ffi = require "ffi"
local c = require "spec.support.c"

local frame = c.load("frame", { "frame/frame.h", "frame/snapshot.h", "core/event.h" })

ffi.cdef [[
int fork(void);
int execvp(const char *file, char *const argv[]);
void _exit(int status);
int dup2(int from, int to);
int fcntl(int fd, int cmd, ...);
int close(int fd);
int socketpair(int domain, int type, int protocol, int fds[2]);
long read(int fd, void *p, size_t n);
long write(int fd, const void *p, size_t n);
int waitpid(int pid, int *status, int options);
int kill(int pid, int sig);
struct evrt_spec_pollfd { int fd; short events, revents; };
int poll(struct evrt_spec_pollfd *fds, unsigned long n, int timeout_ms);
]]
local C = ffi.C

local PATIENCE_MS = 20000 -- a watchdog, not a measure

local worker = {}
local Worker = {}
Worker.__index = Worker

local program = [[
local ffi = require "ffi"
ffi.cdef "int evrt_worker_main(void);"
os.exit(ffi.load(%q).evrt_worker_main())
]]

local function buffer()
    return ffi.gc(ffi.new "struct evrt_buf", frame.evrt_buf_finish)
end

-- Handler files by path; a path under lib/ is a module ("lib/a/b.lua" is "a.b"), one under policies/ a policy;
-- "evrt.yaml" is `apply` as JSON.
local function role_of(path)
    if path == "evrt.yaml" then return "a", "" end
    if path:find "^policies/_" then return "m", path:match "([^/]+)%.lua$" end
    if path:find "^policies/" then return "p", "" end
    local module = path:match "^lib/(.*)%.lua$"
    if module then return "m", (module:gsub("/", ".")) end
    return "h", ""
end

local function put_files(b, files)
    local paths = {}
    for path in pairs(files) do paths[#paths + 1] = path end
    table.sort(paths)
    frame.evrt_snapshot_start(b)
    for _, path in ipairs(paths) do
        local role, module = role_of(path)
        frame.evrt_snapshot_add(b, ffi.new("struct evrt_snapshot_file", string.byte(role), c.slice(path),
            c.slice(module), c.slice(files[path])))
    end
end

local function seal(files)
    local b = buffer()
    if type(files) == "string" then
        frame.evrt_buf_put(b, files, #files)
    else
        put_files(b, files)
    end
    local fd = frame.evrt_snapshot_seal(b)
    assert(fd >= 0, "cannot seal a snapshot")
    return fd
end

local function spawn(socket, snapshot)
    local F_DUPFD = 0
    local code = program:format(c.build_dir() .. "/unit/libevrt_unit_worker.so")
    local words = { "luajit", "-e", code }
    local argv = ffi.new("char *[4]")
    for i, word in ipairs(words) do argv[i - 1] = ffi.cast("char *", word) end
    local pid = C.fork()
    if pid ~= 0 then return pid end
    local a = C.fcntl(socket, F_DUPFD, ffi.cast("int", 10))
    local b = C.fcntl(snapshot, F_DUPFD, ffi.cast("int", 10))
    C.dup2(a, 3)
    C.dup2(b, 4)
    C.execvp("luajit", argv)
    C._exit(127)
end

local defaults = {
    worker = 0, generation = 1, concurrency = 256, memory_limit = 64 * 2 ^ 20, max_event_size = 2 ^ 20,
    max_hops = 16, allow_ffi = 0, testing = 0, log_level = 0, load_timeout_ms = 0,
    service = "spec", service_version = "1", environment = "test",
    max_series = 100, confine = 0, user = "", store = "", tracing = 0, trace_threshold = 0,
}

--- Starts a worker and greets it. Stop it in the same spec.
---@param files table<string, string>|string texts by path, or the snapshot's bytes
---@param hello? table fields that differ from the defaults
function worker.start(files, hello)
    local fds = ffi.new "int[2]"
    local SOCK_STREAM_CLOEXEC = bit.bor(1, 0x80000)
    assert(C.socketpair(1, SOCK_STREAM_CLOEXEC, 0, fds) == 0)
    local snapshot = seal(files)
    local self = setmetatable({ fd = fds[0], bytes = "", delivery = 0, frames = {}, notes = {}, limits = {},
        metrics = {} }, Worker)
    self.pid = spawn(fds[1], snapshot)
    C.close(fds[1])
    C.close(snapshot)
    self:send("hello", setmetatable(hello or {}, { __index = defaults }), defaults)
    return self
end

--- Puts one frame on the socket.
function Worker:send(name, fields, names)
    local f, b = ffi.new("struct evrt_frame_" .. name), buffer()
    for k in pairs(names or fields) do
        local v = fields[k]
        f[k] = type(v) == "string" and c.slice(v) or v
    end
    frame["evrt_frame_put_" .. name](b, f)
    self:write(c.string(b))
end

function Worker:text(name, text)
    local b = buffer()
    frame.evrt_frame_put_text(b, frame["EVRT_FRAME_" .. name], c.slice(text))
    self:write(c.string(b))
end

function Worker:write(bytes)
    while #bytes > 0 do
        local n = tonumber(C.write(self.fd, bytes, #bytes))
        assert(n > 0, "cannot write to the worker")
        bytes = bytes:sub(n + 1)
    end
end

--- The encoding of an event given by its fields.
function worker.encode(fields)
    local e = ffi.new "struct evrt_event"
    local with = setmetatable({}, { __index = function(_, k)
        local v = fields[k]
        if v == nil then v = ({ id = "id-1", source = "/spec", time = "2025-01-07T10:30:45.123Z" })[k] end
        return v
    end })
    for _, k in ipairs { "id", "type", "source", "time", "subject", "datacontenttype", "dataschema",
        "extensions", "data" } do
        if with[k] then e[k] = c.slice(with[k]) end
    end
    e.seq, e.hops = fields.seq or 1, fields.hops or 0
    e.cause_seq, e.cause_handler = fields.cause_seq or 0, fields.cause_handler or 0
    e.flags = fields.flags or (fields.data and 1 + 4 or 0)
    local bytes = ffi.new("char[?]", frame.evrt_event_size(e))
    frame.evrt_event_encode(e, bytes)
    return ffi.string(bytes, frame.evrt_event_size(e))
end

--- Delivers an event; returns the number of the delivery. `with`: handler, attempt, timeout_ms.
function Worker:deliver(event, with)
    with = with or {}
    self.delivery = self.delivery + 1
    self:send("deliver", {
        handler = with.handler or 0, attempt = with.attempt or 1, delivery = self.delivery,
        purpose = with.purpose or 0, info = c.slice(with.info or ""), timeout_ms = with.timeout_ms or 0,
        event = worker.encode(event),
    })
    return self.delivery
end

local decoded = { FAILED = "failed", PUBLISH = "publish", LOG = "log", SHARE = "share", NOTE = "note",
    LIMIT = "limit",
    SPAN = "span",
    METRIC = "metric", METRIC_SERIES = "metric_series" }
local members = {
    FAILED = { "delivery", "error_type", "message", "traceback" },
    PUBLISH = { "token", "delivery", "wait", "timeout_ms", "event" },
    LOG = { "level", "delivery", "caller", "message", "fields" },
    NOTE = { "delivery", "text" },
    LIMIT = { "key" },
    SPAN = { "delivery", "id", "parent", "name", "failed", "error_type", "message" },
    METRIC = { "metric", "type", "name", "help", "labels", "bounds" },
    METRIC_SERIES = { "series", "metric", "overflow", "values" },
    SHARE = { "token", "version", "ttl_ms", "remove", "key", "value" },
}

local function decode(f)
    local t = { frame = ffi.string(frame.evrt_frame_name(f.type)) }
    if t.frame == "DONE" then
        t.deliveries = {}
        for i = 0, tonumber(f.payload.n) / 8 - 1 do
            t.deliveries[i + 1] = tonumber(ffi.cast("uint64_t *", f.payload.p)[i])
        end
    elseif t.frame == "METRIC_COUNTS" then
        local items = ffi.cast("struct evrt_frame_metric_count *", f.payload.p)
        for i = 0, tonumber(f.payload.n) / ffi.sizeof "struct evrt_frame_metric_count" - 1 do
            t[#t + 1] = { series = items[i].series, what = items[i].what, v = items[i].v }
        end
    elseif decoded[t.frame] then
        local kind = decoded[t.frame]
        local x = ffi.new("struct evrt_frame_" .. kind)
        assert(frame["evrt_frame_get_" .. kind](f.payload, x) == 0, "malformed " .. t.frame)
        for _, name in ipairs(members[t.frame]) do
            local v = x[name]
            if type(v) == "cdata" and not ffi.istype("uint64_t", v) and not ffi.istype("int64_t", v) then
                t[name] = c.string(v)
            else
                t[name] = (name == "token") and v or tonumber(v)
            end
        end
    else
        t.text = c.string(f.payload)
    end
    return t
end

function Worker:readable(timeout_ms)
    local poll = ffi.new("struct evrt_spec_pollfd[1]", { { self.fd, 1, 0 } })
    return C.poll(poll, 1, timeout_ms) == 1
end

--- Waits until the process is in such a state ("S": it sleeps, "T": it is stopped).
function Worker:is(state)
    repeat
        local file = assert(io.open(("/proc/%d/stat"):format(self.pid)))
        local now = file:read("*a"):match "%) (%a)"
        file:close()
    until now == state
end

function Worker:signal(number) assert(C.kill(self.pid, number) == 0) end

--- Takes what the socket holds, for next().
function Worker:drain()
    local chunk = ffi.new "char[65536]"
    while self:readable(0) do
        self.bytes = self.bytes .. ffi.string(chunk, C.read(self.fd, chunk, 65536))
    end
end

--- The next frame, or nil when the worker has gone. The key of a LIMIT is put into self.limits instead.
function Worker:next()
    local f = ffi.new "struct evrt_frame"
    local chunk = ffi.new "char[65536]"
    while true do
        local n = tonumber(frame.evrt_frame_take(c.slice(self.bytes), string.byte "<", f))
        assert(n >= 0, "the worker sent what is no frame")
        if n > 0 then
            local t = decode(f)
            self.bytes = self.bytes:sub(n + 1)
            if t.frame ~= "LIMIT" then return t end
            self.limits[#self.limits + 1] = t.key
            goto continue
        end
        assert(self:readable(PATIENCE_MS), "the worker says nothing")
        local got = tonumber(C.read(self.fd, chunk, 65536))
        if got <= 0 then return nil end
        self.bytes = self.bytes .. ffi.string(chunk, got)
        ::continue::
    end
end

--- The next frame, which must be of that type. Logs between are kept in self.logs unless LOG is wanted.
function Worker:expect(name)
    self.logs = self.logs or {}
    while true do
        local f = self:next()
        if f == nil then error("the worker has gone; expected " .. name, 2) end
        if f.frame == name then return f end
        if f.frame:find "^METRIC" then
            self.metrics[#self.metrics + 1] = f
            goto continue
        end
        if f.frame == "NOTE" then
            self.notes[#self.notes + 1] = f.text
        elseif f.frame ~= "LOG" then
            error(("expected %s, got %s: %s"):format(name, f.frame, f.message or f.text or ""), 2)
        else
            self.logs[#self.logs + 1] = f
        end
        ::continue::
    end
end

--- Shared values as the host keeps them, for workers that were given the same one by share_with().
function worker.store() return { values = {}, version = 0, workers = {} } end

function Worker:share_with(store)
    self.store = store
    store.workers[#store.workers + 1] = self
    return self
end

-- Answers a SHARE as the host does, and tells the other workers.
function Worker:answer_share(f)
    local store = self.store
    local now = store.values[f.key]
    local status = 0
    if (now and now.version or 0) ~= f.version then
        status = -11
    elseif store.full then
        status = -28
    else
        store.version = store.version + 1
        now = f.remove == 0 and { version = store.version, value = f.value } or nil
        store.values[f.key] = now
    end
    for _, w in ipairs(store.workers) do
        if w == self or status == 0 then
            w:send("shared", { token = w == self and f.token or 0, status = w == self and status or 0,
                version = now and now.version or 0, key = f.key, value = now and now.value or "" })
        end
    end
end

--- Waits until a delivery has settled: "done", or the FAILED frame. Logs on the way are in self.logs.
function Worker:settle(delivery)
    self.logs, self.settled = self.logs or {}, self.settled or {}
    while self.settled[delivery] == nil do
        local f = self:next()
        if f == nil then error("the worker has gone", 2) end
        if f.frame == "DONE" then
            for _, id in ipairs(f.deliveries) do self.settled[id] = "done" end
        elseif f.frame == "FAILED" then
            self.settled[f.delivery] = f
        elseif f.frame == "LOG" then
            self.logs[#self.logs + 1] = f
        elseif f.frame:find "^METRIC" then
            self.metrics[#self.metrics + 1] = f
        elseif f.frame == "NOTE" then
            self.notes[#self.notes + 1] = f.text
        elseif f.frame == "SHARE" and self.store then
            self:answer_share(f)
        else
            error("unexpected " .. f.frame .. " " .. (f.text or ""), 2)
        end
    end
    return self.settled[delivery]
end

--- Delivers and settles.
function Worker:handle(event, with)
    return self:settle(self:deliver(event, with))
end

--- The messages logged so far; forgets them.
function Worker:printed()
    local list = {}
    for i, f in ipairs(self.logs or {}) do list[i] = f.message end
    self.logs = {}
    return list
end

--- Runs the body of one handler on one event in a fresh worker: "done" or the FAILED frame, and what it
--- printed. `options`: files, hello, and what deliver() takes.
function worker.run(body, event, options)
    options = options or {}
    local files = { ["h.lua"] = 'local evrt = require "evrt"\n'
        .. 'return { name = "H", events = "**", handle = function(event, ctx)\n' .. body .. "\nend }" }
    for path, text in pairs(options.files or {}) do files[path] = text end
    local w = worker.start(files, options.hello)
    w:expect "READY"
    local ok, outcome = pcall(w.handle, w, event or { type = "a.b" }, options)
    local printed = w:printed()
    w:stop()
    if not ok then error(outcome, 2) end
    return outcome, printed
end

--- The errors with which the files are refused, one a line; or nil and the READY text.
function worker.check(files, hello)
    local w = worker.start(files, hello)
    local f = w:next()
    while f and f.frame == "LOG" do f = w:next() end
    local code = w:stop()
    if f.frame == "READY" then
        assert(code == 0, "exit code " .. code)
        return nil, f.text
    end
    assert(f.frame == "REFUSED" and code == 78, "exit code " .. code)
    return f.text
end

--- Waits until the process has ended; its exit code, or minus the signal.
function Worker:wait()
    local status = ffi.new "int[1]"
    assert(C.waitpid(self.pid, status, 0) == self.pid)
    self.pid = nil
    local s = status[0]
    if s % 128 == 0 then return math.floor(s / 256) end
    return -(s % 128)
end

--- Lets go of the worker, which ends by that. Returns its exit code.
function Worker:stop()
    if self.fd then C.close(self.fd) end
    self.fd = nil
    return self.pid and self:wait()
end

return worker
