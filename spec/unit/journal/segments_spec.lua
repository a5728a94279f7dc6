-- The table of segments and the sparse index: found by number, and by what a mark is known to precede.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local lib = s.lib

describe("journal/segments", function()
    it("finds a segment by number, or the first one after it", function()
        local t = ffi.new "struct evrt_segments"
        for number = 5, 40 do
            local segment = ffi.cast("struct evrt_segment *", ffi.C.malloc(ffi.sizeof "struct evrt_segment"))
            ffi.fill(segment, ffi.sizeof "struct evrt_segment")
            segment.number, segment.size, segment.memory = number, 100, -1
            lib.evrt_segments_push(t, segment)
        end
        assert.equal(3600, tonumber(t.bytes))
        for _, want in ipairs { { 0, 5 }, { 5, 5 }, { 17, 17 }, { 40, 40 } } do
            assert.equal(want[2], tonumber(lib.evrt_segments_at(t, want[1]).number))
        end
        assert.is_true(lib.evrt_segments_at(t, 41) == nil)
        for number = 5, 20 do
            local oldest = lib.evrt_segments_shift(t)
            assert.equal(number, tonumber(oldest.number))
            lib.evrt_segment_destroy(oldest)
        end
        assert.equal(21, tonumber(lib.evrt_segments_at(t, 7).number))
        assert.equal(40, tonumber(lib.evrt_segments_last(t).number))
        assert.equal(2000, tonumber(t.bytes))
        lib.evrt_segments_finish(t)
    end)

    it("keeps one mark a step and finds the last one before the target", function()
        local x = ffi.new "struct evrt_index"
        lib.evrt_index_init(x, 1048576)
        assert.equal(4096, tonumber(x.step))
        assert.is_true(lib.evrt_index_by_seq(x, 5) == nil)
        -- Group i at 4096 + 100 * i, with seqs 10 * i to 10 * i + 9, at time 1000 * i; one clock error.
        local max = -1
        for i = 1, 1000 do
            lib.evrt_index_note(x, ffi.new("struct evrt_mark", { 4096 + 100 * i, i, 10 * i, max }))
            max = math.max(max, i == 500 and 700000 or 1000 * i)
        end
        assert.equal(25, x.n)
        for i = 1, 1000 do
            local by_group, by_seq = lib.evrt_index_by_group(x, i), lib.evrt_index_by_seq(x, 10 * i + 3)
            assert.is_true(by_group.group <= i and by_group.group + 41 > i)
            assert.equal(tonumber(by_group.offset), tonumber(by_seq.offset))
            local by_time = lib.evrt_index_by_time(x, 1000 * i)
            -- Everything before the mark is earlier; the first that is not stands within a step of it.
            local first = i > 500 and i <= 700 and 500 or i
            assert.is_true(by_time.max_ms < 1000 * i)
            assert.is_true(by_time.group <= first and by_time.group + 41 > first)
        end
        lib.evrt_index_finish(x)
    end)
end)
