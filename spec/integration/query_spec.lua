-- Stored events by what they are and by what became of them, in pages.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"
local shared = require "spec.support.shared"

local HANDLERS = [[
local evrt = require "evrt"
return {
    { name = "Even", events = { "n.*" }, handle = function(event)
        if event.data.n % 7 == 0 then error "seven" end
    end },
    { name = "Slow", events = { "slow.*" }, concurrency = 1, handle = function(event)
        local gate = io.open "GATE"
        while event.data.hold and not gate do evrt.sleep(0.01); gate = io.open "GATE" end
        if gate then gate:close() end
    end },
}
]]

local function batch(node, events)
    local list = {}
    for i, e in ipairs(events) do
        list[i] = { specversion = "1.0", id = e.id or ("%s-%d"):format(e.type, e.data.n), source = e.source or "spec",
            type = e.type, subject = e.subject, data = e.data }
    end
    local r = node:post_batch(list)
    assert.equal(202, r.status, r.body)
end

-- All pages: the items, and how many pages there were.
local function all(node, query)
    local items, pages, after = {}, 0, nil
    repeat
        local r = node:get("/api/v1/events?" .. query .. (after and "&after=" .. after or ""))
        assert.equal(200, r.status, r.body)
        for _, e in ipairs(r.json.items) do items[#items + 1] = e end
        pages = pages + 1
        after = r.json.next ~= cjson.null and r.json.next or nil
    until not after
    return items, pages
end

local function numbers(items)
    local list = {}
    for i, e in ipairs(items) do list[i] = e.data.n end
    return list
end

describe("events", function()
    local dir = evrt.folder()
    local node = shared(setup, teardown, {
        dir = dir, handlers = { ["a.lua"] = (HANDLERS:gsub("GATE", dir .. "/gate")) },
        config = {
            admin = { max_queries = 1 }, workers = { drain_timeout = "100ms" },
            logging = { level = "info", sampling = { first = 1, then_every = 0 } },
        },
    })
    local TOTAL = 40000

    setup(function()
        for first = 1, TOTAL, 1000 do
            local events = {}
            for n = first, first + 999 do
                events[#events + 1] = { type = n % 2 == 0 and "n.even" or "other.odd", data = { n = n },
                    source = n % 1000 == 0 and "/rare" or nil, subject = n % 5000 == 0 and "s/" .. n or nil }
            end
            batch(node, events)
        end
        node:await("all to be handled", function()
            local even = node:handler "Even"
            return even.done + even.dead == TOTAL / 2
        end, 60)
        batch(node, {
            { type = "slow.a", data = { n = 1 } }, { type = "slow.a", data = { n = 2, hold = true } },
            { type = "slow.b", data = { n = 3 } }, { type = "slow.a", data = { n = 4 } },
        })
        node:await("Slow to begin", function()
            return node:get(("/api/v1/events/%d"):format(TOTAL + 2)).json.handlers[1].outcome == "running"
        end)
    end)

    it("are found by type, source and subject, however far apart", function()
        assert.equal(TOTAL / 2, #all(node, "type=n.*&limit=1000"))
        assert.same({ 1000, 2000, 3000 }, { unpack(numbers(all(node, "source=%2Frare")), 1, 3) })
        assert.same({ 35000 }, numbers(all(node, "subject=s%2F35000")))
        assert.same({}, numbers(all(node, "subject=s%2F35000&type=other.*")))
    end)

    it("come in pages without one twice or left out", function()
        local items, pages = all(node, "limit=999")
        assert.equal(math.ceil((TOTAL + 4) / 999), pages)
        for i, e in ipairs(items) do assert.equal(i, e.seq) end
    end)

    it("are found by what became of them for a handler", function()
        local dead = all(node, "handler=Even&state=dead&limit=1000")
        local done = all(node, "handler=Even&state=done&limit=1000")
        assert.equal(TOTAL / 2, #dead + #done)
        for _, e in ipairs(dead) do
            assert.equal(0, e.data.n % 14)
            assert.same({ handler = "Even", outcome = "dead" }, e.delivery)
        end
        for _, e in ipairs(done) do assert.is_true(e.data.n % 2 == 0 and e.data.n % 7 ~= 0) end
        assert.equal(0, #all(node, "handler=Even&state=pending"))
        -- Few, far apart: looked for in one slice after the other.
        local rare = {}
        for n = 1000, TOTAL, 1000 do rare[#rare + 1] = n % 7 ~= 0 and n or nil end
        assert.same(rare, numbers(all(node, "handler=Even&state=done&source=%2Frare")))
        assert.same({ 14, 28, 42 }, numbers(node:get "/api/v1/events?handler=Even&state=dead&limit=3".json.items))
        assert.same({ 40000 }, numbers(all(node, "handler=Even&state=done&after=39997")))
    end)

    it("tell pending from running", function()
        assert.same({ 1 }, numbers(all(node, "handler=Slow&state=done")))
        assert.same({ 2 }, numbers(all(node, "handler=Slow&state=running")))
        assert.same({ 3, 4 }, numbers(all(node, "handler=Slow&state=pending")))
        assert.same({ 4 }, numbers(all(node, "handler=Slow&state=pending&type=slow.a")))
        local every = {}
        for i, e in ipairs(all(node, "handler=Slow")) do every[i] = e.delivery.outcome end
        assert.same({ "done", "running", "pending", "pending" }, every)
    end)

    it("are refused to questions that make no sense", function()
        for query, wanted in pairs {
            ["state=done"] = { 400, "name it with handler" },
            ["handler=Even&state=x"] = { 400, "pending, running, retrying, done, dead or discarded" },
            ["handler=Nobody"] = { 404, 'no handler named "Nobody"' }, ["state="] = { 400, "state: expected a value" },
        } do
            local r = node:get("/api/v1/events?" .. query)
            assert.equal(wanted[1], r.status, r.body)
            assert.truthy(r.json.error.message:find(wanted[2], 1, true), r.body)
        end
    end)

    it("are read for admin.max_queries at once, and for nobody who has gone", function()
        local seen = {}
        evrt.await("one query too many", function()
            for _, r in ipairs(http.get_at_once(node.admin, 8, "/api/v1/events?type=none")) do
                seen[r.status] = r
            end
            return seen[429]
        end)
        assert.equal("busy", seen[429].json.error.code)
        assert.truthy(seen[429].json.error.message:find("admin.max_queries", 1, true))
        assert.equal("1", seen[429].headers["retry-after"])
        assert.same({}, seen[200].json.items)
        local gone = evrt.connect(node.admin)
        gone:send(evrt.format("GET", "/api/v1/events?handler=Even&state=pending"))
        gone:close()
        node:await("its place to be free", function() return node:get "/api/v1/events?limit=1".status == 200 end)
    end)

    it("are listed by evrt events", function()
        local url = ("http://127.0.0.1:%d"):format(node.admin)
        local code, out, err = evrt.run { "events", "--handler", "Even", "--state", "dead", "-n", "2", "--url", url }
        assert.equal(0, code)
        assert.truthy(out:find "^SEQ +STORED +TYPE +SOURCE +ID +OUTCOME\n 14 .* dead\n 28 .* dead$", out)
        assert.truthy(err:find("There are more: --after 28", 1, true), err)
        code, out = evrt.run { "events", "--handler", "Slow", "--state", "running", "--json", "--url", url }
        assert.equal(0, code)
        assert.equal(2, cjson.decode(out).items[1].data.n)
        local refused, _, told = evrt.run { "events", "--state", "done", "--url", url }
        assert.equal(64, refused)
        assert.truthy(told:find("name it with handler", 1, true), told)
    end)
end)
