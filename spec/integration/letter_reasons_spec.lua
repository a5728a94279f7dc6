-- One event that five handlers fail with, for each of the reasons there are: what its dead letters say, and that they
-- keep all of the event, whatever becomes of them.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local time = require "spec.support.time"

local TRACE = "0af7651916cd43dd8448eb211c80319c"

-- Every attribute there is, extensions of each type, and data that is no text.
local EVENT = {
    specversion = "1.0", id = "one/\195\164", source = "/mine?x=1", type = "whole.a", subject = "s \"1\"",
    time = "2026-01-02T03:04:05.678Z", dataschema = "https://example.com/schema", datacontenttype = "image/x-any",
    partitionkey = "p1", flag = true, count = -7, note = "two words \\ \226\130\172",
    traceparent = "00-" .. TRACE .. "-b7ad6b7169203331-01", data_base64 = "AP8BgMMoAAoNIg==",
}

-- What handlers are given, in hex.
local DATA = "00ff0180c328000a0d22"

-- Each fails until the file is there.
local function script(name, file, fails, options)
    return ([[
        local evrt = require "evrt"
        return { name = %q, events = "whole.*", policies = { evrt.policy.retry { %s } }, handle = function(event, ctx)
            local repaired = io.open(%q)
            if not repaired then %s end
            repaired:close()
            local hex = event.raw:gsub(".", function(c) return ("%%02x"):format(c:byte()) end)
            local more = event.extensions or {}
            ctx.log.info("given", { by = %q, data = hex, attempt = ctx.attempt, partition = more.partitionkey,
                flag = more.flag, count = more.count, note = more.note })
        end }]]):format(name, options or "", file, fails, name)
end

local LATER = 'initial_delay = "1h", max_delay = "1h", jitter = 0, max_retries = '

-- By reason: how it fails, its retries, and the types of its errors, one for each attempt.
local CASES = {
    exhausted = { "error('boom ' .. ctx.attempt)", LATER .. 1, { "error", "error" } },
    rejected = { "evrt.reject 'no'", LATER .. 5, { "rejected" } },
    declined = { "error('boom ' .. ctx.attempt)", LATER .. [[5,
        retry_if = function(failure) return failure.message:find "boom 1" end]], { "error", "error" } },
    crashed = { "os.exit(1)", LATER .. 9, { "crashed", "crashed", "crashed" } },
    orphaned = { "error('boom ' .. ctx.attempt)", LATER .. 1, { "error" } },
}

local function rows(node) return node:get("/api/v1/retries").json.items end

local function letters(node, query)
    local by_handler = {}
    for _, l in ipairs(node:get("/api/v1/dead-letters?full=true" .. (query or "")).json.items) do
        assert.is_nil(by_handler[l.handler])
        by_handler[l.handler] = l
    end
    return by_handler
end

-- As it was published: nothing more but what the store adds.
local function whole(event, more)
    local rest = {}
    for k, v in pairs(event) do rest[k] = v end
    for _, k in ipairs { "seq", "stored", unpack(more or {}) } do
        assert.is_truthy(rest[k], k)
        rest[k] = nil
    end
    assert.same(EVENT, rest)
end

local function count(list)
    local n = 0
    for _ in pairs(list) do n = n + 1 end
    return n
end

describe("a dead letter", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("says why, and keeps the event, its attempts and its trace", function()
        local dir, handlers = evrt.folder(), {}
        for reason, case in pairs(CASES) do
            handlers[reason .. ".lua"] = script(reason, dir .. "/repaired", case[1], case[2])
        end
        local node = evrt.start { dir = dir, handlers = handlers,
            config = { workers = { count = 2 }, retry = { ttl = "10ms" }, reload = { watch = false } } }
        node:accept(EVENT)

        -- The orphaned one fails once, and then its handler leaves; the second generation makes all that follows.
        node:await("first attempts", function() return #rows(node) == 4 and count(letters(node)) == 1 end, 60)
        assert(os.remove(dir .. "/handlers/orphaned.lua"))
        evrt.write(dir .. "/handlers/exhausted.lua", "-- another script\n" .. handlers["exhausted.lua"])
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        node:await("all to be dead", function()
            for _, row in ipairs(rows(node)) do
                if row.state == "waiting" then node:post_admin("/api/v1/retries/" .. row.id .. "/run") end
            end
            return count(letters(node)) == 5
        end, 60)

        local all = letters(node)
        for reason, case in pairs(CASES) do
            local l = all[reason]
            assert.same({ reason, #case[3], #case[3], TRACE, "whole.a", EVENT.id },
                { l.reason, l.attempts, #l.history, l.trace_id, l.type, l.event_id })
            assert.equal(reason == "orphaned" and "orphaned" or "dead", l.state)
            whole(l.event)
            local last = time.seconds(l.first_failed)
            for i, attempt in ipairs(l.history) do
                assert.same({ i, case[3][i] }, { attempt.attempt, attempt.error.type }, reason)
                assert.truthy(attempt.error.message ~= "" and attempt.script:find "^%x+$", reason)
                assert.equal(i == 1 and 1 or 2, attempt.generation, reason)
                assert.is_true(time.seconds(attempt.at) >= last, reason)
                last = time.seconds(attempt.at)
            end
            assert.is_true(time.seconds(l.dead_at) >= last, reason)
            assert.same({ l }, node:get("/api/v1/dead-letters?full=true&reason=" .. reason).json.items)
            node:await_log { msg = "Event moved to dead letter queue", handler = reason, reason = reason,
                event_id = EVENT.id, event_type = EVENT.type }
        end
        local why = node:get("/api/v1/events/1/why").json
        assert.is_true(why.complete)
        for _, h in ipairs(why.handlers) do
            local last = h.attempts[#h.attempts]
            assert.same({ h.handler, #CASES[h.handler][3] }, { last.dead, last.attempt })
        end
        assert.not_equal(all.exhausted.history[1].script, all.exhausted.history[2].script)
        assert.equal(all.crashed.history[1].script, all.crashed.history[3].script)
        assert.truthy(all.orphaned.error.message:find "left the scripts")
        assert.truthy(all.rejected.error.message:find "rejected.lua:%d+: no$")

        node:stop "sigkill"
        node = node:restart()
        assert.same(all, letters(node))

        -- Exported, they are events that any node takes in.
        local function admin(...)
            local code, out, err = evrt.run { "dead-letters", ..., "--url", "http://127.0.0.1:" .. node.admin }
            assert.equal(0, code, err)
            return out
        end
        local out, lines, list = admin("export"), 0, {}
        for line in out:gmatch "[^\n]+" do
            local event = cjson.decode(line)
            lines = lines + 1
            assert.same({ all[event.evrthandler].id, event.evrthandler, all[event.evrthandler].error.message },
                { event.evrtdeadletter, event.evrtreason, event.evrterror })
            whole(event, { "evrthandler", "evrtreason", "evrterror", "evrtdeadletter" })
            list[lines] = line:gsub('"id":"[^"]*"', '"id":"again-' .. lines .. '"', 1):gsub("whole%.a", "whole.again")
        end
        assert.equal(5, lines)

        -- They fail once more, each in its own way, and keep it all.
        local again = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"all":true}').json
        assert.same({ 0, 4, 1 }, { again.done, again.failed, again.skipped })
        local later = letters(node)
        assert.same(all.orphaned, later.orphaned)
        assert.equal(0, node:stop())
        node = node:restart()
        assert.same(later, letters(node))
        for reason, case in pairs(CASES) do
            local l, made = later[reason], #case[3] + (reason == "orphaned" and 0 or 1)
            assert.same({ reason, made, made, TRACE }, { l.reason, l.attempts, #l.history, l.trace_id })
            whole(l.event)
            for i, attempt in ipairs(all[reason].history) do assert.same(attempt, l.history[i]) end
        end

        evrt.write(dir .. "/repaired", "")
        evrt.write(dir .. "/handlers/orphaned.lua", handlers["orphaned.lua"])
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        again = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"all":true}').json
        assert.same({ 5, 0, 0 }, { again.done, again.failed, again.skipped })
        assert.same({}, letters(node))
        local answer = node:post_batch("[" .. table.concat(list, ",") .. "]")
        assert.equal(202, answer.status, answer.body)
        local stats = node:await_end()
        assert.same({ 30, 0, 0 }, { stats.done, stats.dead, stats.discarded })
        for reason, case in pairs(CASES) do
            local attempt = #case[3] + (reason == "orphaned" and 1 or 2)
            node:await_log({ msg = "given", by = reason, attempt = attempt, data = DATA, partition = "p1",
                flag = true, count = -7, note = EVENT.note })
            node:await_log({ msg = "given", by = reason, attempt = 1, data = DATA, partition = "p1",
                flag = true, count = -7, note = EVENT.note }, nil, 5)
        end
        assert.equal(0, node:stop())
    end)

    it("is chosen by its reason and its time, to be given once more and to be given up", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, config = { workers = { count = 2 } }, handlers = {
            ["E.lua"] = script("ExhaustedHandler", dir .. "/repaired", "error 'boom'", "max_retries = 0"),
            ["R.lua"] = script("RejectingHandler", dir .. "/repaired", "evrt.reject 'no'"),
        } }
        -- Three times, of two dead each: one exhausted, one rejected.
        local at = {}
        for i = 1, 3 do
            node:accept { type = "whole.a", data = i }
            node:await_end()
            local newest = node:get("/api/v1/dead-letters?limit=2").json.items
            at[i] = newest[1].dead_at < newest[2].dead_at and newest[1].dead_at or newest[2].dead_at
            evrt.idle(0.02) -- times are in milliseconds
        end

        -- The sequences of those there are, by the first letter of their handler.
        local function left(query)
            local seqs = { E = {}, R = {} }
            for _, l in ipairs(node:get("/api/v1/dead-letters?limit=100&" .. (query or "")).json.items) do
                table.insert(seqs[l.handler:sub(1, 1)], l.seq)
            end
            table.sort(seqs.E)
            table.sort(seqs.R)
            return "E " .. table.concat(seqs.E, " ") .. ", R " .. table.concat(seqs.R, " ")
        end
        assert.equal("E 1 2 3, R 1 2 3", left())
        assert.equal("E 1 2 3, R ", left "reason=exhausted")
        assert.equal("E 2 3, R 2 3", left("from=" .. at[2]))
        assert.equal("E 1, R 1", left("to=" .. at[2]))
        assert.equal("E 2, R 2", left("from=" .. at[2] .. "&to=" .. at[3]))
        assert.equal("E , R 2", left("reason=rejected&from=" .. at[2] .. "&to=" .. at[3]))
        assert.equal("E , R ", left "reason=orphaned")

        evrt.write(dir .. "/repaired", "")
        local function reprocess(what)
            local job = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", cjson.encode(what)).json
            assert.same({ "done", 0, 0 }, { job.state, job.failed, job.skipped })
            return job.done
        end
        local function delete(query) return node:delete_admin("/api/v1/dead-letters?" .. query).json.deleted end
        assert.equal(1, reprocess { reason = "rejected", to = at[2] })
        assert.equal("E 1 2 3, R 2 3", left())
        assert.equal(2, reprocess { from = at[3] })
        assert.equal("E 1 2, R 2", left())
        assert.same({ 0, 0 }, { reprocess { from = at[3] }, reprocess { reason = "crashed" } })
        assert.same({ 0, 0 }, { delete("from=" .. at[3]), delete "reason=crashed" })
        assert.equal(1, delete("reason=exhausted&to=" .. at[2]))
        assert.equal("E 2, R 2", left())
        local function run(...)
            return (evrt.run { "dead-letters", "--url", "http://127.0.0.1:" .. node.admin, ... })
        end
        assert.equal(0, run("delete", "--reason", "rejected", "--handler", "RejectingHandler", "--type", "whole.*",
            "--from", at[2], "--to", at[3], "--yes"))
        node:await_log { msg = "Operator action", action = "delete dead letters", target = "RejectingHandler",
            outcome = "1 deleted" }
        assert.equal("E 2, R ", left())
        assert.equal(0, run("reprocess", "--reason", "exhausted", "--from", at[2]))
        assert.equal("E , R ", left())
        assert.equal(400, node:post_admin("/api/v1/dead-letters/reprocess", '{"reason":"x"}').status)
        local stats = node:get("/api/v1/stats").json
        assert.same({ 4, 0, 2 }, { stats.done, stats.dead, stats.discarded })
        assert.equal(0, node:stop())
    end)
end)
