-- A part of the events reaches what is inside: `evrt.policy.sample { rate = 0.1 }`. The others count as
-- handled. With `key`, all events of a key share their fate: `key = "data.user_id"`.
--
-- Across workers and reloads: the choice is made by the event (its source and id, or its key) and by nothing
-- else, so every worker, every attempt and every generation chooses the same. A higher rate takes in all that
-- a lower one did.
local fraction = require "evrt.c.policy".fraction
local key = require "evrt.worker.key"
local note = require "evrt.c.delivery".note

return {
    name = "sample",
    opts = {
        rate = { "number", min = 0, max = 1, required = true },
        key = { { "key", "function" } },
    },
    wrap = function(next, opts)
        local left_out = ("sample: not among the %g %%"):format(opts.rate * 100)
        local rate, key_of = opts.rate, opts.key and key.reader(opts.key)
        return function(event, ctx)
            local name = key_of and key_of(event) or event.source .. "\0" .. event.id
            if fraction(name) < rate then return next(event, ctx) end
            note(left_out)
            return nil
        end
    end,
}
