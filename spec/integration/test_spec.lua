-- evrt test: busted in a worker, with the configuration's handlers beside it.
local evrt = require "spec.support.evrt"

local handlers = {
    ["a.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "A", events = { "a", "**.b" }, handle = function(event, ctx)
                if event.data == "bad" then evrt.reject "bad" end
                ctx.kv.incr "n"
                ctx.publish { type = "seen.a", subject = "s", data = event.data }
            end },
            { name = "All", events = { "**", "evrt.**" }, handle = function() end },
        }]],
    ["_lib.lua"] = "return { answer = 42 }",
}

local specs = {
    ["spec/good_spec.lua"] = [[
        local evrt = require "evrt"
        describe("A", function()
            it("is handed what is published", function()
                for i = 1, 3 do
                    local sent = assert(evrt.publish({ type = "a", data = i }, { wait = "handled" }))
                    table.sort(sent.outcomes, function(x, y) return x.handler < y.handler end)
                    assert.same({ { handler = "A", outcome = "success" }, { handler = "All", outcome = "success" } },
                        sent.outcomes)
                end
                assert.equal(3, evrt.kv.get("n", "A"))
                assert.same({ 1, 2, 3 }, (evrt.fold("seen", "s", function(list, event)
                    list[#list + 1] = event.data
                    return list
                end, { initial = {} })))
            end)
            it("publishes what evrt publishes to others", function()
                local sent = evrt.publish({ type = "evrt.timer.A" }, { wait = "handled" })
                assert.same({ { handler = "All", outcome = "success" } }, sent.outcomes)
            end)
            it("rejects", function()
                local sent = evrt.publish({ type = "a", data = "bad" }, { wait = "handled" })
                for _, one in ipairs(sent.outcomes) do
                    if one.handler == "A" then assert.equal("dead", one.outcome) end
                end
            end)
            it("has modules of the handlers, and of the working folder", function()
                assert.equal(42, require "_lib".answer)
                assert.equal("here", require "spec.helper")
            end)
            it("waits and prints", function()
                evrt.sleep(0.01)
                print("said", nil, 1)
            end)
        end)]],
    ["spec/helper.lua"] = "return 'here'",
    ["spec/bad_spec.lua"] = [[
        it("fails", function() assert.equal("x", "y") end)
        it("ends #exits", function() os.exit(0) end)]],
    ["kills/one_spec.lua"] = [[it("kills", function() assert(io.popen "kill -9 $PPID"):read "*a" end)]],
    ["sleeps/one_spec.lua"] = [[it("sleeps", function() io.write "asleep\n" io.flush() require "evrt".sleep(600) end)]],
}

describe("evrt test", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir
    before_each(function()
        dir = evrt.lay { handlers = handlers, files = specs,
            config = { store = { path = "data/" }, http = { token_file = "none" }, workers = { count = 2 } } }
    end)

    local function test(...)
        return evrt.run({ "test", "--config", "evrt.yaml", ... }, { cwd = dir, env = { TMPDIR = dir } })
    end

    local function left()
        local ls = assert(io.popen("ls " .. dir))
        local names = ls:read "*a"
        ls:close() -- else its process may be there still when leaks are looked for
        return (names:gsub("\n$", ""):gsub("\n", " "))
    end

    it("runs specs with the handlers, and leaves nothing", function()
        local code, out, err = test "spec/good_spec.lua"
        assert.equal(0, code, out .. err)
        assert.truthy(out:find("5 successes / 0 failures / 0 errors / 0 pending", 1, true), out)
        assert.truthy(out:find("said\tnil\t1", 1, true), out)
        assert.equal("evrt.yaml handlers kills sleeps spec", left())
    end)

    it("gives busted all words from the first on that is not its own", function()
        local code, out = test("--set", "workers.count=1", "-o", "TAP", "--filter", "rejects")
        assert.equal(0, code, out)
        assert.truthy(out:find("ok 1 - A rejects", 1, true), out)
        code, out = test("--", "--version")
        assert.equal(0, code)
        assert.truthy(out:find "^%d+%.%d+", out)
        code = test "--no-such"
        assert.equal(1, code)
    end)

    it("fails when a spec does", function()
        local code, out = test "spec/bad_spec.lua"
        assert.equal(1, code)
        assert.truthy(out:find("0 successes / 1 failure / 1 error / 0 pending", 1, true), out)
        assert.truthy(out:find("os.exit(0) was called", 1, true), out)
        assert.equal(1, (test "nowhere"))
    end)

    it("fails when its worker dies, once", function()
        local code, _, err = test "kills"
        assert.equal(1, code)
        assert.truthy(err:find("evrt: test: the worker that ran the specs died", 1, true), err)
        assert.equal("evrt.yaml handlers kills sleeps spec", left())
    end)

    it("tells what is wrong with the scripts or the configuration", function()
        evrt.write(dir .. "/handlers/b.lua", "return {")
        local code, _, err = test()
        assert.equal(78, code)
        assert.truthy(err:find("handlers/b.lua:1: ", 1, true), err)
        code, _, err = evrt.run({ "test" }, { cwd = dir .. "/spec" })
        assert.equal(78, code)
        assert.truthy(err:find("name one: evrt test --config FILE", 1, true), err)
        assert.equal(64, (evrt.run { "test", "--config" }))
    end)

    it("says which package busted is in", function()
        local code, _, err = evrt.run({ "test", "--config", "evrt.yaml" },
            { cwd = dir, env = { TMPDIR = dir, LUA_PATH = "/none/?.lua" } })
        assert.equal(1, code)
        assert.truthy(err:find("busted is needed (on Debian: apt install lua-busted)", 1, true), err)
    end)

    it("ends when it is interrupted, and cleans up", function()
        local node = evrt.spawn { args = { "test", "--config", "evrt.yaml", "sleeps" }, cwd = dir,
            env = { TMPDIR = dir } }
        node:await("the spec", function() return table.concat(node.out):find "asleep" end)
        node:kill "sigint"
        assert.same({ 1, 0 }, { node:wait() })
        assert.equal("evrt.yaml handlers kills sleeps spec", left())
    end)

    it("runs the quickstart's", function()
        local code, out, err = evrt.run({ "test" }, { cwd = "examples/quickstart" })
        assert.equal(0, code, out .. err)
        assert.truthy(out:find("4 successes / 0 failures", 1, true), out)
    end)
end)
