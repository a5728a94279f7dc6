local c = require "spec.support.c"
local ffi = require "ffi"
local lib = c.load("worker", { "core/clock.h", "frame/page.h", "worker/unheard.h" })

local function rests()
    local file = assert(io.open "/proc/thread-self/status")
    local text = file:read "*a"
    file:close()
    return tonumber(text:match "\nvoluntary_ctxt_switches:%s*(%d+)")
end

local function longer_than_a_turn()
    local stop = lib.evrt_mono_ns() + 1000000
    repeat until lib.evrt_mono_ns() > stop
end

describe("worker/unheard", function()
    local page, u

    local function yield()
        local before = rests()
        lib.evrt_unheard_yield(u, page)
        return rests() > before
    end

    -- Not each time: a rest may be over before the thread has left its CPU, and reading about it may wait, too.
    local function comes_to(rest)
        for _ = 1, 100 do
            if yield() == rest then return true end
        end
        return false
    end

    before_each(function()
        page, u = ffi.new "struct evrt_page", ffi.new "struct evrt_unheard"
        yield()
    end)

    it("rests when the host has not read what was written a while ago, until it has", function()
        u.wrote = true
        longer_than_a_turn()
        assert.is_true(comes_to(true))
        assert.is_true(comes_to(true))
        page.heard = page.heard + 1
        assert.is_true(comes_to(false))
        longer_than_a_turn()
        assert.is_true(comes_to(false))
    end)

    it("only yields when there is nothing to read", function()
        longer_than_a_turn()
        assert.is_true(comes_to(false))
    end)

    it("only yields when nobody listens", function()
        page = nil
        u.wrote = true
        longer_than_a_turn()
        assert.is_true(comes_to(false))
    end)
end)
