-- What is discarded is told as that, whatever discarded it: an operator, a changed pattern, time, a lost event. Each
-- delivery has one state, and the states of all events add up to the counts.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

describe("what was discarded", function()
    require("spec.support.leak").guard(before_each, after_each)

    local STATES = { "pending", "running", "retrying", "done", "dead", "discarded" }

    -- seq -> outcome by the list of one handler.
    local function listed(node, handler, state)
        local out, after = {}, 0
        repeat
            local page = node:get(("/api/v1/events?handler=%s&after=%s&limit=1000%s"):format(handler, after,
                state and "&state=" .. state or "")).json
            for _, event in ipairs(page.items) do out[event.seq] = event.delivery.outcome end
            after = page.next
        until after == cjson.null
        return out
    end

    local function why(node, seq, handler)
        for _, one in ipairs(node:get("/api/v1/events/" .. seq .. "/why").json.handlers) do
            if one.handler == handler then return one.outcome end
        end
    end

    -- The list, the list of each state, each event and why say the same, and the counts add up.
    local function check(node, handler, expected)
        local all, counts = listed(node, handler), {}
        assert.same(expected, all)
        for _, state in ipairs(STATES) do
            counts[state] = 0
            for seq, outcome in pairs(listed(node, handler, state)) do
                assert.same({ seq, state }, { seq, outcome })
                assert.equal(outcome, all[seq])
                counts[state] = counts[state] + 1
            end
        end
        for seq, outcome in pairs(expected) do
            assert.same({ seq, outcome }, { seq, (node:outcome(seq, handler) or {}).outcome })
            assert.same({ seq, outcome }, { seq, why(node, seq, handler) })
        end
        local h = node:handler(handler)
        for _, state in ipairs(STATES) do assert.same({ state, h[state] }, { state, counts[state] }) end
        return h
    end

    local HANDLERS = [[
        local evrt = require "evrt"
        return {
            { name = "Dies", events = "dies.*", handle = function() evrt.reject "as asked" end },
            { name = "Waits", events = "waits.*",
              policies = { evrt.policy.retry { max_retries = 1, initial_delay = "1h" } },
              handle = function(event) if not event.data then error "as asked" end end },
        }]]

    it("was dead before a restart, among others that were done after it", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, handlers = { ["a.lua"] = ([[
            local evrt = require "evrt"
            return { name = "A", events = "a", handle = function(event)
                if event.data then evrt.reject "as asked" end
                while not io.open(%q) do evrt.sleep(0.01) end
            end }]]):format(dir .. "/open") } }
        for n = 1, 5 do node:accept { type = "a", data = n % 2 == 0 and n or nil } end
        node:await("two to be dead", function() return node:handler "A".dead == 2 end)
        node:get "/api/v1/dead-letters" -- both are in the journal
        node:stop "sigkill"
        evrt.write(dir .. "/open", "")
        node = node:restart()
        node:await("three to be done", function() return node:handler "A".done == 3 end)
        check(node, "A", { "done", "dead", "done", "dead", "done" })
        local letter = node:get "/api/v1/dead-letters".json.items[1]
        assert.equal(200, node:delete_admin("/api/v1/dead-letters/" .. letter.id).status)
        check(node, "A", { "done", "dead", "done", "discarded", "done" })
        assert.equal(0, (node:stop()))
    end)

    it("by an operator is told as that, now and after a restart", function()
        local node = evrt.start { handlers = { ["a.lua"] = HANDLERS } }
        local types = { "dies.a", "waits.a", "dies.a", "waits.a", "waits.a", "dies.a" }
        for i, kind in ipairs(types) do node:accept { type = kind, data = i == 5 and 1 or nil } end
        node:await("failures", function()
            local s = node:get "/api/v1/stats".json
            return s.dead == 3 and s.retrying == 2 and s.done == 1
        end)
        check(node, "Dies", { [1] = "dead", [3] = "dead", [6] = "dead" })
        check(node, "Waits", { [2] = "retrying", [4] = "retrying", [5] = "done" })
        local ids = {}
        for _, l in ipairs(node:get "/api/v1/dead-letters".json.items) do ids[l.seq] = l.id end
        for _, l in ipairs(node:get "/api/v1/retries".json.items) do ids[l.seq] = l.id end
        assert.equal(200, node:delete_admin("/api/v1/dead-letters/" .. ids[3]).status)
        assert.equal(200, node:delete_admin("/api/v1/retries/" .. ids[2]).status)
        -- Reprocessed, it is a dead letter again, and not discarded.
        assert.equal(200, node:post_admin("/api/v1/dead-letters/" .. ids[6] .. "/reprocess").status)
        for _ = 1, 2 do
            check(node, "Dies", { [1] = "dead", [3] = "discarded", [6] = "dead" })
            check(node, "Waits", { [2] = "discarded", [4] = "retrying", [5] = "done" })
            assert.equal(0, (node:stop()))
            node = node:restart()
        end
        local code, out = evrt.run { "events", "--handler", "Waits", "--state", "discarded", "--url",
            "127.0.0.1:" .. node.admin }
        assert.equal(0, code)
        assert.truthy(out:find "discarded" and not out:find "retrying", out)
        node:kill "sigkill"
        node:wait()
        node = node:restart()
        check(node, "Dies", { [1] = "dead", [3] = "discarded", [6] = "dead" })
        check(node, "Waits", { [2] = "discarded", [4] = "retrying", [5] = "done" })
        assert.equal(0, (node:stop()))
    end)

    it("by other patterns is told as that", function()
        local dir = evrt.folder()
        -- Holds the first one until a file is there, one at a time.
        local function script(events)
            return ([[
                local evrt = require "evrt"
                return { name = "Held", events = %s, concurrency = 1, handle = function(event)
                    while event.seq == 1 and not io.open(%q) do evrt.sleep(0.01) end
                end }]]):format(events, dir .. "/gate")
        end
        local node = evrt.start { handlers = { ["a.lua"] = script '{ "a.*", "b.*" }' },
            config = { reload = { watch = false } } }
        for i = 1, 20 do node:accept { type = i % 3 == 0 and "b.x" or i % 3 == 1 and "a.x" or "c.x" } end
        node:await("the first to run", function() return node:handler "Held".running == 1 end)
        evrt.write(node.dir .. "/handlers/a.lua", script '"a.*"')
        assert.equal(200, node:post_admin "/api/v1/reload".status)
        evrt.write(dir .. "/gate", "")
        node:await_end()
        local expected = {}
        for i = 1, 20 do
            if i % 3 ~= 2 then expected[i] = i % 3 == 0 and "discarded" or "done" end
        end
        for _ = 1, 2 do
            assert.equal(6, check(node, "Held", expected).discarded)
            assert.equal(0, (node:stop()))
            node = node:restart()
        end
        assert.equal(0, (node:stop()))
    end)

    it("by time is told as that: dead letters, and what a handler that left had", function()
        local node = evrt.start { handlers = { ["a.lua"] = HANDLERS, ["b.lua"] = [[
            return { name = "Left", events = "left.*", handle = function(event)
                if event.data then error "as asked" end
            end }]] },
            config = { reload = { watch = false }, dead_letters = { ttl = "1s" }, bus = { orphan_ttl = "1s" } } }
        node:accept { type = "left.a" }
        node:accept { type = "left.a", data = 1 }
        node:accept { type = "dies.a" }
        node:await_end()
        assert.equal(200, node:post_admin "/api/v1/handlers/Left/pause".status)
        node:accept { type = "left.a" }
        assert(os.remove(node.dir .. "/handlers/b.lua"))
        assert.equal(200, node:post_admin "/api/v1/reload".status)
        node:await_log { msg = "Handler forgotten" }
        node:await("the dead letters to go", function() return node:get "/api/v1/stats".json.dead == 0 end)
        check(node, "Dies", { [3] = "discarded" })
        -- One with counts left is kept, and what was pending is discarded.
        if node:handler "Left" then check(node, "Left", { [1] = "done", [2] = "discarded", [4] = "discarded" }) end
        assert.equal(0, (node:stop()))
    end)
end)
