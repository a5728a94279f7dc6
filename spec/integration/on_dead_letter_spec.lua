-- What a handler does when it is told of a dead letter of its own: whatever that is, the letter stays, it is told once
-- at most, and what it writes and publishes counts as in a delivery.
local evrt = require "spec.support.evrt"
local oracle = require "spec.support.oracle"

-- What it can do instead of returning, what is said of it, and what its handler has for that.
local failures = {
    raise = { "error 'not even that'", "not even that" },
    returns = { "do return nil, 'no way' end", "no way" },
    rejects = { "evrt.reject 'not this'", "not this" },
    later = { "evrt.retry_after(0.001) error 'again'", "again" },
    timeout = { "evrt.sleep(60)", "timeout", 'timeout = "300ms",' },
    late = { "pcall(evrt.sleep, 60)", "timeout", 'timeout = "300ms",' },
    stall = { "while true do end", "(workers.stall_timeout)" },
    exit = { "os.exit(0)", "exit code 0" },
    fails = { "os.exit(3)", "exit code 3" },
    segfault = { "require('ffi').cast('int *', 8)[0] = 1", "signal 11 (Segmentation fault)" },
    killed = { "os.execute('kill -9 $PPID')", "signal 9 (Killed)" },
    memory = { "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", "not enough memory" },
    value = { "ctx.kv.set('k', print)", "value" },
    key = { "ctx.kv.set('', 1)", "key" },
    event = { "ctx.publish { type = 'a..b' }", "type" },
}

-- A handler that fails with every event, and then does `body`; it writes down that it was told.
local function failing(name, side, body, fields)
    return ([[
        local evrt = require "evrt"
        return { name = %q, events = %q, %s
            handle = function() evrt.reject "no" end,
            on_dead_letter = function(event, letter, ctx)
                local file = assert(io.open(%q, "a"))
                file:write(letter.id, "\n")
                file:close()
                %s
            end }]]):format(name, name, fields or "", side, body)
end

-- How often each letter was told.
local function told(side)
    local times = {}
    for id in (io.open(side) and evrt.read(side) or ""):gmatch "[^\n]+" do times[id] = (times[id] or 0) + 1 end
    return times
end

local function letters(node)
    return node:get("/api/v1/dead-letters?limit=1000").json.items
end

local function value(node, namespace, key)
    local answer = node:get(("/api/v1/kv?namespace=%s&key=%s"):format(namespace, key))
    return answer.status == 200 and answer.json.value or nil
end

describe("on_dead_letter", function()
    require("spec.support.leak").guard(before_each, after_each)

    local side
    before_each(function() side = evrt.folder() .. "/told" end)

    it("may fail in any way: the letter stays, and is told once #plain", function()
        local scripts = { ["good.lua"] = [[return { name = "Good", events = "good", handle = function() end }]] }
        for kind, case in pairs(failures) do
            scripts[kind .. ".lua"] = failing(kind, side, case[1], case[3])
        end
        local node = evrt.start { handlers = scripts,
            config = { retry = { max_retries = 5, initial_delay = "1ms" },
                workers = { count = 2, stall_timeout = "2s", memory_limit = "16MiB", allow_ffi = true } } }
        local count = 0
        local function check(each)
            local stats, kept = node:await_end(60), 0
            assert.same({ each, each * count, 0 }, { stats.done, stats.dead, stats.discarded })
            for _, l in ipairs(letters(node)) do
                kept = kept + 1
                assert.same({ "rejected", 1, l.handler }, { l.reason, l.attempts, l.event_id:match "^%a+" })
                assert.equal(l.handler, node:get("/api/v1/dead-letters/" .. l.id).json.event.data.kind)
            end
            assert.equal(each * count, kept)
            for id, times in pairs(told(side)) do assert.same({ id, 1 }, { id, times }) end
        end
        -- One after the other.
        for kind, case in pairs(failures) do
            count = count + 1
            node:accept { type = kind, id = kind, data = { kind = kind } }
            local line = node:await_log({ msg = "Dead letter notice failed", handler = kind }, 60)
            assert.equal(kind, line.event_id)
            assert.truthy(line.error:find(case[2], 1, true), kind .. ": " .. line.error)
        end
        node:accept { type = "good" }
        check(1)
        for kind in pairs(failures) do
            assert.equal(1, #node:logged { msg = "Dead letter notice failed", handler = kind })
        end
        -- All at once: those that end their worker end it beside others. None is told twice, returned or not.
        for kind in pairs(failures) do node:accept { type = kind, id = kind .. "2", data = { kind = kind } } end
        node:accept { type = "good" }
        for kind in pairs(failures) do
            node:await_log({ msg = "Dead letter notice failed", handler = kind, event_id = kind .. "2" }, 60)
        end
        check(2)
        assert.equal(0, node:stop())
        node = node:restart()
        node:accept { type = "good" }
        local stats = node:await_end()
        assert.same({ 3, 2 * count }, { stats.done, stats.dead })
        assert.equal(0, #node:logged { msg = "Dead letter notice failed" })
        assert.equal(0, node:stop())
    end)

    it("writes and publishes as a delivery does: with its return or not at all, or at once", function()
        local node = evrt.start { handlers = {
            ["a.lua"] = failing("a", side, [[
                ctx.kv.incr("with")
                ctx.kv.set("last", letter.event.id, { ttl = "1h" })
                ctx.publish { type = "told", data = { by = "ctx", id = letter.event.id } }
                evrt.kv.incr("direct")
                assert(evrt.publish { type = "told", data = { by = "evrt", id = letter.event.id } })
                if event.data.fail then error "after all" end]]),
            ["b.lua"] = [[return { name = "b", events = "told", handle = function(event, ctx)
                ctx.kv.set(event.data.by .. "." .. event.data.id, event.data.id)
            end }]] } }
        node:accept { type = "a", id = "good", data = {} }
        node:await("what it published to be handled", function() return value(node, "b", "ctx.good") end)
        local seq = node:accept { type = "a", id = "bad", data = { fail = true } }
        node:await_log { msg = "Dead letter notice failed", handler = "a", event_id = "bad" }
        local stats = node:await_end()
        -- What it published is told beside the letter, and how it ended.
        local function explained(of)
            local why = node:get("/api/v1/events/" .. of .. "/why").json
            assert.is_true(why.complete)
            local h, types = why.handlers[1], {}
            for i, e in ipairs(h.published) do types[i] = e.type end
            return { h.outcome, #h.attempts, table.concat(types, " "), (h.attempts[1].notes or {})[1] }
        end
        local function check()
            assert.same({ "dead", 1, "told told", "on_dead_letter: done" }, explained(1))
            local bad = explained(seq)
            assert.truthy(table.remove(bad):find "^on_dead_letter: failed: .*after all")
            assert.same({ "dead", 1, "told" }, bad)
            assert.same({ 1, 2, "good" }, { value(node, "a", "with"), value(node, "a", "direct"),
                value(node, "a", "last") })
            assert.same({ "good", "good", "bad" }, { value(node, "b", "evrt.good"), value(node, "b", "ctx.good"),
                value(node, "b", "evrt.bad") })
            assert.is_nil(value(node, "b", "ctx.bad"))
        end
        check()
        assert.same({ 5, 3, 2 }, { stats.matched, stats.done, stats.dead })
        -- What it published has the event as its cause.
        for _, e in ipairs(node:get("/api/v1/events?type=told").json.items) do
            local why = node:get("/api/v1/events/" .. e.seq .. "/why").json
            assert.equal(e.data.id, node:get("/api/v1/events/" .. why.caused_by[1].seq).json.id)
        end
        node:stop "sigkill"
        node = node:restart()
        check()
        assert.equal(2, node:await_end().dead)
        assert.equal(0, node:stop())
    end)

    it("is called again where its compare-and-set came too late, and leaves what the last time did", function()
        local node = evrt.start { config = { workers = { count = 2 } }, handlers = {
            ["a.lua"] = failing("a", side, [[
                local before = ctx.kv.get "n"
                assert(ctx.kv.cas("n", before, (before or 0) + 1))
                ctx.publish { type = "told" }
                if before == nil then -- somebody else is quicker
                    ctx.kv.incr "early"
                    assert(evrt.kv.set("n", 5))
                end]]) } }
        node:accept { type = "a" }
        node:await("its end", function() return value(node, "a", "n") == 6 end)
        assert.is_nil(value(node, "a", "early"))
        assert.equal(1, #node:get("/api/v1/events?type=told").json.items)
        assert.equal(0, #node:logged { msg = "Dead letter notice failed" })
        assert.equal(1, oracle.balance(node).dead)
        assert.equal(0, node:stop())
    end)

    it("leads to no circle: bus.max_hops ends one, and it cannot wait for its own handler", function()
        local node = evrt.start { config = { bus = { max_hops = 3 } }, handlers = {
            ["a.lua"] = failing("a", side, [[ctx.publish { type = "a", data = "again" }]]),
            ["b.lua"] = failing("b", side, [[
                local sent, why, code = evrt.publish({ type = "b" }, { wait = "handled" })
                assert(sent == nil and code == "EDEADLK", why)
                ctx.kv.set("refused", code)]]),
        } }
        node:accept { type = "a" }
        local line = node:await_log { msg = "Dead letter notice failed", handler = "a" }
        assert.truthy(line.error:find("bus.max_hops", 1, true), line.error)
        assert.same({ 4, 4, 0 }, (function(s) return { s.matched, s.dead, s.done } end)(node:await_end()))
        node:accept { type = "b" }
        node:await("its end", function() return value(node, "b", "refused") end)
        assert.equal(5, node:await_end().dead)
        for _, times in pairs(told(side)) do assert.equal(1, times) end
        assert.equal(0, node:stop())
    end)

    it("is told once of a letter whose worker another handler takes down, or a reload ends", function()
        local node = evrt.start {
            config = { workers = { count = 1, drain_timeout = "50ms" }, retry = { max_retries = 0 } },
            handlers = {
                ["a.lua"] = failing("a", side, "evrt.sleep(event.data.nap)"),
                ["b.lua"] = [[return { name = "b", events = "b", handle = function(event, ctx)
                    if ctx.attempt == 1 then os.exit(1) end end }]],
            } }
        local function told_of(count)
            node:await(count .. " to be told", function()
                local n = 0
                for _ in pairs(told(side)) do n = n + 1 end
                return n == count
            end)
        end
        node:accept { type = "a", id = "crash", data = { nap = 60 } }
        told_of(1)
        node:accept { type = "b" }
        local line = node:await_log { msg = "Dead letter notice failed", handler = "a", event_id = "crash" }
        assert.truthy(line.error:find("its worker ended", 1, true))
        node:accept { type = "a", id = "reload", data = { nap = 60 } }
        told_of(2)
        evrt.write(node.dir .. "/handlers/c.lua", [[return { name = "c", events = "c", handle = function() end }]])
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        node:await_log { msg = "Dead letter notice failed", handler = "a", event_id = "reload" }
        -- It goes on: nothing of those holds it up.
        node:accept { type = "a", id = "last", data = { nap = 0 } }
        told_of(3)
        local stats = node:await_end()
        assert.same({ 4, 0 }, { stats.dead, stats.done })
        for id, times in pairs(told(side)) do assert.same({ id, 1 }, { id, times }) end
        assert.equal(0, node:stop())
    end)

    it("waits while its handler is paused, and is for nobody when that has none any more", function()
        local gate = evrt.folder() .. "/gate"
        local slow = failing("a", side, "ctx.kv.incr 'told'"):gsub("function%(%) ", ("%%0while not io.open(%q) do "
            .. "evrt.sleep(0.01) end "):format(gate))
        local node = evrt.start { config = { reload = { watch = false } }, handlers = { ["a.lua"] = slow } }
        node:accept { type = "a", id = "one" }
        node:await("it to run", function() return node:handler("a").running == 1 end)
        assert.equal(200, node:post_admin("/api/v1/handlers/a/pause").status)
        evrt.write(gate, "")
        node:await_end()
        evrt.write(node.dir .. "/handlers/a.lua",
            [[return { name = "a", events = "a", handle = function(event, ctx) ctx.kv.incr "handled" end }]])
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        assert.equal(200, node:post_admin("/api/v1/handlers/a/resume").status)
        node:accept { type = "a" }
        node:await("that to be handled", function() return value(node, "a", "handled") == 1 end)
        local stats = node:await_end()
        assert.same({ 1, 1 }, { stats.done, stats.dead })
        assert.is_nil(value(node, "a", "told"))
        assert.equal(0, node:stop())
        assert.equal(0, #node:logged { msg = "Dead letter notice failed" })
    end)

    it("has no event evrt.dead_letter of what fails with one, whatever it does to its worker", function()
        local node = evrt.start { config = { workers = { count = 2, stall_timeout = "2s" },
            retry = { max_retries = 5, initial_delay = "1ms" } }, handlers = {
            ["a.lua"] = failing("a", side, ""),
            ["crash.lua"] = [[return { name = "crash", events = "evrt.dead_letter",
                handle = function() os.exit(1) end }]],
            ["stall.lua"] = [[return { name = "stall", events = "evrt.dead_letter",
                handle = function() while true do end end }]],
            ["late.lua"] = [[local evrt = require "evrt"
                return { name = "late", events = "evrt.**", timeout = "50ms", policies = { evrt.policy.retry {
                    max_retries = 0 } }, handle = function() evrt.sleep(60) end }]],
            ["good.lua"] = [[return { name = "good", events = "evrt.dead_letter", handle = function(event, ctx)
                ctx.kv.set("of", { event.data.handler, event.data.reason, event.data.event.id }) end }]],
        } }
        node:accept { type = "a", id = "one" }
        node:await("the handlers of evrt.dead_letter to end", function()
            return oracle.balance(node).dead == 4
        end, 60)
        local stats = node:await_end(60)
        assert.same({ 5, 4, 1 }, { stats.matched, stats.dead, stats.done })
        local reasons = {}
        for _, l in ipairs(letters(node)) do reasons[l.handler] = l.reason .. " " .. l.type end
        assert.same({ a = "rejected a", crash = "crashed evrt.dead_letter", stall = "crashed evrt.dead_letter",
            late = "exhausted evrt.dead_letter" }, reasons)
        assert.same({ "a", "rejected", "one" }, value(node, "good", "of"))
        assert.equal(1, #node:get("/api/v1/events?type=evrt.dead_letter").json.items)
        assert.equal(0, node:stop())
    end)
end)
