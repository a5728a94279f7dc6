-- Jobs that are held back (`rate`), and jobs beside each other over the same dead letters.
local uv = require "luv"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local COUNT = 30
local RATE = 20
-- A job may be a tenth of a second and one ahead.
local LEAST = (COUNT - RATE / 10 - 1 - 1) / RATE

-- Fails until a file is there; then each delivery takes a while, and is printed.
local function start(count)
    local dir = evrt.folder()
    local file = dir .. "/repaired"
    local node = evrt.start { dir = dir, config = { workers = { count = 2 } }, handlers = { ["a.lua"] = ([[
        local evrt = require "evrt"
        return { name = "A", events = "a", handle = function(event, ctx)
            local repaired = io.open %q
            if not repaired then error "boom" end
            repaired:close()
            evrt.sleep(0.01)
            if not ctx.replay then evrt.log.info "got" end
            ctx.kv.incr(ctx.replay and "replayed" or "s" .. event.seq)
        end }]]):format(file) } }
    for _ = 1, count do node:accept { type = "a" } end
    node:await_end(60)
    evrt.write(file, "x")
    return node
end

-- How often each event was given, by sequence.
local function given(node)
    local found = {}
    for _, item in ipairs(node:get("/api/v1/kv?namespace=A&limit=1000").json.items) do found[item.key] = item.value end
    return found
end

local function once_each(count)
    local wanted = {}
    for seq = 1, count do wanted["s" .. seq] = 1 end
    return wanted
end

local function begin(node, what, path)
    local answer = node:post_admin(path or "/api/v1/dead-letters/reprocess", cjson.encode(what))
    assert.equal(202, answer.status, answer.body)
    return answer.json.id
end

local function ended(node, id)
    return node:await("the job to end", function()
        local job = node:get("/api/v1/jobs/" .. id).json
        return job.state ~= "running" and job
    end, 60)
end

describe("a job", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("with a rate is no faster", function()
        local node = start(COUNT)
        local began = uv.hrtime()
        local job = ended(node, begin(node, { all = true, rate = RATE }))
        local took = (uv.hrtime() - began) / 1e9
        assert.same({ "done", COUNT, 0 }, { job.state, job.done, job.failed })
        assert.is_true(took >= LEAST, ("%d at %d a second took %.2f s"):format(COUNT, RATE, took))
        assert.same(once_each(COUNT), given(node))

        began = uv.hrtime()
        job = ended(node, begin(node, { handler = "A", from_seq = 1, rate = RATE }, "/api/v1/replays"))
        took = (uv.hrtime() - began) / 1e9
        assert.equal("done", job.state)
        assert.is_true(took >= LEAST, ("%d at %d a second took %.2f s"):format(COUNT, RATE, took))
        assert.equal(COUNT, given(node).replayed)
        assert.equal(0, (node:stop()))
    end)

    it("beside another over the same letters gives each once", function()
        local node = start(200)
        local jobs, done = {}, 0
        for i, what in ipairs { { all = true, rate = 100 }, { handler = "A" }, { type = "a" } } do
            jobs[i] = begin(node, what)
        end
        for _, id in ipairs(jobs) do
            local job = ended(node, id)
            assert.same({ "done", 0 }, { job.state, job.failed })
            done = done + job.done
        end
        assert.equal(200, done)
        assert.same(once_each(200), given(node))
        assert.equal(0, #node:get "/api/v1/dead-letters".json.items)
        local s = node:await_end()
        assert.same({ 200, 0, 0 }, { s.done, s.dead, s.discarded })
        assert.equal(0, (node:stop()))
    end)

    it("beside a single reprocess, or a delete, gives each once or not at all", function()
        local node = start(100)
        local id = begin(node, { all = true, rate = 100 })
        local single, deleted = 0, 0
        for seq = 100, 2, -3 do
            local letter = "/api/v1/dead-letters/1-" .. seq
            local answer = node:post_admin(letter .. "/reprocess")
            assert.truthy(({ [200] = true, [404] = true, [409] = true })[answer.status], answer.body)
            if answer.status == 200 then
                assert.same({ 1, 0 }, { answer.json.done, answer.json.failed })
                single = single + 1
            end
            answer = node:delete_admin("/api/v1/dead-letters/1-" .. seq - 1)
            assert.truthy(({ [200] = true, [404] = true, [409] = true })[answer.status], answer.body)
            if answer.status == 200 then deleted = deleted + answer.json.deleted end
        end
        local job = ended(node, id)
        assert.same({ "done", 0, 100 }, { job.state, job.failed, job.done + single + deleted })
        for seq, times in pairs(given(node)) do assert.equal(1, times, seq) end
        local s = node:await_end()
        assert.same({ 100 - deleted, 0, deleted }, { s.done, s.dead, s.discarded })
        assert.equal(0, (node:stop()))
    end)
end)
