-- The leak guard: after each spec, no child process, no file descriptor and no luv handle more than before.
--
--     require "spec.support.leak".guard(before_each, after_each)
--
-- Put it first in the outermost describe: busted runs after_each hooks from the inside out, so what a spec
-- cleans up itself is gone by then. Nodes that a spec left running are ended here, too.
local uv = require "luv"
local loop = require "spec.support.loop"

local leak = {}

-- libuv keeps some descriptors from the first turn, the first listener and the first child on; have them
-- before anyone counts.
do
    local tcp = uv.new_tcp()
    tcp:bind("127.0.0.1", 0)
    tcp:listen(1, function() end)
    tcp:close()
    local child
    child = uv.spawn("true", {}, function() child:close() end)
    uv.run()
end

local function list(dir)
    local names, request = {}, assert(uv.fs_scandir(dir))
    for name in function() return uv.fs_scandir_next(request) end do names[#names + 1] = name end
    return names
end

--- Descriptors of this process: "12 -> socket:[345]".
function leak.descriptors()
    local found = {}
    for _, fd in ipairs(list "/proc/self/fd") do
        local target = uv.fs_readlink("/proc/self/fd/" .. fd)
        if target and not target:find "^/proc/%d+/fd" then found[#found + 1] = fd .. " -> " .. target end
    end
    table.sort(found)
    return found
end

--- Processes whose parent this one is, zombies included.
function leak.children()
    local file = io.open(("/proc/self/task/%d/children"):format(uv.os_getpid()))
    local text = file and file:read "*a" or ""
    if file then file:close() end
    local found = {}
    for pid in text:gmatch "%d+" do found[#found + 1] = tonumber(pid) end
    return found
end

--- luv handles that are not closing, by type.
function leak.handles()
    local count = {}
    uv.walk(function(handle)
        if not handle:is_closing() then
            local kind = handle:get_type()
            count[kind] = (count[kind] or 0) + 1
        end
    end)
    return count
end

local function describe_growth(before, after)
    local seen = {}
    for _, fd in ipairs(before) do seen[fd] = true end
    local more = {}
    for _, fd in ipairs(after) do
        if not seen[fd] then more[#more + 1] = fd end
    end
    return table.concat(more, ", ")
end

--- Installs the hooks. They are parameters because a module does not see busted's environment.
function leak.guard(before_each, after_each)
    local fds, handles
    before_each(function()
        fds, handles = leak.descriptors(), leak.handles()
    end)
    after_each(function()
        require("spec.support.evrt").cleanup()
        loop.settle()
        collectgarbage()
        local children = leak.children()
        assert(#children == 0, "child processes left: " .. table.concat(children, ", "))
        for kind, count in pairs(leak.handles()) do
            assert(count <= (handles[kind] or 0), ("luv handles left: %d of %s"):format(count, kind))
        end
        local now = leak.descriptors()
        assert(#now <= #fds, "file descriptors left: " .. describe_growth(fds, now))
    end)
end

return leak
