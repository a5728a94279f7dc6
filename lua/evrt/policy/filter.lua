-- Only events for which a function says so reach what is inside: `evrt.policy.filter { where = function(event)
-- return event.data.amount > 100 end }`. The others count as handled.
--
-- Across workers and reloads: nothing is kept. An event is judged by the script in service when it is
-- delivered.
local note = require "evrt.c.delivery".note

return {
    name = "filter",
    opts = { where = { "function", required = true } },
    wrap = function(next, opts)
        local where = opts.where
        return function(event, ctx)
            if where(event, ctx) then return next(event, ctx) end
            note "filter: not wanted"
            return nil
        end
    end,
}
