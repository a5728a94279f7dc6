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

    before_each(function()
        page, u = ffi.new "struct evrt_page", ffi.new "struct evrt_unheard"
        yield()
    end)

    it("rests when the host has not read what was written a while ago, until it has", function()
        u.wrote = true
        longer_than_a_turn()
        assert.is_true(yield())
        assert.is_true(yield())
        page.heard = page.heard + 1
        assert.is_false(yield())
        longer_than_a_turn()
        assert.is_false(yield())
    end)

    it("only yields when there is nothing to read", function()
        longer_than_a_turn()
        assert.is_false(yield())
    end)

    it("only yields when nobody listens", function()
        u.wrote = true
        for _ = 1, 3 do
            longer_than_a_turn()
            local before = rests()
            lib.evrt_unheard_yield(u, nil)
            assert.equal(before, rests())
        end
    end)
end)
