-- An OTLP collector for specs: takes requests on a port of its own, keeps what is in them, and answers as it is
-- told to, well or badly.
--
--     local collector = Collector.start()
--     collector.answer = function(n) return n == 1 and { status = 503, headers = { ["Retry-After"] = "1" } } end
--     collector:span { name = "EventBus.Publish" }     -- the first that has these fields, or nil
local uv = require "luv"
local loop = require "spec.support.loop"
local protobuf = require "spec.support.protobuf"

---@class Collector
---@field port integer
---@field requests table[] { headers, body, path, trace = decoded }, those that were answered well
---@field seen integer requests, answered however
---@field connections integer
---@field answer fun(n: integer, request: table): table? { status, headers, body, reset, silent }; nil: 200
local Collector = {}
Collector.__index = Collector

local function take(self, socket, buffer)
    local head, rest = buffer:match "^(.-)\r\n\r\n(.*)$"
    if not head then return buffer end
    local request = { path = head:match "^POST (%S+) HTTP/1%.1", headers = {} }
    for name, value in head:gmatch "\n([^:\r\n]+):[ \t]*([^\r\n]*)" do request.headers[name:lower()] = value end
    local length = tonumber(request.headers["content-length"])
    if #rest < length then return buffer end
    request.body = rest:sub(1, length)
    self.seen = self.seen + 1
    local a = self.answer and self.answer(self.seen, request) or {}
    local status = a.status or 200
    if a.reset then
        socket:close_reset()
        return ""
    end
    if a.silent then return rest:sub(length + 1) end
    if status == 200 then
        request.trace = self.decode and self.decode(request) or protobuf.traces(request.body)
        self.requests[#self.requests + 1] = request
    end
    local out = { ("HTTP/1.1 %d X\r\nContent-Length: %d\r\n"):format(status, #(a.body or "")) }
    for name, value in pairs(a.headers or {}) do out[#out + 1] = name .. ": " .. value .. "\r\n" end
    socket:write(table.concat(out) .. "\r\n" .. (a.body or ""))
    return rest:sub(length + 1)
end

--- Listens on 127.0.0.1 at `port`, or any free one.
---@return Collector
function Collector.start(port)
    local self = setmetatable({ requests = {}, seen = 0, connections = 0, sockets = {} }, Collector)
    self.server = uv.new_tcp()
    assert(self.server:bind("127.0.0.1", port or 0))
    self.port = self.server:getsockname().port
    assert(self.server:listen(64, function()
        local socket, buffer = uv.new_tcp(), ""
        self.server:accept(socket)
        self.connections = self.connections + 1
        self.sockets[socket] = true
        socket:read_start(function(_, data)
            if data then
                local before
                buffer = buffer .. data
                repeat
                    before = #buffer
                    buffer = take(self, socket, buffer)
                until #buffer == before or socket:is_closing()
            elseif not socket:is_closing() then
                socket:close()
            end
        end)
    end))
    self.url = ("http://127.0.0.1:%d"):format(self.port)
    return self
end

function Collector:stop()
    local open = 0
    local function close(handle)
        if handle:is_closing() then return end
        open = open + 1
        handle:close(function() open = open - 1 end)
    end
    for socket in pairs(self.sockets) do close(socket) end
    close(self.server)
    loop.await("the collector's end", function() return open == 0 end)
end

local function matches(span, wanted)
    for k, v in pairs(wanted) do
        if k == "attributes" then
            if not matches(span.attributes, v) then return false end
        elseif span[k] ~= v then
            return false
        end
    end
    return true
end

--- All spans that came and have these fields.
function Collector:spans(wanted)
    local found = {}
    for _, request in ipairs(self.requests) do
        for _, span in ipairs(request.trace.spans) do
            if matches(span, wanted or {}) then found[#found + 1] = span end
        end
    end
    return found
end

function Collector:span(wanted) return self:spans(wanted)[1] end

return Collector
