-- One node for all the specs of a block, under the leak guard, stopped at its end:
--
--     local node = require "spec.support.shared"(setup, teardown, { handlers = { ... } })
--
-- The hooks are parameters because a module does not see busted's environment.
local evrt = require "spec.support.evrt"
local leak = require "spec.support.leak"

---@return Node there from setup on
return function(setup, teardown, options)
    local node
    leak.guard(setup, function(check)
        teardown(function()
            local code, signal = node:stop()
            assert(code == 0 and signal == 0, "the node did not end well: " .. node:said())
            check()
        end)
    end)
    setup(function() node = evrt.start(options) end)
    return setmetatable({}, { __index = function(_, key) return node[key] end })
end
