-- examples/runaway: run as a reader would.
local evrt = require "spec.support.evrt"
local uv = require "luv"

describe("the runaway example", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("shows what evrt makes of five bad handlers #plain", function()
        local node = evrt.spawn { program = "sh", args = { "examples/runaway/run.sh" },
            env = { EVRT_BUILD = uv.fs_realpath(evrt.binary():match "^(.*)/[^/]*$") } }
        assert.equal(0, (node:wait(120)), node:said())
        local said = node:said()
        for _, wanted in ipairs { "EndlessLoop +dead +3 +stalled ", "Backtracking +dead +3 +stalled ",
            "Exits +dead +3 +crashed ", "Segfault +dead +3 +crashed ", "MemoryHog +dead +3 +memory ",
            "the good handler: 105 of 105 events handled" } do
            assert.truthy(said:find(wanted), wanted .. " in:\n" .. said)
        end
    end)
end)
