-- SIGTERM under load, again and again: the node ends in order, and what it did it does not do again.
--
-- EVRT_STOPS sets how many times.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"

local STOPS = tonumber(os.getenv "EVRT_STOPS" or "") or (faults.soak and 100 or 8)

describe("SIGTERM under load", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function stops(again)
        local dir = evrt.folder()
        local books, client = oracle.under_load(dir, 16, 0.05)
        local function start()
            return evrt.start {
                dir = dir, handlers = books.scripts,
                config = {
                    workers = { count = 2 },
                    logging = { level = "info", sampling = { first = 1, then_every = 0 } },
                },
            }
        end
        local began = uv.hrtime()
        for _ = 1, STOPS do
            local node = start()
            assert.is_true(oracle.balance(node).events >= client.acked_count)
            client:start(node.ingest)
            evrt.idle(math.random() * 0.4)
            assert.is_nil(node.code)
            repeat
                node:kill "sigterm"
                evrt.idle(again and math.random() * 0.004 or 0)
            until not again or node.code
            assert.same({ 0, 0 }, { node:wait() }, node:said())
            client:stop()
        end
        local r = faults.last_life(books, client, start())
        faults.say("SIGTERM%s under load: %d cycles in %.1f s; %s", again and ", again and again," or "", STOPS,
            (uv.hrtime() - began) / 1e9, oracle.line(r))
        return r
    end

    faults.seed "SIGTERM"

    it("loses nothing, and nothing is done twice", function() assert.equal(0, stops(false).duplicates) end)

    it("that comes again until the end loses nothing", function() stops(true) end)
end)
