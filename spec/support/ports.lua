-- Ports for specs that need to know one before the node starts (a port taken, a restart on the same one).
-- Where possible listen on port 0 and ask the node instead.
local uv = require "luv"
local loop = require "spec.support.loop"

local ports = {}

--- A TCP listener on a free port of 127.0.0.1: port, and a function that closes it.
function ports.occupy()
    local tcp = uv.new_tcp()
    assert(tcp:bind("127.0.0.1", 0))
    assert(tcp:listen(16, function() end))
    return tcp:getsockname().port, function()
        tcp:close()
        loop.settle()
    end
end

--- A port that is free now.
function ports.free()
    local port, release = ports.occupy()
    release()
    return port
end

--- A port that is free now, as is the next one.
function ports.two()
    while true do
        local port, release = ports.occupy()
        local next_one = uv.new_tcp()
        local free = next_one:bind("127.0.0.1", port + 1) and next_one:listen(1, function() end)
        next_one:close()
        release()
        if free then return port end
    end
end

return ports
