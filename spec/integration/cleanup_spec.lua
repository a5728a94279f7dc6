-- Dropping old segments on demand: what nobody needs goes, what somebody needs stays, and both are told.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local terminal = require "spec.support.terminal"

local HANDLERS = [[
local evrt = require "evrt"
local function there()
    local file = io.open "GATE"
    if file then file:close() end
    return file ~= nil
end
return {
    { name = "Quick", events = { "big" }, handle = function() end },
    { name = "Held", events = { "first" }, handle = function() while not there() do evrt.sleep(0.01) end end },
}
]]

local function publish(node, kind, bytes)
    return node:post("/events", ("x"):rep(bytes), { ["ce-type"] = kind, ["Content-Type"] = "text/plain" })
end

local function cleanup(node, before, dry_run, headers)
    local c = evrt.connect(node.admin)
    local r = c:request("POST", "/api/v1/cleanup", cjson.encode { before = before, dry_run = dry_run }, headers)
    c:close()
    return r
end

local function store(node) return node:get "/api/v1/stats".json.store end

describe("cleanup", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node
    before_each(function()
        local dir = evrt.folder()
        node = evrt.start {
            dir = dir, handlers = { ["a.lua"] = (HANDLERS:gsub("GATE", dir .. "/gate")) },
            config = { http = { max_event_size = "8MiB" }, store = { max_backlog = "64MiB" },
                workers = { drain_timeout = "100ms" } },
        }
    end)

    -- Two closed segments and a third; the first holds an event that Held has not ended with.
    local function fill()
        assert.equal(202, publish(node, "first", 1).status)
        while store(node).segments < 3 do assert.equal(202, publish(node, "big", 7 * 2 ^ 20).status) end
        node:await("Quick to be done", function()
            local quick = node:handler "Quick"
            return quick.pending == 0 and quick.running == 0
        end)
    end

    it("keeps what a replay still has to read", function()
        evrt.write(node.dir .. "/gate", "")
        fill()
        assert.equal(200, node:post_admin "/api/v1/handlers/Quick/pause".status)
        local replay = node:post_admin("/api/v1/replays", '{"handler":"Quick","from_seq":2}')
        assert.equal(202, replay.status, replay.body)
        local kept = cleanup(node, "0s", false).json
        assert.same({ { reason = "replay", seq = 2 } }, kept.pins)
        assert.is_true(kept.kept.segments > 0 and store(node).first_seq <= 2)
        assert.equal(200, node:delete_admin("/api/v1/replays/" .. replay.json.id).status)
        assert.same({}, cleanup(node, "0s", false).json.pins)
        assert.equal(1, store(node).segments)
        local first = store(node).first_seq
        local rest = node:post_admin("/api/v1/replays?wait=true", '{"handler":"Quick","from_seq":1,"dry_run":true}')
        assert.same({ first, store(node).next_seq - first }, { rest.json.from_seq, rest.json.skipped_count })
        assert.equal(0, node:stop())
    end)

    it("says what would go and what pins the rest, and drops only what nobody needs", function()
        fill()
        local r = cleanup(node, "0s", true)
        assert.equal(200, r.status, r.body)
        assert.same({ segments = 0, events = 0, bytes = 0 }, r.json.dropped)
        assert.equal(2, r.json.kept.segments)
        assert.same({ { reason = "handler", handler = "Held", seq = 1, not_ended = 1 } }, r.json.pins)
        assert.same({}, node:logged { msg = "Operator action" })

        r = cleanup(node, "0s", false)
        assert.equal(0, r.json.dropped.segments)
        assert.equal(3, store(node).segments)
        node:await_log { msg = "Operator action", action = "cleanup", outcome = "0 segments dropped" }

        local code, out, err = evrt.run { "cleanup", "--before", "0s", "--url", "127.0.0.1:" .. node.admin }
        assert.equal(0, code)
        assert.truthy(out:find "would drop 0 segments.*would keep 2 segments.*PINNED BY.*handler +Held +1 ", out)
        assert.equal("", err)

        evrt.write(node.dir .. "/gate", "")
        node:await("Held to be done", function()
            return node:get "/api/v1/events/1".json.handlers[1].outcome == "done"
        end)
        code, out, err = evrt.run { "cleanup", "--before", "0s", "--url", "127.0.0.1:" .. node.admin }
        assert.equal(64, code)
        assert.truthy(out:find "^would drop 2 segments, %d+ events, %d+.iB$", out)
        assert.truthy(err:find("what is dropped is gone for good; say --yes", 1, true), err)
        local line = { "cleanup", "--before", "0s", "--url", "127.0.0.1:" .. node.admin }
        local no = terminal.run(line, { typed = "n\n" })
        assert.equal(1, no.code)
        assert.truthy(no.text:find "would drop 2 segments.*Go on%? %[y/N%].*nothing was changed", no.text)
        code, out, err = evrt.run { "cleanup", "--before", "0s", "--dry-run", "--url", "127.0.0.1:" .. node.admin }
        assert.same({ 0, "" }, { code, err })
        assert.truthy(out:find "^would drop 2 segments", out)
        assert.equal(3, store(node).segments)

        code, out = evrt.run { "cleanup", "--before", "0s", "--yes", "--url", "127.0.0.1:" .. node.admin }
        assert.equal(0, code)
        assert.truthy(out:find "^dropped 2 segments, %d+ events, %d+.iB$", out)
        assert.equal(1, store(node).segments)
        assert.truthy(store(node).first_seq > 1)
        assert.equal(404, node:get "/api/v1/events/1".status)
        node:await_log({ msg = "Segment dropped", reason = "operator" }, 5, 2)
        local audit = node:await_log { msg = "Operator action", action = "cleanup", outcome = "2 segments dropped" }
        assert.truthy(audit.peer:find "^127%.0%.0%.1:%d+$")
        -- A tail from the beginning is told what it does not get.
        local first = store(node).first_seq
        local tail = require "spec.support.stream".open(node.admin, "GET", "/api/v1/tail?after=0")
        local gap = tail:await(1)[1].gap
        assert.same({ reason = "dropped", from = 1, to = first - 1, skipped = first - 1 }, gap)
        tail:close()
        assert.equal(0, (node:stop()))
        node = node:restart()
        assert.equal(first, store(node).first_seq)
        assert.equal(0, (node:stop()))
    end)

    it("drops nothing that is younger, and refuses what it does not understand", function()
        fill()
        assert.equal(0, cleanup(node, "1h", false).json.dropped.segments)
        assert.equal(0, cleanup(node, "1h", false).json.kept.segments)
        assert.equal(3, store(node).segments)
        for body, text in pairs {
            ["{}"] = "before: expected", ['{"before":"soon"}'] = "before: expected a time", ["[]"] = "JSON object",
            ['{"before":1}'] = "before: expected a string", ['{"before":"1h","x":1}'] = '"x": unknown', [""] = "",
            ['{"before":"1h","dry_run":"yes"}'] = "dry_run: expected true or false",
        } do
            local c = evrt.connect(node.admin)
            local r = c:request("POST", "/api/v1/cleanup", body)
            c:close()
            assert.equal(400, r.status, body)
            assert.truthy(r.json.error.message:find(text, 1, true), r.body)
        end
        assert.equal(64, (evrt.run { "cleanup" }))
        assert.equal(64, (evrt.run { "cleanup", "--before", "1h", "--yes", "--dry-run" }))
        assert.equal(0, (node:stop()))
    end)
end)
