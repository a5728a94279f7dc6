local ffi = require "ffi"
local uv = require "luv"
local c = require "spec.support.c"
local notify = require "spec.support.notify"
local lib = c.load("cli", { "cli/sd_notify.h" })

describe("sd_notify", function()
    local names = { "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID" }
    local function clear()
        for _, name in ipairs(names) do uv.os_unsetenv(name) end
    end
    before_each(clear)
    after_each(clear)

    for what, path in pairs {
        ["a socket with a path"] = os.tmpname(),
        ["an abstract socket"] = ("@evrt-spec-%d"):format(uv.os_getpid()),
    } do
        it("writes to " .. what, function()
            os.remove(path)
            local socket = notify.listen(path)
            uv.os_setenv("NOTIFY_SOCKET", path)
            assert.are.equal(0, lib.evrt_sd_notify "READY=1")
            assert.are.equal(0, lib.evrt_sd_notify "STOPPING=1")
            assert.are.same({ "READY=1", "STOPPING=1" }, socket:received())
            socket:close()
        end)
    end

    it("says nothing when nobody asked", function()
        assert.are.equal(0, lib.evrt_sd_notify "READY=1")
        uv.os_setenv("NOTIFY_SOCKET", "")
        assert.are.equal(0, lib.evrt_sd_notify "READY=1")
    end)

    it("tells what is wrong with the socket", function()
        uv.os_setenv("NOTIFY_SOCKET", "/nowhere/at/all")
        assert.are.equal(-2, lib.evrt_sd_notify "READY=1")
        uv.os_setenv("NOTIFY_SOCKET", "relative")
        assert.are.equal(-22, lib.evrt_sd_notify "READY=1")
        uv.os_setenv("NOTIFY_SOCKET", "/" .. ("x"):rep(200))
        assert.are.equal(-22, lib.evrt_sd_notify "READY=1")
    end)

    it("feeds the watchdog twice as often as asked, when asked of this process", function()
        local function every() return tonumber(ffi.cast("double", lib.evrt_sd_watchdog_ms())) end
        assert.are.equal(0, every())
        uv.os_setenv("WATCHDOG_USEC", "30000000")
        assert.are.equal(15000, every())
        uv.os_setenv("WATCHDOG_PID", tostring(uv.os_getpid()))
        assert.are.equal(15000, every())
        uv.os_setenv("WATCHDOG_PID", "1")
        assert.are.equal(0, every())
        uv.os_setenv("WATCHDOG_PID", tostring(uv.os_getpid()))
        uv.os_setenv("WATCHDOG_USEC", "nonsense")
        assert.are.equal(0, every())
    end)
end)
