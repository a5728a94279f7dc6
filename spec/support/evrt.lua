-- Drives the real binary in integration specs.
--
--     local evrt = require "spec.support.evrt"
--     local node = evrt.start { handlers = { ["a.lua"] = [[return { name = "A", ... }]] } }
--     local answer = node:publish { type = "a.b", data = { x = 1 } }      -- POST /events
--     node:await_log { msg = "Event handled successfully", handler = "A" }
--     assert.equal(0, node:stop())
--
-- A node lives in a folder of its own (node.dir: evrt.yaml, handlers/, data/), listens on ports that the
-- system picks, and logs JSON to standard output, which node.lines collects decoded. No wait is endless;
-- children die with this process, whatever ends it; cleanup() (see leak.lua) ends and removes the rest.
local uv = require "luv"
local cjson = require "cjson"
local c = require "spec.support.c"
local files = require "spec.support.files"
local http = require "spec.support.http"
local loop = require "spec.support.loop"

local evrt = { connect = http.connect, format = http.format, await = loop.await, idle = loop.idle }

---@class Node
---@field dir string
---@field ingest integer port of http.listen
---@field admin integer port of admin.listen
---@field lines table[] log lines so far, decoded; what is not JSON is {raw = text}
---@field code integer? exit code, once it has ended
---@field signal integer? number of the signal that ended it
local Node = {}
Node.__index = Node

local nodes, folders = {}, {} -- running; to be removed
local suspects = {}           -- ended, what they said is still to be looked at

evrt.defaults = {
    handlers = "handlers/",
    http = { listen = "127.0.0.1:0" },
    admin = { listen = "127.0.0.1:0" },
    workers = { count = 1 },
    retry = { max_retries = 0 },
    logging = { level = "debug", sampling = { first = 0 } },
}

function evrt.binary()
    return assert(uv.fs_realpath(c.build_dir() .. "/evrt"))
end

--- Writes a file, making its folder.
function evrt.write(path, text)
    local dir = path:match "^(.*)/[^/]+$"
    if dir and not uv.fs_stat(dir) then assert(os.execute("mkdir -p '" .. dir .. "'") == 0) end
    files.write(path, text)
end

function evrt.read(path) return assert(files.read(path)) end

--- A folder that cleanup() removes.
function evrt.folder()
    local dir = assert(uv.fs_mkdtemp((os.getenv "TMPDIR" or "/tmp") .. "/evrt-spec-XXXXXX"))
    folders[#folders + 1] = dir
    return dir
end

local function merge(base, over)
    local out = {}
    for k, v in pairs(base) do out[k] = v end
    for k, v in pairs(over or {}) do
        out[k] = type(v) == "table" and type(out[k]) == "table" and #v == 0 and merge(out[k], v) or v
    end
    return out
end

--- JSON is YAML, but for the escape that cjson alone writes.
function evrt.yaml(config)
    return (cjson.encode(config):gsub("\\/", "/")) .. "\n"
end

-- Calls each(line) for the lines of a pipe; on_end when it ends.
local function read_lines(pipe, each, on_end)
    local rest = ""
    pipe:read_start(function(_, data)
        if not data then
            if rest ~= "" then each(rest) end
            pipe:close()
            return on_end()
        end
        -- As quick as can be: a node's log drops lines where its reader is slow.
        local text, from = rest .. data, 1
        while true do
            local i = text:find("\n", from, true)
            if not i then break end
            each(text:sub(from, i - 1))
            from = i + 1
        end
        rest = text:sub(from)
    end)
end

local function environment(extra)
    local all = uv.os_environ()
    all.LD_PRELOAD = nil -- what sanitizes this process is not for the binary
    for k, v in pairs(extra or {}) do all[k] = v end
    local list = {}
    for k, v in pairs(all) do list[#list + 1] = k .. "=" .. v end
    return list
end

---@class SpawnOptions
---@field args? string[]
---@field env? table<string, string>
---@field cwd? string
---@field program? string default: the evrt of this build
---@field wrap? string[] a command to run it under, as { "strace", "-f" }
---@field stdin? string|true true: it stays open, as node.stdin

--- Starts the binary with arguments; returns at once.
---@param options SpawnOptions
---@return Node
function evrt.spawn(options)
    local node = setmetatable({ lines = {}, out = {}, err = {}, dir = options.cwd }, Node)
    local stdin, stdout, stderr = uv.new_pipe(false), uv.new_pipe(false), uv.new_pipe(false)
    -- The kernel ends it when this process ends, however that happens.
    local args = { "--pdeathsig", "KILL", "--" }
    for _, word in ipairs(options.wrap or {}) do args[#args + 1] = word end
    args[#args + 1] = options.program or evrt.binary()
    for _, word in ipairs(options.args or {}) do args[#args + 1] = word end
    local open = 3
    local handle, pid
    handle, pid = uv.spawn("setpriv", {
        args = args, stdio = { stdin, stdout, stderr }, env = environment(options.env), cwd = options.cwd,
    }, function(code, signal)
        node.exit_code, node.exit_signal = code, signal
        handle:close()
        open = open - 1
        if open == 0 then node.code, node.signal = code, signal end
    end)
    assert(handle, pid)
    local function closed()
        open = open - 1
        if open == 0 then node.code, node.signal = node.exit_code, node.exit_signal end
    end
    read_lines(stdout, function(line)
        node.out[#node.out + 1] = line
        local ok, decoded = pcall(cjson.decode, line)
        node.lines[#node.lines + 1] = ok and type(decoded) == "table" and decoded or { raw = line }
    end, closed)
    read_lines(stderr, function(line) node.err[#node.err + 1] = line end, closed)
    if options.stdin == true then
        node.stdin = stdin
    else
        if options.stdin then stdin:write(options.stdin) end
        stdin:shutdown(function() stdin:close() end)
    end
    node.pid, node.handle = pid, handle
    nodes[node] = true
    return node
end

--- Runs a command of the binary to its end: exit code (128 and the signal's number when one ended it, as
--- in a shell), standard output, standard error.
---@param args string[]
---@param options? SpawnOptions
function evrt.run(args, options)
    local node = evrt.spawn(merge(options or {}, { args = args }))
    node:wait()
    local code = node.signal ~= 0 and 128 + node.signal or node.code
    return code, table.concat(node.out, "\n"), table.concat(node.err, "\n")
end

--- Lays out a node's folder without starting it. `config`: a table merged into evrt.defaults, or YAML text.
---@param options {config?: table|string, handlers?: table<string, string>, files?: table<string, string>,
---  dir?: string}
---@return string dir
function evrt.lay(options)
    local dir = options.dir or evrt.folder()
    local config = options.config
    if type(config) ~= "string" then config = evrt.yaml(merge(evrt.defaults, config)) end
    evrt.write(dir .. "/evrt.yaml", config)
    if not uv.fs_stat(dir .. "/handlers") then assert(uv.fs_mkdir(dir .. "/handlers", 493)) end
    for name, text in pairs(options.handlers or {}) do evrt.write(dir .. "/handlers/" .. name, text) end
    for name, text in pairs(options.files or {}) do evrt.write(dir .. "/" .. name, text) end
    return dir
end

--- Starts a node and waits until it is ready (not with `wait = false`).
---@param options? {config?: table|string, handlers?: table<string, string>, files?: table<string, string>,
---  dir?: string, args?: string[], env?: table, wrap?: string[], wait?: boolean, seconds?: number}
---@return Node
function evrt.start(options)
    options = options or {}
    local dir = evrt.lay(options)
    local args = { "run", dir .. "/evrt.yaml" }
    for _, word in ipairs(options.args or {}) do args[#args + 1] = word end
    local node = evrt.spawn { args = args, env = options.env, wrap = options.wrap, cwd = dir }
    node.dir, node.options = dir, options
    if options.wait ~= false then node:await_ready(options.seconds) end
    return node
end

--- What it said so far, for messages.
function Node:said()
    local out, err = table.concat(self.out, "\n"), table.concat(self.err, "\n")
    return (#out > 8000 and "...\n" .. out:sub(-8000) or out) .. (err ~= "" and "\nstderr:\n" .. err or "")
end

--- Waits until holds() is true; fails at once when the node ends.
function Node:await(what, holds, seconds)
    local function full() return what .. "; the node said:\n" .. self:said() end
    return loop.await(full, function()
        local result = holds()
        if not result and self.code then
            error(("the node ended (code %d, signal %d) before %s"):format(self.code, self.signal, full()), 0)
        end
        return result
    end, seconds)
end

function Node:await_ready(seconds)
    for _, line in ipairs { self:await_log({ msg = "evrt ready" }, seconds) } do self.ready = line end
    for _, line in ipairs(self.lines) do
        if line.msg == "Listening" then
            self.ingest, self.admin = tonumber(line.ingest:match ":(%d+)$"), tonumber(line.admin:match ":(%d+)$")
        end
    end
    return self
end

local function matches(line, wanted)
    for k, v in pairs(wanted) do
        if line[k] ~= v then return false end
    end
    return true
end

--- The log lines that have all of these fields.
function Node:logged(wanted)
    local found = {}
    for _, line in ipairs(self.lines) do
        if matches(line, wanted) then found[#found + 1] = line end
    end
    return found
end

--- Waits for `count` (1) log lines that have all of these fields; returns the last of them.
function Node:await_log(wanted, seconds, count)
    local at, seen, last = 0, 0, nil
    return self:await("the log line " .. cjson.encode(wanted), function()
        while at < #self.lines do
            at = at + 1
            if matches(self.lines[at], wanted) then seen, last = seen + 1, self.lines[at] end
        end
        return seen >= (count or 1) and last
    end, seconds)
end

---@return Response
function Node:get(path, headers) return http.request(self.admin, "GET", path, nil, headers) end

---@return Response
function Node:post_admin(path, body, headers) return http.request(self.admin, "POST", path, body or "", headers) end

---@return Response
function Node:put_admin(path, body) return http.request(self.admin, "PUT", path, body or "") end
function Node:delete_admin(path) return http.request(self.admin, "DELETE", path) end

--- A request to the ingest listener.
---@return Response
function Node:post(path, body, headers) return http.request(self.ingest, "POST", path, body, headers) end

--- Publishes an event (a table of CloudEvents attributes; `data` any JSON value) and returns the response.
---@return Response
function Node:publish(event, query)
    local full = merge({ specversion = "1.0", id = event.id, source = "spec" }, event)
    full.id = full.id or ("%d-%d"):format(uv.hrtime() % 2 ^ 40, math.random(2 ^ 30))
    return self:post("/events" .. (query or ""), cjson.encode(full),
        { ["Content-Type"] = "application/cloudevents+json" })
end

--- The media type of many events in one request.
evrt.batch = { ["Content-Type"] = "application/cloudevents-batch+json" }

--- Publishes many events in one request: a list of tables, or JSON text as it is.
---@param events table[]|string
---@return Response
function Node:post_batch(events)
    return self:post("/events", type(events) == "string" and events or cjson.encode(events), evrt.batch)
end

--- Publishes an event that has to be accepted; returns its sequence.
---@return integer
function Node:accept(event)
    local answer = self:publish(event)
    assert(answer.status == 202, answer.body)
    return tonumber(answer.json.seq)
end

--- The handler of that name, as it is listed.
function Node:handler(name)
    for _, one in ipairs(self:get("/api/v1/handlers").json.items) do
        if one.name == name then return one end
    end
end

--- What became of an event at a handler.
function Node:outcome(seq, handler)
    for _, one in ipairs(self:get("/api/v1/events/" .. seq).json.handlers) do
        if one.handler == handler then return one end
    end
end

--- Waits until every delivery has ended; the books are true all the time. Returns the statistics.
function Node:await_end(seconds)
    return self:await("the end of all deliveries", function()
        local s = self:get("/api/v1/stats").json
        local open = s.pending + s.running + s.retrying
        assert(s.matched == open + s.done + s.dead + s.discarded, "the books are not true: " .. cjson.encode(s))
        return open == 0 and s
    end, seconds)
end

--- Sends a signal by libuv's name: "sigterm", "sighup", "sigkill".
function Node:kill(signal)
    if not self.exit_code then self.handle:kill(signal or "sigterm") end
end

--- Waits for the end; returns exit code and signal number.
function Node:wait(seconds)
    loop.await(function() return "the process to end; it said:\n" .. self:said() end,
        function() return self.code end, seconds)
    nodes[self] = nil
    suspects[#suspects + 1] = self
    return self.code, self.signal
end

--- SIGTERM, then waits; returns exit code and signal number.
function Node:stop(signal, seconds)
    self:kill(signal or "sigterm")
    return self:wait(seconds)
end

--- Starts again on the same folder, after an end of any kind.
function Node:restart(changes)
    local options = merge(self.options, changes)
    options.dir = self.dir
    -- Scripts stay as they are on the disk by now.
    options.handlers = changes and changes.handlers
    return evrt.start(options)
end

--- Ends every node left and removes every folder. Raises when a sanitizer had something to say.
function evrt.cleanup()
    local left = {}
    for node in pairs(nodes) do left[#left + 1] = node end
    for _, node in ipairs(left) do
        node:kill "sigkill"
        node:wait()
    end
    for _, dir in ipairs(folders) do os.execute("rm -rf '" .. dir .. "'") end
    local ended = suspects
    folders, suspects = {}, {}
    for _, node in ipairs(ended) do
        for _, lines in ipairs { node.err, node.out } do -- a worker's report may come as a line of the log
            for _, line in ipairs(lines) do
                if line:find "Sanitizer" or line:find ": runtime error: " then
                    error("a sanitizer's report: " .. table.concat(lines, "\n"), 0)
                end
            end
        end
    end
end

return evrt
