-- From a published event to its end: what handlers get, what they may do, what is said of it afterwards.
local evrt = require "spec.support.evrt"

local function handlers_of(node)
    local by_name = {}
    for _, item in ipairs(node:get("/api/v1/handlers").json.items) do by_name[item.name] = item end
    return by_name
end

local counter = [[
    local file = assert(io.open(%q, "a"))
    file:setvbuf("line")
    return { name = %q, events = %s, start = %q,
        handle = function(event) file:write(event.seq, " ", event.type, "\n") end }
]]

describe("a delivery", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("goes to every handler that matches, and its end is told per handler", function()
        local node = evrt.start { handlers = {
            ["good.lua"] = [[return { name = "Good", events = "a.*", handle = function() end }]],
            ["bad.lua"] = [[return { name = "Bad", events = "a.b", handle = function() error("broken") end }]],
            ["nil.lua"] = [[return { name = "Nil", events = "a.b", handle = function() return nil, "no luck" end }]],
            ["other.lua"] = [[return { name = "Other", events = { "b" }, handle = function() end }]],
        } }
        local answer = node:publish({ type = "a.b", source = "/t", id = "1" }, "?wait=handled")
        assert.equal(200, answer.status)
        node:await_end()
        local event = node:get("/api/v1/events/1").json
        local outcomes = {}
        for _, h in ipairs(event.handlers) do outcomes[h.handler] = h end
        assert.equal("done", outcomes.Good.outcome)
        assert.equal("dead", outcomes.Bad.outcome)
        assert.truthy(outcomes.Bad.error.message:find("bad.lua:1: broken", 1, true))
        assert.equal("dead", outcomes.Nil.outcome)
        assert.truthy(outcomes.Nil.error.message:find("no luck", 1, true))
        assert.is_nil(outcomes.Other)
        local stats = node:get("/api/v1/stats").json
        assert.same({ 3, 1, 2, 0 }, { stats.matched, stats.done, stats.dead, stats.pending })
        assert.equal(0, node:stop())
    end)

    it("is not lost when the node stops, nor made twice", function()
        local dir = evrt.folder()
        local side = dir .. "/side"
        local node = evrt.start { dir = dir, handlers = {
            ["a.lua"] = counter:format(side, "A", [[{ "**" }]], "new"),
        } }
        for i = 1, 50 do node:publish { type = "x", source = "/t", id = tostring(i) } end
        assert.equal(0, node:stop())
        node = node:restart()
        for i = 51, 60 do node:publish { type = "x", source = "/t", id = tostring(i) } end
        node:await_end()
        assert.equal(0, node:stop())
        local lines = 0
        for seq in evrt.read(side):gmatch "(%d+) x" do
            lines = lines + 1
            assert.equal(true, tonumber(seq) <= 60)
        end
        assert.equal(60, lines)
    end)

    it("begins at the first event for a handler that says so", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, handlers = {
            ["a.lua"] = [[return { name = "A", events = "x", handle = function() end }]],
        } }
        for i = 1, 20 do node:publish { type = "x", source = "/t", id = tostring(i) } end
        node:stop()
        evrt.write(dir .. "/handlers/b.lua", counter:format(dir .. "/b", "B", [["x"]], "beginning"))
        evrt.write(dir .. "/handlers/c.lua", counter:format(dir .. "/c", "C", [["x"]], "new"))
        node = node:restart()
        node:publish { type = "x", source = "/t", id = "21" }
        node:await_end()
        assert.equal(21, select(2, evrt.read(dir .. "/b"):gsub("\n", "")))
        assert.equal("21 x\n", evrt.read(dir .. "/c"))
        assert.equal(21, handlers_of(node).B.done)
        node:stop()
    end)

    it("survives its handler's absence, which is listed until it is forgotten", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = "x", handle = function() evrt.sleep(60) end }]],
            ["b.lua"] = [[return { name = "B", events = "y", handle = function() end }]],
        }, config = { workers = { count = 1, drain_timeout = "100ms" } } }
        for i = 1, 5 do node:publish { type = "x", source = "/t", id = tostring(i) } end
        node:stop()
        os.remove(dir .. "/handlers/a.lua")
        node = node:restart()
        assert.equal("orphaned", handlers_of(node).A.state)
        assert.equal(5, handlers_of(node).A.pending)
        node:publish { type = "x", source = "/t", id = "6" } -- not its any more
        node:stop()

        evrt.write(dir .. "/handlers/a.lua", counter:format(dir .. "/side", "A", [["x"]], "new"))
        node = node:restart()
        node:await_end()
        assert.equal(5, select(2, evrt.read(dir .. "/side"):gsub("\n", "")))
        node:stop()

        os.remove(dir .. "/handlers/a.lua")
        node = node:restart()
        assert.truthy(handlers_of(node).A)
        local http = require "spec.support.http"
        assert.equal(409, http.request(node.admin, "DELETE", "/api/v1/handlers/B").status)
        assert.equal(404, http.request(node.admin, "DELETE", "/api/v1/handlers/Nobody").status)
        assert.equal(true, http.request(node.admin, "DELETE", "/api/v1/handlers/A").status < 300)
        assert.is_nil(handlers_of(node).A)
        node = (node:stop() and nil) or node:restart()
        assert.is_nil(handlers_of(node).A)
        node:stop()
    end)

    it("is discarded and counted when the patterns changed", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = "x.*", handle = function() evrt.sleep(60) end }]],
        }, config = { workers = { count = 1, drain_timeout = "100ms" } } }
        node:publish { type = "x.old", source = "/t", id = "1" }
        node:publish { type = "x.kept", source = "/t", id = "2" }
        node:stop()
        evrt.write(dir .. "/handlers/a.lua", counter:format(dir .. "/side", "A", [[{ "x.kept", "y" }]], "new"))
        node = node:restart()
        node:publish { type = "y", source = "/t", id = "3" }
        node:publish { type = "x.old", source = "/t", id = "4" }
        node:await_end()
        assert.equal("2 x.kept\n3 y\n", evrt.read(dir .. "/side"))
        local a = handlers_of(node).A
        assert.same({ 3, 2, 1 }, { a.matched or a.done + a.discarded, a.done, a.discarded })
        node:stop()
    end)
end)

describe("a script", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("publishes durably, and waits for what it published", function()
        local node = evrt.start { handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = "start", handle = function(event, ctx)
                    local first = assert(evrt.publish { type = "next", data = { n = 1 } })
                    local second = assert(evrt.publish({ type = "next", data = { n = 2 } }, { wait = "handled" }))
                    ctx.log.info("published", { first = first.seq, second = second.seq,
                        outcome = second.outcomes[1].outcome, handler = second.outcomes[1].handler })
                end }]],
            ["b.lua"] = [[
                return { name = "B", events = "next", handle = function(event)
                    if event.data.n == 2 then error("twice") end
                end }]],
        } }
        assert.equal(200, node:publish({ type = "start", source = "/t", id = "1" }, "?wait=handled").status)
        local line = node:await_log { msg = "published" }
        assert.same({ 2, 3, "dead" }, { line.first, line.second, line.outcome })
        assert.equal("a.lua:5", line.caller:match "[^/]+$")
        assert.equal(0, node:stop())
    end)

    it("that publishes to itself is stopped at the hop limit", function()
        local node = evrt.start { config = { bus = { max_hops = 4 } }, handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = "loop", handle = function()
                    local ok, err, code = evrt.publish { type = "loop" }
                    if not ok then evrt.log.warn("stopped", { err = err, code = code }) end
                end }]],
        } }
        node:publish { type = "loop", source = "/t", id = "1" }
        local line = node:await_log { msg = "stopped" }
        assert.truthy(line.err:find "hop limit")
        assert.equal(5, node:get("/api/v1/stats").json.events)
        node:stop()
    end)

    it("may not wait for itself", function()
        local node = evrt.start { handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = "x", handle = function(event)
                    local ok, err = evrt.publish({ type = "x" }, { wait = "handled" })
                    if not ok then error(err) end
                end }]],
        } }
        local answer = node:publish({ type = "x", source = "/t", id = "1" }, "?wait=handled")
        assert.truthy(answer.body:find "wait for itself")
        node:stop()
    end)

    it("that fails with much to say is kept in part, and settled", function()
        local node = evrt.start { handlers = {
            ["a.lua"] = [[return { name = "A", events = "x", handle = function()
                error(("\195\164"):rep(1000000)) end }]],
        } }
        for i = 1, 20 do node:publish { type = "x", source = "/t", id = tostring(i) } end
        node:await_end()
        local said = node:get("/api/v1/events/20").json.handlers[1]
        assert.equal("dead", said.outcome)
        assert.equal(true, #said.error.message <= 8192 and #said.error.message > 8000, #said.error.message)
        assert.equal(20, node:get("/api/v1/stats").json.dead)
        node:stop()
    end)

    -- As long as a frame may be, it would not fit into a group of the journal. By the call that evrt's own Lua makes.
    it("that fails with a long type is kept in part #plain", function()
        local node = evrt.start { handlers = { ["a.lua"] = [[
            local delivery = require "evrt.c.delivery"
            return { name = "A", events = "x", handle = function()
                delivery.fail(("x"):rep(40e6), "no luck")
                coroutine.yield()
            end }]] } }
        node:publish { type = "x", source = "/t", id = "1" }
        node:await_end()
        local said = node:get("/api/v1/events/1").json.handlers[1]
        assert.same({ "dead", ("x"):rep(64) }, { said.outcome, said.error.type })
        node:stop()
    end)

    it("that ends or breaks its worker costs that worker only #plain", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, config = { retry = { max_retries = 2, initial_delay = "1ms" },
            workers = { count = 2, allow_ffi = true } }, handlers = {
            ["a.lua"] = ([[
                local ffi = require "ffi"
                ffi.cdef "long write(int fd, const void *p, size_t n);"
                -- Once only: what it did is on the disk before the worker dies.
                local function first(what)
                    local f = io.open(%q .. what)
                    if f then f:close() return false end
                    assert(io.open(%q .. what, "w")):close()
                    return true
                end
                return { name = "A", events = "**", handle = function(event)
                    if event.type == "exit" and first "exit" then os.exit(3) end
                    if event.type == "garbage" and first "garbage" then
                        ffi.C.write(3, string.rep("\255", 64), 64)
                        while true do end
                    end
                    if event.type == "segv" and first "segv" then ffi.cast("int *", 8)[0] = 1 end
                end }]]):format(dir .. "/did-", dir .. "/did-"),
        } }
        for i, type in ipairs { "exit", "garbage", "segv", "fine" } do
            node:publish { type = type, source = "/t", id = tostring(i) }
        end
        node:await_end(20)
        for _, reason in ipairs { "exited with code 3", "broke the protocol (Bad message)",
            "killed by signal 11 (Segmentation fault)" } do
            node:await_log { msg = "Worker died", reason = reason }
        end
        assert.equal(4, node:get("/api/v1/stats").json.done)
        assert.equal(0, node:stop())
    end)
end)
