-- evrt.policy: builds policies with options, for a handler's `policies` or a policy file's `policy`. Any
-- name may be asked for: those of the policies folder are known once scripts have loaded, which is when
-- names and options are checked.
local build = require "evrt.worker.policies".build

---@type evrt.policies
return setmetatable({}, {
    __index = function(policy, name)
        local function builder(opts) return build(name, opts) end
        rawset(policy, name, builder)
        return builder
    end,
    __newindex = function()
        error("evrt.policy: a policy is declared by a file in the policies folder", 2)
    end,
})
