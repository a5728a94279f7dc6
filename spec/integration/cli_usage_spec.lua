-- The command line's manners: what is wrong is told with the nearest right word, and by the exit code.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local function has(text, part)
    assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("the command line", function()
    require("spec.support.leak").guard(before_each, after_each)

    local wrong = {
        { {}, "which command?" },
        { { "pubish" }, 'unknown command "pubish"; the nearest is publish' },
        { { "frobnicate" }, 'unknown command "frobnicate"\nTry: evrt help' },
        { { "publish", "a", "--frobnicate" }, "unknown option --frobnicate\n" },
        { { "--jsn" }, 'unknown command "--jsn"' },
        { { "publish" }, "expected: evrt publish TYPE" },
        { { "publish", "a", "b" }, 'unexpected argument "b"' },
        { { "publish", "a", "--dta", "{}" }, "unknown option --dta; the nearest is --data" },
        { { "publish", "a", "-x" }, "unknown option -x" },
        { { "publish", "a", "-d" }, "-d needs a value: JSON|@FILE|-" },
        { { "publish", "a", "--url" }, "--url needs a value: URL" },
        { { "publish", "a", "--wait=1" }, "--wait takes no value" },
        { { "publish", "a", "--timeout", "5s" }, "--timeout is how long --wait waits" },
        { { "publish", "a", "--wait", "--timeout", "soon" }, "expected a duration such as 5s" },
        { { "publish", "a", "--url", "ftp://localhost" }, "ftp" },
        { { "publish", "a", "--id", "" }, "--id is empty; give it a value, or leave it out" },
        { { "publish", "a", "-d", "" }, "--data is empty" },
        { { "events", "first" }, 'expected a sequence number, got "first"' },
        { { "events", "1", "--limit", "5" }, "--limit is for lists" },
        { { "store", "verify" }, "expected: evrt store verify|repair PATH" },
        { { "store", "mend", "/tmp" }, 'expected verify or repair, got "mend"' },
        { { "store", "verify", "--yes", "/tmp" }, "--yes is for repair" },
        { { "bench", "--seconds", "0" }, "--seconds: expected a whole number from 1 to 3600" },
        { { "bench", "--phase", "fast" }, '--phase: expected flat-out, single or steady, got "fast"' },
        { { "help", "pubish" }, 'no command "pubish"; the nearest is publish' },
        { { "help", "--completion", "csh" }, "expected bash, zsh or fish" },
    }
    for _, case in ipairs(wrong) do
        it("refuses: evrt " .. table.concat(case[1], " "), function()
            local code, out, err = evrt.run(case[1])
            assert.equal(64, code)
            assert.equal("", out)
            has(err, case[2])
            if case[1][5] ~= "ftp://localhost" and not err:find "ftp" then has(err, "Try: evrt help") end
        end)
    end

    it("helps with every command, in both ways", function()
        local _, overview = evrt.run { "help" }
        local count = 0
        for name in overview:match("Commands:\n(.-)\n\n"):gmatch "%f[^\n%z] *(%l+) +%u" do
            local code, out = evrt.run { "help", name }
            assert.equal(0, code)
            has(out, "Usage: evrt " .. name)
            assert.equal(out, select(2, evrt.run { name, "--help" }))
            count = count + 1
        end
        assert.is_true(count >= 17, count)
        assert.equal(overview, select(2, evrt.run { "--help" }))
    end)

    it("shows the version", function()
        local code, out = evrt.run { "version" }
        assert.equal(0, code)
        local versions = {}
        for name, version in (out .. "\n"):gmatch "(%S+) ([^\n]+)\n" do versions[name] = version end
        assert.truthy(out:find "^evrt %d+%.%d+%.%d+\n", out)
        for _, name in ipairs { "LuaJIT", "libuv", "libmicrohttpd", "SQLite" } do
            assert.truthy(versions[name]:find "^%d+%.%d+%.%d+", out)
        end
        assert.equal(out, select(2, evrt.run { "--version" }))
        local v = versions
        assert.same({ version = v.evrt, luajit = v.LuaJIT, libuv = v.libuv, libmicrohttpd = v.libmicrohttpd,
            sqlite = v.SQLite, compiler = v.compiler, build = v.build },
            cjson.decode((select(2, evrt.run { "version", "--json" }))))
    end)

    it("shows the configuration's keys: the reference file, or JSON", function()
        assert.equal(evrt.read "conf/evrt.yaml", select(2, evrt.run { "help", "config" }) .. "\n")
        local keys = cjson.decode((select(2, evrt.run { "help", "config", "--json" })))
        assert.truthy(#keys.items >= 35)
        assert.equal("service.name", keys.items[1].key)
    end)

    it("takes the turns of a benchmark from standard input", function()
        local function bench()
            return evrt.spawn { args = { "bench", "--turns", "--json", "--dir", evrt.folder(), "--in-flight", "10",
                "--set", "store.durability=memory", "--set", "workers.count=1" }, stdin = true }
        end
        local node, turns = bench(), 0
        local function turn(phase, ms)
            turns = turns + 1
            node.stdin:write(("%s %d\n"):format(phase, ms))
            node:await("its figures", function() return #node.lines == turns end, 60)
            return node.lines[turns][phase]
        end
        -- As long as it takes until some are handled within the turn: of a slow machine that is not known.
        local function until_handled(phase, ms, figure)
            local figures = turn(phase, ms)
            while figures[figure] == 0 and ms < 10000 do
                ms = ms * 2
                figures = turn(phase, ms)
            end
            return figures
        end
        local steady = until_handled("steady", 500, "handled_p50_us")
        assert.is_true(0 < steady.handled_p50_us and steady.handled_p50_us <= steady.handled_p99_us
            and steady.handled_p99_us <= steady.handled_max_us)
        local flat_out = until_handled("flat-out", 20, "events_per_second")
        assert.is_true(flat_out.events_per_second > 0)
        assert.is_true(0 < flat_out.durable_p50_us and flat_out.durable_p50_us <= flat_out.durable_p99_us)
        node.stdin:close()
        assert.equal(0, (node:wait()))
        node = bench()
        node.stdin:write "steady\n"
        assert.equal(1, (node:wait()))
        node.stdin:close()
        local err = table.concat(node.err, "\n")
        has(err, '--turns: a line has to be PHASE MILLISECONDS, as in "steady 300"')
    end)

    it("fails when its output cannot be written", function()
        local node = evrt.spawn { program = "/bin/sh", args = { "-c", '"$0" help >/dev/full', evrt.binary() } }
        assert.equal(1, (node:wait()))
        has(table.concat(node.err, "\n"), "cannot write to standard output: No space left on device")
    end)

    it("is silent when its reader has enough", function()
        local node = evrt.spawn { program = "/bin/sh", args = { "-c", [[
            exec 3>&1
            { "$0" help config; echo "$?" >&3; } | :]], evrt.binary() } }
        assert.equal(0, (node:wait()))
        assert.same({}, node.err)
        assert.truthy(node.out[1] == "1" or node.out[1] == "0", node.out[1]) -- 0: the pipe had room for it
    end)
end)
