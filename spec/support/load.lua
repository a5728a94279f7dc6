-- A client under load: many keep-alive connections to a node's ingest listener, each with one request on
-- its way, journaling what it sent and what was acknowledged. Built for nodes that die in the middle.
--
--     local load = require "spec.support.load"
--     local client = load.new { connections = 16, types = { "load.a", "load.b" } }
--     client:start(port) ... client:stop()        -- any number of times; stop drops what is on its way
--
-- client.sent[id] = type, before the first byte leaves; client.acked[id] = seq, after a 2xx. Ids are never
-- used twice. What was sent and not answered may or may not have been stored: nobody knows (D2).
local uv = require "luv"
local cjson = require "cjson"
local loop = require "spec.support.loop"

local load = {}

local Client = {}
Client.__index = Client

--- `keys`: data.k of the n-th event is n modulo it.
---@param options {connections: integer, types: string[], batch?: integer, pad?: integer, prefix?: string,
---  keys?: integer}
function load.new(options)
    local client = setmetatable({
        options = options, sent = {}, acked = {}, bad = {}, sent_count = 0, acked_count = 0, bad_count = 0,
        requests = 0, refused = 0, unexpected = {}, connections = {},
    }, Client)
    client.pad = ("x"):rep(options.pad or 150)
    return client
end

-- The next event's text. Now and then one that must be refused, and so must never be handled.
function Client:event(allow_bad)
    local n = self.sent_count + self.bad_count + 1
    local id = ("%s%d"):format(self.options.prefix or "e", n)
    if allow_bad and n % 97 == 0 then
        self.bad[id] = true
        self.bad_count = self.bad_count + 1
        return ('{"specversion":"1.0","id":"%s","source":"load","data":{}}'):format(id), nil
    end
    local types = self.options.types
    local kind = types[n % #types + 1]
    self.sent[id] = kind
    self.sent_count = self.sent_count + 1
    return ('{"specversion":"1.0","id":"%s","source":"load","type":"%s","data":{"n":%d,"k":%d,"pad":"%s"}}')
        :format(id, kind, n, n % (self.options.keys or 1), self.pad), id
end

function Client:ack(id, seq)
    self.acked[id] = seq
    self.acked_count = self.acked_count + 1
end

-- What the answer says of the ids that were asked about, in order; false stands for a bad event.
function Client:take_answer(status, body, ids)
    if status == 503 or status == 429 then
        self.refused = self.refused + 1
        return
    end
    local answer = cjson.decode(body)
    if not ids.batch then answer = { answer } end
    for i, id in ipairs(ids) do
        local item = answer[i]
        if id and item and type(item.seq) == "number" then
            if item.id ~= id then self.unexpected[#self.unexpected + 1] = body:sub(1, 300) end
            self:ack(id, item.seq)
        elseif id or (item and item.seq) then
            self.unexpected[#self.unexpected + 1] = status .. " " .. body:sub(1, 300)
        end
    end
end

function Client:request()
    local ids, texts = {}, {}
    self.requests = self.requests + 1
    local batch = self.options.batch and self.requests % 4 == 0 and self.options.batch
    for i = 1, batch or 1 do
        local text, id = self:event(true)
        ids[i], texts[i] = id or false, text
    end
    ids.batch = batch and true
    local body = batch and "[" .. table.concat(texts, ",") .. "]" or texts[1]
    return ("POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/cloudevents%s+json\r\n"
        .. "Content-Length: %d\r\n\r\n"):format(batch and "-batch" or "", #body) .. body, ids
end

-- One connection: sends, waits for the answer, sends the next.
function Client:open()
    local c = { tcp = uv.new_tcp(), buffer = "" }
    self.connections[#self.connections + 1] = c
    local function send()
        if self.stopping or c.tcp:is_closing() then return end
        local text
        text, c.ids = self:request()
        c.tcp:write(text)
    end
    local function receive(data)
        c.buffer = c.buffer .. data
        local head_end = select(2, c.buffer:find("\r\n\r\n", 1, true))
        if not head_end then return end
        local head = c.buffer:sub(1, head_end):lower()
        local length = tonumber(head:match "\ncontent%-length: *(%d+)")
        if #c.buffer < head_end + length then return end
        self:take_answer(tonumber(head:match "^http/1%.1 (%d+)"), c.buffer:sub(head_end + 1, head_end + length), c.ids)
        c.buffer, c.ids = "", nil
        send()
    end
    local function close()
        if not c.tcp:is_closing() then c.tcp:close() end
        c.closed = true
    end
    c.close = close
    c.tcp:connect("127.0.0.1", self.port, function(err)
        if err or c.tcp:is_closing() then return close() end
        c.tcp:nodelay(true)
        c.tcp:read_start(function(read_err, data)
            if read_err or not data then return close() end
            receive(data)
        end)
        send()
    end)
end

--- Begins to send.
function Client:start(port)
    self.port, self.stopping, self.connections = port, false, {}
    for _ = 1, self.options.connections do self:open() end
end

--- Whether something is on its way.
function Client:busy()
    for _, c in ipairs(self.connections) do
        if c.ids and not c.closed then return true end
    end
    return false
end

--- Ends: with `finish`, waits for the answers on their way, else drops them.
function Client:stop(finish)
    self.stopping = true
    if finish then
        loop.await("answers on their way", function() return not self:busy() end)
    end
    for _, c in ipairs(self.connections) do c.close() end
    loop.settle()
    self.connections = {}
end

--- Reads the lines that handlers append to a side log, as far as they are whole. Returns a function that
--- reads what is new and calls each(line).
function load.tail(path, each)
    local at, rest = 0, ""
    return function()
        local file = io.open(path, "rb")
        if not file then return end
        file:seek("set", at)
        local text = file:read "*a"
        file:close()
        at = at + #text
        text = rest .. text
        local from = 1
        while true do
            local i = text:find("\n", from, true)
            if not i then break end
            each(text:sub(from, i - 1))
            from = i + 1
        end
        rest = text:sub(from)
    end
end

--- Process ids of a process's children.
function load.children(pid)
    local found = {}
    local tasks = uv.fs_scandir(("/proc/%d/task"):format(pid))
    while tasks do
        local tid = uv.fs_scandir_next(tasks)
        if not tid then break end
        local file = io.open(("/proc/%d/task/%s/children"):format(pid, tid))
        if file then
            for child in file:read("*a"):gmatch "%d+" do found[#found + 1] = tonumber(child) end
            file:close()
        end
    end
    return found
end

return load
