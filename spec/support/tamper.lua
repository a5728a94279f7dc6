-- Makes system calls of a node fail, take long or kill it, on some files only: strace, attached to a running
-- node or around one from its start.
--
--     tamper(node, node.dir .. "/data/journal/0000000000000002.seg", "pwritev2:error=EIO")
--     evrt.start { wrap = tamper.wrap({ dir .. "/data/state.db" }, dir .. "/trace", "fsync:signal=KILL:when=3") }
--
-- The files need not be there yet. strace counts calls (`when`) for each thread. Not for sanitizers' builds.
local evrt = require "spec.support.evrt"

local tamper = {}

--- A command for evrt.start's `wrap`. The process that is started, node.pid, is strace; evrt ends with it.
---@param paths string[]
---@param out string file of the trace: calls on these files
---@param calls string calls to trace, joined by commas
---@param ... string what strace takes as inject=
---@return string[]
function tamper.wrap(paths, out, calls, ...)
    local args = { "strace", "-f", "-y", "-o", out, "-e", "trace=" .. calls }
    for _, path in ipairs(paths) do
        args[#args + 1] = "-P"
        args[#args + 1] = path
    end
    for _, injection in ipairs { ... } do
        args[#args + 1] = "-e"
        args[#args + 1] = "inject=" .. injection
    end
    for _, word in ipairs { "setpriv", "--pdeathsig", "KILL", "--" } do args[#args + 1] = word end
    return args
end

---@param ... string what strace takes as inject=
local function attach(_, node, path, ...)
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

return setmetatable(tamper, { __call = attach })
