-- Starts the Lua side of a worker. Run by runtime/worker/state.c with the binding of scripts as its
-- argument, before there is any `require`; gives back load() and the loop that runners run.
local script = ...

local scripts = script.embedded "evrt.worker.scripts" (script)
script.embedded "evrt.worker.require" (script, scripts)
package.loaded["evrt.worker.scripts"] = scripts

-- Before any script: it starts LuaJIT's 64-bit integers in a way that keeps `ffi` off.
require "evrt.c.json"
require "evrt.worker.coroutine"
require "evrt"
local loader = require "evrt.worker.loader"
local log = require "evrt.log"

math.randomseed(require "evrt.c.clock".seed())

-- What scripts print goes where their log lines go.
function _G.print(...)
    local words = {}
    for i = 1, select("#", ...) do
        words[i] = tostring((select(i, ...)))
    end
    log.info(table.concat(words, "\t"))
end

return loader.load, require "evrt.worker.runner"
