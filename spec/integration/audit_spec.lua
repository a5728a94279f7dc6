-- What an operator does is logged, all of it: one line "Operator action" for each request that changes something, with
-- who, what, to what and what came of it; also for what was refused.
local audits = require "spec.support.audits"
local evrt = require "spec.support.evrt"

describe("the log of what operators do", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function check(node, entry, request, outcome)
        local function lines() return node:logged { msg = "Operator action", action = entry[3] } end
        local before = #lines()
        local response = request(node)
        node:await("its line: " .. entry[1], function() return #lines() > before end)
        assert.equal(before + 1, #lines(), entry[1])
        local line = lines()[before + 1]
        assert.truthy(line.target:find(outcome and entry[4] or "."), entry[1] .. ": " .. line.target)
        assert.truthy(line.outcome:find(outcome or "%w"), entry[1] .. ": " .. line.outcome)
        assert.truthy(line.peer:find "^127%.0%.0%.1:%d+$", line.peer)
        assert.equal("info", line.level)
        return response, line
    end

    it("has a line for each of them", function()
        local node = evrt.start { handlers = audits.handlers, config = { reload = { watch = false } } }
        for _, kind in ipairs(audits.events) do node:accept { type = kind } end
        node:await("what is to fail to have failed", function()
            return #node:get "/api/v1/dead-letters".json.items == 3 and #node:get "/api/v1/retries".json.items == 2
        end)
        for _, entry in ipairs(audits.list) do
            local response, line = check(node, entry, entry[2], entry[5])
            assert.truthy(response.status == 200 or response.status == 202, entry[1] .. ": " .. response.body)
            if entry.refused then
                local refusal, other = check(node, entry, entry.refused, nil)
                assert.is_true(refusal.status ~= 202, entry[1])
                assert.are_not.equal(line.outcome, other.outcome, entry[1])
            end
        end
        assert.equal(0, (node:stop()))
    end)
end)
