-- What a delivery writes and publishes takes effect with its completion, or not at all: also across failures,
-- retries, killed workers and a killed node; and what others see of it meanwhile.
local cjson = require "cjson"
local uv = require "luv"
local evrt = require "spec.support.evrt"

local function node_of(handlers, config)
    return evrt.start { handlers = handlers, config = config }
end

local function publish(node, type, data, query)
    return node:publish({ type = type, source = "/t", data = data }, query or "?wait=handled")
end

local function kv(node, ns, key)
    local answer = node:get(("/api/v1/kv?namespace=%s&key=%s"):format(ns, key))
    return answer.json and answer.json.value, answer.status
end

local function events(node, type)
    return node:get("/api/v1/events?limit=1000&type=" .. type).json.items
end

-- What was published with a completion is durable a moment after that is known.
local function await_events(node, type, count)
    return node:await(count .. " of " .. type, function()
        local items = events(node, type)
        return #items >= count and items
    end)
end

describe("effects", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("take effect with the completion: writes, an emitted event and its cause", function()
        local node = node_of { ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                ctx.kv.set("one", { list = { 1, 2 }, text = "x" })
                ctx.kv.incr("count")
                ctx.kv.incr("count", 4)
                local sent = ctx.publish { type = "b", data = { from = event.seq } }
                assert(sent.id and not sent.seq)
                assert(ctx.kv.get("count") == 5 and ctx.kv.get("one").list[2] == 2)
            end }]] }
        publish(node, "a", { n = 1 })
        node:await_end()
        assert.same({ list = { 1, 2 }, text = "x" }, kv(node, "A", "one"))
        assert.equal(5, kv(node, "A", "count"))
        local all = await_events(node, "b", 1)
        assert.equal(1, #all)
        assert.same({ 2, { from = 1 } }, { all[1].seq, all[1].data })
        local why = node:get "/api/v1/events/2/why".json
        assert.truthy(cjson.encode(why):find('"A"', 1, true))
        assert.equal(0, node:stop())
    end)

    it("are of any form that an event and a value may have", function()
        local node = node_of { ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "*", handle = function(event, ctx)
                if event.type == "read" then
                    assert(ctx.kv.get("text") == "t" and ctx.kv.get("bytes") == "\0\255" and ctx.kv.get("none") == nil)
                    assert(tostring(ctx.kv.get("long")) == "9007199254740993LL" and ctx.kv.get("half") == 0.5)
                    assert(ctx.kv.get("no") == false and ctx.kv.get("list")[2] == "x" and ctx.kv.get("n") == -7)
                    ctx.kv.incr("n")
                    assert(ctx.kv.get("n") == -6)
                elseif event.type == "write" then
                    for key, value in pairs { text = "t", bytes = "\0\255", half = 0.5, no = false, list = { 1, "x" },
                        n = -7, long = evrt.json.decode "9007199254740993" } do ctx.kv.set(key, value) end
                    ctx.publish(setmetatable({ data = 1 }, { __index = { type = "b" } }))
                    ctx.publish { type = "b", data = evrt.json.array {} }
                    ctx.publish { type = "b", data = evrt.raw "[2 ]", id = "mine", source = "/own", subject = "s" }
                    ctx.publish { type = "b", data = "text", datacontenttype = "text/plain", extensions = { x = 1 } }
                    ctx.publish { type = "b" }
                end
            end }]] }
        publish(node, "write")
        assert.equal("success", publish(node, "read").json.handlers[1].outcome)
        local seen = {}
        for i, e in ipairs(await_events(node, "b", 5)) do
            seen[i] = { e.id == "mine", e.data, e.source, e.subject, e.x }
        end
        assert.same({ { false, 1, "my-app" }, { false, {}, "my-app" }, { true, { 2 }, "/own", "s" },
            { false, "text", "my-app", nil, 1 }, { false, nil, "my-app" } }, seen)
        assert.equal(0, node:stop())
    end)

    it("of a failed attempt are none, and a retry starts clean", function()
        local node = node_of({ ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                assert(ctx.kv.get("seen") == nil)
                ctx.kv.set("seen", ctx.attempt)
                ctx.kv.incr("count")
                ctx.publish { type = "b", data = { attempt = ctx.attempt } }
                if ctx.attempt < 3 then error "not yet" end
            end }]] }, { retry = { max_retries = 3, initial_delay = "10ms", policy = "fixed" } })
        publish(node, "a")
        node:await("the retries", function() return node:get("/api/v1/stats").json.done == 1 end)
        assert.same({ 3, 1 }, { kv(node, "A", "seen"), (kv(node, "A", "count")) })
        local all = await_events(node, "b", 1)
        assert.same({ 1, 3 }, { #all, all[1].data.attempt })
        assert.equal(0, node:stop())
    end)

    it("are what later deliveries see, in every worker, at once", function()
        local node = node_of({ ["a.lua"] = [[
            return { name = "A", events = "a", ordered_by = "data.key", handle = function(event, ctx)
                local n = ctx.kv.get("n:" .. event.data.key) or 0
                ctx.kv.set("n:" .. event.data.key, n + 1)
            end }]] }, { workers = { count = 3 } })
        local list = {}
        for i = 1, 600 do
            list[i] = { specversion = "1.0", type = "a", source = "/t", id = "" .. i, data = { key = "k" .. i % 3 } }
        end
        assert.equal(202, node:post_batch(list).status)
        node:await_end()
        for i = 0, 2 do assert.equal(200, (kv(node, "A", "n:k" .. i))) end
        assert.equal(0, node:stop())
    end)

    it("with a compare-and-set that came too late are made again, uncharged", function()
        local node = node_of({ ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "a", handle = function(event, ctx)
                assert(ctx.attempt == 1)
                local n
                repeat n = ctx.kv.get("n") until ctx.kv.cas("n", n, (n or 0) + 1)
                evrt.sleep(0.002)
            end }]] }, { workers = { count = 2 }, kv = { max_conflicts = 10000 } })
        local list = {}
        for i = 1, 40 do list[i] = { specversion = "1.0", type = "a", source = "/t", id = tostring(i) } end
        assert.equal(202, node:post_batch(list).status)
        node:await_end()
        local stats = node:get("/api/v1/stats").json
        assert.equal(40, (kv(node, "A", "n")))
        assert.same({ 40, 0, 0 }, { stats.done, stats.dead, stats.retrying })
        assert.is_true(stats.kv.conflicts > 0)
        assert.equal(0, node:stop())
    end)

    it("with a compare-and-set that always comes too late fail in the end", function()
        local node = node_of({ ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "a", handle = function(event, ctx)
                local n = ctx.kv.get("n") or 0
                assert(ctx.kv.cas("n", ctx.kv.get("n"), "mine"))
                evrt.kv.set("n", n + 1)
            end }]] }, { kv = { max_conflicts = 3 } })
        local answer = publish(node, "a")
        assert.equal("dead", answer.json.handlers[1].outcome)
        assert.truthy(answer.body:find('compare-and-set: \\"n\\" was changed by others', 1, true))
        assert.equal(4, (kv(node, "A", "n")))
        assert.equal(0, node:stop())
    end)

    it("that are wrong are errors at the call, which name it, and nothing is half-written", function()
        local cases = {
            { 'ctx.kv.set("f", function() end)', "ctx.kv.set: value: " },
            { 'ctx.kv.set("x", 0/0)', "ctx.kv.set: value: " },
            { 'ctx.kv.set(("k"):rep(513), 1)', "ctx.kv.set: key: 513 bytes, expected 1 to 512 (kv.max_key)" },
            { 'ctx.kv.get("a\\nb")', "ctx.kv.get: key: byte 2 is not printable UTF-8" },
            { 'ctx.kv.set("", 1)', "ctx.kv.set: key: 0 bytes" },
            { 'ctx.kv.set(1, 1)', "ctx.kv.set: key: a string expected, got number" },
            { 'ctx.kv.set("k", nil)', "ctx.kv.set: value: nil is none" },
            { 'ctx.kv.set("k", ("v"):rep(2000))', "ctx.kv.set: value: 2000 bytes, at most 1024" },
            { 'ctx.kv.set("k", 1, { namespace = "B" })', 'A may not write namespace "B"; kv.writers' },
            { 'ctx.kv.incr("k", 1.5)', "ctx.kv.incr: by: a whole number expected" },
            { 'ctx.kv.set("s", "5") ctx.kv.incr("s")', 'ctx.kv.incr: key "s" holds no whole number' },
            { 'evrt.kv.set("t", "5") evrt.kv.incr("t")', 'evrt.kv.incr: key "t" holds no whole number' },
            { 'ctx.publish { type = "evrt.timer.T" }', 'ctx.publish: type: only evrt itself publishes types' },
            { 'evrt.publish { type = "b.", data = 1 }', "evrt.publish: type: byte 2" },
            { 'evrt.publish { type = "b", extensions = { deliverafter = "soon" } }', "evrt.publish: deliverafter: " },
            { 'ctx.kv.set("k", 1, { tll = 1 })', 'ctx.kv.set: unknown option "tll"' },
            { 'ctx.kv.set("k", 1, { ttl = 0 })', "ctx.kv.set: ttl: a duration above 0" },
            { 'ctx.publish { typ = "b" }', 'ctx.publish: unknown field "typ" (did you mean "type"?)' },
            { 'ctx.publish { type = "b", data = { f = print } }', "ctx.publish: data.f" },
            { 'ctx.publish "b"', "ctx.publish: an event (table) expected, got string" },
            { 'ctx.publish { "b" }', "ctx.publish: a table of named fields expected" },
            { 'ctx.publish { data = 1 }', "ctx.publish: type is missing" },
            { 'ctx.publish { type = "b", source = 1 }', "ctx.publish: source: a string expected, got number" },
            { 'ctx.publish { type = "b.", data = 1 }', "ctx.publish: type: byte 2" },
            { 'ctx.publish { type = "b", data = evrt.raw "{" }', "ctx.publish: " },
            { 'ctx.publish({ type = "b" }, { wait = "handled" })', "ctx.publish: takes no options" },
            { 'for i = 1, 5 do ctx.kv.set("k" .. i, ("v"):rep(1000)) end', "(kv.max_effects)" },
            { 'repeat ctx.kv.get("n") until ctx.kv.cas("n", 1, 2)', "timeout: the handler's deadline has passed",
                "timeout", "late" },
            { 'evrt.kv.set("k", 1, { namespace = "B" })', 'evrt.kv.set: A may not write namespace "B"' },
        }
        local branches = {}
        for i, case in ipairs(cases) do branches[i] = ("[%d] = function(ctx) %s end,"):format(i, case[1]) end
        local node = node_of({ ["a.lua"] = ([[
            local evrt = require "evrt"
            local cases = { %s }
            local function handle(event, ctx)
                ctx.kv.set("trace", event.data)
                ctx.publish { type = "trace" }
                cases[event.data](ctx)
            end
            return { { name = "A", events = "a", handle = handle },
                { name = "Late", events = "late", timeout = "300ms", handle = handle } }]])
                :format(table.concat(branches, " ")) }, { kv = { max_value = "1KiB", max_effects = "4KiB" } })
        for i, case in ipairs(cases) do
            local answer = publish(node, case[4] or "a", i)
            local outcome = answer.json.handlers[1]
            assert.equal("dead", outcome.outcome, case[1])
            assert.equal(case[3] or "error", outcome.error.type, case[1])
            assert.truthy(outcome.error.message:find(case[2], 1, true), case[1] .. ": " .. outcome.error.message)
            assert.truthy(outcome.error.message:find "a%.lua:%d+: ", outcome.error.message)
        end
        local _, status = kv(node, "A", "trace")
        assert.equal(404, status)
        assert.equal(0, #events(node, "trace"))
        assert.equal(0, node:stop())
    end)

    it("refuse to add to what others wrote and is no number, and say so where that is seen later", function()
        local node = node_of { ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                if event.data == "anew" then ctx.kv.delete("k") end
                ctx.kv.incr("k")
                ctx.kv.set("trace", true)
            end }]] }
        local function set(text)
            assert.equal(200, node:put_admin("/api/v1/kv?namespace=A&key=k", text).status)
        end
        for _, text in ipairs { '"5"', "1.5", "[]", "true", "null" } do
            set(text)
            local outcome = publish(node, "a").json.handlers[1]
            assert.equal("dead", outcome.outcome)
            assert.truthy(outcome.error.message:find('key "k" holds no whole number', 1, true), outcome.error.message)
        end
        assert.equal(404, select(2, kv(node, "A", "trace")))
        assert.equal("success", publish(node, "a", "anew").json.handlers[1].outcome)
        assert.equal(1, (kv(node, "A", "k")))
        set '"5"'
        assert.equal(0, node:stop())
        node = node:restart() -- which has read nothing
        assert.equal("success", publish(node, "a").json.handlers[1].outcome)
        local line = node:await_log { msg = "Increment of no number" }
        assert.same({ "error", "A k", 1 }, { line.level, line.key, line.count })
        assert.same({ 1, "5" }, { node:get("/api/v1/stats").json.kv.not_numbers, (kv(node, "A", "k")) })
        assert.equal(0, node:stop())
    end)

    it("are in namespaces that are told by the page, of those that state.db has and of those to come", function()
        local node = node_of {}
        local wanted = {}
        for i = 1, 30 do
            wanted[i] = ("n%02d"):format(i)
            assert.equal(200, node:put_admin(("/api/v1/kv?namespace=%s&key=k"):format(wanted[i]), "1").status)
            if i == 20 then -- the next ones are accepted only
                assert.equal(0, node:stop())
                node = node:restart()
            end
        end
        for _, limit in ipairs { 1, 7, 29, 30, 31, 1000 } do
            local seen, after = {}, ""
            repeat
                local page = node:get(("/api/v1/kv?limit=%d%s"):format(limit, after)).json
                assert.is_true(#page.items <= limit)
                for _, item in ipairs(page.items) do seen[#seen + 1] = item.namespace end
                after = "&after=" .. tostring(page.next)
            until page.next == cjson.null
            assert.same(wanted, seen)
        end
        assert.equal(0, node:stop())
    end)

    it("write another's namespace where the configuration says so", function()
        local node = node_of({ ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                ctx.kv.set("k", 1, { namespace = "B" })
                ctx.kv.incr("k", 1, { namespace = "shared" })
                assert(ctx.kv.get("k", "B") == 1 and ctx.kv.get("k") == nil)
            end }]] }, { kv = { writers = "A=B *=shared" } })
        publish(node, "a")
        assert.same({ 1, 1 }, { kv(node, "B", "k"), (kv(node, "shared", "k")) })
        assert.equal(0, node:stop())
    end)

    it("go through publish policies, and stop at the hop limit", function()
        local node = evrt.start { handlers = { ["a.lua"] = [[
            return { name = "A", events = "a", policies = { "stamp" }, handle = function(event, ctx)
                ctx.publish { type = "b" }
                ctx.publish { type = "no" }
            end }]], ["l.lua"] = [[
            return { name = "L", events = "loop", handle = function(event, ctx) ctx.publish { type = "loop" } end }]] },
            files = { ["policies/stamp.lua"] = [[
            return { name = "stamp", scope = "publish", wrap = function(next)
                return function(event, ctx)
                    if event.type == "no" then return nil end
                    event.subject = ctx.handler
                    return next(event, ctx)
                end
            end }]] }, config = { policies = "policies/", bus = { max_hops = 3 } } }
        publish(node, "a")
        assert.equal("A", await_events(node, "b", 1)[1].subject)
        assert.equal(0, #events(node, "no"))
        publish(node, "loop", nil, "")
        node:await("the end of the loop", function() return node:get("/api/v1/stats").json.dead == 1 end)
        assert.equal(4, #events(node, "loop"))
        assert.equal(0, node:stop())
    end)

    it("expire, lazily and swept", function()
        local node = node_of { ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                if event.data then ctx.kv.set("t", 1, { ttl = 0.3 }) ctx.kv.set("stays", 1) return end
                ctx.kv.incr("t", 7)
            end }]] }
        local before = uv.hrtime()
        publish(node, "a", true)
        local value = kv(node, "A", "t")
        if uv.hrtime() - before < 0.3e9 then assert.equal(1, value) end
        node:await("the key to expire", function() return select(2, kv(node, "A", "t")) == 404 end)
        publish(node, "a")
        assert.same({ 7, 1 }, { kv(node, "A", "t"), (kv(node, "A", "stays")) })
        assert.equal(0, node:stop())
    end)

    it("of evrt.kv are durable one by one, whatever becomes of the delivery", function()
        local node = node_of { ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "a", handle = function(event, ctx)
                assert(evrt.kv.set("a", 5) and evrt.kv.get("a") == 5)
                assert(evrt.kv.cas("a", 5, 6) and not evrt.kv.cas("a", 5, 7))
                assert(evrt.kv.incr("a", 4))
                assert(evrt.kv.set("gone", 1) and evrt.kv.delete("gone") and evrt.kv.get("gone") == nil)
                ctx.kv.set("not", 1)
                assert(evrt.kv.get("not") == nil)
                error "in the end"
            end }]] }
        publish(node, "a")
        assert.equal(10, (kv(node, "A", "a")))
        local _, status = kv(node, "A", "not")
        assert.equal(404, status)
        node:kill()
        node:wait()
        node = node:restart()
        assert.equal(10, (kv(node, "A", "a")))
        assert.equal(0, node:stop())
    end)

    it("of evrt.kv.cas that came too late say so", function()
        local node = node_of { ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "a", handle = function(event, ctx)
                for _ = 1, 10 do
                    local done
                    repeat
                        local n = evrt.kv.get "n"
                        done = evrt.kv.cas("n", n, (n or 0) + 1)
                        assert(done == true or done == false, done)
                        if not done then ctx.kv.incr "late" end
                    until done
                end
            end }]] }
        local list = {}
        for i = 1, 20 do list[i] = { specversion = "1.0", type = "a", source = "/t", id = tostring(i) } end
        assert.equal(202, node:post_batch(list).status) -- all at once, so that some are too late
        assert.equal(20, node:await_end().done)
        assert.equal(200, (kv(node, "A", "n")))
        assert.is_true(kv(node, "A", "late") > 0)
        assert.equal(0, node:stop())
    end)

    it("are read, listed and changed by operators, who may write any namespace", function()
        local node = node_of({ ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                for i = 1, 5 do ctx.kv.set("k" .. i, i) end
                ctx.kv.set("bytes", "\0\255")
            end }]] }, { kv = { max_value = "1KiB" } })
        publish(node, "a")
        local page = node:get("/api/v1/kv?namespace=A&prefix=k&limit=3").json
        assert.same({ 3, "k3", 1 }, { #page.items, page.next, page.items[1].value })
        page = node:get("/api/v1/kv?namespace=A&prefix=k&limit=3&after=k3").json
        assert.same({ 2, cjson.null, "k5" }, { #page.items, page.next, page.items[2].key })
        assert.equal("AP8=", node:get("/api/v1/kv?namespace=A&key=bytes").json.value_base64)
        assert.equal(200, node:put_admin("/api/v1/kv?namespace=B&key=x%20y", '{"a": [1, 9007199254740993]}').status)
        assert.truthy(node:get("/api/v1/kv?namespace=B&key=x%20y").body:find('{"a": [1, 9007199254740993]}', 1, true))
        assert.equal(200, node:put_admin("/api/v1/kv?namespace=B&key=s", '"\\u00e4"').status)
        assert.equal("\195\164", (kv(node, "B", "s")))
        assert.same({ { namespace = "A" }, { namespace = "B" } }, node:get("/api/v1/kv").json.items)
        page = node:get("/api/v1/kv?limit=1").json
        assert.same({ { { namespace = "A" } }, "A" }, { page.items, page.next })
        page = node:get("/api/v1/kv?limit=1&after=A").json
        assert.same({ { { namespace = "B" } }, cjson.null }, { page.items, page.next })
        assert.same({}, node:get("/api/v1/kv?after=B").json.items)
        assert.equal(200, node:delete_admin("/api/v1/kv?namespace=B&key=s").status)
        for _, case in ipairs {
            { 404, node:get("/api/v1/kv?namespace=B&key=s") },
            { 400, node:get("/api/v1/kv?key=s") },
            { 400, node:get("/api/v1/kv?namespace=A&limit=0") },
            { 400, node:put_admin("/api/v1/kv?namespace=B&key=s", "not json") },
            { 400, node:put_admin("/api/v1/kv?namespace=B", "1") },
            { 400, node:put_admin("/api/v1/kv?namespace=B&key=" .. ("k"):rep(513), "1") },
            { 413, node:put_admin("/api/v1/kv?namespace=B&key=s", '"' .. ("v"):rep(1025) .. '"') },
            { 400, node:put_admin("/api/v1/kv?namespace=B&key=s&ttl=-1s", "1") },
        } do
            assert.equal(case[1], case[2].status, case[2].body)
        end
        node:await_log { msg = "Operator action", action = "set key", target = "B/x y", outcome = "written" }
        node:await_log { msg = "Operator action", action = "delete key", target = "B/s" }
        local function run(...)
            local code, out = evrt.run { "kv", "--url", ("http://127.0.0.1:%d"):format(node.admin), ... }
            return code, out
        end
        assert.same({ 0, "NAMESPACE\nA\nB" }, { run() })
        assert.same({ 0, "" }, { run("set", "text", "a b", "--text", "-N", "C") })
        assert.same({ 0, "a b" }, { run("get", "text", "-N", "C") })
        assert.same({ 0, "KEY   VALUE  BASE64\ntext  a b    -" }, { run("list", "-N", "C") })
        assert.same({ 0, "" }, { run("delete", "text", "-N", "C", "--yes") })
        assert.equal(1, (run("get", "text", "-N", "C")))
        assert.equal(64, (run("get", "text")))
        assert.equal(64, (run("put", "text")))
        assert.equal(0, node:stop())
    end)

    it("wait for room in the overlay, in order, and are not lost to a worker's or the node's end", function()
        local node = node_of({ ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                for i = 1, 3 do ctx.kv.set("k" .. i .. ":" .. event.seq, ("x"):rep(200000)) end
                ctx.kv.incr("count")
            end }]] }, { kv = { overlay = "1MiB" }, workers = { count = 2 } })
        local list = {}
        for i = 1, 30 do list[i] = { specversion = "1.0", type = "a", source = "/t", id = "" .. i } end
        assert.equal(202, node:post_batch(list).status)
        node:await("completions to wait", function() return node:get("/api/v1/stats").json.kv.waits > 0 end)
        assert.equal(0, node:stop())
        node = node:restart()
        node:await_end()
        local stats = node:get("/api/v1/stats").json
        assert.same({ 30, 0, 30 }, { stats.done, stats.dead, (kv(node, "A", "count")) })
        assert.equal(0, node:stop())
    end)

    it("are the same where nothing is on a disk", function()
        local node = node_of({ ["a.lua"] = [[
            return { name = "A", events = "a", handle = function(event, ctx)
                if event.data then
                    for i = 1, 50 do ctx.kv.set("t" .. i, 1, { ttl = 0.3 }) end
                    return
                end
                local n = ctx.kv.get("n") or 0
                ctx.kv.set("n", n + 1)
                ctx.kv.incr("m", 2)
                local keys = {}
                for key in ctx.kv.scan() do keys[#keys + 1] = key end
                assert(table.concat(keys, " ") == "m n")
            end }]] }, { store = { durability = "memory" } })
        for _ = 1, 3 do publish(node, "a") end
        node:await_end()
        assert.same({ 3, 6 }, { (kv(node, "A", "n")), (kv(node, "A", "m")) })
        publish(node, "a", true)
        node:await("what expired to go", function() return node:get("/api/v1/stats").json.kv.entries == 2 end)
        assert.same({ 3, 6 }, { (kv(node, "A", "n")), (kv(node, "A", "m")) })
        assert.equal(0, node:stop())
    end)
end)
