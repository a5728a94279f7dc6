-- Timers fire when their moment has come, not a part of a millisecond before.
local ffi = require "ffi"
local c = require "spec.support.c"

ffi.cdef "typedef void (*uv_timer_cb)(uv_timer_t *);"
local loop = c.load("loop", { "loop/timer.h", "core/clock.h" })

ffi.cdef [[
size_t uv_loop_size(void);
int uv_loop_init(uv_loop_t *loop);
int uv_loop_close(uv_loop_t *loop);
int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer);
int uv_run(uv_loop_t *loop, int mode);
void uv_close(uv_timer_t *timer, void *cb);
]]

describe("loop/timer", function()
    local memory, uv_loop, timer, fired, cb

    before_each(function()
        memory = ffi.new("char[?]", loop.uv_loop_size())
        uv_loop, timer = ffi.cast("uv_loop_t *", memory), ffi.new "uv_timer_t"
        assert(loop.uv_loop_init(uv_loop) == 0)
        assert(loop.uv_timer_init(uv_loop, timer) == 0)
        cb = ffi.cast("uv_timer_cb", function() fired = loop.evrt_mono_ns() end)
    end)

    after_each(function()
        loop.uv_close(timer, nil)
        loop.uv_run(uv_loop, 0)
        assert.equal(0, loop.uv_loop_close(uv_loop))
        cb:free()
    end)

    local function run(due)
        fired = nil
        loop.evrt_timer_start(timer, cb, due)
        loop.uv_run(uv_loop, 0)
        return fired
    end

    it("never fires early, wherever in a millisecond it is started", function()
        for i = 1, 200 do
            local due = loop.evrt_mono_ns() + i * 17001
            assert.is_true(run(due) >= due, i .. ": early")
        end
    end)

    it("fires at once when the moment has passed", function()
        assert.is_truthy(run(loop.evrt_mono_ns() - 1))
        assert.is_truthy(run(0))
    end)

    it("is started anew", function()
        loop.evrt_timer_start(timer, cb, loop.evrt_mono_ns() + 3600 * 1000000000LL)
        local due = loop.evrt_mono_ns() + 1000000
        assert.is_true(run(due) >= due)
    end)
end)
