-- Why an event became what it did: handlers, policies, attempts, what it published, what caused it.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local function settled(node)
    return function()
        local s = node:get("/api/v1/stats").json
        return s.pending == 0 and s.running == 0 and s.retrying == 0
    end
end

local function why(node, of)
    local answer = node:get("/api/v1/events/" .. of .. "/why")
    assert.equal(200, answer.status, answer.body)
    local handlers = {}
    for _, h in ipairs(answer.json.handlers) do handlers[h.handler] = h end
    return answer.json, handlers
end

local function names(policies)
    local list = {}
    for i, policy in ipairs(policies) do list[i] = policy.name end
    return table.concat(list, " ")
end

local scripts = {
    ["orders.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "Stats", events = "order.*",
              policies = { evrt.policy.retry { policy = "fixed", initial_delay = "10ms", max_retries = 2 } },
              handle = function(event, ctx)
                  evrt.publish { type = "stats.changed", id = event.id .. "-" .. ctx.attempt }
                  if ctx.attempt == 1 then error "first" end
              end },
            { name = "Small", events = { "none", "order.placed" },
              policies = { evrt.policy.filter { where = function(e) return e.data.total > 100 end } },
              handle = function() end },
            { name = "Never", events = "order.**", handle = function() evrt.reject "not today" end },
            { name = "Mail", events = "stats.changed", handle = function(event)
                  evrt.publish { type = "mail.sent", id = "mail-" .. event.id }
              end },
        }
    ]],
}

describe("why", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("tells handlers, policies, attempts, and what was published #plain", function()
        local node = evrt.start { handlers = scripts }
        local seq = node:accept({ type = "order.placed", id = "o1", data = { total = 5 } })
        node:await("the end", settled(node))
        local told, by = why(node, seq)
        assert.equal("o1", told.event.id)
        assert.same({}, told.caused_by)
        assert.is_true(told.complete)
        assert.equal(3, #told.handlers)

        local stats = by.Stats
        assert.same({ "done", "order.*", "retry", "active" },
            { stats.outcome, stats.pattern, names(stats.policies), stats.state })
        assert.same({ "fixed", "handler", 2, 10 }, { stats.retry.policy, stats.retry.from,
            stats.retry.max_retries, stats.retry.initial_delay_ms })
        assert.equal(2, #stats.attempts)
        local first, second = stats.attempts[1], stats.attempts[2]
        assert.same({ 1, "failed", "error", node.dir .. "/handlers/orders.lua:7" },
            { first.attempt, first.outcome, first.error.type, first.error.where })
        assert.truthy(first.error.message:find("first", 1, true))
        assert.same({ 1, 16 }, { first.generation, #first.script })
        assert.truthy(first.at:find "^%d+%-%d+%-%d+T" and first.next:find "Z$")
        assert.same({ 2, "done" }, { second.attempt, second.outcome })
        assert.equal(2, told.published_count)
        assert.same({ "o1-1", "stats.changed", "o1-2" },
            { stats.published[1].id, stats.published[1].type, stats.published[2].id })

        assert.same({ "done", "order.placed", "filter" },
            { by.Small.outcome, by.Small.pattern, names(by.Small.policies) })
        assert.same({ "filter: not wanted" }, by.Small.attempts[1].notes)
        assert.same({ "dead", 1, "rejected" },
            { by.Never.outcome, #by.Never.attempts, by.Never.attempts[1].error.type })
        assert.equal("rejected", by.Never.attempts[1].dead)
        assert.equal("configuration", by.Never.retry.from)

        local mail = why(node, stats.published[1].seq)
        assert.same({ seq, "Stats", "order.placed" },
            { mail.caused_by[1].seq, mail.caused_by[1].handler, mail.caused_by[1].type })
        local last = why(node, "mail-o1-1")
        assert.same({ "Mail", "Stats" }, { last.caused_by[1].handler, last.caused_by[2].handler })
        assert.same({ stats.published[1].seq, seq }, { last.caused_by[1].seq, last.caused_by[2].seq })
        assert.equal(2, last.hops)
        assert.equal(0, node:stop())
    end)

    it("tells what policies did", function()
        local function policy(name, text, body)
            return ([[{ name = %q, events = "a", policies = { evrt.policy.%s },
                handle = function() %s end },]]):format(name, text, body or "")
        end
        local node = evrt.start { handlers = { ["a.lua"] = 'local evrt = require "evrt"\nreturn {'
            .. policy("Sampled", "sample { rate = 0 }") .. policy("Throttled", "throttle { rate = 2, burst = 1 }")
            .. policy("Limited", "concurrency { max = 1 }", "evrt.sleep(0.3)")
            .. policy("Broken", "circuit_breaker { failures = 1, cooldown = '1h' }, concurrency = 1", "error 'no'")
                :gsub("policies = {(.-)}, concurrency = 1 }", "concurrency = 1, policies = {%1} }") .. "}" } }
        local batch = {}
        for i = 1, 3 do batch[i] = { specversion = "1.0", id = "n" .. i, source = "spec", type = "a" } end
        assert.equal(202, node:post_batch(batch).status)
        node:await("the end", settled(node), 30)
        local _, by = why(node, "n3")
        local function notes(name) return table.concat(by[name].attempts[1].notes or {}, "; ") end
        assert.equal("sample: not among the 0 %", notes "Sampled")
        assert.truthy(notes "Throttled":find "^throttle: held back for %d%.%d+s$", notes "Throttled")
        assert.truthy(notes "Limited":find "^concurrency: waited behind %d$", notes "Limited")
        assert.truthy(notes "Broken":find "^circuit_breaker: open for [%d.]+s more, failed at once$", notes "Broken")
        assert.equal("dead", by.Broken.outcome)
        assert.equal(0, node:stop())
    end)

    it("tells of dead letters that were given once more", function()
        local node = evrt.start { handlers = { ["a.lua"] = [[
            local times = {}
            return { name = "A", events = "a", handle = function(event)
                times[event.id] = (times[event.id] or 0) + 1
                if times[event.id] <= event.data.fails then error("no " .. times[event.id]) end
            end }]] } }
        local seqs = {}
        for i, fails in ipairs { 1, 2 } do
            seqs[i] = node:accept({ type = "a", id = "d" .. i, data = { fails = fails } })
        end
        node:await_end()
        for _, seq in ipairs(seqs) do
            local _, by = why(node, seq)
            assert.same({ "dead", 1 }, { by.A.outcome, #by.A.attempts })
            assert.equal("exhausted", by.A.attempts[1].dead)
        end
        local answer = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"handler":"A"}')
        assert.equal(200, answer.status, answer.body)
        local function outcomes(seq)
            local _, by = why(node, seq)
            local list = { by.A.outcome }
            for _, a in ipairs(by.A.attempts) do list[#list + 1] = a.attempt .. " " .. a.outcome end
            return list
        end
        assert.same({ "done", "1 failed", "2 done" }, outcomes(seqs[1]))
        assert.same({ "dead", "1 failed", "2 failed" }, outcomes(seqs[2]))
        assert.equal(0, node:stop())
    end)

    it("tells what is published later, and by what", function()
        local node = evrt.start { handlers = { ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "a", handle = function()
                evrt.publish { type = "b", id = "later", extensions = { deliverafter = "0.2s" } }
            end }]] } }
        local seq = node:accept({ type = "a" })
        node:await("the event", function() return #node:logged { msg = "Event published" } == 2 end)
        local told, by = why(node, seq)
        local later = by.A.published[1]
        assert.same({ 1, "later", "b" }, { told.published_count, later.id, later.type })
        assert.truthy(later["for"]:find "Z$")
        assert.equal(seq, (why(node, "later")).caused_by[1].seq)
        assert.equal(0, node:stop())
    end)

    it("tells the same after a crash, and what has not ended yet", function()
        local node = evrt.start { handlers = {
            ["a.lua"] = [[
                local evrt = require "evrt"
                return {
                    { name = "Slow", events = "a", handle = function() evrt.sleep(60) end },
                    { name = "Held", events = "a", concurrency = 1, handle = function() evrt.sleep(60) end },
                    { name = "Later", events = "a", policies = { evrt.policy.retry { initial_delay = "1h",
                      max_retries = 3, max_delay = "1h" } }, handle = function() error "no" end },
                }]],
        } }
        node:accept({ type = "a" })
        local seq = node:accept({ type = "a" })
        node:await_log { msg = "Event queued for retry", seq = seq }
        node:await("the handler to run", function()
            local _, by = why(node, seq)
            return by.Slow.outcome == "running"
        end)
        local told, by = why(node, seq)
        assert.same({ "running", "pending", "retrying" }, { by.Slow.outcome, by.Held.outcome, by.Later.outcome })
        assert.same({ "running", 1 }, { by.Slow.attempts[1].outcome, by.Slow.attempts[1].attempt })
        assert.same({}, by.Held.attempts)
        assert.is_true(told.complete)
        node:stop "sigkill"
        node = node:restart()
        local _, after = why(node, seq)
        assert.same({ "retrying", 1, "failed" },
            { after.Later.outcome, #after.Later.attempts, after.Later.attempts[1].outcome })
        node:stop "sigkill"
    end)

    it("says what it does not know", function()
        local node = evrt.start { handlers = scripts }
        local seq = node:accept({ type = "nobody" })
        assert.same({}, (why(node, seq)).handlers)
        assert.same({ 404, "not_found" }, { node:get("/api/v1/events/99/why").status,
            node:get("/api/v1/events/99/why").json.error.code })
        assert.equal(404, node:get("/api/v1/events/no-such-id/why").status)
        assert.equal(400, node:get("/api/v1/events/%zz/why").status)
        local url = "http://127.0.0.1:" .. node.admin
        local code, out, err = evrt.run { "why", "no-such-id", "--url", url }
        assert.equal(1, code)
        assert.truthy((out .. err):find("no such event", 1, true))
        code, out = evrt.run { "why", tostring(seq), "--url", url }
        assert.equal(0, code)
        assert.truthy(out:find("No handler matched it.", 1, true))
        assert.equal(0, node:stop())
    end)

    it("tells the first and the latest of many attempts", function()
        local node = evrt.start { handlers = { ["a.lua"] = [[
            local evrt = require "evrt"
            return {
                { name = "Often", events = "a", handle = function() error "no" end, policies = {
                    evrt.policy.retry { policy = "fixed", initial_delay = "1ms", max_retries = 419, jitter = 0 } } },
                { name = "Once", events = "a", handle = function() end,
                    policies = { evrt.policy.filter { where = function() return false end } } },
            }]] } }
        local seq = node:accept { type = "a" }
        node:await("the end", settled(node), 60)
        local told, by = why(node, seq)
        assert.is_true(told.complete)
        local attempts = by.Often.attempts
        assert.same({ "dead", 1, 100, 420 },
            { by.Often.outcome, attempts[1].attempt, attempts[100].attempt, attempts[#attempts].attempt })
        assert.equal(420, #attempts + told.attempts_left_out)
        assert.is_true(#attempts < 400 and told.attempts_left_out > 0)
        for i = #attempts - 99, #attempts do assert.equal(420 - #attempts + i, attempts[i].attempt) end
        assert.same({ "done", 1 }, { by.Once.outcome, #by.Once.attempts })
        assert.equal(1, #by.Once.attempts[1].notes)
        local _, out = evrt.run { "why", tostring(seq), "--url", "http://127.0.0.1:" .. node.admin }
        assert.truthy(out:find(told.attempts_left_out .. " attempts between", 1, true))
        assert.equal(0, node:stop())
    end)

    it("is a command with tables, and JSON", function()
        local node = evrt.start { handlers = scripts }
        local seq = node:accept({ type = "order.placed", id = "o2", data = { total = 500 } })
        node:await("the end", settled(node))
        local url = "http://127.0.0.1:" .. node.admin
        local code, out = evrt.run { "why", "o2-2", "--url", url }
        assert.equal(0, code)
        assert.truthy(out:find("CAUSED BY", 1, true) and out:find("Stats", 1, true), out)
        code, out = evrt.run { "why", tostring(seq), "--url", url }
        assert.equal(0, code)
        for _, text in ipairs { "OUTCOME", "fixed, at most 2", "orders.lua:7", "PUBLISHED", "not today", "o2-1" } do
            assert.truthy(out:find(text, 1, true), text .. " in\n" .. out)
        end
        code, out = evrt.run { "why", tostring(seq), "--json", "--url", url }
        assert.equal(0, code)
        assert.equal("o2", cjson.decode(out).event.id)
        assert.equal(0, node:stop())
    end)
end)
