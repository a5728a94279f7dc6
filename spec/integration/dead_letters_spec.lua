-- What is not tried again is a dead letter: kept, shown, given once more, given up.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local seconds = require "spec.support.time".seconds

local none = { max_retries = 0 }

-- A handler that fails as long as a file is not there: what operators repair.
local function broken(name, options)
    options = options or {}
    return ([[
        local evrt = require "evrt"
        return { name = %q, events = %q, %s
            handle = function(event, ctx)
                local file = io.open(%q)
                if not file then error("no file, attempt " .. ctx.attempt) end
                file:close()
            end }]]):format(name, options.events or "a.*", options.fields or "", options.file)
end

local function start(options)
    local file = evrt.folder() .. "/repaired"
    local handlers = { ["a.lua"] = broken("A", { file = file, fields = options.fields }) }
    for name, text in pairs(options.handlers or {}) do handlers[name] = text end
    local config = { retry = options.retry or none, workers = { count = 2 } }
    for k, v in pairs(options.config or {}) do config[k] = v end
    local node = evrt.start { config = config, handlers = handlers }
    node.repair = function() evrt.write(file, "x") end
    return node
end

local function letters(node, query)
    return node:get("/api/v1/dead-letters" .. (query or "")).json.items
end

local function seqs(node, query)
    local list = {}
    for i, l in ipairs(letters(node, query)) do list[i] = l.seq end
    return list
end

local function balance(node)
    local s = node:get("/api/v1/stats").json
    return { s.pending, s.done, s.dead, s.discarded }
end

local function publish(node, count, type)
    for _ = 1, count do assert.equal(202, node:publish({ type = type or "a.b", data = { x = 1 } }).status) end
end

describe("dead letters", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("have the whole event, why, and each attempt #plain", function()
        local node = start { retry = { max_retries = 2, initial_delay = "10ms", jitter = 0 } }
        node:publish { type = "a.b", id = "one", source = "/s", data = { n = 7 },
            traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" }
        node:await_end()
        local l = letters(node)[1]
        assert.same({ "1-1", "A", "dead", "a.b", "one", "exhausted", 3 },
            { l.id, l.handler, l.state, l.type, l.event_id, l.reason, l.attempts })
        local whole = node:get("/api/v1/dead-letters/1-1").json
        assert.equal(7, whole.event.data.n)
        assert.equal("one", whole.event.id)
        assert.equal("0af7651916cd43dd8448eb211c80319c", whole.trace_id)
        assert.truthy(whole.error.message:find "a.lua:%d+: no file, attempt 3")
        assert.equal(3, #whole.history)
        for i, a in ipairs(whole.history) do
            assert.equal(i, a.attempt)
            assert.truthy(a.error.message:find("attempt " .. i, 1, true))
            assert.same({ "error", 1 }, { a.error.type, a.generation })
            assert.truthy(a.script:find "^%x+$" and a.at)
        end
        node:await_log { msg = "Event moved to dead letter queue", handler = "A", reason = "exhausted",
            event_id = "one" }
        assert.equal(404, node:get("/api/v1/dead-letters/1-9").status)
        assert.equal(400, node:get("/api/v1/dead-letters/x").status)
        assert.equal(0, node:stop())
    end)

    it("are listed newest first, in pages, by handler, type, reason and time", function()
        local node = start { handlers = {
            ["b.lua"] = [[local evrt = require "evrt"
                return { name = "B", events = "b.*", handle = function() evrt.reject "no" end }]] } }
        publish(node, 3, "a.b")
        node:await_end()
        evrt.idle(0.01) -- so that a time is between them
        publish(node, 2, "b.c")
        node:await_end()
        assert.same({ 5, 4, 3, 2, 1 }, (function()
            local l = seqs(node)
            table.sort(l, function(x, y) return x > y end)
            return l
        end)())
        assert.equal(3, #seqs(node, "?handler=A"))
        assert.equal(2, #seqs(node, "?type=b.*"))
        assert.equal(2, #seqs(node, "?reason=rejected"))
        assert.equal(5, #seqs(node, "?from=1h"))
        assert.equal(0, #seqs(node, "?to=1h"))
        local between = math.huge
        for _, l in ipairs(letters(node, "?type=b.*")) do between = math.min(between, seconds(l.dead_at)) end
        between = os.date("!%Y-%m-%dT%H:%M:%S", math.floor(between)) .. (".%03dZ"):format(between % 1 * 1000 + 0.5)
        for query, wanted in pairs { ["from="] = { 4, 5 }, ["to="] = { 1, 2, 3 } } do
            local list = seqs(node, "?" .. query .. between)
            table.sort(list)
            assert.same(wanted, list)
        end
        local page = node:get("/api/v1/dead-letters?limit=2").json
        local rest = node:get("/api/v1/dead-letters?after=" .. page.next).json
        assert.same({ 2, 3 }, { #page.items, #rest.items })
        assert.equal(1, node:get("/api/v1/dead-letters?full=true&limit=1").json.items[1].event.data.x)
        for query, status in pairs { ["reason=x"] = 400, ["type=a..b"] = 400, ["handler=X"] = 404, ["after=x"] = 400,
            ["limit=0"] = 400, ["from=x"] = 400, ["full=x"] = 400, ["state=x"] = 400 } do
            assert.equal(status, node:get("/api/v1/dead-letters?" .. query).status, query)
        end
        assert.equal(0, node:stop())
    end)

    it("are given to their handler once more, and leave when it succeeds #plain", function()
        local node = start { handlers = { ["b.lua"] =
            [[return { name = "B", events = "**", handle = function() end }]] } }
        publish(node, 1)
        node:await_end()
        local answer = node:post_admin "/api/v1/dead-letters/1-1/reprocess"
        assert.same({ 200, "done", 0, 1 }, { answer.status, answer.json.state, answer.json.done, answer.json.failed })
        assert.equal("1-1", answer.json.failures[1].id)
        local l = node:get("/api/v1/dead-letters/1-1").json
        assert.same({ 2, 2 }, { l.attempts, #l.history })
        assert.truthy(l.history[2].error.message:find("attempt 2", 1, true))
        node.repair()
        answer = node:post_admin "/api/v1/dead-letters/1-1/reprocess"
        assert.same({ 200, 1, 0 }, { answer.status, answer.json.done, answer.json.failed })
        assert.same({}, letters(node))
        assert.equal(404, node:post_admin("/api/v1/dead-letters/1-1/reprocess").status)
        assert.equal("done", node:outcome(1, "A").outcome)
        assert.same({ 0, 2, 0, 0 }, balance(node))
        node:await_log { msg = "Event handled successfully", handler = "B" }
        assert.equal(1, #node:logged { msg = "Event handled successfully", handler = "B" })
        assert.equal(0, node:stop())
    end)

    -- More bytes than are read at once, and the first one died last: the order of letters is not that of events.
    it("are shown and reprocessed in pieces when they are large, each whole", function()
        local mib, count = 2 ^ 20, 8
        local node = start { config = { http = { max_event_size = "4MiB" }, workers = { count = 1 } },
            retry = { max_retries = 1, initial_delay = "10ms" }, handlers = { ["c.lua"] = [[
                local evrt = require "evrt"
                return { name = "C", events = "c", handle = function(event, ctx)
                    local file = io.open(event.subject)
                    if not file and event.id == "1" and ctx.attempt == 1 then error "later" end
                    if not file then evrt.reject "no file" end
                    file:close()
                    ctx.log.info("whole", { id = event.id,
                        right = event.raw == event.id:rep(3 * 2 ^ 20 + tonumber(event.id)) })
                end }]] } }
        local subject = evrt.folder() .. "/there"
        for id = 1, count do
            assert.equal(202, node:post("/events", tostring(id):rep(3 * mib + id), { ["ce-type"] = "c",
                ["ce-subject"] = subject, ["ce-id"] = tostring(id), ["Content-Type"] = "text/plain" }).status)
        end
        node:await_end()
        local seen, query, pages = {}, "", 0
        repeat
            local page = node:get("/api/v1/dead-letters?full=true&limit=100" .. query).json
            for _, l in ipairs(page.items) do
                assert.is_true(l.event.data == l.event.id:rep(3 * mib + tonumber(l.event.id)), l.event.id)
                seen[#seen + 1] = l.event.id
            end
            query, pages = "&after=" .. tostring(page.next), pages + 1
        until page.next == cjson.null
        assert.equal(2, pages)
        table.sort(seen)
        assert.same({ "1", "2", "3", "4", "5", "6", "7", "8" }, seen)

        evrt.write(subject, "")
        local answer = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"handler":"C"}')
        assert.same({ 200, count, 0 }, { answer.status, answer.json.done, answer.json.failed })
        node:await_log({ msg = "whole", right = true }, nil, count)
        assert.same({ 0, count, 0, 0 }, balance(node))
        assert.equal(0, node:stop())
    end)

    it("are reprocessed by a choice, in a job, each once", function()
        local node = start {}
        publish(node, 150)
        publish(node, 5, "a.c")
        node:await_end()
        local answer = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"handler":"A"}')
        assert.same({ 200, "done", 155, 0, 155 }, { answer.status, answer.json.state, answer.json.total,
            answer.json.done, answer.json.failed })
        node.repair()
        answer = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"type":"a.c","limit":3}')
        assert.same({ 3, 0 }, { answer.json.done, answer.json.failed })
        answer = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"all":true}')
        assert.same({ 152, 0 }, { answer.json.done, answer.json.failed })
        answer = node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"all":true}')
        assert.same({ 0, 0 }, { answer.json.done, answer.json.failed })
        assert.same({ 0, 155, 0, 0 }, balance(node))
        assert.equal(404, node:post_admin("/api/v1/dead-letters/reprocess", '{"handler":"X"}').status)
        for _, body in ipairs { "{}", '{"x":1}', '{"all":false}', '{"all":1}', '{"rate":5,"limit":1}',
            '{"handler":null}' } do
            local r = node:post_admin("/api/v1/dead-letters/reprocess", body)
            assert.same({ 400, "bad_request" }, { r.status, r.json.error.code })
        end
        assert.equal("bad_parameter", node:delete_admin("/api/v1/dead-letters").json.error.code)
        assert.equal(0, node:stop())
    end)

    it("are cancelled in the middle, and go on after kill -9", function()
        local node = start {}
        publish(node, 120)
        node:await_end()
        node.repair()
        local job = node:post_admin("/api/v1/dead-letters/reprocess", '{"all":true,"rate":8}')
        assert.equal(202, job.status)
        node:await("some to be handled", function() return balance(node)[2] > 0 end)
        local cancelled = node:delete_admin("/api/v1/jobs/" .. job.json.id).json
        assert.equal("cancelled", cancelled.state)
        node:await("the last to end", function()
            return node:get("/api/v1/jobs/" .. job.json.id).json.in_flight == 0
        end)
        local left = #letters(node, "?limit=1000")
        assert.is_true(left > 0 and left < 120)

        job = node:post_admin("/api/v1/dead-letters/reprocess", '{"all":true,"rate":60}')
        node:await("more to be handled", function() return balance(node)[2] > 120 - left end)
        node:stop "sigkill"
        node = node:restart()
        node:await("the job to end", function()
            return node:get("/api/v1/jobs/" .. job.json.id).json.state == "done"
        end)
        assert.same({}, letters(node))
        assert.same({ 0, 120, 0, 0 }, balance(node))
        assert.equal(left, node:get("/api/v1/jobs/" .. job.json.id).json.done)
        assert.equal(0, node:stop())
    end)

    it("are given up one by one or by a choice, and counted as discarded", function()
        local node = start {}
        publish(node, 5)
        publish(node, 2, "a.c")
        node:await_end()
        assert.equal(1, node:delete_admin("/api/v1/dead-letters/1-2").json.deleted)
        assert.equal(404, node:delete_admin("/api/v1/dead-letters/1-2").status)
        assert.equal(400, node:delete_admin("/api/v1/dead-letters").status)
        assert.equal(2, node:delete_admin("/api/v1/dead-letters?type=a.c").json.deleted)
        assert.same({ 0, 0, 4, 3 }, balance(node))
        assert.equal(0, node:stop())
        node = node:restart()
        assert.same({ 0, 0, 4, 3 }, balance(node))
        assert.equal(4, node:delete_admin("/api/v1/dead-letters?all=true").json.deleted)
        assert.same({ 0, 0, 0, 7 }, balance(node))
        node:await_log { msg = "Operator action", action = "delete dead letters" }
        assert.equal(0, node:stop())
    end)

    it("are bounded in number and age, and what goes is counted and told", function()
        local node = start { config = { dead_letters = { max = 5 } } }
        publish(node, 12)
        node:await_end()
        node:await("five to be left", function() return balance(node)[3] == 5 end)
        assert.same({ 0, 0, 5, 7 }, balance(node))
        local kept = seqs(node)
        table.sort(kept)
        assert.equal(5, #kept)
        node:await_log { msg = "Dead letters discarded", reason = "dead_letters.max" }
        assert.equal(0, node:stop())
        node = node:restart { config = { dead_letters = { ttl = "10ms" } } }
        node:await("none to be left", function() return balance(node)[3] == 0 end)
        node:await_log { msg = "Dead letters discarded", reason = "dead_letters.ttl" }
        assert.same({ 0, 0, 0, 12 }, balance(node))
        assert.equal(0, node:stop())
    end)

    it("are worked with on the command line", function()
        local node = start {}
        publish(node, 3)
        node:await_end()
        local function run(args)
            args[#args + 1] = "--url"
            args[#args + 1] = "http://127.0.0.1:" .. node.admin
            local code, out = evrt.run(args)
            return { code = code, stdout = out }
        end
        local out = run { "dead-letters" }
        assert.equal(0, out.code)
        assert.truthy(out.stdout:find "ID +HANDLER +TYPE +REASON")
        assert.truthy(out.stdout:find("1-3", 1, true))
        assert.truthy(run({ "dead-letters", "show", "1-1" }).stdout:find "ATTEMPT")
        out = run { "dead-letters", "export" }
        local count = 0
        for line in out.stdout:gmatch "[^\n]+" do
            local e = cjson.decode(line)
            count = count + 1
            assert.same({ "a.b", "A", "exhausted" }, { e.type, e.evrthandler, e.evrtreason })
        end
        assert.equal(3, count)
        assert.equal(64, run({ "dead-letters", "reprocess" }).code)
        assert.equal(64, run({ "dead-letters", "delete", "1-1" }).code)
        assert.equal(1, run({ "dead-letters", "reprocess", "1-1" }).code)
        node.repair()
        assert.equal(0, run({ "dead-letters", "reprocess", "1-1" }).code)
        assert.equal(0, run({ "dead-letters", "reprocess", "--handler", "A", "--type", "a.*" }).code)
        assert.equal(0, run({ "dead-letters", "reprocess", "--all" }).code)
        assert.truthy(run({ "dead-letters" }).stdout:find "No dead letters")
        assert.truthy(run({ "jobs" }).stdout:find "reprocess")
        assert.equal(0, node:stop())
    end)

    it("are told to handlers that ask for it, and to nobody twice", function()
        local node = start { handlers = {
            ["t.lua"] = [[return { name = "T", events = "evrt.dead_letter",
                handle = function(event) error("told of " .. event.data.event.id) end }]],
            ["all.lua"] = [[return { name = "All", events = "**", handle = function() end }]] } }
        node:publish { type = "a.b", id = "one" }
        node:await("both letters", function() return #letters(node) == 2 end)
        local told = letters(node, "?handler=T")[1]
        assert.equal("evrt.dead_letter", told.type)
        local event = node:get("/api/v1/dead-letters/" .. told.id).json.event
        assert.same({ "A", "exhausted", "one", "1-1" },
            { event.data.handler, event.data.reason, event.data.event.id, event.data.id })
        assert.equal(2, node:get("/api/v1/stats").json.events)
        assert.equal(0, node:stop())
    end)

    it("are told to their own handler, which may fail at that", function()
        local node = start { fields = [[on_dead_letter = function(event, letter, ctx)
            ctx.log.info("told", { id = letter.id, reason = letter.reason, n = event.data.n, type = letter.event.type })
            if event.data.n == 2 then error "not even that" end
        end,]] }
        node:publish { type = "a.b", data = { n = 1 } }
        node:publish { type = "a.b", data = { n = 2 } }
        node:await_end()
        node:await_log { msg = "told", id = "1-1", reason = "exhausted", n = 1, type = "a.b" }
        node:await_log { msg = "told", id = "1-2", n = 2 }
        local line = node:await_log { msg = "Dead letter notice failed", handler = "A", seq = 2 }
        assert.truthy(line == nil or line.error:find "not even that")
        assert.same({ 0, 0, 2, 0 }, balance(node))
        assert.equal(2, #letters(node))
        assert.equal(0, node:stop())
    end)

    it("stay when their handler left the scripts and what it had pending was given up", function()
        local node = start { config = { bus = { orphan_ttl = "10ms" } }, handlers = {
            ["b.lua"] = [[return { name = "B", events = "b", handle = function() end }]] } }
        publish(node, 3)
        node:await_end()
        assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
        publish(node, 2)
        local script = evrt.read(node.dir .. "/handlers/a.lua")
        os.remove(node.dir .. "/handlers/a.lua")
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        node:await_log { msg = "Handler forgotten", handler = "A", discarded = 2 }
        assert.same({ 0, 0, 3, 2 }, balance(node))
        assert.equal("orphaned", letters(node)[1].state)
        assert.equal(409, node:post_admin("/api/v1/dead-letters/1-1/reprocess").status)
        assert.equal(0, node:stop())
        node = node:restart()
        assert.same({ 0, 0, 3, 2 }, balance(node))
        evrt.write(node.dir .. "/handlers/a.lua", script)
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        assert.equal(200, node:post_admin("/api/v1/handlers/A/resume").status)
        assert.equal("dead", letters(node)[1].state)
        assert.equal(1, node:post_admin("/api/v1/dead-letters/1-1/reprocess").json.failed)
        assert.equal(0, node:stop())
    end)
end)
