-- What failed since the last commit: a first retry that has ended by then was never there.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("state", { "state/model_failed.h", "core/event.h" })

describe("state/model_failed", function()
    local m

    before_each(function() m = ffi.new "struct evrt_model_failed" end)
    after_each(function() lib.evrt_failed_finish(m) end)

    local function add(op, sub, seq, attempt)
        local f = ffi.new "struct evrt_failed"
        f.op, f.sub, f.seq = lib["EVRT_FAILED_" .. op], sub, seq
        f.retry.seq, f.retry.attempt, f.dead.seq, f.dead.attempt = seq, attempt or 2, seq, attempt or 2
        lib.evrt_failed_add(m, f)
    end

    local function listed()
        local list, at, f = {}, ffi.new "size_t[1]", ffi.new "struct evrt_failed"
        while lib.evrt_failed_next(m, at, f) do
            list[#list + 1] = ("%d/%d/%d"):format(tonumber(f.op), f.sub, tonumber(f.seq))
        end
        assert.equal(#list, tonumber(m.count))
        return table.concat(list, " ")
    end

    it("cancels a first retry that nothing else is about", function()
        for seq = 1, 5000 do add("RETRY", seq % 2, seq) end
        for seq = 5000, 1, -1 do
            if seq ~= 7 then assert.is_true(lib.evrt_failed_cancel(m, seq % 2, seq)) end
            assert.is_false(lib.evrt_failed_cancel(m, seq % 2 + 1, seq))
        end
        assert.equal("0/1/7", listed())
        assert.equal(1, tonumber(m.retries))
        assert.is_false(lib.evrt_failed_cancel(m, 0, 2)) -- not twice
    end)

    it("does not cancel what was there before, failed again, died, or has a copy of its event", function()
        add("RETRY", 1, 1, 3)
        add("RETRY", 1, 2)
        add("RETRY", 1, 2, 3)
        add("RETRY", 1, 3)
        add("DEAD", 1, 3)
        add("RETRY", 1, 4)
        local e = ffi.new "struct evrt_event"
        e.id, e.type, e.source, e.seq = c.slice "x", c.slice "t", c.slice "/s", 4
        local n = tonumber(lib.evrt_event_size(e))
        local bytes = ffi.new("char[?]", n)
        lib.evrt_event_encode(e, bytes)
        lib.evrt_failed_add(m, ffi.new("struct evrt_failed", { op = lib.EVRT_FAILED_COPY, sub = 1,
            event = ffi.new("struct evrt_slice", bytes, n) }))
        for seq = 1, 5 do assert.is_false(lib.evrt_failed_cancel(m, 1, seq)) end
        assert.equal("0/1/1 0/1/2 0/1/2 0/1/3 2/1/3 0/1/4 4/1/4", listed())
    end)

    it("begins anew after a commit, and when a handler was forgotten", function()
        add("RETRY", 1, 1)
        add("RETRY", 2, 1)
        assert.is_true(lib.evrt_failed_cancel(m, 2, 1))
        lib.evrt_failed_forget(m, 2)
        assert.equal("0/1/1", listed())
        assert.is_false(lib.evrt_failed_cancel(m, 1, 1))
        lib.evrt_failed_clear(m)
        assert.equal("", listed())
        assert.is_false(lib.evrt_failed_cancel(m, 1, 1))
        add("RETRY", 1, 1)
        assert.is_true(lib.evrt_failed_cancel(m, 1, 1))
        assert.equal("", listed())
    end)
end)
