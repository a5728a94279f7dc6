-- D9: when a write or its sync fails, nothing after it is acknowledged: the process ends and says why, and
-- the next one finds all that was acknowledged. strace makes the disk fail, from the second segment on: that
-- begins after some 4 MiB.
local evrt = require "spec.support.evrt"
local tamper = require "spec.support.tamper"

local EVENT = ("x"):rep(1000000)
local HEADERS = { ["ce-type"] = "a", ["Content-Type"] = "text/plain" }

local function segment(dir, number) return ("%s/data/journal/%016x.seg"):format(dir, number) end

-- One request on a connection of its own: its response, or nil when the node ended without one.
local function post(node)
    local ok, c = pcall(evrt.connect, node.ingest)
    if not ok then return nil end
    local r = c:request("POST", "/events", EVENT, HEADERS)
    c:close()
    return r
end

describe("a disk that fails #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function dies(...)
        local node = evrt.start()
        local dir = node.dir
        tamper(node, segment(dir, 2), ...)
        local acked, r = 0
        repeat
            r = post(node)
            if r then
                assert.equal(202, r.status)
                acked = acked + 1
                assert.equal(acked, r.json.seq)
            end
        until not r or acked == 100
        assert.is_nil(r, "the disk did not fail")
        assert.same({ 1, 0 }, { node:wait() })
        local line = node:logged({ msg = "Store failed" })[1]
        assert.truthy(line, node:said())
        assert.equal("error", line.level)
        assert.truthy(line.error:find("0000000000000002.seg: Input/output error", 1, true), line.error)
        assert.equal(0, #node:logged { msg = "Event published", seq = acked + 1 })
        assert.is_true(acked >= 2)

        node = evrt.start { dir = dir }
        local stored = node:get "/api/v1/stats".json.events
        -- What was not acknowledged may be there: nobody was told that it is not.
        assert.is_true(stored == acked or stored == acked + 1)
        for seq = 1, acked do assert.equal("a", node:get("/api/v1/events/" .. seq).json.type) end
        assert.equal(stored + 1, post(node).json.seq)
        assert.equal(0, (node:stop()))
        assert.equal(0, (evrt.run { "store", "verify", dir .. "/data" }))
    end

    it("when it writes ends the node, with all that was acknowledged", function()
        dies "pwritev2:error=EIO"
    end)

    it("when it syncs does so too", function()
        dies("pwritev2:error=EOPNOTSUPP", "fdatasync:error=EIO")
    end)
end)

describe("a disk that is slow #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("makes publishing answer 429 when more waits for it than store.max_backlog", function()
        local node = evrt.start {
            config = { http = { max_event_size = "32KiB" }, store = { max_backlog = "64KiB" } },
        }
        tamper(node, segment(node.dir, 1), "pwritev2:delay_enter=50000")
        local text = evrt.format("POST", "/events", ("x"):rep(25000), HEADERS)
        local open, acked, busy = {}, 0, nil
        for i = 1, 8 do open[i] = evrt.connect(node.ingest) end
        for _ = 1, 20 do
            for _, c in ipairs(open) do c:send(text) end
            for _, c in ipairs(open) do
                local r = c:response()
                if r.status == 202 then
                    acked = acked + 1
                else
                    busy = r
                end
            end
            if busy then break end
        end
        for _, c in ipairs(open) do c:close() end
        assert.equal(429, busy.status)
        assert.equal("1", busy.headers["retry-after"])
        assert.equal("busy", busy.json.error.code)
        assert.truthy(busy.json.error.message:find("store.max_backlog", 1, true), busy.body)
        local stats = node:get "/api/v1/stats".json
        assert.equal(acked, stats.events)
        assert.is_true(stats.store.refused_backlog >= 1)
        assert.equal(202, node:post("/events", "x", HEADERS).status)
        assert.equal(0, (node:stop()))
    end)
end)
