-- What is asked before a segment is dropped.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local lib = s.lib

describe("journal/oldest", function()
    after_each(s.clean)

    it("tells where the oldest segment ends, and drops exactly that", function()
        local j = assert(s.open(s.folder()))
        local oldest = ffi.new "struct evrt_journal_oldest"
        assert.is_false(lib.evrt_journal_oldest(j, oldest))
        for _ = 1, 50 do s.events(j, { ("x"):rep(992) }) end
        for number = 1, 4 do
            assert.is_true(lib.evrt_journal_oldest(j, oldest))
            assert.equal(number, tonumber(oldest.number))
            assert.equal(tonumber(s.stats(j).first_seq), tonumber(oldest.first_seq))
            assert.is_true(oldest.ended_ms > 0)
            assert.equal(0, lib.evrt_journal_drop(j, oldest.next_group - 1, 2 ^ 52))
            assert.equal(1, lib.evrt_journal_drop(j, oldest.next_group, 2 ^ 52))
            assert.equal(tonumber(oldest.next_seq), tonumber(s.stats(j).first_seq))
            assert.equal(tonumber(oldest.next_group), tonumber(s.stats(j).first_group))
        end
        assert.is_false(lib.evrt_journal_oldest(j, oldest))
    end)
end)
