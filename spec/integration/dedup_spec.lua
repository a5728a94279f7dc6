-- The same source and id is stored once, whichever way it comes in, also across kill -9.
local uv = require "luv"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"

local handlers = {
    ["all.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "Seen", events = { "a", "from.lua" }, handle = function() end },
            { name = "Bad", events = "bad", handle = function() evrt.reject "no" end },
            { name = "Leaver", events = "leave", handle = function(event, ctx)
                ctx.publish { type = "from.lua", id = "left" }
                ctx.publish { type = "from.lua", id = "left" }
            end },
            { name = "Publisher", events = "go", handle = function(event, ctx)
                for _ = 1, 2 do
                    local sent = evrt.publish({ type = "from.lua", id = "one" }, event.data)
                    local first = sent.outcomes and sent.outcomes[1].outcome
                    ctx.log.info("sent", { n = sent.seq, duplicate = sent.duplicate or false, first = first })
                end
            end },
        }]],
}

local function start(config) return evrt.start { handlers = handlers, config = config } end

local function fields(answer)
    assert.equal(202, answer.status, answer.body)
    return { tonumber(answer.json.seq), answer.json.duplicate or false, answer.json.id }
end

local function stats(node) return node:get("/api/v1/stats").json end

local function batch(node, ...)
    local items = { ... }
    for _, item in ipairs(items) do item.specversion, item.type = "1.0", item.type or "a" end
    return node:post_batch(items)
end

describe("an event that was published before", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("has the first one's sequence, in every mode of HTTP", function()
        local node = start()
        local event = { type = "a", source = "/s", id = "x" }
        assert.same({ 1, false, "x" }, fields(node:publish(event)))
        assert.same({ 1, true, "x" }, fields(node:publish(event)))
        assert.same({ 1, true, "x" }, fields(node:post("/events", "", { ["ce-specversion"] = "1.0", ["ce-type"] = "a",
            ["ce-source"] = "/s", ["ce-id"] = "x" })))
        assert.same({ 2, false, "x" }, fields(node:publish { type = "a", source = "/other", id = "x" }))
        local y = { source = "/s", id = "y" }
        local answer = batch(node, { source = "/s", id = "x" }, y, y)
        assert.equal(202, answer.status)
        assert.same({ { 1, true }, { 3, false }, { 3, true } }, {
            { answer.json[1].seq, answer.json[1].duplicate }, { answer.json[2].seq, answer.json[2].duplicate or false },
            { answer.json[3].seq, answer.json[3].duplicate } })
        local s = stats(node)
        assert.same({ 3, 4, 3, 0 }, { s.events, s.dedup.duplicates, s.dedup.entries, s.dedup.evicted })
        assert.equal(0, node:stop())
    end)

    it("waits for the first one's commit, of which there is one #plain", function()
        local node = start()
        local connections = {}
        for i = 1, 20 do connections[i] = http.connect(node.ingest) end
        local request = http.format("POST", "/events", cjson.encode { specversion = "1.0", type = "a", source = "/s",
            id = "same" }, { ["Content-Type"] = "application/cloudevents+json" })
        for i = 1, 20 do connections[i]:send(request) end
        local new = 0
        for i = 1, 20 do
            local answer = connections[i]:response()
            assert.same({ 202, 1 }, { answer.status, answer.json.seq })
            if not answer.json.duplicate then new = new + 1 end
            connections[i]:close()
        end
        assert.equal(1, new)
        assert.equal(1, stats(node).events)
        assert.equal(0, node:stop())
    end)

    it("is known from Lua", function()
        local node = start()
        node:publish { type = "go" }
        node:await_log { msg = "sent", n = 2, duplicate = false }
        node:await_log { msg = "sent", n = 2, duplicate = true }
        -- evrt makes ids itself where there are none: those are never the same.
        for seq = 3, 4 do
            local answer = fields(node:post("/events", "", { ["ce-type"] = "a", ["ce-source"] = "/s" }))
            assert.same({ seq, false }, { answer[1], answer[2] })
        end
        assert.equal(2, stats(node).dedup.entries) -- "go" and "from.lua"
        assert.equal(0, node:stop())
    end)

    it("is known when it comes with a delivery's completion", function()
        local node = start()
        for _ = 1, 3 do assert.equal(200, node:publish({ type = "leave" }, "?wait=handled").status) end
        local items = node:get("/api/v1/events?type=from.lua").json.items
        assert.same({ 1, "left" }, { #items, items[1].id })
        assert.same({ items[1].seq, true },
            { unpack(fields(node:publish { type = "from.lua", source = items[1].source, id = "left" }), 1, 2) })
        assert.equal(0, node:stop())
    end)

    it("tells those who wait what became of it", function()
        local node = start()
        local function outcome(type)
            local answer = node:publish({ type = type, source = "/s", id = type }, "?wait=handled")
            assert.equal(200, answer.status, answer.body)
            local h = answer.json.handlers[1]
            return { answer.json.duplicate or false, h.handler, h.outcome, h.error and h.error.message:match "no$" }
        end
        assert.same({ false, "Seen", "success" }, outcome "a")
        assert.same({ true, "Seen", "success" }, outcome "a")
        assert.same({ false, "Bad", "dead", "no" }, outcome "bad")
        assert.same({ true, "Bad", "dead", "no" }, outcome "bad")
        node:publish { type = "go", data = { wait = "handled" } }
        node:await_log { msg = "sent", duplicate = false, first = "success" }
        node:await_log { msg = "sent", duplicate = true, first = "success" }
        assert.equal(0, node:stop())
    end)

    it("is known after kill -9, and forgotten after its window", function()
        local node = start()
        for i = 1, 30 do node:publish { type = "a", source = "/s", id = "id" .. i } end
        node:stop "sigkill"
        node = node:restart()
        assert.equal(30, stats(node).dedup.entries)
        for i = 30, 1, -1 do
            assert.same({ i, true, "id" .. i }, fields(node:publish { type = "a", source = "/s", id = "id" .. i }))
        end
        node:stop "sigkill"
        node = node:restart { config = { dedup = { window = "0s" } } }
        assert.same({ 31, false, "id1" }, fields(node:publish { type = "a", source = "/s", id = "id1" }))
        assert.same({ 32, false, "id1" }, fields(node:publish { type = "a", source = "/s", id = "id1" }))
        assert.equal(0, node:stop())
    end)

    it("is refused within its window, and an event again after it, while the node runs", function()
        local node = start { dedup = { window = "1s" } }
        local seq = 1
        for _ = 1, 2 do
            local before = uv.hrtime()
            assert.same({ seq, false, "x" }, fields(node:publish { type = "a", source = "/s", id = "x" }))
            local answer
            node:await("the end of the window", function()
                answer = fields(node:publish { type = "a", source = "/s", id = "x" })
                if answer[2] then assert.same({ seq, true, "x" }, answer) end
                return not answer[2]
            end)
            assert.is_true(uv.hrtime() - before >= 0.99e9, "forgotten early")
            assert.same({ seq + 1, false, "x" }, answer)
            seq = seq + 2
            node:await("that one to be forgotten, too", function() return stats(node).dedup.entries == 0 end)
        end
        assert.equal(0, node:stop())
    end)

    it("is forgotten early when there are too many, which is counted", function()
        local node = start { dedup = { max = 5 } }
        for i = 1, 8 do node:publish { type = "a", source = "/s", id = "id" .. i } end
        assert.same({ 5, 3 }, { stats(node).dedup.entries, stats(node).dedup.evicted })
        assert.same({ 4, true, "id4" }, fields(node:publish { type = "a", source = "/s", id = "id4" }))
        assert.same({ 9, false, "id3" }, fields(node:publish { type = "a", source = "/s", id = "id3" }))
        node:stop "sigkill"
        node = node:restart()
        assert.same({ 5, true, "id5" }, fields(node:publish { type = "a", source = "/s", id = "id5" }))
        assert.same({ 10, false, "id4" }, fields(node:publish { type = "a", source = "/s", id = "id4" }))
        assert.equal(0, node:stop())
    end)

    it("is an event like any other with dedup.max 0", function()
        local node = start { dedup = { max = 0 } }
        local event = { type = "a", source = "/s", id = "x" }
        assert.same({ 1, false, "x" }, fields(node:publish(event)))
        assert.same({ 2, false, "x" }, fields(node:publish(event)))
        assert.equal(0, stats(node).dedup.bytes)
        assert.equal(0, node:stop())
    end)
end)
