-- The ledger example, with fewer kills than its hundred unless there is time (EVRT_SOAK=1): no money comes or
-- goes, each transfer and each receipt is there once.
local c = require "spec.support.c"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"

-- Builds that are slow (EVRT_SPEC_PATIENCE) have other specs for what they look for.
local kills = faults.soak and 100 or os.getenv "EVRT_SPEC_PATIENCE" and 10 or 40

describe("examples/ledger", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("keeps its sum while workers and the node are killed", function()
        local node = evrt.spawn { program = "sh", args = { "examples/ledger/run.sh" },
            env = { EVRT_BUILD = c.build_dir(), LEDGER_KILLS = tostring(kills) } }
        assert.equal(0, (node:wait(600)), node:said())
        local said = node:said()
        assert.truthy(said:find("sum before: 1000000 in 1000 accounts", 1, true), said)
        for n = 10, kills, 10 do
            assert.truthy(said:find(("sum after %d kills: 1000000 in 1000 accounts"):format(n), 1, true), said)
        end
        assert.truthy(said:find("sum at the end: 1000000 in 1000 accounts", 1, true), said)
        local held = said:match "ledger: (%d+ kills, the sum never changed[^\n]*)"
        assert(held, said)
        faults.say("ledger: %s", held)
    end)
end)
