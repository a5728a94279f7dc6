-- A client of an answer that goes on (GET /api/v1/tail, POST /api/v1/backup): lines of JSON as they come.
--
--     local tail = stream.open(node.admin, "GET", "/api/v1/tail?type=a.*")
--     tail:await(3) -> three lines, decoded; tail.lines, tail.status, tail.ended
--     tail:pause() ... tail:go_on()        -- does not read meanwhile
local cjson = require "cjson"
local http = require "spec.support.http"
local loop = require "spec.support.loop"

local stream = {}
local Stream = {}
Stream.__index = Stream

--- Sends the request and waits for the answer's headers.
function stream.open(port, method, path, body, headers)
    local s = setmetatable({ lines = {}, rest = "", connection = http.connect(port) }, Stream)
    local c = s.connection
    c:send(http.format(method, path, body, headers))
    loop.await("headers", function() return c.buffer:find("\r\n\r\n", 1, true) or c.ended end)
    local _, at = c.buffer:find("\r\n\r\n", 1, true)
    assert(at, "no answer")
    s.head = c.buffer:sub(1, at)
    s.status = tonumber(s.head:match "^HTTP/1%.1 (%d+)")
    s.chunked = s.head:lower():find("transfer-encoding: chunked", 1, true) ~= nil
    c.buffer = c.buffer:sub(at + 1)
    return s
end

-- Takes whole chunks out of the buffer, and whole lines out of those.
function Stream:turn()
    local c, parts = self.connection, { self.rest }
    local at = 1
    while true do
        local _, head_end, size = c.buffer:find("^(%x+)\r\n", at)
        size = size and tonumber(size, 16)
        if not size or #c.buffer < head_end + size + 2 then break end
        if size == 0 then self.ended = true end
        parts[#parts + 1] = c.buffer:sub(head_end + 1, head_end + size)
        at = head_end + size + 3
    end
    c.buffer = c.buffer:sub(at)
    local text, from = table.concat(parts), 1
    while true do -- a pattern would look at a long piece of a line again from each of its bytes
        local newline = text:find("\n", from, true)
        if not newline then break end
        self.lines[#self.lines + 1] = cjson.decode(text:sub(from, newline - 1))
        from = newline + 1
    end
    self.rest = text:sub(from)
    return #self.lines
end

--- Waits for `count` lines in all; returns them.
function Stream:await(count, seconds)
    loop.await(("%d lines"):format(count), function()
        if self:turn() >= count then return true end
        if self.connection.ended then error(("ended after %d lines"):format(#self.lines), 0) end
    end, seconds)
    return self.lines
end

--- Waits for a line of which holds(line) is true; returns it.
function Stream:find(holds, seconds)
    local seen = 0
    return loop.await("a line", function()
        self:turn()
        while seen < #self.lines do
            seen = seen + 1
            if holds(self.lines[seen]) then return self.lines[seen] end
        end
    end, seconds)
end

--- Waits for the end: true when the node ended it well.
function Stream:finish(seconds)
    loop.await("the end", function()
        self:turn()
        return self.ended or self.connection.ended
    end, seconds)
    return self.ended == true
end

function Stream:pause() self.connection.tcp:read_stop() end

function Stream:go_on()
    local c = self.connection
    c.tcp:read_start(function(err, data)
        if data then c.buffer = c.buffer .. data else c.ended = err or "eof" end
    end)
end

function Stream:close() self.connection:close() end

return stream
