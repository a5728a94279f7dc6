-- evrt run as a service: signals, systemd's protocol, and why it does not start.
local evrt = require "spec.support.evrt"
local notify = require "spec.support.notify"
local uv = require "luv"

local SLEEPER = [[
local evrt = require "evrt"
return { name = "Sleeper", events = { "a" }, timeout = "60s", handle = function(event, ctx)
    ctx.log.info "sleeping"
    evrt.sleep(50)
end }
]]

local function has(text, part)
    assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("evrt run", function()
    require("spec.support.leak").guard(before_each, after_each)

    for _, signal in ipairs { "sigterm", "sigint" } do
        it("drains on " .. signal .. " and exits 0", function()
            local node = evrt.start()
            assert.same({ 0, 0 }, { node:stop(signal) })
        end)
    end

    it("lets a delivery finish, and leaves at once when told again", function()
        local node = evrt.start { handlers = { ["a.lua"] = SLEEPER } }
        assert.equal(202, node:publish({ type = "a", data = 1 }).status)
        node:await_log { msg = "sleeping" }
        node:kill "sigterm"
        node:await_log { msg = "Draining" }
        assert.is_nil(node.code)
        assert.same({ 0, 0 }, { node:stop "sigterm" })
        -- Consistent: what did not finish is delivered again.
        local again = node:restart()
        again:await_log { msg = "sleeping" }
        again:kill "sigterm"
        again:await_log { msg = "Draining" }
        assert.same({ 0, 0 }, { again:stop "sigint" })
    end)

    it("outlives SIGHUP and SIGPIPE", function()
        local node = evrt.start()
        node:kill "sighup"
        node:kill "sigpipe"
        assert.equal(200, node:get("/livez").status)
        assert.equal(0, (node:stop()))
    end)

    it("opens its log files anew on SIGUSR1", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, config = { logging = { outputs = { "stdout", "node.log" } } } }
        assert(uv.fs_rename(dir .. "/node.log", dir .. "/old.log"))
        node:kill "sigusr1"
        evrt.await("the new log file", function() return uv.fs_stat(dir .. "/node.log") end)
        assert.equal(0, (node:stop()))
        has(evrt.read(dir .. "/old.log"), '"evrt ready"')
        has(evrt.read(dir .. "/node.log"), '"Drained"')
    end)

    it("tells systemd when it is ready, alive and stopping", function()
        local socket = notify.listen(("@evrt-run-%d"):format(uv.os_getpid()))
        local ok, why = pcall(function()
            local node = evrt.start { wait = false, env = {
                NOTIFY_SOCKET = socket.path, WATCHDOG_USEC = "40000",
            } }
            node:await("READY=1", function() return socket:has "READY=1" end)
            node:await_ready()
            assert.equal(200, node:get("/readyz").status)
            local before = #socket:received()
            node:await("two more WATCHDOG=1", function() return #socket:received() >= before + 2 end)
            node:await("WATCHDOG=1", function() return socket:has "WATCHDOG=1" end)
            assert.is_false(socket:has "STOPPING=1")
            assert.equal(0, (node:stop()))
            assert.is_true(socket:has "STOPPING=1")
        end)
        socket:close()
        assert(ok, why)
    end)

    it("takes overrides from the environment and the command line", function()
        local node = evrt.start {
            args = { "--set", "service.name=from-option" },
            env = { EVRT_SET_SERVICE__NAME = "from-environment", EVRT_SET_SERVICE__ENVIRONMENT = "spec" },
        }
        local line = node:logged({ msg = "evrt starting" })[1]
        assert.equal("from-option", line.service)
        assert.equal("spec", line.environment)
        assert.equal(0, (node:stop()))
    end)

    it("says which port is taken", function()
        local node = evrt.start()
        local dir = evrt.lay { config = { http = { listen = "127.0.0.1:" .. node.ingest } } }
        local code, _, err = evrt.run { "run", dir .. "/evrt.yaml" }
        assert.equal(1, code)
        has(err, "127.0.0.1:" .. node.ingest)
        assert.equal(0, (node:stop()))
    end)

    it("says which log file it cannot open, each time", function() -- a start that fails at once ends cleanly
        local dir = evrt.lay { config = { logging = { outputs = { "node.log" } } } }
        assert.equal(0, os.execute("mkfifo '" .. dir .. "/node.log'")) -- which nobody reads
        for _ = 1, 10 do
            local code, _, err = evrt.run { "run", dir .. "/evrt.yaml" }
            assert.equal(1, code)
            has(err, "cannot open log file " .. dir .. "/node.log: No such device or address")
        end
    end)

    it("runs with its standard descriptors closed", function()
        local dir = evrt.lay { config = { logging = { outputs = { "stdout", "node.log" } } } }
        local node = evrt.spawn { program = "/bin/sh",
            args = { "-c", 'exec "$0" run "$1" <&- >&- 2>&-', evrt.binary(), dir .. "/evrt.yaml" } }
        local function logged(message)
            return (uv.fs_stat(dir .. "/node.log") and evrt.read(dir .. "/node.log") or ""):find(message, 1, true)
        end
        evrt.await("the node", function() return logged '"evrt ready"' end)
        node:kill "sigterm"
        assert.equal(0, (node:wait()))
        assert.truthy(logged '"Drained"')
    end)

    it("says who holds the store", function()
        local node = evrt.start()
        local code, _, err = evrt.run { "run", node.dir .. "/evrt.yaml" }
        assert.equal(1, code)
        has(err, node.dir .. "/data")
        has(err, tostring(node:logged({ msg = "evrt starting" })[1].pid))
        assert.equal(0, (node:stop()))
    end)
end)
