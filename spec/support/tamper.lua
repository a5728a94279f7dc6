-- Makes system calls of a running node fail or take long, on one file only: strace, attached to it.
--
--     tamper(node, node.dir .. "/data/journal/0000000000000002.seg", "pwritev2:error=EIO")
--
-- It ends with the node. The file need not be there yet. Not for sanitizers' builds.
local evrt = require "spec.support.evrt"

---@param ... string what strace takes as inject=
return function(node, path, ...)
    local args = { "-f", "-p", tostring(node.pid), "-o", "/dev/null", "-P", path }
    for _, injection in ipairs { ... } do
        args[#args + 1] = "-e"
        args[#args + 1] = "inject=" .. injection
    end
    local strace = evrt.spawn { program = "strace", args = args }
    strace:await("strace to attach", function()
        for _, line in ipairs(strace.err) do
            if line:find(("Process %d attached"):format(node.pid), 1, true) then return true end
        end
    end)
    return strace
end
