local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local shared = require "spec.support.shared"

local handlers = {
    ["all.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "Good", events = { "good.**" }, handle = function() end },
            { name = "Bad", events = { "bad" }, handle = function() evrt.reject("no") end },
            { name = "Slow", events = { "slow" }, handle = function() evrt.sleep(30) end },
        }
    ]],
}

describe("POST /events", function()
    local node = shared(setup, teardown, {
        handlers = handlers,
        config = {
            http = { max_event_size = "4KiB", max_batch = 20, max_body_size = "16KiB" },
            workers = { drain_timeout = "100ms" },
        },
    })

    local structured = { ["Content-Type"] = "application/cloudevents+json" }
    local batch = evrt.batch

    local function post(body, headers, query)
        return node:post("/events" .. (query or ""), body, headers or structured)
    end

    local function stored(seq) return node:get("/api/v1/events/" .. seq).json end

    local function count() return node:get "/api/v1/stats".json.events end

    local function refused(status, code, text, response)
        assert.are.equal(status, response.status, response.body)
        assert.are.equal(code, response.json.error.code)
        assert.truthy(response.json.error.message:find(text, 1, true), response.body)
    end

    it("takes a structured event and keeps its data's bytes", function()
        local r = post [[{"specversion":"1.0","id":"e-1","type":"good.one","source":"/s","data": { "n" : 1.50 } }]]
        assert.are.equal(202, r.status)
        assert.are.same({ id = "e-1", durability = "fsync", seq = r.json.seq }, r.json)
        local body = node:get("/api/v1/events/" .. r.json.seq).body
        assert.truthy(body:find('"data":{ "n" : 1.50 }', 1, true), body)
    end)

    it("takes a binary event", function()
        local r = post('{"a":[]}', { ["ce-type"] = "good.two", ["ce-source"] = "/b", ["ce-subject"] = "%C3%A9%20x",
            ["ce-partitionkey"] = "k", ["Content-Type"] = "application/json" })
        assert.are.equal(202, r.status)
        assert.are.equal(36, #r.json.id)
        local event = stored(r.json.seq)
        assert.are.equal("good.two", event.type)
        assert.are.equal("/b", event.source)
        assert.are.equal("é x", event.subject)
        assert.are.equal("k", event.partitionkey)
        assert.are.equal("application/json", event.datacontenttype)
    end)

    it("leaves types that begin with evrt. to evrt", function()
        local before = count()
        for _, type in ipairs { "evrt.timer.Good", "evrt.dead_letter", "evrt.x" } do
            refused(400, "bad_event", "type: only evrt itself publishes types that begin with", post(
                ('{"specversion":"1.0","id":"e","type":"%s","source":"/s"}'):format(type)))
            refused(400, "bad_event", "type: only evrt itself", post("", { ["ce-type"] = type, ["ce-source"] = "/b" }))
        end
        assert.equal(before, count())
        assert.equal(202, post '{"specversion":"1.0","id":"e","type":"good.evrt.x","source":"/s"}'.status)
    end)

    it("answers a batch in its positions", function()
        local r = post([=[[{"type":"good.a","id":"x"},{"type":"good.b","id":"y"}]]=], batch)
        assert.are.equal(202, r.status)
        assert.are.equal("x", r.json[1].id)
        assert.are.equal(r.json[1].seq + 1, r.json[2].seq)
        local before = count()
        r = post([=[[{"tipe":"a"},{"type":"good.c","id":"z"},{"type":"a b"},7]]=], batch)
        assert.are.equal(207, r.status)
        assert.are.same({ 400, 202, 400, 400 }, { r.json[1].status, r.json[2].status, r.json[3].status,
            r.json[4].status })
        assert.are.equal("type: missing", r.json[1].error.message)
        assert.are.equal("z", stored(r.json[2].seq).id)
        assert.are.equal(before + 1, count())
        r = post([=[[{},{}]]=], batch)
        assert.are.equal(400, r.status)
        assert.are.equal(2, #r.json)
        r = post("[]", batch)
        assert.are.same({ 202, "[]\n" }, { r.status, r.body })
    end)

    it("stores nothing of what it refuses", function()
        local before = count()
        refused(400, "bad_event", "type: missing", post [[{"id":"1"}]])
        refused(400, "bad_event", "time: byte", post [[{"type":"a","time":"yesterday"}]])
        refused(400, "bad_event", "at byte 21", post [[{"type":"a","data": NaN}]])
        refused(400, "bad_event", "UTF-8", post '{"type":"a","data":"\255"}')
        refused(400, "bad_event", "deep", post('{"type":"a","data":' .. ("["):rep(500) .. ("]"):rep(500) .. "}"))
        refused(400, "bad_event", "at byte", post "")
        refused(400, "bad_event", "specversion", post [[{"specversion":"0.3","type":"a"}]])
        refused(400, "bad_event", "type: byte", post [[{"type":"a..b"}]])
        refused(400, "bad_event", "ce-id: byte 1", post("", { ["ce-id"] = "%", ["ce-type"] = "a" }))
        refused(400, "bad_event", "array of events", post("{}", batch))
        refused(413, "batch_too_large", "http.max_batch", post("[" .. ("{},"):rep(20) .. "{}]", batch))
        refused(413, "too_large", "4096", post('{"type":"a","data":"' .. ("x"):rep(4096) .. '"}'))
        refused(413, "too_large", "16384", post(("[" .. (" "):rep(20000) .. "]"), batch))
        refused(415, "unsupported_media_type", "ce-type", post([[{"type":"a"}]], { ["Content-Type"] = "text/plain" }))
        refused(415, "unsupported_media_type", "ce-type", post([[{"type":"a"}]], {}))
        refused(415, "unsupported_media_type", "avro", post("x",
            { ["Content-Type"] = "application/cloudevents+avro" }))
        refused(400, "bad_parameter", '"wiat": unknown; there are: wait,timeout', post("{}", nil, "?wiat=handled"))
        refused(400, "bad_parameter", "given twice", post("{}", nil, "?wait=handled&wait=handled"))
        refused(400, "bad_parameter", 'expected "handled"', post("{}", nil, "?wait=yes"))
        refused(400, "bad_parameter", "duration", post("{}", nil, "?wait=handled&timeout=5"))
        refused(400, "bad_parameter", "only together", post("{}", nil, "?timeout=5s"))
        refused(400, "bad_parameter", "single event", post("[]", batch, "?wait=handled"))
        assert.are.equal(before, count())
    end)

    it("answers 413 for one item of a batch that is too large", function()
        local r = post('[{"type":"good.x"},{"type":"good.y","data":"' .. ("x"):rep(5000) .. '"}]', batch)
        assert.are.equal(207, r.status)
        assert.are.same({ 202, 413 }, { r.json[1].status, r.json[2].status })
    end)

    it("waits for handlers when asked to", function()
        local r = post([[{"type":"good.w"}]], nil, "?wait=handled&timeout=10s")
        assert.are.equal(200, r.status)
        assert.are.equal(0, r.json.pending)
        assert.are.same({ { handler = "Good", outcome = "success" } }, r.json.handlers)
        r = post([[{"type":"bad"}]], nil, "?wait=handled")
        assert.are.equal(200, r.status)
        assert.are.equal("dead", r.json.handlers[1].outcome)
        assert.are.equal("rejected", r.json.handlers[1].error.type)
        r = post([[{"type":"nobody"}]], nil, "?wait=handled")
        assert.are.same({ 200, 0 }, { r.status, #r.json.handlers })
    end)

    it("says what is pending when the wait ends first", function()
        local r = post([[{"type":"slow"}]], nil, "?wait=handled&timeout=1ms")
        assert.are.equal(202, r.status)
        assert.are.equal(1, r.json.pending)
        assert.are.equal("pending", r.json.handlers[1].outcome)
    end)

    it("answers the webhook handshake", function()
        local c = evrt.connect(node.ingest)
        local r = c:request("OPTIONS", "/events", nil, { ["WebHook-Request-Origin"] = "sender.example" })
        assert.are.equal(200, r.status)
        assert.are.equal("sender.example", r.headers["webhook-allowed-origin"])
        assert.are.equal("*", r.headers["webhook-allowed-rate"])
        assert.truthy(r.headers.allow:find("POST", 1, true))
        r = c:request("OPTIONS", "/events")
        assert.is_nil(r.headers["webhook-allowed-origin"])
        c:close()
    end)

    it("says 404 and 405, and what is allowed", function()
        local c = evrt.connect(node.ingest)
        refused(404, "not_found", "/nope", c:request("POST", "/nope", "x"))
        local r = c:request("GET", "/events")
        refused(405, "method_not_allowed", "POST", r)
        assert.are.equal("POST, OPTIONS", r.headers.allow)
        assert.are.equal(404, c:request("HEAD", "/nope").status)
        c:close()
    end)

    it("serves many requests on one connection, also pipelined", function()
        local c = evrt.connect(node.ingest)
        local text = evrt.format("POST", "/events", [[{"type":"good.p"}]], structured)
        c:send(text:rep(50))
        local last = 0
        for _ = 1, 50 do
            local r = assert(c:response())
            assert.are.equal(202, r.status)
            assert.is_true(r.json.seq > last)
            last = r.json.seq
        end
        refused(415, "unsupported_media_type", "ce-type", c:request("POST", "/events", "{}"))
        assert.are.equal(202, c:request("POST", "/events", [[{"type":"good.q"}]], structured).status)
        c:close()
    end)

    it("takes chunked bodies, in any pieces", function()
        local c = evrt.connect(node.ingest)
        local text = "POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n" ..
            "Content-Type: application/cloudevents+json\r\n\r\n" ..
            "a;x=y\r\n{\"type\":\"g\r\n8\r\nood.ch\"}\r\n0\r\nTrailer: x\r\n\r\n"
        for i = 1, #text, 7 do
            c:send(text:sub(i, i + 6))
            evrt.idle(0.001)
        end
        assert.are.equal(202, c:response().status)
        c:send("POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nce-type: a\r\n\r\n" ..
            ("2000\r\n%s\r\n"):format(("x"):rep(8192)) .. "0\r\n\r\n")
        refused(413, "too_large", "4096", c:response())
        c:await_close()
        c:close()
    end)

    it("answers a client that announces a body too large before it is sent", function()
        local c = evrt.connect(node.ingest)
        c:send "POST /events HTTP/1.1\r\nHost: x\r\nce-type: a\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n"
        refused(413, "too_large", "9999", c:response())
        c:await_close()
        c:close()
        c = evrt.connect(node.ingest)
        c:send("POST /events HTTP/1.1\r\nHost: x\r\nce-type: good.e\r\nContent-Length: 2\r\n" ..
            "Expect: 100-continue\r\n\r\n")
        assert.are.equal(100, c:response().status)
        c:send "{}"
        assert.are.equal(202, c:response().status)
        c:close()
    end)

    it("keeps a connection after refusing a body that it has read", function()
        local c = evrt.connect(node.ingest)
        local large = '{"type":"a","data":"' .. ("x"):rep(2000000) .. '"}'
        refused(413, "too_large", "4096", c:request("POST", "/events", large, structured))
        assert.are.equal(202, c:request("POST", "/events", [[{"type":"good.k"}]], structured).status)
        c:close()
    end)

    it("journals for a client that has gone, and goes on", function()
        local before = count()
        local c = evrt.connect(node.ingest)
        c:send(evrt.format("POST", "/events", [[{"type":"good.gone"}]], structured))
        c:close()
        c = evrt.connect(node.ingest)
        c:send(evrt.format("POST", "/events?wait=handled&timeout=10s", [[{"type":"good.gone"}]], structured))
        c:close()
        node:await("both events", function() return count() >= before + 2 or nil end)
        assert.are.equal(202, post([[{"type":"good.after"}]]).status)
    end)

    it("gives every error as JSON", function()
        assert.are.equal("application/json", post("x").headers["content-type"])
        assert.truthy(cjson.decode(post("x").body).error)
    end)
end)
