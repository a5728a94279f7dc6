-- A small HTTP/1.1 client over luv, for specs: one connection, requests as text or as bytes on purpose
-- malformed, pipelining, keep-alive. Blocking calls turn the loop.
local uv = require "luv"
local cjson = require "cjson"
local loop = require "spec.support.loop"

local http = {}
local Connection = {}
Connection.__index = Connection

---@class Response
---@field status integer
---@field headers table<string, string> lower-case names; repeated ones joined by ", "
---@field body string
---@field json any the body decoded, when its type says JSON

--- Connects to 127.0.0.1:port.
function http.connect(port)
    local c = setmetatable({ buffer = "", port = port }, Connection)
    c.tcp = uv.new_tcp()
    local connected
    c.tcp:connect("127.0.0.1", port, function(err)
        connected = err or "yes"
        if err then return end
        c.tcp:nodelay(true)
        c.tcp:read_start(function(read_err, data)
            if data then
                c.buffer = c.buffer .. data
            else
                c.ended = read_err or "eof"
            end
        end)
    end)
    loop.await("a connection to port " .. port, function() return connected end)
    if connected ~= "yes" then
        c:close()
        error(("cannot connect to port %d: %s"):format(port, connected), 2)
    end
    return c
end

--- Sends bytes as they are, without waiting.
function Connection:send(bytes)
    self.tcp:write(bytes)
end

-- One response at the front of the buffer: response and the bytes it took, or nil.
local function parse(buffer, ended, head_only)
    local head_end = select(2, buffer:find("\r\n\r\n", 1, true))
    if not head_end then return nil end
    local head = buffer:sub(1, head_end - 2)
    local r = { status = tonumber(head:match "^HTTP/1%.[01] (%d%d%d)"), headers = {} }
    for name, value in head:gmatch "\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
        name = name:lower()
        r.headers[name] = r.headers[name] and r.headers[name] .. ", " .. value or value
    end
    local at, length = head_end + 1, tonumber(r.headers["content-length"])
    if head_only or r.status == 204 or r.status == 304 or (r.status and r.status < 200) then
        r.body = ""
    elseif r.headers["transfer-encoding"] == "chunked" then
        local parts = {}
        while true do
            local _, size_end, size = buffer:find("^(%x+)[^\r\n]*\r\n", at)
            if not size then return nil end
            size = tonumber(size, 16)
            if #buffer < size_end + size + 2 then return nil end
            parts[#parts + 1] = buffer:sub(size_end + 1, size_end + size)
            at = size_end + size + 3
            if size == 0 then break end
        end
        r.body = table.concat(parts)
    elseif length then
        if #buffer < head_end + length then return nil end
        r.body, at = buffer:sub(at, head_end + length), head_end + length + 1
    elseif ended then
        r.body, at = buffer:sub(at), #buffer + 1
    else
        return nil
    end
    if r.body ~= "" and (r.headers["content-type"] or ""):find "[/+]json" then -- not lines of it
        r.json = cjson.decode(r.body)
    end
    return r, at - 1
end

--- The next response, or nil and why when the peer closed first.
---@return Response?
function Connection:response(options)
    options = options or {}
    local response
    loop.await("an HTTP response", function()
        local taken
        response, taken = parse(self.buffer, self.ended, options.head_only)
        if response then self.buffer = self.buffer:sub(taken + 1) end
        return response or self.ended
    end, options.seconds)
    if not response then return nil, self.ended, self.buffer end
    return response
end

--- The text of a request.
function http.format(method, path, body, headers)
    local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: localhost" }
    for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
    if body then lines[#lines + 1] = "Content-Length: " .. #body end
    return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- Sends a request and waits for its response.
---@return Response?
function Connection:request(method, path, body, headers, options)
    self:send(http.format(method, path, body, headers))
    return self:response { head_only = method == "HEAD", seconds = options and options.seconds }
end

--- Waits until the peer has closed.
function Connection:await_close(seconds)
    return loop.await("the peer to close", function() return self.ended end, seconds)
end

function Connection:close()
    if self.tcp:is_closing() then return end
    self.tcp:close()
    loop.settle()
end

--- One request on a connection of its own.
---@return Response
function http.request(port, method, path, body, headers)
    local c = http.connect(port)
    local all = { Connection = "close" }
    for k, v in pairs(headers or {}) do all[k] = v end
    local response, why = c:request(method, path, body, all)
    c:close()
    return assert(response, why)
end

--- The same GET on so many connections at once.
---@return Response[]
function http.get_at_once(port, count, path)
    local connections, responses = {}, {}
    for i = 1, count do
        connections[i] = http.connect(port)
        connections[i]:send(http.format("GET", path))
    end
    for i, connection in ipairs(connections) do
        responses[i] = assert(connection:response())
        connection:close()
    end
    return responses
end

return http
