-- The offline tools: verify finds every damage and changes nothing; after repair the store opens, holds all
-- that was readable, and says what is lost.
local ffi = require "ffi"
local lfs = require "lfs"
local s = require "spec.unit.journal.support"
local lib, kind, errno = s.lib, s.kind, s.errno

local GROUP = 1096 -- of each event below
local function text(i) return ("%04d"):format(i) .. ("x"):rep(988) end
local function at(group) return 4096 + group * GROUP end -- offset of a segment's group, from 0

-- Eleven events to a segment: 1-11, 12-22, 23-33, 34-40.
local EVENTS, SEGMENTS = 40, 4

describe("journal/store", function()
    local path, saved
    before_each(function()
        path = s.folder()
        local j = assert(s.open(path))
        for i = 1, EVENTS do s.events(j, { text(i) }) end
        s.close(j)
        saved = s.save(path)
        assert.equal(SEGMENTS, #s.segments(path))
    end)
    after_each(s.clean)

    local function damage(number, offset, bytes)
        local name = s.segment_path(path, number)
        local old = s.read_file(name)
        s.write_file(name, old:sub(1, offset) .. bytes .. old:sub(offset + #bytes + 1))
    end

    -- The seqs that can be read, and [first, count] of the gaps.
    local function contents()
        local j, code, message = s.open(path)
        assert(j, message or code)
        local r, seqs, gaps = s.reader(j), {}, {}
        local all, read_code, why = s.read_all(r)
        assert.is_nil(read_code, why)
        for _, record in ipairs(all) do
            if record.kind == kind.event then
                assert.is_true(record.text == text(record.seq))
                seqs[#seqs + 1] = record.seq
            else
                assert.equal(kind.gap, record.kind)
                local gap = ffi.new "struct evrt_record_gap"
                assert.equal(0, lib.evrt_record_get_gap(ffi.new("struct evrt_slice", record.text,
                    #record.text), gap))
                gaps[#gaps + 1] = { tonumber(gap.first_seq), tonumber(gap.events) }
            end
        end
        lib.evrt_journal_reader_close(r)
        -- And it goes on, over several more segments.
        for i = tonumber(lib.evrt_journal_next_seq(j)), EVENTS + 30 do s.events(j, { text(i) }) end
        s.close(j)
        return seqs, gaps
    end

    local function all_but(lost)
        local seqs = {}
        for i = 1, EVENTS do
            if not lost[i] then seqs[#seqs + 1] = i end
        end
        return seqs
    end

    -- Verifies, repairs, and expects these seqs to be lost, told as these gaps.
    local function expect(lost, gaps, findings_wanted)
        local count = 0
        for _ in pairs(lost) do count = count + 1 end
        local before = s.save(path)
        local report, findings = s.verify(path)
        assert(report, findings)
        assert.same({ findings_wanted, count }, { tonumber(report.damaged), tonumber(report.events_lost) })
        assert.equal(tonumber(report.damaged + report.torn), #findings)
        local dry = assert(s.repair(path, true))
        assert.equal(tonumber(report.damaged), tonumber(dry.damaged))
        assert.same(before, s.save(path))
        assert.is_nil(lfs.attributes(path .. "/damaged"))
        local repaired = assert(s.repair(path))
        assert.equal(count, tonumber(repaired.events_lost))
        local again, left = s.verify(path)
        assert.same({ 0, {} }, { tonumber(again.damaged), left })
        local seqs, told = contents()
        assert.same(all_but(lost), seqs)
        assert.same(gaps, told)
        assert.equal(0, tonumber(assert(s.verify(path)).damaged))
        return findings
    end

    it("finds a whole store good, and counts what is in it", function()
        local report, findings, progress = s.verify(path)
        assert.same({}, findings)
        assert.same({ SEGMENTS, EVENTS + 3, EVENTS, 1, EVENTS + 1, 0, 0 }, { tonumber(report.segments),
            tonumber(report.groups), tonumber(report.events), tonumber(report.first_seq),
            tonumber(report.next_seq), tonumber(report.damaged), tonumber(report.torn) })
        assert.same({ SEGMENTS * 16384, SEGMENTS * 16384 },
            { tonumber(progress.done), tonumber(progress.total) })
        assert.is_true(progress.calls >= SEGMENTS)
        assert(s.repair(path))
        assert.same(saved, s.save(path))
    end)

    it("says what is no store, and who has an open one", function()
        local _, code = s.verify(path .. "/nothing")
        assert.equal(errno.ENOENT, code)
        _, code = s.verify(s.folder())
        assert.equal(errno.ENOENT, code)
        local j = assert(s.open(path))
        local _, busy, message = s.repair(path)
        assert.equal(errno.EBUSY, busy)
        assert.matches("in use by process", message, 1, true)
        s.close(j)
    end)

    it("repairs one bad group", function()
        damage(2, at(4) + 500, "?")
        local findings = expect({ [16] = true }, { { 16, 1 } }, 1)
        assert.same({ s.segment_name(2), at(4), GROUP, false },
            { findings[1].segment, findings[1].offset, findings[1].length, findings[1].torn })
        assert.matches("1 bad groups, which held 1 events from seq 16 on", findings[1].what, 1, true)
        assert.equal(GROUP, #s.read_file(("%s/damaged/%s.%x"):format(path, s.segment_name(2), at(4))))
    end)

    it("repairs ranges of groups in several segments at once", function()
        damage(1, at(0), ("?"):rep(GROUP * 2 + 5))
        damage(2, at(4), ("\0"):rep(GROUP))
        damage(2, at(7), "?")
        damage(4, at(1) + 60, "?")
        expect({ [1] = true, [2] = true, [3] = true, [16] = true, [19] = true, [35] = true },
            { { 1, 3 }, { 16, 1 }, { 19, 1 }, { 35, 1 } }, 4)
    end)

    it("repairs the last groups of a closed segment, with and without its seal", function()
        damage(1, at(10) + 99, "?")
        damage(2, at(10) + 99, ("?"):rep(GROUP))
        damage(3, at(11) + 8, "?")
        expect({ [11] = true, [22] = true }, { { 11, 1 }, { 22, 1 } }, 3)
    end)

    it("repairs a closed segment that was cut short", function()
        s.write_file(s.segment_path(path, 2), saved[s.segment_name(2)]:sub(1, at(3) + 7))
        local lost = {}
        for i = 15, 22 do lost[i] = true end
        expect(lost, { { 15, 8 } }, 1)
    end)

    it("repairs damage in the segment that was being written, and leaves a torn tail to the start",
        function()
            damage(4, at(2) + 77, "?")
            damage(4, at(7), ("?"):rep(50))
            local report, findings = s.verify(path)
            assert.same({ 1, 1 }, { tonumber(report.damaged), tonumber(report.torn) })
            assert.is_true(findings[2].torn)
            assert.same({ s.segment_name(4), at(7) }, { findings[2].segment, findings[2].offset })
            assert(s.repair(path))
            local seqs, gaps = contents()
            assert.same(all_but { [36] = true }, seqs)
            assert.same({ { 36, 1 } }, gaps)
        end)

    it("takes a bad group before a torn one for damage", function()
        damage(4, at(5) + 77, "?")
        damage(4, at(6) + 77, "?")
        expect({ [39] = true, [40] = true }, { { 39, 2 } }, 1)
    end)

    it("repairs a header from its copy", function()
        for number = 1, SEGMENTS do
            damage(number, number % 2 == 0 and 50 or 2048 + 50, "?")
        end
        expect({}, {}, SEGMENTS)
    end)

    it("sets aside a segment whose header is lost", function()
        for number = 1, SEGMENTS do
            s.restore(path, saved)
            damage(number, 0, ("?"):rep(4096))
            local lost, first, last = {}, (number - 1) * 11 + 1, math.min(number * 11, EVENTS)
            for i = first, last do lost[i] = true end
            expect(lost, { { first, last - first + 1 } }, 1)
            assert.equal(16384, #s.read_file(path .. "/damaged/" .. s.segment_name(number)))
            os.remove(path .. "/damaged/" .. s.segment_name(number))
            lfs.rmdir(path .. "/damaged")
        end
    end)

    it("puts a gap where segments are missing", function()
        os.remove(s.segment_path(path, 2))
        os.remove(s.segment_path(path, 3))
        local lost = {}
        for i = 12, 33 do lost[i] = true end
        expect(lost, { { 12, 0 }, { 12, 22 } }, 2)
    end)

    it("goes on after a newest segment that is missing", function()
        os.remove(s.segment_path(path, SEGMENTS))
        local report, findings = s.verify(path)
        assert.equal(1, tonumber(report.damaged))
        assert.same({ s.segment_name(4), "it is missing" }, { findings[1].segment, findings[1].what })
        assert(s.repair(path))
        assert.equal(33, #contents())
    end)

    it("begins after a first segment that retention could have dropped", function()
        local j = assert(s.open(path))
        assert.equal(1, lib.evrt_journal_drop(j, 13, 2 ^ 52))
        s.close(j)
        damage(2, 0, ("?"):rep(4096))
        local report = assert(s.verify(path))
        assert.same({ 1, 0 }, { tonumber(report.damaged), tonumber(report.events_lost) })
        assert(s.repair(path))
        local seqs = contents()
        assert.same({ 23, 18 }, { seqs[1], #seqs })
    end)

    it("refuses a newer store, and segments of another one", function()
        s.write_file(path .. "/format", "evrt store 7\n")
        assert.equal(errno.EPROTONOSUPPORT, (select(2, s.repair(path))))
        s.write_file(path .. "/format", "evrt store 1\n")
        local other = s.folder()
        local j = assert(s.open(other))
        for i = 1, 15 do s.events(j, { text(i):sub(1, 900) }) end
        s.close(j)
        s.write_file(s.segment_path(path, 2), s.read_file(s.segment_path(other, 2)))
        local before = s.save(path)
        local _, code, message = s.repair(path)
        assert.equal(errno.EBADMSG, code)
        assert.matches("not of this store", message, 1, true)
        assert.same(before, s.save(path))
    end)

    it("repairs every store that one turned bit makes unfit", function()
        for i = 1, 400 do
            s.restore(path, saved)
            local number = i % SEGMENTS + 1
            local bytes = saved[s.segment_name(number)]
            -- Anywhere in the file, spread evenly; coprime to the sizes above.
            s.write_file(s.segment_path(path, number), s.flip(bytes, (i * 7919 * 31) % (#bytes * 8)))
            local report = assert(s.verify(path))
            assert.is_true(tonumber(report.damaged + report.torn) <= 1)
            local fixed = assert(s.repair(path))
            local j, code, message = s.open(path)
            assert(j, message or code)
            local r = s.reader(j)
            local all, read_code = s.read_all(r)
            lib.evrt_journal_reader_close(r)
            s.close(j)
            assert.is_nil(read_code)
            -- A turned bit in the last group of all is a torn tail: one event, and no gap for it.
            assert.is_true(#all == EVENTS or tonumber(fixed.torn) == 1 and #all == EVENTS - 1)
        end
    end)
end)
