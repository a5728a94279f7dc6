-- What fails is tried again: when, how often, by whom, and across a crash.
local evrt = require "spec.support.evrt"

local fast = { max_retries = 3, initial_delay = "20ms", jitter = 0 }

local function retrying(node, count)
    return function() return #node:get("/api/v1/retries").json.items == count end
end

-- One handler's body, and others beside it.
local function start(retry, handlers, fields)
    local files = {}
    for name, body in pairs(handlers) do
        files[name .. ".lua"] = ([[
            local evrt = require "evrt"
            return { name = %q, events = "a", %s handle = function(event, ctx) %s end }]]):format(name,
                fields or "", body)
    end
    return evrt.start { config = { retry = retry, workers = { count = 2 } }, handlers = files }
end

-- Makes the only retry due when it waits for that attempt.
local function run_now(node, attempt)
    local row = node:await("attempt " .. attempt .. " to wait", function()
        local one = node:get("/api/v1/retries").json.items[1]
        return one and one.attempt == attempt and one.state == "waiting" and one
    end)
    assert.equal(200, node:post_admin("/api/v1/retries/" .. row.id .. "/run").status)
end

-- What the log says of so many retries; it may be a moment behind.
local function delays(node, count)
    local list = {}
    node:await_log({ msg = "Event queued for retry" }, nil, count)
    for _, line in ipairs(node:logged { msg = "Event queued for retry" }) do list[#list + 1] = line.delay end
    return list
end

describe("a delivery that fails", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is tried again for its handler alone, and succeeds #plain", function()
        local node = start(fast, {
            A = "if ctx.attempt < 3 then error('boom ' .. ctx.attempt) end",
            B = "",
        })
        local answer = node:publish({ type = "a" }, "?wait=handled")
        local told = {}
        for _, h in ipairs(answer.json.handlers) do told[h.handler] = h end
        assert.same({ "retrying", "success" }, { told.A.outcome, told.B.outcome })
        assert.truthy(told.A.error.message:find "boom 1")
        node:await_end()
        assert.equal("done", node:outcome(1, "A").outcome)
        node:await_log { msg = "Event handled successfully", handler = "A", attempt = 3 }
        assert.equal(2, #node:logged { msg = "Event retry attempt", handler = "A" })
        assert.equal(1, #node:logged { msg = "Event handled successfully", handler = "B" })
        assert.same({ "0.020s", "0.040s" }, delays(node, 2))
        assert.equal(0, node:stop())
    end)

    it("is dead after max_retries, and at once when it is rejected", function()
        local linear = { policy = "linear", max_retries = 2, initial_delay = "10ms", increment = "5ms", jitter = 0 }
        local node = start(linear, {
            A = "error 'boom'", B = "evrt.reject 'no'",
        })
        local seq = node:accept({ type = "a" })
        node:await_end()
        local a, b = node:outcome(seq, "A"), node:outcome(seq, "B")
        assert.same({ "dead", 3, "error" }, { a.outcome, a.attempt, a.error.type })
        assert.same({ "dead", 1, "rejected" }, { b.outcome, b.attempt, b.error.type })
        assert.same({ "0.010s", "0.015s" }, delays(node, 2))
        assert.equal(0, node:stop())
    end)

    it("is tried again when its handler says, whatever the policy", function()
        local node = start({ max_retries = 1, initial_delay = "1h", max_delay = "1h" }, {
            A = "evrt.retry_after(0.03) return nil, 'later'",
        })
        node:accept({ type = "a" })
        local stats = node:await_end()
        assert.equal(1, stats.dead)
        assert.same({ "0.030s" }, delays(node, 1))
        assert.equal(0, node:stop())
    end)

    it("is judged by its handler's own policy", function()
        local node = start({ max_retries = 0 }, { A = "error 'boom'" }, [[policies = {
            evrt.policy.retry { policy = "fixed", max_retries = 2, initial_delay = "10ms", jitter = 0 } },]])
        local seq = node:accept({ type = "a" })
        node:await_end()
        assert.same({ "dead", 3 }, { node:outcome(seq, "A").outcome, node:outcome(seq, "A").attempt })
        assert.same({ "0.010s", "0.010s" }, delays(node, 2))
        assert.equal(0, node:stop())
    end)

    it("waits as long as its handler's policy says, also where the configuration's longest is shorter", function()
        local node = start({ max_retries = 2, initial_delay = "1ms", max_delay = "2ms" }, { A = "error 'boom'" },
            [[policies = { evrt.policy.retry { policy = "fixed", initial_delay = "30ms", jitter = 0 } },]])
        node:accept { type = "a" }
        node:await_end()
        assert.same({ "0.030s", "0.030s" }, delays(node, 2))
        assert.equal(0, node:stop())
    end)

    it("is judged by a function where it failed", function()
        local node = start({ max_retries = 0 }, { A = "error('boom ' .. ctx.attempt)" }, [[policies = {
            evrt.policy.retry { policy = function(attempt, failure)
                assert(failure.message:find("boom " .. attempt))
                if attempt < 3 then return attempt / 100 end
            end } },]])
        local seq = node:accept({ type = "a" })
        node:await_end()
        assert.same({ "dead", 3 }, { node:outcome(seq, "A").outcome, node:outcome(seq, "A").attempt })
        assert.same({ "0.010s", "0.020s" }, delays(node, 2))
        assert.equal(0, node:stop())
    end)

    it("is judged by retry_if where it failed", function()
        local node = start({ max_retries = 3, initial_delay = "1ms" }, {
            A = "if ctx.attempt == 1 then error(event.id) end",
        }, [[policies = { evrt.policy.retry { retry_if = function(failure, event)
            return not failure.message:find "fatal" and event.type == "a"
        end } },]])
        local fatal, other = node:accept({ type = "a", id = "fatal" }), node:accept({ type = "a", id = "other" })
        node:await_end()
        assert.same({ "dead", 1 }, { node:outcome(fatal, "A").outcome, node:outcome(fatal, "A").attempt })
        assert.equal("done", node:outcome(other, "A").outcome)
        assert.equal(1, #delays(node, 1))
        assert.equal(0, node:stop())
    end)

    it("is judged by the configuration where no function can be asked, or none answers #plain", function()
        local asked = [[policies = { evrt.policy.retry { policy = function(attempt)
            return attempt == 2 and 0.01 or error "no idea"
        end } },]]
        local node = start({ policy = "fixed", max_retries = 3, initial_delay = "30ms", jitter = 0 }, {
            A = "if ctx.attempt == 1 then os.exit(1) end error 'boom'",
        }, asked)
        local seq = node:accept({ type = "a" })
        node:await_end()
        -- A crash; the function; the function fails; and no more than the configuration's attempts.
        assert.same({ "0.030s", "0.010s", "0.030s" }, delays(node, 3))
        local end_ = node:outcome(seq, "A")
        assert.same({ "dead", 4 }, { end_.outcome, end_.attempt })
        assert.matches('policy "retry"', end_.error.message)
        assert.matches("no idea", end_.error.message)
        assert.equal(0, node:stop())
    end)

    it("is still tried again after a crash of the node, as the attempt that it was #plain", function()
        local node = start({ max_retries = 5, initial_delay = "1h", max_delay = "1h" }, {
            A = "if ctx.attempt < 3 then error('boom') end", B = "",
        })
        local seq = node:accept({ type = "a" })
        node:await("a retry", retrying(node, 1))
        local state = node:outcome(seq, "A")
        assert.same({ "retrying", 2 }, { state.outcome, state.attempt })
        node:stop "sigkill"
        node = node:restart()
        for attempt = 2, 3 do run_now(node, attempt) end
        node:await_end()
        assert.equal("done", node:outcome(seq, "A").outcome)
        node:await_log { msg = "Event handled successfully", handler = "A", attempt = 3 }
        assert.equal(0, #node:logged { msg = "Event handle failed", handler = "A", attempt = 1 })
        assert.equal(0, #node:logged { msg = "Event handled successfully", handler = "B" })
        assert.equal(0, node:stop())
    end)
end)

describe("with ordered_by a retry", function()
    require("spec.support.leak").guard(before_each, after_each)

    local body = [[
        if event.id == "1" and ctx.attempt == 1 then error "boom" end
        evrt.log.info("did " .. event.id)]]

    local function order(node)
        local list = {}
        for _, id in ipairs { "1", "2", "3" } do node:await_log { msg = "did " .. id } end
        for _, line in ipairs(node:logged { level = "info" }) do list[#list + 1] = line.msg:match "^did (%d)" end
        return table.concat(list)
    end

    local function publish_three(node)
        for id, key in ipairs { "k", "k", "other" } do
            node:accept({ type = "a", id = tostring(id), subject = key })
        end
    end

    it("holds its key, across a crash, and lets others pass", function()
        local node = start({ max_retries = 1, initial_delay = "1h", max_delay = "1h" }, { A = body },
            'ordered_by = "subject",')
        publish_three(node)
        node:await_log { msg = "did 3" }
        node:await("a retry", retrying(node, 1))
        node:stop "sigkill"
        node = node:restart()
        run_now(node, 2)
        node:await_end()
        for _, id in ipairs { "1", "2" } do node:await_log { msg = "did " .. id } end
        local list = {}
        for _, line in ipairs(node:logged { level = "info" }) do
            local id = line.msg:match "^did ([12])"
            if id then list[#list + 1] = id end
        end
        assert.same({ "1", "2" }, list)
        assert.equal(0, node:stop())
    end)

    it("lets those of its key pass with on_retry = skip", function()
        local node = start({ max_retries = 1, initial_delay = "1h", max_delay = "1h" }, { A = body },
            'ordered_by = "subject", on_retry = "skip",')
        publish_three(node)
        for _, id in ipairs { "2", "3" } do node:await_log { msg = "did " .. id } end
        run_now(node, 2)
        node:await_end()
        assert.equal("1", order(node):sub(-1))
        assert.equal(0, node:stop())
    end)
end)

describe("a retry", function()
    require("spec.support.leak").guard(before_each, after_each)

    local later = { max_retries = 1, initial_delay = "1h", max_delay = "1h" }

    local function reload(node, script)
        local path = node.dir .. "/handlers/A.lua"
        if script then evrt.write(path, script) else os.remove(path) end
        assert.equal(200, node:post_admin("/api/v1/reload").status)
    end

    local function state(node)
        local one = node:get("/api/v1/retries").json.items[1]
        return one and one.state
    end

    it("of a handler that left waits for it, and is dead after retry.ttl", function()
        local node = start(later, { A = "if ctx.attempt == 1 then error 'boom' end", B = "" })
        local first = node:accept({ type = "a" })
        node:await("a retry", retrying(node, 1))
        local script = evrt.read(node.dir .. "/handlers/A.lua")
        reload(node)
        assert.equal("orphaned", state(node))
        assert.equal(200, node:post_admin("/api/v1/retries/1-1/run").status)
        reload(node, script)
        node:await_end()
        assert.equal("done", node:outcome(first, "A").outcome)

        -- What becomes of it is told with the attempts that were made.
        evrt.write(node.dir .. "/handlers/T.lua", [[return { name = "T", events = "evrt.dead_letter",
            handle = function(event, ctx)
                ctx.log.info("told", { attempts = event.data.attempts, of = event.data.event.seq })
            end }]])
        local second = node:accept({ type = "a" })
        node:await("a retry", retrying(node, 1))
        reload(node)
        node:stop "sigkill"
        node = node:restart()
        assert.equal("orphaned", state(node))
        node:stop()
        node = node:restart { config = { retry = { ttl = "1ms" } } }
        local stats = node:await_end()
        assert.equal(1, stats.dead)
        local one = node:outcome(second, "A")
        assert.same({ "dead", "cancelled" }, { one.outcome, one.error.type })
        assert.matches("retry.ttl", one.error.message)
        assert.equal(second, node:await_log({ msg = "told", attempts = 1 }).of)
        node:await_log { msg = "Event moved to dead letter queue", handler = "A", attempt = 1, reason = "orphaned" }
        assert.equal(1, node:get("/api/v1/dead-letters").json.items[1].attempts)
        assert.equal(0, node:stop())
    end)

    it("of what its handler does not want any more is discarded when it is due", function()
        local node = start({ max_retries = 1, initial_delay = "1h", max_delay = "1h" },
            { A = "if ctx.attempt == 1 then error 'boom' end" })
        node:accept({ type = "a" })
        node:await("a retry", retrying(node, 1))
        reload(node, (evrt.read(node.dir .. "/handlers/A.lua"):gsub('events = "a"', 'events = "b"')))
        assert.equal("waiting", state(node))
        assert.equal(200, node:post_admin("/api/v1/retries/1-1/run").status)
        local stats = node:await_end()
        assert.same({ 1, 0, 0 }, { stats.discarded, stats.dead, stats.done })
        assert.equal(0, node:stop())
    end)

    it("holds no key any more when its handler is ordered by something else", function()
        local node = start(later, { A = "if event.id == '1' then error 'boom' end" }, 'ordered_by = "subject",')
        for id = 1, 2 do node:accept({ type = "a", id = tostring(id), subject = "k" }) end
        node:await("a retry", retrying(node, 1))
        assert.same({ 1, 0 }, { node:handler("A").pending, node:handler("A").done })
        reload(node, (evrt.read(node.dir .. "/handlers/A.lua"):gsub('"subject"', '"id"')))
        node:await("the other", function() return node:handler("A").done == 1 end)
        assert.equal("waiting", state(node))
        assert.equal(0, node:stop())
    end)

    it("is one of thousands, and those of others and fresh events come between", function()
        local node = start({ max_retries = 1, initial_delay = "500ms", jitter = 0 }, {
            A = "if event.id == 'fresh' then return elseif ctx.attempt == 1 then error 'boom' end "
                .. "assert(#event.data == (tonumber(event.id) or 1200)) evrt.sleep(0.02)",
            B = "if event.id == 'last' and ctx.attempt == 1 then error 'boom' end",
        }, "concurrency = 4,")
        local batch = {}
        for i = 1, 1200 do
            batch[i] = { specversion = "1.0", type = "a", source = "spec", data = ("x"):rep(i),
                id = i == 1200 and "last" or tostring(i) }
        end
        for i = 1, 1200, 400 do
            local r = node:post_batch { unpack(batch, i, i + 399) }
            assert.equal(202, r.status)
        end
        node:await_log { msg = "Event retry attempt", handler = "A" }
        -- 1200 of them take 6 s.
        assert.equal(200, node:publish({ type = "a", id = "fresh" }, "?wait=handled&timeout=60s").status)
        node:await("the retry of B", function() return node:handler("B").done == 1201 end)
        assert.is_true(node:handler("A").retrying > 0)
        node:await_end()
        assert.same({ 1201, 0 }, { node:handler("A").done, node:handler("A").dead })
        assert.equal(0, node:stop())
    end)
end)

describe("an operator", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("lists retries, makes one due, discards one; those of a paused handler wait", function()
        local node = start({ max_retries = 1, initial_delay = "1h", max_delay = "1h" }, {
            A = "if ctx.attempt == 1 then error 'boom' end",
        })
        for _ = 1, 3 do node:accept({ type = "a" }) end
        node:await("retries", retrying(node, 3))
        local page = node:get("/api/v1/retries?handler=A&limit=2").json
        assert.equal(2, #page.items)
        local one = page.items[1]
        assert.same({ "1-1", "A", "waiting", 2, "error" },
            { one.id, one.handler, one.state, one.attempt, one.error.type })
        local rest = node:get("/api/v1/retries?after=" .. page.next).json
        assert.same({ "1-3" }, { rest.items[1].id })
        assert.equal(404, node:get("/api/v1/retries?handler=Z").status)

        assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
        assert.equal(200, node:post_admin("/api/v1/retries/1-1/run").status)
        assert.equal("paused", node:get("/api/v1/retries").json.items[1].state)
        assert.equal(200, node:delete_admin("/api/v1/retries/1-2").status)
        assert.equal(404, node:delete_admin("/api/v1/retries/1-2").status)
        assert.equal(400, node:delete_admin("/api/v1/retries/x").status)
        assert.equal(200, node:post_admin("/api/v1/handlers/A/resume").status)
        node:await("the first", function() return node:get("/api/v1/stats").json.done == 1 end)
        local s = node:get("/api/v1/stats").json
        assert.same({ 1, 1, 1, 0 }, { s.done, s.discarded, s.retrying, s.dead })
        assert.equal(0, node:stop())
    end)
end)
