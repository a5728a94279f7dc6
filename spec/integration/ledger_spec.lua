-- The ledger example, with fewer kills unless there is time (EVRT_SOAK=1): no money comes or goes, each transfer and
-- each receipt is there once.
local c = require "spec.support.c"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"

describe("examples/ledger", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("keeps its sum while workers and the node are killed", function()
        local node = evrt.spawn { program = "sh", args = { "examples/ledger/run.sh" },
            env = { EVRT_BUILD = c.build_dir(), LEDGER_KILLS = faults.soak and "100" or "6" } }
        assert.equal(0, (node:wait(600)), node:said())
        local said = node:said()
        assert.truthy(said:find("sum before: 1000000 in 1000 accounts", 1, true), said)
        assert.truthy(said:find("sum at the end: 1000000 in 1000 accounts", 1, true), said)
        local held = said:match "ledger: (%d+ kills, the sum never changed[^\n]*)"
        assert(held, said)
        faults.say("ledger: %s", held)
    end)
end)
