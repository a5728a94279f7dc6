-- Replay: stored events once more, to one handler, beside everything else.
local uv = require "luv"
local lfs = require "lfs"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local PATH = "/api/v1/replays"

local function begin(node, body, query)
    local answer = node:post_admin(PATH .. (query or ""), cjson.encode(body))
    assert.equal(query and 200 or 202, answer.status, answer.body)
    return answer.json
end

local function replay(node, body) return begin(node, body, "?wait=true") end

local function look(node, id) return node:get(PATH .. "/" .. id).json end

local function ended(node, id)
    return node:await("replay " .. id .. " to end", function()
        local r = look(node, id)
        return r.state ~= "running" and r
    end, 60)
end

local function books(node)
    local s = node:get("/api/v1/stats").json
    assert.equal(s.matched, s.pending + s.running + s.retrying + s.done + s.dead + s.discarded)
    return s
end

local function settled(node)
    node:await("the end of deliveries", function()
        local s = books(node)
        return s.pending == 0 and s.running == 0 and s.retrying == 0
    end)
end

local function publish(node, count, event)
    local batch = {}
    for i = 1, count do
        batch[i] = { specversion = "1.0", id = ("%s%d"):format(event and event.id or "e", i), source = "spec",
            type = "a", data = { n = i } }
        for k, v in pairs(event or {}) do if k ~= "id" then batch[i][k] = v end end
    end
    local answer = node:post_batch(batch)
    assert.equal(202, answer.status, answer.body)
end

-- The kinds of records that each group of the journal holds (runtime/journal/format.h), as sets.
local function groups(node)
    local list, folder = {}, node.dir .. "/data/journal/"
    local function u32(bytes, at)
        local a, b, c, d = bytes:byte(at + 1, at + 4)
        return a + 2 ^ 8 * b + 2 ^ 16 * c + 2 ^ 24 * d
    end
    for name in lfs.dir(folder) do
        local bytes, at = name:find "%.seg$" and evrt.read(folder .. name) or "", 4096
        while bytes:sub(at + 1, at + 4) == "EVGR" do
            local kinds, from = {}, at + 56
            at = from + u32(bytes, at + 32)
            while from < at do
                kinds[bytes:byte(from + 5)] = true
                from = from + 8 + math.ceil(u32(bytes, from) / 8) * 8
            end
            list[#list + 1] = kinds
        end
    end
    return list
end

local function counts(r) return { r.state, r.replayed_count, r.failed_count, r.skipped_count } end

-- What the handler printed, one line a delivery: "replay seq attempt key".
local function printed(node, wanted)
    local list = {}
    for _, line in ipairs(node.lines) do
        local flag, seq, rest = (line.msg or ""):match "^got (%a+) (%d+) (.*)$"
        if flag and (not wanted or flag == wanted) then list[#list + 1] = { tonumber(seq), rest } end
    end
    return list
end

local function handler(fields, body)
    return ([[local evrt = require "evrt"
        return { name = "A", events = { "a", "b.*" }, %s handle = function(event, ctx)
        evrt.log.info(("got %%s %%d %%d %%s"):format(ctx.replay, event.seq, ctx.attempt, ctx.idempotency_key))
        %s end }]]):format(fields or "", body or "")
end

local function start(fields, body, config)
    return evrt.start { config = config, handlers = {
        ["a.lua"] = handler(fields, body),
        ["other.lua"] = 'return { name = "Other", events = "**", handle = function() end }',
    } }
end

describe("replay", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("delivers once more to one handler, and changes nothing else #plain", function()
        local node = start()
        publish(node, 50)
        publish(node, 10, { type = "other", id = "o" })
        settled(node)
        local before = books(node)
        local r = replay(node, { handler = "A", from_seq = 11, to_seq = 50 })
        assert.same({ "done", 40, 0, 0 }, counts(r))
        assert.equal("number", type(r.duration_ms))
        local got = printed(node, "true")
        node:await("the lines", function() got = printed(node, "true") return #got == 40 end)
        table.sort(got, function(a, b) return a[1] < b[1] end)
        local live = {}
        for _, one in ipairs(printed(node, "false")) do live[one[1]] = one[2] end
        for i, one in ipairs(got) do assert.same({ i + 10, live[i + 10] }, one) end
        local after = books(node)
        for _, name in ipairs { "events", "matched", "done", "dead", "discarded", "retrying" } do
            assert.equal(before[name], after[name], name)
        end
        assert.equal(60, #node:logged { msg = "Event published" })
        assert.equal(60, #node:logged { msg = "Event handled successfully", handler = "Other" })
        node:await_log { msg = "Event handled successfully", handler = "A", purpose = "replay", seq = 50 }
        assert.equal(0, #node:logged { msg = "Event handled successfully", purpose = "replay", handler = "Other" })
        node:await_log { msg = "Event replay started", handler = "A", dry_run = false }
        node:await_log { msg = "Event replay completed successfully", replayed = 40 }
        node:await_log { msg = "Operator action", action = "replay", target = "A" }
        assert.equal(0, node:stop())
        local lives = node:restart()
        settled(lives)
        assert.same({}, printed(lives))
        assert.same({ "done", 40, 0, 0 }, counts(look(lives, r.id)))
        assert.equal(0, lives:stop())
    end)

    it("leaves room for live events: they are handled while all that it has in flight stand still", function()
        local gate = evrt.folder() .. "/open"
        local node = start("concurrency = 16,", ([[
            while ctx.replay do
                local file = io.open %q
                if file then return file:close() end
                evrt.sleep(0.002)
            end]]):format(gate), { workers = { count = 1 } })
        publish(node, 200)
        settled(node)
        local id = begin(node, { handler = "A" }).id
        node:await("some to be in flight", function() return #printed(node, "true") > 0 end)
        for _ = 1, 20 do
            local answer = node:publish({ type = "a" }, "?wait=handled&timeout=60s")
            assert.equal(200, answer.status)
            for _, h in ipairs(answer.json.handlers) do assert.equal("success", h.outcome) end
        end
        assert.same({ "running", 0, 0, 0 }, counts(look(node, id)))
        evrt.write(gate, "")
        assert.same({ "done", 200, 0, 0 }, counts(ended(node, id)))
        assert.equal(0, node:stop())
    end)

    it("chooses by type, source, subject, sequence, time and limit, within the handler's patterns", function()
        local node = start()
        publish(node, 5)
        evrt.idle(0.01) -- so that a time is between them
        publish(node, 5, { type = "b.one", id = "one" })
        evrt.idle(0.01)
        publish(node, 5, { type = "b.two", id = "two", source = "else", subject = "s" })
        publish(node, 5, { type = "c", id = "c" })
        settled(node)
        local function stored(seq) return node:get("/api/v1/events/" .. seq).json.stored end
        local cases = {
            { { from = stored(6) }, 10 }, { { to = stored(6) }, 5 }, { { from = stored(6), to = stored(11) }, 5 },
            { {}, 15 }, { { type = "b.*" }, 10 }, { { type = "c" }, 0 }, { { type = "**", limit = 12 }, 12 },
            { { source = "else" }, 5 }, { { subject = "s" }, 5 }, { { from_seq = 4, to_seq = 7 }, 4 },
            { { from_seq = 100 }, 0 }, { { from = "1h" }, 15 }, { { to = "1h" }, 0 },
            { { from = "2h", to = "1h" }, 0 },
        }
        for _, case in ipairs(cases) do
            case[1].handler = "A"
            local text = cjson.encode(case[1])
            assert.same({ "done", case[2], 0, 0 }, counts(replay(node, case[1])), text)
            case[1].dry_run = true
            assert.same({ "done", 0, 0, case[2] }, counts(replay(node, case[1])), text)
        end
        assert.equal(2 * #cases, #node:get(PATH).json.items)
        assert.equal(0, node:stop())
    end)

    it("tries each once, and tells what failed", function()
        local node = start(nil, 'if ctx.replay and event.seq % 4 == 0 then error("boom " .. event.seq) end',
            { retry = { max_retries = 3 } })
        publish(node, 20)
        settled(node)
        local r = replay(node, { handler = "A", from_seq = 1 })
        assert.same({ "done", 15, 5, 0 }, counts(r))
        local failed = {}
        for _, f in ipairs(r.failures) do
            failed[#failed + 1] = f.seq
            assert.truthy(f.error.message:find("boom " .. f.seq, 1, true))
            assert.equal("error", f.error.type)
        end
        table.sort(failed)
        assert.same({ 4, 8, 12, 16, 20 }, failed)
        local s = books(node)
        assert.same({ 0, 0 }, { s.dead, s.retrying })
        node:await_log { msg = "Event replay completed with failures", failed = 5 }
        assert.same(counts(r), counts(look(node, r.id)))
        assert.equal(0, node:stop())
    end)

    it("skips what the handler gets anyway", function()
        local node = start("concurrency = 1,", "if event.seq > 5 then evrt.sleep(600) end")
        publish(node, 10)
        node:await("five to be done", function()
            return #node:logged { msg = "Event handled successfully", handler = "A" } == 5
        end)
        local r = begin(node, { handler = "A", from_seq = 1 })
        node:await("those to be skipped", function() return look(node, r.id).skipped_count == 5 end)
        assert.equal(200, node:delete_admin(PATH .. "/" .. r.id).status)
        assert.equal("cancelled", look(node, r.id).state)
        node:await_log { msg = "Event replay failed", error = "cancelled by an operator" }
        local s = books(node)
        assert.same({ 4, 1 }, { s.pending, s.running })
        node:stop "sigkill"
    end)

    it("waits while its handler is paused, and goes on; ends when it leaves the scripts", function()
        local node = start()
        publish(node, 100)
        settled(node)
        assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
        local r = begin(node, { handler = "A", from_seq = 1 })
        local other = begin(node, { handler = "A", from_seq = 1 })
        assert.same({ "running", 0, 0, 0 }, counts(look(node, r.id)))
        assert.equal(200, node:post_admin("/api/v1/handlers/A/resume").status)
        assert.same({ "done", 100, 0, 0 }, counts(ended(node, r.id)))
        assert.same({ "done", 100, 0, 0 }, counts(ended(node, other.id)))
        assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
        r = begin(node, { handler = "A", from_seq = 1 })
        evrt.write(node.dir .. "/handlers/a.lua", "return {}")
        evrt.run { "reload", "--url", "http://127.0.0.1:" .. node.admin }
        assert.equal(404, node:post_admin(PATH, '{"handler":"A"}').status)
        assert.equal(200, node:delete_admin(PATH .. "/" .. r.id).status)
        assert.equal(0, node:stop())
    end)

    it("keeps keys in order, beside live events of the same key", function()
        local node = start('ordered_by = "data.key",', [[
            busy = busy or {}
            local key = event.data.key
            assert(not busy[key], "two of a key at once")
            busy[key] = true
            evrt.sleep(0.001)
            busy[key] = nil
        ]], { workers = { count = 1 } })
        for i = 1, 20 do publish(node, 10, { id = "x" .. i .. "-", data = { key = "k" .. i % 3 } }) end
        settled(node)
        local r = begin(node, { handler = "A", from_seq = 1 })
        for i = 1, 10 do publish(node, 10, { id = "y" .. i .. "-", data = { key = "k" .. i % 3 } }) end
        assert.same({ "done", 200, 0, 0 }, counts(ended(node, r.id)))
        settled(node)
        assert.equal(0, books(node).dead)
        local last = {}
        for _, one in ipairs(printed(node, "true")) do
            local key = math.ceil(one[1] / 10) % 3
            assert.is_true(one[1] > (last[key] or 0), "out of order")
            last[key] = one[1]
        end
        assert.equal(0, node:stop())
    end)

    for _, signal in ipairs { "sigterm", "sigkill" } do
        it("goes on after " .. signal, function()
            -- A node that is killed takes its last lines of log with it, and may leave a piece of a line in a file.
            local side = evrt.folder() .. "/given"
            local node = start(nil, ([[
                if ctx.replay then
                    local file = assert(io.open(%q, "a"))
                    file:write(("\n%%d .\n"):format(event.seq))
                    file:close()
                end
                evrt.sleep(0.002)]]):format(side), { jobs = { replay_concurrency = 8 } })
            publish(node, 400)
            settled(node)
            -- Held back, so that it is not over before it is interrupted.
            local r = begin(node, { handler = "A", from_seq = 1, limit = 390, rate = 130 })
            node:await("a part to be replayed", function() return look(node, r.id).replayed_count > 50 end)
            local code = node:stop(signal)
            if signal == "sigterm" then assert.equal(0, code) end
            local lives = node:restart()
            assert.same({ "done", 390, 0, 0 }, counts(ended(lives, r.id)))
            lives:await_log { msg = "Event replay started", resumed = true }
            assert.equal(0, lives:stop())
            local seen, more = {}, 0
            for line in io.lines(side) do
                local seq = tonumber(line:match "^(%d+) %.$")
                if seq then
                    more = more + (seen[seq] and 1 or 0)
                    seen[seq] = true
                end
            end
            for seq = 1, 390 do assert.is_true(seen[seq], "lost " .. seq) end
            assert.is_nil(seen[391])
            if signal == "sigterm" then assert.equal(0, more) end
        end)
    end

    it("goes on when workers die", function()
        local node = start(nil, "evrt.sleep(0.002)", { workers = { count = 2 }, jobs = { replay_concurrency = 16 } })
        publish(node, 400)
        settled(node)
        local r = begin(node, { handler = "A", from_seq = 1 })
        for i = 1, 4 do
            node:await("a part to be replayed", function() return look(node, r.id).replayed_count > i * 50 end)
            for _, worker in ipairs(node:get("/api/v1/stats").json.workers) do
                if worker.pid and worker.state == "ready" then uv.kill(worker.pid, "sigkill") break end
            end
        end
        local last = ended(node, r.id)
        -- The one that a worker was at when it died is charged.
        assert.equal(400, last.replayed_count + last.failed_count)
        assert.is_true(last.failed_count <= 4 and last.state == "done")
        for _, f in ipairs(last.failures) do assert.equal("crashed", f.error.type) end
        assert.equal(0, books(node).dead)
        assert.equal(0, node:stop())
    end)

    it("journals how far it is with what its deliveries leave behind, however large that is", function()
        local KV, JOB = 10, 24
        local node = evrt.start { config = { workers = { count = 2 }, jobs = { replay_concurrency = 512 } },
            handlers = { ["a.lua"] = [[return { name = "A", events = "a", handle = function(event, ctx)
                if not ctx.replay then return end
                ctx.kv.set("large:" .. event.seq % 3, ("x"):rep(200000))
                ctx.kv.incr("count")
            end }]] } }
        publish(node, 300)
        settled(node)
        assert.same({ "done", 300, 0, 0 }, counts(replay(node, { handler = "A", from_seq = 1 })))
        assert.equal(300, node:get("/api/v1/kv?namespace=A&key=count").json.value)
        assert.equal(0, node:stop())
        local written = 0
        for _, kinds in ipairs(groups(node)) do
            if kinds[KV] then
                written = written + 1
                assert.is_true(kinds[JOB])
            end
        end
        assert.is_true(written > 0)
    end)

    it("says what is wrong", function()
        local node = start()
        for body, code in pairs {
            ["{}"] = 400, ["[]"] = 400, ["x"] = 400, ['{"handler":"None"}'] = 404, ['{"handler":1}'] = 400,
            ['{"handler":"A","type":"a..b"}'] = 400, ['{"handler":"A","limit":0}'] = 400,
            ['{"handler":"A","from":"soon"}'] = 400, ['{"handler":"A","from":"1h","to":"2h"}'] = 400,
            ['{"handler":"A","from_seq":5,"to_seq":4}'] = 400, ['{"handler":"A","sauce":"x"}'] = 400,
            ['{"handler":"A","dry_run":1}'] = 400,
        } do
            assert.equal(code, node:post_admin(PATH, body).status, body)
        end
        assert.equal(400, node:post_admin(PATH .. "?wait=maybe", '{"handler":"A"}').status)
        assert.equal(404, node:get(PATH .. "/7").status)
        assert.equal(404, node:delete_admin(PATH .. "/7").status)
        assert.equal(400, node:get(PATH .. "/seven").status)
        assert.same({}, node:get(PATH).json.items)
        assert.equal(0, node:stop())
    end)

    it("is a command", function()
        local node = start(nil, 'if ctx.replay and event.seq == 3 then error "no" end')
        publish(node, 20)
        settled(node)
        local url = "http://127.0.0.1:" .. node.admin
        local function run(...)
            local code, out, err = evrt.run { "replay", ... }
            return code, out .. err
        end
        local code, out = run("--handler", "A", "--from", "1h", "--dry-run", "--url", url)
        assert.equal(0, code)
        assert.truthy(out:find("20 would be replayed", 1, true), out)
        code, out = run("--handler", "A", "--from-seq", "1", "--limit", "10", "--url", url)
        assert.equal(1, code)
        assert.truthy(out:find("9 replayed, 1 failed, 0 skipped", 1, true), out)
        assert.truthy(out:find("FAILED SEQ", 1, true), out)
        code, out = run("--handler", "A", "--from-seq", "11", "--json", "--url", url)
        assert.equal(0, code)
        assert.equal(10, cjson.decode(out).replayed_count)
        assert.equal(cjson.null, cjson.decode(out).total)
        code, out = run("--handler", "A", "--from-seq", "1", "--detach", "--url", url)
        assert.equal(0, code)
        code, out = run("wait", out:match "Replay (%d+)", "--url", url)
        assert.equal(1, code)
        assert.truthy(out:find("19 replayed", 1, true), out)
        code, out = run("list", "--url", url)
        assert.equal(0, code)
        assert.equal(5, select(2, out:gsub("\n", "\n")) + 1)
        assert.equal(64, (run("--handler", "A", "--url", url)))
        assert.equal(64, (run("--from", "1h", "--url", url)))
        assert.equal(64, (run("stop", "--url", url)))
        assert.equal(1, (run("cancel", "99", "--url", url)))
        assert.equal(0, (run("cancel", "1", "--url", url)))
        assert.equal(0, node:stop())
    end)
end)
