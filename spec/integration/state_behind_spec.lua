-- Where state.db takes failed deliveries more slowly than workers fail, nothing more is handed out until it has
-- caught up: what waits for it is bounded, and the loop never waits for it.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local tamper = require "spec.support.tamper"

describe("a state.db that is slow #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("holds up deliveries, and loses none", function()
        local node = evrt.start {
            config = { store = { max_state_backlog = "512KiB" }, -- of 10 MiB
                logging = { level = "info", sampling = { first = 1, then_every = 0 } } },
            handlers = { ["a.lua"] = [[
                local text = ("x"):rep(7000)
                return { name = "A", events = { "a" }, handle = function() error(text) end }
            ]] },
        }
        tamper(node, node.dir .. "/data/state.db-wal", "pwrite64:delay_enter=1500")
        local events, count = {}, 1500
        for i = 1, 500 do events[i] = { type = "a" } end
        local body = cjson.encode(events)
        for _ = 1, count / 500 do
            assert.equal(202, node:post_batch(body).status)
        end
        node:await("every delivery to end", function()
            return node:get "/api/v1/stats".json.dead == count
        end, 120)
        -- Answered when all that has ended is in state.db.
        assert.equal("dead", node:get("/api/v1/events/" .. count).json.handlers[1].outcome)
        assert.is_true(node:get "/api/v1/stats".json.store.state_waits >= 1)
        assert.equal(0, (node:stop()))
    end)
end)
