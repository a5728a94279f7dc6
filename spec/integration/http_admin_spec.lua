local evrt = require "spec.support.evrt"
local http = require "spec.support.http"
local ports = require "spec.support.ports"
local shared = require "spec.support.shared"

describe("the admin listener", function()
    local node = shared(setup, teardown, {
        handlers = { ["a.lua"] = [[return { name = "A", events = { "a.*" }, handle = function() end }]] },
    })

    setup(function()
        for i = 1, 5 do
            node:publish({ type = i % 2 == 0 and "a.even" or "b.odd", source = "/s/" .. i, data = { i = i } },
                "?wait=handled")
            evrt.idle(0.01) -- so that a time is between them
        end
    end)

    local function refused(status, code, text, r)
        assert.are.equal(status, r.status, r.body)
        assert.are.equal(code, r.json.error.code)
        assert.truthy(r.json.error.message:find(text, 1, true), r.body)
    end

    it("says that it lives and is ready", function()
        assert.are.same({ 200, "ok" }, { node:get "/livez".status, node:get "/livez".json.status })
        local r = node:get "/readyz"
        assert.are.same({ 200, "ready", 0 }, { r.status, r.json.status, #r.json.reasons })
    end)

    it("lists handlers and counts", function()
        local r = node:get "/api/v1/handlers"
        assert.are.equal(200, r.status)
        assert.are.equal("A", r.json.items[1].name)
        assert.are.equal(2, r.json.items[1].done)
        assert.are.equal(5, node:get "/api/v1/stats".json.events)
    end)

    it("finds events by type, source, time and position", function()
        local function seqs(query)
            local list = {}
            local r = node:get("/api/v1/events" .. query)
            assert.are.equal(200, r.status, r.body)
            for _, e in ipairs(r.json.items) do list[#list + 1] = e.seq end
            return list, r.json.next
        end
        assert.are.same({ 1, 2, 3, 4, 5 }, (seqs ""))
        assert.are.same({ 2, 4 }, (seqs "?type=a.*"))
        assert.are.same({ 3 }, (seqs "?source=%2Fs%2F3"))
        assert.are.same({ 4, 5 }, (seqs "?after=3"))
        assert.are.same({ 1, 2, 3, 4, 5 }, (seqs "?from=1h"))
        assert.are.same({}, (seqs "?to=1h"))
        assert.are.same({}, (seqs "?from=2099-01-01T00:00:00Z"))
        assert.are.same({ 1, 2, 3, 4, 5 }, (seqs "?from=2020-01-01T00:00:00%2B02:00&to=2099-01-01T00:00:00Z"))
        -- Between them: from a time on, and before one.
        local function stored(seq) return node:get("/api/v1/events/" .. seq).json.stored end
        assert.are.same({ 3, 4, 5 }, (seqs("?from=" .. stored(3))))
        assert.are.same({ 1, 2 }, (seqs("?to=" .. stored(3))))
        assert.are.same({ 2, 3 }, (seqs(("?from=%s&to=%s"):format(stored(2), stored(4)))))
        assert.are.same({ 4 }, (seqs(("?from=%s&to=%s&type=a.*"):format(stored(3), stored(5)))))
        assert.are.same({ 3 }, (seqs(("?limit=1&from=%s"):format(stored(3)))))
        local page, following = seqs "?limit=2"
        assert.are.same({ 1, 2 }, page)
        assert.are.same({ 3, 4 }, (seqs("?limit=2&after=" .. following)))
    end)

    it("shows one event with what became of it", function()
        local r = node:get "/api/v1/events/2"
        assert.are.equal(200, r.status)
        assert.are.equal("a.even", r.json.type)
        assert.are.same({ { handler = "A", outcome = "done" } }, r.json.handlers)
        refused(404, "not_found", "no such event", node:get "/api/v1/events/999")
        refused(400, "bad_request", "sequence number", node:get "/api/v1/events/x")
    end)

    it("names bad parameters", function()
        for query, text in pairs {
            ["limit=0"] = "limit: expected a number from 1 to 1000", ["limit=1001"] = "limit:", ["limit=x"] = "limit:",
            ["after=-1"] = "after: expected a sequence number", ["after=99999999999999999999"] = "after:",
            ["from=soon"] = "from: expected a time", ["to="] = "to: expected a value", ["type="] = "type: expected",
            ["typ=a"] = '"typ": unknown; there are: type,source,subject,from,to,handler,state,after,limit',
            ["type=a&type=b"] = "given twice", ["type=%zz"] = "two hex digits",
            ["type=a..b"] = "type: expected a pattern",
            ["from=1h&to=2h"] = "from: expected a time before",
        } do
            refused(400, "bad_parameter", text, node:get("/api/v1/events?" .. query))
        end
        refused(400, "bad_parameter", "there are none here", node:get "/api/v1/stats?x=1")
    end)

    it("lists its routes", function()
        local answer = node:get("/api/v1").json
        assert.equal(require "cjson".null, answer.next)
        local found = {}
        for _, route in ipairs(answer.items) do
            assert.truthy(#route.help > 20)
            found[route.method .. " " .. route.path] = route.parameters
        end
        assert.same({ "handler", "after", "limit" }, found["GET /api/v1/retries"])
        assert.same({}, found["POST /api/v1/handlers/{name}/pause"])
        assert.is_nil(found["GET /livez"])
    end)

    it("knows methods and paths", function()
        refused(404, "not_found", "/api/v2", node:get "/api/v2")
        local c = evrt.connect(node.admin)
        local r = c:request("POST", "/api/v1/stats")
        refused(405, "method_not_allowed", "GET, HEAD", r)
        assert.are.equal("GET, HEAD", r.headers.allow)
        r = c:request("HEAD", "/livez")
        assert.are.same({ 200, "" }, { r.status, r.body })
        assert.are.equal(204, c:request("OPTIONS", "/livez").status)
        c:close()
    end)

    it("forgets only handlers that have left", function()
        local c = evrt.connect(node.admin)
        refused(404, "not_found", "nobody", c:request("DELETE", "/api/v1/handlers/nobody"))
        refused(409, "in_use", "A", c:request("DELETE", "/api/v1/handlers/A"))
        c:close()
    end)
end)

describe("listeners and tokens", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("ask for the token that is configured", function()
        local node = evrt.start {
            config = { http = { token_file = "in.token" }, admin = { token_file = "admin.token" } },
            files = { ["in.token"] = "in-secret\n", ["admin.token"] = "admin-secret\n" },
        }
        local headers = { ["ce-type"] = "a" }
        local function post(authorization)
            headers.Authorization = authorization
            return node:post("/events", "1", headers)
        end
        local r = post(nil)
        assert.are.same({ 401, "unauthorized", "Bearer" },
            { r.status, r.json.error.code, r.headers["www-authenticate"] })
        assert.are.equal(401, post("Basic in-secret").status)
        assert.are.equal(403, post("Bearer admin-secret").status)
        assert.are.equal(403, post("Bearer in-secre").status)
        assert.are.equal(202, post("Bearer in-secret").status)
        assert.are.equal(401, node:get "/api/v1/stats".status)
        assert.are.equal(200, node:get("/api/v1/stats", { Authorization = "bearer admin-secret" }).status)
        assert.are.equal(200, node:get "/livez".status)
        assert.are.equal(200, node:get "/readyz".status)
        assert.are.equal(1, node:get("/api/v1/stats", { Authorization = "Bearer admin-secret" }).json.events)
        node:await_log { msg = "Request refused", status = 403 }
        assert.are.equal(0, (node:stop()))
    end)

    it("warn of a token that others may read", function()
        local dir = evrt.lay { config = { http = { token_file = "t" } }, files = { t = "x" } }
        os.execute("chmod 644 " .. dir .. "/t")
        local node = evrt.start { dir = dir, config = { http = { token_file = "t" } } }
        node:await_log { msg = "Token file readable by others", path = dir .. "/t" }
        node:stop()
    end)

    -- Exit code and all that was said.
    local function failed(config, files)
        local dir = evrt.lay { config = config, files = files }
        local code, out, err = evrt.run { "run", dir .. "/evrt.yaml" }
        return code, out .. err
    end

    it("refuse to start with an empty token", function()
        local code, said = failed({ http = { token_file = "t" } }, { t = "\n" })
        assert.are_not.equal(0, code)
        assert.truthy(said:find("token file is empty", 1, true), said)
    end)

    it("refuse to let anyone administer from outside", function()
        local code, said = failed { admin = { listen = "0.0.0.0:0" } }
        assert.are_not.equal(0, code)
        assert.truthy(said:find("admin.token_file", 1, true), said)
    end)

    it("name the port that is taken, and by whom", function()
        local port, release = ports.occupy()
        local code, said = failed { http = { listen = "127.0.0.1:" .. port } }
        release()
        assert.are.equal(1, code)
        assert.truthy(said:find("127.0.0.1:" .. port, 1, true), said)
        assert.truthy(said:find("pid " .. require "luv".os_getpid(), 1, true), said)
        assert.is_nil(said:find("Drained", 1, true))
    end)

    it("listen on IPv6 too", function()
        local node = evrt.start { config = { admin = { listen = "[::1]:0" } } }
        local line = node:logged { msg = "Listening" }[1]
        assert.truthy(line.admin:find "^%[::1%]:%d+$")
        assert.are.equal(202, node:publish { type = "a" }.status)
        node:stop()
    end)

    it("let what is being published finish when the node stops", function()
        local gate = evrt.folder() .. "/gate"
        local node = evrt.start {
            handlers = { ["a.lua"] = ([[local evrt = require "evrt"
                return { name = "A", events = { "a" }, handle = function()
                    while not io.open(%q) do evrt.sleep(0.01) end
                end }]]):format(gate) },
        }
        local kept, waiting = evrt.connect(node.ingest), http.connect(node.ingest)
        local event = evrt.format("POST", "/events?wait=handled&timeout=10s", [[{"type":"a"}]],
            { ["Content-Type"] = "application/cloudevents+json" })
        waiting:send(event)
        node:await("the event", function() return node:get "/api/v1/stats".json.running > 0 or nil end)
        node:kill "sigterm"
        node:await_log { msg = "Draining" }
        kept:send(event)
        local r = kept:response()
        assert.is_true(r == nil or r.status == 503)
        evrt.write(gate, "")
        r = waiting:response()
        assert.truthy(r and (r.status == 200 or r.status == 202))
        assert.are.same({ 0, 0 }, { node:wait() })
        kept:close()
        waiting:close()
    end)
end)
