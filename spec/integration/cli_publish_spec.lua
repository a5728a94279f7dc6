-- evrt publish, handlers, stats and events against a running node.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local time = require "spec.support.time"

local HANDLERS = {
    ["good.lua"] = "return { name = 'Good', events = { 'a.*' }, handle = function() end }",
    ["bad.lua"] = "return { name = 'Bad', events = { 'a.bad' }, handle = function() error('no luck\\27[31m') end }",
}

local function has(text, part)
    assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("commands for a running node", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node
    before_each(function() node = evrt.start { handlers = HANDLERS, env = { TZ = time.noon() } } end)
    after_each(function() assert.equal(0, (node:stop())) end)

    local function run(args, options)
        local admin = args[1] ~= "publish"
        args[#args + 1] = "--url"
        args[#args + 1] = ("http://127.0.0.1:%d"):format(admin and node.admin or node.ingest)
        return evrt.run(args, options)
    end

    it("publish prints id and seq", function()
        local code, out = run { "publish", "a.b", "-d", '{"x":1}' }
        assert.equal(0, code)
        local id, seq = out:match "^id (%x+%-%x+%-7%x+%-%x+%-%x+) seq (%d+) durability fsync$"
        assert.equal("1", seq, out)
        local event = node:get("/api/v1/events/1").json
        assert.equal(id, event.id)
        assert.same({ x = 1 }, event.data)
        assert.equal("evrt-publish", event.source)
    end)

    it("publish takes data from a file, from standard input, or none; and hard attributes", function()
        evrt.write(node.dir .. "/data.json", "[1, 2]")
        assert.equal(0, (run { "publish", "a.file", "-d", "@" .. node.dir .. "/data.json", "--id", "my id \"%é",
            "--source", "ünï/x y", "--subject", "s%20" }))
        assert.equal(0, (run({ "publish", "a.stdin", "-d", "-" }, { stdin = '{"from": "stdin"}' })))
        assert.equal(0, (run { "publish", "a.none" }))
        local items = node:get("/api/v1/events").json.items
        assert.same({ 1, 2 }, items[1].data)
        assert.equal("my id \"%é", items[1].id)
        assert.equal("ünï/x y", items[1].source)
        assert.equal("s%20", items[1].subject)
        assert.same({ from = "stdin" }, items[2].data)
        assert.is_nil(items[3].data)
        local code, _, err = run { "publish", "a.b", "-d", "@/nowhere.json" }
        assert.equal(1, code)
        has(err, "cannot read /nowhere.json: No such file or directory")
    end)

    it("publish --wait shows how every handler ended", function()
        local code, out = run { "publish", "a.good", "-d", "{}", "--wait" }
        assert.equal(0, code)
        assert.truthy(out:find "\nGood +success")
        code, out = run { "publish", "a.bad", "-d", "{}", "--wait", "--timeout", "20s" }
        assert.equal(1, code)
        assert.truthy(out:find "\nGood +success")
        assert.truthy(out:find "\nBad +dead .*bad.lua:1: no luck%?%[31m")
        code, out = run { "publish", "nobody.listens", "--wait" }
        assert.equal(0, code)
        has(out, "No handler matched it.")
        code, out = run { "publish", "a.good", "-d", "{}", "--wait", "--json" }
        assert.equal(0, code)
        assert.equal("success", cjson.decode(out).handlers[1].outcome)
    end)

    it("publish shows why the node refuses", function()
        local code, out, err = run { "publish", "a b", "-d", "{}" }
        assert.same({ 1, "" }, { code, out })
        assert.truthy(err:find "^evrt: type.*HTTP 400%)$", err)
        code, out, err = run { "publish", "a.b", "-d", "{nope}" }
        assert.same({ 1, "" }, { code, out })
        has(err, "line 1, column 2")
        assert.equal(1, (run { "publish", "a\r\nX-Injected: 1", "-d", "{}" }))
        assert.same({}, node:get("/api/v1/events").json.items)
    end)

    it("handlers and stats are tables, or JSON", function()
        assert.equal(1, (run { "publish", "a.bad", "-d", "{}", "--wait" }))
        local code, out = run { "handlers" }
        assert.equal(0, code)
        assert.truthy(out:find "^HANDLER +STATE +EVENTS +PENDING +RUNNING +RETRYING +DONE +DEAD")
        assert.truthy(out:find "\nGood +active +a%.%* +0 +0 +0 +1 +0 +0")
        assert.truthy(out:find "\nBad +active +a%.bad +0 +0 +0 +0 +1 +0")
        assert.is_nil(out:find("\27", 1, true))
        assert.equal(2, #cjson.decode((select(2, run { "handlers", "--json" }))).items)
        code, out = run { "stats" }
        assert.equal(0, code)
        assert.truthy(out:find "\nevents +1 in the last hour, 1 today %(%w+%)\n", out)
        assert.truthy(out:find "\nHANDLER +PENDING +RUNNING +RETRYING +HANDLED/S", out)
        assert.truthy(out:find "\nBad +0 +0 +0 +%d[%d.]* +%d[%d.]* +%d[%d.]* +100.0 %%", out)
        assert.truthy(out:find "\na.bad +%d", out)
        code, out = run { "top", "--count", "2", "--interval", "1" }
        assert.equal(0, code)
        assert.equal(2, select(2, out:gsub("\nHANDLER ", "")))
        assert.is_nil(out:find("\27", 1, true))
        local command = evrt.binary() .. " top --count 1 --url 127.0.0.1:" .. node.admin
        local terminal = evrt.spawn {
            program = "script", args = { "-qec", command, "/dev/null" }, env = { TERM = "xterm" },
        }
        assert.equal(0, terminal:wait(60))
        local picture = table.concat(terminal.out, "\n")
        assert.truthy(picture:find("\27[?1049h", 1, true) and picture:find("\27[?1049l", 1, true), picture)
        code, out = run { "stats", "--all" }
        assert.equal(0, code)
        assert.truthy(out:find "\nevents +1\n")
        assert.truthy(out:find "\nstore%.durability +fsync\n")
        assert.truthy(out:find "\nworkers%[0%]%.state +ready")
        local both = cjson.decode((select(2, run { "stats", "--json" })))
        assert.equal(1, both.events)
        assert.equal(1, both.dashboard.events_today)
    end)

    it("events lists, filters and pages", function()
        for i = 1, 3 do
            assert.equal(0, (run { "publish", "a.n" .. i, "-s", "src " .. i }))
            evrt.idle(0.01) -- so that a time is between them
        end
        local code, out, err = run { "events", "--limit", "2" }
        assert.equal(0, code)
        assert.truthy(out:find "^SEQ +STORED +TYPE +SOURCE +ID\n +1 .*a%.n1 +src 1 .*\n +2 ")
        assert.is_nil(out:find "a%.n3")
        has(err, "There are more: --after 2")
        code, out, err = run { "events", "--after", "2" }
        assert.equal(0, code)
        has(out, "a.n3")
        assert.equal("", err)
        out = select(2, run { "events", "--type", "*.n2", "--source", "src 2", "--from", "1h" })
        has(out, "a.n2")
        assert.is_nil(out:find "a%.n1")
        local function types(...)
            local list = {}
            for i, e in ipairs(cjson.decode((select(2, run { "events", "--json", ... }))).items) do list[i] = e.type end
            return list
        end
        local second = node:get("/api/v1/events/2").json.stored
        assert.same({ "a.n2", "a.n3" }, types("--from", second))
        assert.same({ "a.n1" }, types("--to", second))
        assert.same({ "a.n2" }, types("--from", second, "--to", node:get("/api/v1/events/3").json.stored))
        code, out, err = run { "events", "--to", "1h" }
        assert.same({ 0, "", "No such events." }, { code, out, err })
        code, out, err = run { "events", "--limit", "many" }
        assert.same({ 64, "" }, { code, out })
        has(err, "limit")
        assert.equal(3, #cjson.decode((select(2, run { "events", "--json" }))).items)
    end)

    it("events SEQ shows one and what became of it", function()
        assert.equal(1, (run { "publish", "a.bad", "-d", '{"x": [1]}', "--wait" }))
        local code, out = run { "events", "1" }
        assert.equal(0, code)
        assert.truthy(out:find "\ntype +a%.bad\n")
        assert.truthy(out:find "\nBad +dead +1 .*no luck")
        assert.truthy(out:find "\nGood +done")
        has(out, 'data: {"x": [1]}')
        assert.equal("a.bad", cjson.decode((select(2, run { "events", "1", "--json" }))).type)
        local err
        code, out, err = run { "events", "99" }
        assert.same({ 1, "" }, { code, out })
        has(err, "HTTP 404")
    end)
end)

describe("finding the node", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("goes by the configuration's listeners", function()
        local ports = require "spec.support.ports"
        local ingest, admin = ports.free(), ports.free()
        local node = evrt.start { config = {
            http = { listen = ":" .. ingest }, admin = { listen = "localhost:" .. admin },
        } }
        assert.equal(0, (evrt.run { "publish", "a.b", "-c", node.dir .. "/evrt.yaml" }))
        assert.truthy(select(2, evrt.run { "events", "-c", node.dir .. "/evrt.yaml" }):find "a%.b")
        assert.equal(0, (evrt.run { "stats", "--set", "admin.listen=127.0.0.1:" .. admin }))
        assert.equal(0, (node:stop()))
    end)

    it("shows the token of the configuration or of EVRT_TOKEN", function()
        local node = evrt.start {
            config = { http = { token_file = "token" }, admin = { token_file = "token" } },
            files = { token = "s3cret\n" },
        }
        local config, url = node.dir .. "/evrt.yaml", "127.0.0.1:" .. node.ingest
        local code, _, err = evrt.run { "publish", "a.b", "--url", url }
        assert.equal(1, code)
        has(err, "HTTP 401")
        has(err, "Set EVRT_TOKEN")
        assert.equal(0, (evrt.run({ "publish", "a.b", "--url", url }, { env = { EVRT_TOKEN = "s3cret" } })))
        assert.equal(0, (evrt.run { "publish", "a.b", "--url", url, "-c", config }))
        assert.equal(0, (evrt.run { "stats", "--url", "127.0.0.1:" .. node.admin, "-c", config }))
        code, _, err = evrt.run({ "publish", "a.b", "--url", url, "-c", config }, { env = { EVRT_TOKEN = "wrong" } })
        assert.equal(1, code)
        has(err, "is not the node's")
        assert.is_nil(err:find "s3cret")
        assert.equal(0, (node:stop()))
    end)

    it("says so when no node answers", function()
        local port = require("spec.support.ports").free()
        for _, args in ipairs { { "publish", "a.b" }, { "handlers" }, { "stats" }, { "events" } } do
            args[#args + 1] = "--url"
            args[#args + 1] = "http://127.0.0.1:" .. port .. "/"
            local code, out, err = evrt.run(args)
            assert.same({ 69, "" }, { code, out })
            has(err, "no answer from http://127.0.0.1:" .. port)
            if args[1] == "publish" then has(err, "repeat with --id ") end
        end
    end)

    it("cannot guess a port that is 0 in the configuration", function()
        local dir = evrt.lay {}
        local code, _, err = evrt.run { "publish", "a.b", "-c", dir .. "/evrt.yaml" }
        assert.equal(64, code)
        has(err, "http.listen has port 0, which is any port: name it with --url")
    end)
end)
