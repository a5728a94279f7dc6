-- Waiting for what becomes of an event (wait=handled) ends when that is known, however it ended, and whoever
-- asks when.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"

local LONG = "?wait=handled&timeout=10m" -- only an answer ends it

local function ask(node, event)
    local c = http.connect(node.ingest)
    event.specversion = "1.0"
    c:send(http.format("POST", "/events" .. LONG, cjson.encode(event),
        { ["Content-Type"] = "application/cloudevents+json" }))
    return c
end

local function handler(name, events, body)
    return ("local evrt = require 'evrt'\nreturn { name = %q, events = %q, handle = function() %s end }"):format(name,
        events, body)
end

describe("a wait", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("for an event that is discarded ends, and says so", function()
        local node = evrt.start { config = { reload = { watch = false } }, handlers = {
            ["a.lua"] = handler("A", "x.*", ""), ["b.lua"] = handler("B", "x.*", "") } }
        assert.equal(200, node:post_admin "/api/v1/handlers/A/pause".status)
        local event = { type = "x.y", source = "/t", id = "1" }
        local first = ask(node, event)
        node:await("B's part", function() return node:handler "B".done == 1 end)
        evrt.write(node.dir .. "/handlers/a.lua", handler("A", "z", ""))
        assert.equal(200, node:post_admin "/api/v1/reload".status)
        assert.equal(200, node:post_admin "/api/v1/handlers/A/resume".status)
        for _, c in ipairs { first, ask(node, event) } do -- the second one asks after it
            local answer = c:response()
            local outcomes = {}
            for _, h in ipairs(answer.json.handlers) do outcomes[h.handler] = h.outcome end
            assert.same({ A = "discarded", B = "success" }, outcomes)
            assert.same({ 200, 0 }, { answer.status, answer.json.pending })
            c:close()
        end
        assert.equal(0, (node:stop()))
    end)

    it("for an event that ends while it is looked up ends, too", function()
        local node = evrt.start { config = { http = { max_connections_per_address = 4096 } }, handlers = {
            ["a.lua"] = handler("A", "x", "evrt.sleep(0.02)") } }
        local all = {}
        for i = 1, 40 do
            for _ = 1, 10 do
                all[#all + 1] = ask(node, { type = "x", source = "/t", id = tostring(i) })
                evrt.idle(0.003)
            end
        end
        for _, c in ipairs(all) do
            local answer = c:response()
            assert.equal(200, answer.status, answer.body)
            c:close()
        end
        assert.equal(0, (node:stop()))
    end)
end)
