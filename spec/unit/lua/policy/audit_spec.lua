local cjson = require "cjson"
local support = require "spec.unit.lua.policy.support"

local function lines(w)
    local list = {}
    for i, line in ipairs(w.logs) do
        list[i] = cjson.decode("{" .. line.fields .. "}")
        list[i].message, list[i].level, list[i].caller = line.message, line.level, line.caller
        assert.matches("^%d+%.%d%d%ds$", list[i].duration)
        list[i].duration = nil
    end
    w.logs = {}
    return list
end

describe("policy audit", function()
    it("logs what became of each attempt", function()
        local w = support.start("'audit'", "if event.id == 'bad' then error 'boom' end "
            .. "if event.id == 'no' then return nil, 'no' end")
        w:handle { type = "a" }
        w:handle({ type = "a", id = "bad" }, { attempt = 2 })
        local failed = w:handle { type = "a", id = "no" }
        assert.same({
            { message = "Audit", level = 1, caller = "h.lua:2", outcome = "success", attempt = 1 },
            { message = "Audit", level = 1, caller = "h.lua:2", outcome = "error", attempt = 2,
                error = "h.lua:3: boom" },
            { message = "Audit", level = 1, caller = "h.lua:2", outcome = "error", attempt = 1, error = "no" },
        }, lines(w))
        assert.equal("h.lua:2: no", failed.message)
        w:stop()
    end)

    it("passes on a failure as it was", function()
        local w = support.start("'audit', 'audit'", "error 'boom'")
        local failed = w:handle { type = "a" }
        assert.equal("h.lua:3: boom", failed.message)
        assert.matches("^h.lua:3: in function", failed.traceback)
        w:stop()
    end)

    it("takes level, message and fields", function()
        local w = support.start("evrt.policy.audit { level = 'warn', message = 'Seen', "
            .. "fields = function(e) return { who = e.data.who } end }")
        w:handle { type = "a", data = '{"who":"me"}' }
        assert.same({ { message = "Seen", level = 2, caller = "h.lua:2", outcome = "success", attempt = 1,
            who = "me" } }, lines(w))
        w:stop()
        w = support.start("evrt.policy.audit { level = 'debug' }", nil, { hello = { log_level = 1 } })
        w:handle { type = "a" }
        assert.same({}, lines(w))
        w:stop()
        assert.equal('h.lua:2: policy "audit": option "level": expected one of "debug", "info", "warn", "error", got '
            .. '"loud"', support.refused "evrt.policy.audit { level = 'loud' }")
    end)
end)
