-- A line in the log for every attempt, with its outcome and how long it took: `evrt.policy.audit { level = "info",
-- fields = function(event) return { user = event.data.user_id } end }`. Event, handler and generation are in the
-- line anyway. Logging is sampled as configured (logging.sampling).
--
-- Across workers and reloads: each attempt is logged by the worker that makes it, once it has ended. A worker
-- that dies in the attempt logs nothing; the host then does.
local clog = require "evrt.c.log"
local errors = require "evrt.worker.errors"
local monotonic = require "evrt.c.clock".monotonic

local levels = { debug = 0, info = 1, warn = 2, error = 3 }
local explain = errors.explain

local function fields_of(opts, event, ctx)
    local given = opts.fields and opts.fields(event, ctx)
    local fields = {}
    for name, value in pairs(type(given) == "table" and given or {}) do fields[name] = value end
    return fields
end

return {
    name = "audit",
    opts = {
        level = { "choice", of = { "debug", "info", "warn", "error" }, default = "info" },
        message = { "string", default = "Audit" },
        fields = { "function" },
    },
    wrap = function(next, opts, place)
        local level = levels[opts.level]
        return function(event, ctx)
            if not clog.enabled(level) then return next(event, ctx) end
            local fields = fields_of(opts, event, ctx)
            local started = monotonic()
            local ok, a, b, c = xpcall(next, explain, event, ctx)
            fields.attempt = ctx.attempt
            fields.duration = ("%.3fs"):format(monotonic() - started)
            fields.outcome = "success"
            if not ok or a == nil and b ~= nil then
                fields.outcome = "error"
                fields.error = ok and errors.text(b) or a.message
            end
            clog.write(level, place.position, opts.message, fields)
            if not ok then error(a, 0) end
            return a, b, c
        end
    end,
}
