-- Following events: from now or from before, in order, nothing twice and nothing left out that is not told.
local evrt = require "spec.support.evrt"
local stream = require "spec.support.stream"

local function batch(node, count, first, options)
    options = options or {}
    local list = {}
    for i = 1, count do
        local n = first + i - 1
        list[i] = { specversion = "1.0", id = tostring(n), source = options.source or "spec",
            type = options.type or (n % 2 == 0 and "t.even" or "t.odd"), data = { n = n, pad = options.pad } }
    end
    local r = node:post_batch(list)
    assert.equal(202, r.status, r.body)
end

local function seqs(lines)
    local list = {}
    for i, line in ipairs(lines) do list[i] = line.seq end
    return list
end

local function follow(node, query)
    local tail = stream.open(node.admin, "GET", "/api/v1/tail" .. (query or ""))
    assert.equal(200, tail.status)
    assert.truthy(tail.head:lower():find("content-type: application/x-ndjson", 1, true))
    return tail
end

describe("a tail", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node
    local function start(admin)
        node = evrt.start { config = { admin = admin,
            logging = { level = "info", sampling = { first = 1, then_every = 0 } } } }
    end
    after_each(function() assert.equal(0, (node:stop())) end)

    it("gives events from now on, those that match, whole", function()
        start()
        batch(node, 3, 1)
        local every, even, rare = follow(node), follow(node, "?type=t.even"), follow(node, "?source=%2Frare")
        batch(node, 4, 4)
        batch(node, 1, 8, { source = "/rare" })
        assert.same({ 4, 5, 6, 7, 8 }, seqs(every:await(5)))
        assert.same({ 4, 6, 8 }, seqs(even:await(3)))
        assert.same({ 8 }, seqs(rare:await(1)))
        assert.same(node:get("/api/v1/events?after=7").json.items[1], rare.lines[1])
        -- Data may have line ends; a line has not.
        node:post("/events", '{\n "x":\r\n [1,\n2]}', { ["ce-type"] = "a", ["ce-specversion"] = "1.0",
            ["ce-id"] = "nl", ["ce-source"] = "/rare", ["Content-Type"] = "application/json" })
        assert.same({ x = { 1, 2 } }, rare:await(2)[2].data)
        for _, tail in ipairs { every, even, rare } do tail:close() end
    end)

    it("begins with a sequence or a time and goes on with what comes, without a gap", function()
        start()
        batch(node, 1000, 1)
        local tails = { follow(node, "?after=500"), follow(node, "?after=0&type=t.even"), follow(node, "?from=1h") }
        for i = 1, 20 do batch(node, 500, 1001 + (i - 1) * 500) end
        local from = seqs(tails[1]:await(10500))
        for i, seq in ipairs(from) do assert.equal(500 + i, seq) end
        local even = seqs(tails[2]:await(5500))
        for i, seq in ipairs(even) do assert.equal(2 * i, seq) end
        local timed = seqs(tails[3]:await(11000))
        for i, seq in ipairs(timed) do assert.equal(i, seq) end
        for _, tail in ipairs(tails) do tail:close() end
    end)

    it("that is too slow skips, and says how many", function()
        start { tail_lag = 1000 }
        local tail = follow(node)
        batch(node, 10, 1)
        tail:await(10)
        tail:pause()
        local total = 10
        for _ = 1, 60 do
            batch(node, 1000, total + 1, { pad = ("x"):rep(400) })
            total = total + 1000
        end
        tail:go_on()
        local gap = tail:find(function(line) return line.gap end).gap
        assert.equal("slow", gap.reason)
        batch(node, 1, total + 1)
        total = total + 1
        tail:find(function(line) return line.seq == total end)
        -- Each is there or told of, once and in order.
        local next_seq = 1
        for _, line in ipairs(tail.lines) do
            if line.gap then
                assert.equal(next_seq, line.gap.from)
                assert.equal(line.gap.to - line.gap.from + 1, line.gap.skipped)
                next_seq = line.gap.to + 1
            else
                assert.equal(next_seq, line.seq)
                next_seq = next_seq + 1
            end
        end
        assert.equal(total + 1, next_seq)
        tail:close()
    end)

    it("is one of admin.max_tails; its place is free when the client has gone", function()
        start { max_tails = 2 }
        local one, two = follow(node), follow(node)
        local r = node:get "/api/v1/tail"
        assert.equal(429, r.status)
        assert.equal("busy", r.json.error.code)
        assert.equal("1", r.headers["retry-after"])
        one:close()
        evrt.await("a place", function()
            local third = stream.open(node.admin, "GET", "/api/v1/tail")
            local got = third.status == 200
            third:close()
            return got
        end)
        two:close()
        assert.equal(400, node:get("/api/v1/tail?type=a..b").status)
        assert.equal(400, node:get("/api/v1/tail?limit=3").status)
    end)

    it("ends well when the node stops, also one that nobody reads", function()
        start()
        local good, stuck = follow(node), follow(node)
        stuck:pause()
        for i = 1, 20 do batch(node, 1000, i * 1000, { pad = ("x"):rep(400) }) end
        good:await(20000) -- else it may be one that reads too slowly
        node:kill()
        assert.is_true(good:finish())
        assert.equal("the node is shutting down", good.lines[#good.lines]["end"].reason)
        assert.same({ 0, 0 }, { node:wait() })
        good:close()
        stuck:close()
        node = node:restart()
    end)

    it("answers HEAD, and old clients", function()
        start { max_tails = 1 }
        local c = evrt.connect(node.admin)
        assert.equal(200, c:request("HEAD", "/api/v1/tail", nil, nil).status)
        c:close()
        c = evrt.connect(node.admin)
        c:send "GET /api/v1/tail?after=0 HTTP/1.0\r\n\r\n"
        batch(node, 1, 1)
        evrt.await("the line", function() return c.buffer:find('"seq":1', 1, true) end)
        c:close()
    end)
end)

describe("evrt tail", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node
    before_each(function() node = evrt.start() end)

    local function tail(...)
        return evrt.spawn { args = { "tail", "--url", ("http://127.0.0.1:%d"):format(node.admin), ... } }
    end

    it("prints a line for each event until Ctrl-C", function()
        batch(node, 2, 1)
        local one, json = tail("t.*", "--from", "2"), tail("--from", "1h", "--json")
        one:await("the second", function() return one.out[1] end)
        batch(node, 1, 3, { type = "other" })
        batch(node, 1, 4)
        one:await("the fourth", function() return #one.out == 2 end)
        assert.truthy(one.out[1]:find '^2 +%d+%-%S+Z +t%.even +spec +{"n":2}$', one.out[1])
        assert.truthy(one.out[2]:find "^4 ", one.out[2])
        json:await("all", function() return #json.lines == 4 end)
        assert.same({ 1, 2, 3, 4 }, seqs(json.lines))
        for _, it in ipairs { one, json } do assert.same({ 0, 0 }, { it:stop "sigint" }) end
        node:stop()
    end)

    it("says that the node has ended, and what is wrong", function()
        local one = tail("--from", "1")
        batch(node, 1, 1)
        one:await("it", function() return one.out[1] end)
        node:stop()
        assert.equal(69, (one:wait()))
        assert.truthy(table.concat(one.err):find("the node is shutting down", 1, true))
        assert.equal(69, (tail():wait()))
        node = node:restart()
        assert.equal(64, (tail("a..b"):wait()))
        node:stop()
    end)
end)
