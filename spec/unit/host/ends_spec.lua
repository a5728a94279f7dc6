-- How deliveries ended, as the journal says: found, none there, or not found in time.
local ffi = require "ffi"
local c = require "spec.support.c"
local journal = require "spec.unit.journal.support"

local lib = c.load("host", { "host/ends.h", "core/record.h", "core/buf.h" })
local OPEN, DONE, DISCARDED, UNKNOWN = 0, 1, 2, 3
local SUB = 7

local function ranges(list)
    local from = ffi.new "uint64_t[1]"
    return c.collect(lib, function(b)
        for _, seq in ipairs(list or {}) do lib.evrt_ranges_put(b, from, ffi.new("struct evrt_range", seq, 1)) end
    end)
end

-- A SETTLE of the handler: what left its window, what of that was discarded, and dead letters made and left.
local function settle(of)
    local texts = { ranges(of.ended), ranges(of.gone), ranges(of.left), c.collect(lib, function(b)
        for _, seq in ipairs(of.dead or {}) do
            local d = ffi.new "struct evrt_record_dead"
            d.seq, d.attempt = seq, 1
            lib.evrt_dead_put(b, d)
        end
    end) }
    local r = ffi.new "struct evrt_record_settle"
    r.sub = SUB
    r.ranges, r.gone, r.left, r.dead = c.slice(texts[1]), c.slice(texts[2]), c.slice(texts[3]), c.slice(texts[4])
    return c.collect(lib, function(b) lib.evrt_record_put_settle(b, r) end)
end

describe("host/ends", function()
    after_each(journal.clean)

    local j
    local function append(of) assert(journal.append(j, journal.kind.settle, settle(of))) end

    local function find(seqs, ms)
        local ends, how = ffi.new("struct host_end[?]", #seqs), {}
        for i, seq in ipairs(seqs) do ends[i - 1].seq, ends[i - 1].sub = seq, SUB end
        local reader = journal.reader(j)
        assert.equal(0, lib.host_ends_find(reader, ends, #seqs, ms, ffi.new "struct evrt_error"))
        journal.lib.evrt_journal_reader_close(reader)
        for i = 1, #seqs do how[i] = tonumber(ends[i - 1].how) end
        return how
    end

    it("are found, and what is not found in time is told from what is not there", function()
        j = assert(journal.open(journal.folder(), { segment_size = 2 ^ 20 }))
        for _ = 1, 6 do assert(journal.event(j, "x")) end
        append { ended = { 1, 2, 3, 4 }, gone = { 2 }, dead = { 3, 4 } }
        for _ = 1, 5000 do append {} end
        append { left = { 3 }, gone = { 3 } }
        append { left = { 4 } }
        append { ended = { 5 } }
        journal.commit(j, 6 + 1 + 5000 + 3)
        assert.same({ DONE, DISCARDED, DISCARDED, DONE, DONE, OPEN }, find({ 1, 2, 3, 4, 5, 6 }, 60000))
        assert.same({ DONE, DISCARDED, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN }, find({ 1, 2, 3, 4, 5, 6 }, -1))
        assert.same({ DONE, DISCARDED }, find({ 1, 2 }, -1))
        journal.close(j)
    end)
end)
