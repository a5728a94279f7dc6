-- What commands print with --json is what the API answers.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

describe("--json", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node
    before_each(function()
        node = evrt.start { handlers = { ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = { "a", "b" }, handle = function(event, ctx)
                if event.type == "b" then error "boom: \"quoted\"\n\1second line" end
                ctx.kv.set("one", { list = { 1, 2 }, text = "\195\164 \"q\"" })
                ctx.kv.set("bytes", "\0\255")
            end }]] } }
        for i = 1, 6 do node:accept { type = i % 2 == 0 and "a" or "b", data = { n = i } } end
        node:await_end()
    end)
    after_each(function() assert.equal(0, (node:stop())) end)

    -- What a command prints, decoded; it ends with a code.
    local function run(line, expected)
        local args = {}
        for word in line:gmatch "%S+" do args[#args + 1] = word end
        for _, word in ipairs { "--json", "--url", "http://127.0.0.1:" .. node.admin } do args[#args + 1] = word end
        local code, out, err = evrt.run(args)
        assert.same({ expected or 0, "" }, { code, err }, line .. ": " .. err)
        local ok, value = pcall(cjson.decode, out)
        assert.is_true(ok, line .. ": " .. out)
        return value
    end

    local function same(line, path, code)
        local answer = node:get(path)
        assert.equal(200, answer.status, path)
        assert.same(answer.json, run(line, code), line)
        return answer.json
    end

    it("is what the API says of dead letters", function()
        assert.equal(3, #same("dead-letters", "/api/v1/dead-letters").items)
        assert.equal(3, #same("dead-letters list --reason exhausted", "/api/v1/dead-letters?reason=exhausted").items)
        assert.same({}, same("dead-letters list --reason crashed", "/api/v1/dead-letters?reason=crashed").items)
        local page = same("dead-letters list --limit 2", "/api/v1/dead-letters?limit=2")
        local rest = same("dead-letters list --after " .. page.next, "/api/v1/dead-letters?after=" .. page.next)
        assert.equal(1, #rest.items)
        local letter = same("dead-letters show 1-1", "/api/v1/dead-letters/1-1")
        assert.truthy(letter.error.message:find('boom: "quoted"\n\1second line', 1, true))
    end)

    it("is what the API says of jobs and replays", function()
        assert.same({}, same("jobs", "/api/v1/jobs").items)
        assert.same({}, same("replay list", "/api/v1/replays").items)
        assert.equal(200, node:post_admin("/api/v1/dead-letters/reprocess?wait=true", '{"all":true}').status)
        assert.equal(200, node:post_admin("/api/v1/replays?wait=true", '{"handler":"A","from_seq":1}').status)
        local jobs = same("jobs", "/api/v1/jobs").items
        assert.equal(2, #jobs)
        same("jobs show " .. jobs[1].id, "/api/v1/jobs/" .. jobs[1].id)
        local replays = same("replay list", "/api/v1/replays").items
        assert.equal(1, #replays)
        assert.same({ 3, 3 }, { replays[1].replayed_count, replays[1].failed_count })
        same("replay show " .. replays[1].id, "/api/v1/replays/" .. replays[1].id, 1) -- some failed
    end)

    it("is what the API says of events and handlers", function()
        assert.equal(3, #same("events --type b", "/api/v1/events?type=b").items)
        assert.equal(1, #same("events --handler A --state done --limit 1",
            "/api/v1/events?handler=A&state=done&limit=1").items)
        assert.equal(1, same("events 1", "/api/v1/events/1").seq)
        assert.same("A", same("why 1", "/api/v1/events/1/why").handlers[1].handler)
        assert.equal("A", same("handlers", "/api/v1/handlers").items[1].name)
        assert.same(node:handler "A", run "handlers A")
        -- These go on counting.
        for line, path in pairs { stats = "/api/v1/stats", ["top --count 1"] = "/api/v1/dashboard" } do
            local said, answer = run(line), node:get(path).json
            for key, value in pairs(answer) do assert.equal(type(value), type(said[key]), key) end
        end

        node:accept { type = "c", deliverafter = "1h", id = "late" }
        local late = same("events --scheduled", "/api/v1/scheduled").items[1]
        assert.equal("late", late.event.id)
        assert.equal("string", type(run("events --yes --cancel " .. late.id).state))
        assert.same({}, same("events --scheduled", "/api/v1/scheduled").items)
    end)

    it("is what the API says of what a command does", function()
        local job = run("dead-letters reprocess 1-1", 1)
        assert.same({ "done", 0, 1 }, { job.state, job.done, job.failed })
        assert.same(node:get("/api/v1/jobs/" .. job.id).json, job)
        job = run("dead-letters reprocess --all", 1)
        assert.same({ "done", 0, 3 }, { job.state, job.done, job.failed })
        assert.same(node:get("/api/v1/jobs/" .. job.id).json, job)
        assert.same({ deleted = 1, reprocessing = 0 }, run "dead-letters delete 1-1 --yes")
        assert.same({ deleted = 2, reprocessing = 0 }, run "dead-letters delete --reason exhausted --yes")

        local replay = run("replay --handler A --from-seq 1", 1)
        assert.same({ "done", 3, 3 }, { replay.state, replay.replayed_count, replay.failed_count })
        same("replay wait " .. replay.id, "/api/v1/replays/" .. replay.id, 1)
        replay = run "replay --handler A --from-seq 1 --dry-run"
        assert.same({ 0, 6 }, { replay.replayed_count, replay.skipped_count })

        -- What is paused gets nothing, and so they do not end.
        assert.same({ paused = "A" }, run "handlers pause A")
        replay = run "replay --handler A --from-seq 1 --detach"
        assert.equal("running", replay.state)
        assert.equal("cancelled", run("replay cancel " .. replay.id).state)
        job = run "replay --handler A --from-seq 2 --detach"
        assert.equal("cancelled", run("jobs cancel " .. job.id).state)
        assert.same({ resumed = "A" }, run "handlers resume A")
        node:await("their last to end", function()
            return node:get("/api/v1/jobs/" .. replay.id).json.in_flight == 0
                and node:get("/api/v1/jobs/" .. job.id).json.in_flight == 0
        end)
        job = run "dead-letters reprocess --all --detach"
        assert.truthy(job.id and job.state)
        assert.same({ namespace = "A", key = "two" }, run "kv set two [1,null] --namespace A")
        assert.same({ 1, cjson.null }, same("kv get two --namespace A", "/api/v1/kv?namespace=A&key=two").value)
        assert.same({ namespace = "A", key = "two" }, run "kv delete two --namespace A --yes")
        assert.equal(404, node:get("/api/v1/kv?namespace=A&key=two").status)
        assert.is_false(run "cleanup --before 0s --yes".dry_run)
        assert.equal("unchanged", run "reload".outcome)
    end)

    it("is what the API says of keys and values", function()
        assert.same({ { namespace = "A" } }, same("kv list", "/api/v1/kv").items)
        assert.equal(2, #same("kv list --namespace A", "/api/v1/kv?namespace=A").items)
        local one = same("kv get one --namespace A", "/api/v1/kv?namespace=A&key=one")
        assert.same({ list = { 1, 2 }, text = "\195\164 \"q\"" }, one.value)
        assert.equal("AP8=", same("kv get bytes --namespace A", "/api/v1/kv?namespace=A&key=bytes").value_base64)
    end)

    it("is what the API says of a cleanup", function()
        local answer = node:post_admin("/api/v1/cleanup", '{"before":"2020-01-01T00:00:00Z","dry_run":true}')
        local said = run "cleanup --before 2020-01-01T00:00:00Z --dry-run"
        assert.same(answer.json, said)
        assert.equal("number", type(said.dropped.segments))
    end)
end)
