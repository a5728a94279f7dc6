-- The window against a plain list.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("bus", { "bus/window.h" })

local LIVE, GONE = lib.EVRT_ENTRY_LIVE, lib.EVRT_ENTRY_GONE

describe("bus/window", function()
    local w

    before_each(function()
        w = ffi.new "struct evrt_window"
        lib.evrt_window_init(w)
    end)
    after_each(function() lib.evrt_window_finish(w) end)

    local function push(seq, state)
        return tonumber(lib.evrt_window_push(w, ffi.new("struct evrt_entry", seq, seq % 1000, state or LIVE)))
    end
    local function at(position)
        local e = lib.evrt_window_at(w, position)
        return e ~= nil and tonumber(e.seq) or nil
    end

    it("numbers from 1 on, and forgets what is done", function()
        assert.equal(1, push(10))
        assert.equal(2, push(20))
        assert.equal(3, push(30))
        lib.evrt_window_done(w, 2)
        assert.same({ 10, 30 }, { at(1), at(3) })
        assert.is_nil(at(2))
        assert.is_nil(at(0))
        assert.is_nil(at(4))
        lib.evrt_window_done(w, 1)
        lib.evrt_window_trim(w)
        assert.same({ 3, 4 }, { tonumber(w.head), tonumber(w.tail) })
        assert.same({ 3, 0, 0 }, { tonumber(lib.evrt_window_find(w, 30)), tonumber(lib.evrt_window_find(w, 20)),
            tonumber(lib.evrt_window_find(w, 31)) })
    end)

    it("passes over what is gone, at the head only", function()
        for seq = 1, 4 do push(seq, seq % 2 == 1 and GONE or LIVE) end
        lib.evrt_window_trim(w)
        assert.equal(2, tonumber(w.head))
        assert.equal(3, at(3))
    end)

    it("is what a list would be", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        math.randomseed(seed)
        local list, head, tail, seq = {}, 1, 1, 0
        local function check()
            assert.same({ head, tail }, { tonumber(w.head), tonumber(w.tail) }, "EVRT_SEED=" .. seed)
            local n = tonumber(lib.evrt_window_next(w, head))
            for position = head, tail - 1 do
                local want = list[position]
                if at(position) ~= want then
                    error(("EVRT_SEED=%d: %d is %s, not %s"):format(seed, position, tostring(at(position)),
                        tostring(want)))
                end
                if want and tonumber(lib.evrt_window_find(w, want)) ~= position then
                    error(("EVRT_SEED=%d: %d is not found"):format(seed, want))
                end
                if want then
                    assert.equal(position, n, "EVRT_SEED=" .. seed)
                    n = tonumber(lib.evrt_window_next(w, position + 1))
                end
            end
            assert.equal(tail, n)
        end
        local function done(position)
            if not list[position] then return end
            list[position] = nil
            lib.evrt_window_done(w, position)
        end
        for round = 1, 60 do
            for _ = 1, math.random(600) do
                seq = seq + math.random(3)
                list[tail] = seq
                assert.equal(tail, push(seq))
                tail = tail + 1
                if math.random(4) == 1 then done(math.random(head, tail - 1)) end
            end
            while tail > head and list[tail - 1] and math.random(3) > 1 do
                tail = tail - 1
                seq = list[tail] - 1
                list[tail] = nil
                lib.evrt_window_pop(w)
            end
            -- Now and then all but few, so that blocks are packed and emptied.
            local keep = ({ 2, 20, 2000 })[math.random(3)]
            for position = head, tail - 1 do
                if math.random(keep) > 1 then done(position) end
            end
            if round % 10 == 0 then
                for position = head, tail - 1 do done(position) end
            end
            lib.evrt_window_trim(w)
            while head < tail and not list[head] do head = head + 1 end
            check()
        end
    end)
end)
