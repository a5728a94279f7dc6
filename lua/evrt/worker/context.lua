-- The second argument of a handler.
local ctrace = require "evrt.c.trace"
local event = require "evrt.c.event"
local kv = require "evrt.kv"
local log = require "evrt.log"
local publish = require "evrt.publish"
local scripts = require "evrt.worker.scripts"
local trace = require "evrt.worker.trace"

local context = {}

-- Fields that may be nil: asking for them is no mistake.
local optional = { deadline = true }

--- The metatable of every ctx of a handler. A ctx holds the encoded event, attempt and deadline; what is
--- the same for all deliveries is here, what is rarely asked for is made when it is.
function context.class(handler)
    local shared = { handler = handler.name, replay = false, log = log, span = trace.span, state = {},
        kv = kv.of(handler.name), publish = publish.emitter(handler) }
    return {
        __index = function(ctx, key)
            local value = shared[key]
            if value ~= nil then return value end
            if key == "idempotency_key" then
                value = event.idempotency_key(ctx[0], handler.name)
                ctx[key] = value
                return value
            end
            if key == "trace_id" or key == "span_id" then
                local trace_id, span_id = ctrace.ids(ctx[0], ctx.attempt)
                return key == "trace_id" and trace_id or key == "span_id" and span_id or nil
            end
            if optional[key] then return nil end
            error(("%s: ctx has no field %q"):format(scripts.where(1) or "?", tostring(key)), 0)
        end,
        __tostring = function(ctx)
            return ("ctx of %s, attempt %d"):format(handler.name, ctx.attempt)
        end,
    }
end

return context
