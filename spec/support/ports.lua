-- Ports for specs that need to know one before the node starts (a port taken, a restart on the same one).
-- Where possible listen on port 0 and ask the node instead.
local uv = require "luv"
local loop = require "spec.support.loop"

local ports = {}

-- Below where connections and port 0 take theirs (ip_local_port_range): what is free there stays free until a
-- node of this spec takes it, whatever else runs on this machine. Each process begins somewhere else.
local FIRST, COUNT = 12000, 20000
local at = (uv.os_getpid() * 101 + math.floor(uv.hrtime() / 1000)) % COUNT

local function listen(port)
    local tcp = uv.new_tcp()
    if tcp:bind("127.0.0.1", port) and tcp:listen(16, function() end) then return tcp end
    tcp:close()
    return nil
end

-- The first of `n` ports in a row that are free now.
local function row(n)
    while true do
        local held, first = {}, FIRST + at % COUNT
        for i = 1, n do held[#held + 1] = listen(first + i - 1) end
        for _, tcp in ipairs(held) do tcp:close() end
        loop.settle()
        at = at + n
        if #held == n then return first end
    end
end

--- A TCP listener on a free port of 127.0.0.1: port, and a function that closes it.
function ports.occupy()
    local tcp = assert(listen(0))
    return tcp:getsockname().port, function()
        tcp:close()
        loop.settle()
    end
end

--- A port that is free now.
function ports.free()
    return row(1)
end

--- A port that is free now, as is the next one.
function ports.two()
    return row(2)
end

return ports
