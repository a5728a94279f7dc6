-- Two handlers in one file. The first tells people about labels that IssueTriage proposed; raising an
-- error fails this delivery alone, not IssueTriage's. The second sees every event there is.
local evrt = require "evrt"

local announce = {
    name = "Announcer",
    events = { "triage.*" },
    timeout = "10s",
    handle = function(event, ctx)
        local proposal = event.data
        if not proposal.label then
            evrt.reject "a proposal without a label"
        end
        -- Here a real handler would call out; ctx.idempotency_key is what to send along, as a delivery
        -- may be repeated after a crash.
        ctx.log.info("label announced", {
            issue = event.subject,
            label = proposal.label,
            key = ctx.idempotency_key,
        })
    end,
}

local audit = {
    name = "AuditTrail",
    events = { "**" },
    handle = function(event, ctx)
        ctx.log.info("seen", { seq = event.seq, source = event.source, bytes = event.raw and #event.raw or 0 })
    end,
}

return { announce, audit }
