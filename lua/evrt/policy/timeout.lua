-- A deadline for what is inside: `evrt.policy.timeout { after = "5s" }`. After it the next wait inside raises,
-- and so does every later one; catching that changes nothing. What does not wait is not interrupted (a
-- worker that hangs is what workers.stall_timeout is for). A handler's own `timeout` holds as well: the
-- earlier one counts.
--
-- Across workers and reloads: there is nothing to share; each delivery has its own.
local c = require "evrt.c.policy"
local errors = require "evrt.worker.errors"

local explain = errors.explain

return {
    name = "timeout",
    opts = { after = { "duration", required = true } },
    wrap = function(next, opts)
        local text = ("timeout: not done within %gs"):format(opts.after)
        return function(event, ctx)
            local before, now = c.limit(opts.after)
            ctx.deadline = now
            local ok, a, b, d = xpcall(next, explain, event, ctx)
            local told = c.unlimit(before)
            ctx.deadline = before
            if told then
                local own = before == nil or now < before
                error(setmetatable({ text = own and text or nil }, errors.Timeout), 0)
            end
            if not ok then error(a, 0) end
            return a, b, d
        end
    end,
}
