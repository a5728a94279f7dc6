-- Starting, stopping, and what makes either fail.
local evrt = require "spec.support.evrt"

local quiet = { ["a.lua"] = [[return { name = "A", events = "x", handle = function() end }]] }
local sleeper = { ["a.lua"] = [[
    local evrt = require "evrt"
    return { name = "A", events = "x", handle = function(event) evrt.sleep(tonumber(event.data)) end }]] }

describe("a node", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("lets deliveries finish when it is told to stop", function()
        local gate = evrt.folder() .. "/gate"
        local node = evrt.start { handlers = { ["a.lua"] = ([[
            local evrt = require "evrt"
            return { name = "A", events = "x", handle = function()
                while not io.open(%q) do evrt.sleep(0.01) end
            end }]]):format(gate) } }
        node:publish { type = "x", source = "/t", id = "1" }
        node:await("it to run", function() return node:get("/api/v1/stats").json.running == 1 end)
        node:kill "sigterm"
        node:await_log { msg = "Draining" }
        evrt.write(gate, "")
        assert.equal(0, (node:wait()))
        node:await_log { msg = "Event handled successfully" }
        assert.equal(0, node:await_log({ msg = "Drained" }).redeliver)
    end)

    it("does not wait longer than drain_timeout, and delivers again at the next start", function()
        local node = evrt.start { handlers = sleeper, config = { workers = { drain_timeout = "200ms" } } }
        node:publish { type = "x", source = "/t", id = "1", data = 3600 }
        node:await("it to run", function() return node:get("/api/v1/stats").json.running == 1 end)
        assert.equal(0, node:stop())
        assert.equal(1, node:await_log({ msg = "Drained" }).redeliver)
        node = node:restart()
        node:await("it to run again", function() return node:get("/api/v1/stats").json.running == 1 end)
        node:kill "sigterm"
        node:await_log { msg = "Draining" }
        node:kill "sigterm" -- a second one does not wait
        assert.equal(0, (node:wait()))
    end)

    it("says who holds the store", function()
        local node = evrt.start { handlers = quiet }
        local code, _, err = evrt.run { "run", node.dir .. "/evrt.yaml", "--set", "http.listen=127.0.0.1:0",
            "--set", "admin.listen=127.0.0.1:0" }
        assert.equal(1, code)
        assert.truthy(err:find(tostring(node.pid), 1, true), err)
        node:stop()
    end)

    it("says which port is taken", function()
        local node = evrt.start { handlers = quiet }
        local dir = evrt.lay { handlers = quiet }
        local code, _, err = evrt.run { "run", dir .. "/evrt.yaml", "--set",
            "http.listen=127.0.0.1:" .. node.ingest }
        assert.equal(1, code)
        assert.truthy(err:find("127.0.0.1:" .. node.ingest, 1, true), err)
        node:stop()
    end)

    it("refuses a store of a newer version by name", function()
        local node = evrt.start { handlers = quiet }
        node:stop()
        local path = node.dir .. "/data/format"
        evrt.write(path, (evrt.read(path):gsub("%d+", "9")))
        local code, _, err = evrt.run { "run", node.dir .. "/evrt.yaml" }
        assert.equal(1, code)
        assert.truthy(err:find "9" and err:lower():find "newer", err)
    end)

    it("answers livez at once and readyz when it is ready", function()
        local node = evrt.start { handlers = quiet }
        assert.equal(200, node:get("/livez").status)
        assert.equal(200, node:get("/readyz").status)
        node:stop()
    end)

    it("keeps nothing in memory mode, and everything in os mode", function()
        for _, durability in ipairs { "memory", "os" } do
            local node = evrt.start { handlers = quiet, config = { store = { durability = durability } } }
            local answer = node:publish { type = "x", source = "/t", id = "1" }
            assert.equal(durability, answer.json.durability)
            assert.equal(1, answer.json.seq)
            node:await("its end", function() return node:get("/api/v1/stats").json.done == 1 end)
            assert.equal(200, node:get("/api/v1/events/1").status)
            assert.equal(0, node:stop())
            node = node:restart()
            local event = node:get "/api/v1/events/1"
            assert.equal(durability == "os" and 200 or 404, event.status, event.body)
            node:stop()
        end
    end)

    it("finds its state again when state.db is gone or damaged", function()
        local node = evrt.start { handlers = quiet }
        for i = 1, 30 do node:publish { type = "x", source = "/t", id = tostring(i) } end
        node:await("the end", function() return node:get("/api/v1/stats").json.done == 30 end)
        node:stop()
        for _, damage in ipairs { "gone", "text" } do
            os.remove(node.dir .. "/data/state.db")
            if damage == "text" then evrt.write(node.dir .. "/data/state.db", ("no database"):rep(1000)) end
            node = node:restart()
            local s = node:get("/api/v1/stats").json
            assert.same({ 30, 30, 0 }, { s.matched, s.done, s.pending })
            node:stop()
        end
    end)

    it("pages through what it stored", function()
        local node = evrt.start { handlers = quiet }
        for i = 1, 25 do
            node:publish { type = i % 2 == 0 and "even.x" or "odd.x", source = "/s" .. i % 5, id = tostring(i) }
        end
        local seen, after = {}, 0
        repeat
            local page = node:get("/api/v1/events?limit=7&after=" .. after).json
            for _, e in ipairs(page.items) do seen[#seen + 1] = e.id end
            after = page.next
            local more = type(after) == "string"
        until not more
        assert.equal(25, #seen)
        assert.equal("25", seen[25])
        assert.equal(12, #node:get("/api/v1/events?type=even.*").json.items)
        assert.equal(5, #node:get("/api/v1/events?source=/s3").json.items)
        assert.equal(0, #node:get("/api/v1/events?from=2099-01-01T00:00:00Z").json.items)
        assert.equal(25, #node:get("/api/v1/events?from=1h").json.items)
        node:stop()
    end)
end)
