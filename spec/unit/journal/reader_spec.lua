-- Readers: streaming, seeking by seq, group and time, across segments, beside commits and drops.
local s = require "spec.unit.journal.support"
local lib, kind, errno = s.lib, s.kind, s.errno

-- Eleven groups of one such event fill a segment of 16 KiB.
local function text(i) return ("%04d"):format(i) .. ("x"):rep(988) end

describe("journal/reader", function()
    local j, r, path
    before_each(function()
        path = s.folder()
        j = assert(s.open(path))
        r = s.reader(j)
    end)
    after_each(function()
        if r then lib.evrt_journal_reader_close(r) end
        r = nil
        s.clean()
    end)

    local function write(from, to)
        for i = from, to do s.events(j, { text(i) }) end
    end

    local function reopen()
        lib.evrt_journal_reader_close(r)
        s.close(j)
        j = assert(s.open(path))
        r = s.reader(j)
    end

    it("has nothing to say of an empty journal, and follows it as it grows", function()
        assert.is_nil(s.read(r))
        for i = 1, 40 do
            write(i, i)
            local record = s.read(r)
            assert.same({ i, text(i), kind.event }, { record.seq, record.text, record.kind })
            assert.is_nil(s.read(r))
        end
    end)

    it("gives all kinds of records in order, and no seals", function()
        for i = 1, 30 do
            assert(s.append(j, kind.settle, "settled " .. i))
            assert(s.event(j, text(i)))
            s.commit(j, 2)
        end
        assert.is_true(tonumber(s.stats(j).segments) > 2)
        local all = s.read_all(r)
        assert.equal(60, #all)
        for i = 1, 30 do
            assert.equal("settled " .. i, all[2 * i - 1].text)
            assert.equal(i, all[2 * i].seq)
        end
        assert.is_true(all[60].group > 30) -- seals are groups, too
    end)

    for _, how in ipairs { "written by this process", "found on the disk" } do
        it("seeks every seq in segments " .. how, function()
            write(1, 40)
            if how == "found on the disk" then reopen() end
            for i = 40, 1, -1 do
                assert.equal(0, s.seek(r, "seq", i))
                assert.equal(i, s.read(r).seq)
                if i < 40 then assert.equal(i + 1, s.read(r).seq) end
            end
            assert.equal(0, s.seek(r, "seq", 0))
            assert.equal(1, s.read(r).seq)
        end)

        it("seeks every group in segments " .. how, function()
            write(1, 40)
            if how == "found on the disk" then reopen() end
            local all = s.read_all(r)
            local last = all[#all].group
            for i = 1, last do
                local wanted
                for _, record in ipairs(all) do
                    if record.group >= i then wanted = record break end
                end
                assert.equal(0, s.seek(r, "group", i))
                assert.equal(wanted.seq, s.read(r).seq)
            end
        end)
    end

    it("seeks within a group, past records that are not events", function()
        for i = 1, 3 do
            for k = 1, 5 do
                assert(s.append(j, kind.settle, "settled"))
                assert(s.event(j, "event " .. (i - 1) * 5 + k))
            end
            s.commit(j, 10)
        end
        for i = 1, 15 do
            assert.equal(0, s.seek(r, "seq", i))
            local record = s.read(r)
            assert.same({ kind.event, i, "event " .. i }, { record.kind, record.seq, record.text })
            if i < 15 then assert.equal(kind.settle, s.read(r).kind) end
        end
    end)

    it("seeks the first group at or after a time", function()
        write(1, 40)
        local all = s.read_all(r)
        local times = {}
        for _, record in ipairs(all) do times[record.time] = times[record.time] or record.seq end
        for time, seq in pairs(times) do
            assert.equal(0, s.seek(r, "time", time))
            assert.equal(seq, s.read(r).seq)
        end
        assert.equal(0, s.seek(r, "time", 0))
        assert.equal(1, s.read(r).seq)
        assert.equal(errno.ENOENT, s.seek(r, "time", 2 ^ 52))
        reopen()
        local last = all[#all].time
        assert.equal(0, s.seek(r, "time", last))
        assert.equal(times[last], s.read(r).seq)
    end)

    it("waits at the end for what is not there yet", function()
        for _, by in ipairs { "seq", "group" } do
            assert.equal(errno.ENOENT, s.seek(r, by, 100))
            assert.is_nil(s.read(r))
        end
        write(1, 3)
        assert.equal(errno.ENOENT, s.seek(r, "seq", 4))
        write(4, 5)
        assert.equal(4, s.read(r).seq)
        assert.equal(5, s.read(r).seq)
    end)

    it("goes on in a segment that was dropped, and skips to the first that is there", function()
        write(1, 60)
        assert.equal(1, s.read(r).seq)
        local kept = s.reader(j)
        assert.is_true(lib.evrt_journal_drop(j, 2 ^ 52, 2 ^ 52) > 3)
        s.await(function() return #s.segments(path) == 1 end, "files to go")
        local first = tonumber(s.stats(j).first_seq)
        assert.is_true(first > 23)
        for i = 2, 11 do assert.equal(i, s.read(r).seq) end
        assert.equal(first, s.read(r).seq)
        assert.equal(first, s.read(kept).seq)
        for _, to in ipairs { 1, 5, first } do
            assert.equal(0, s.seek(kept, "seq", to))
            assert.equal(first, s.read(kept).seq)
            assert.equal(0, s.seek(kept, "group", to))
            assert.equal(first, s.read(kept).seq)
        end
        lib.evrt_journal_reader_close(kept)
    end)

    it("sees only what is committed, whole, while the owner appends", function()
        local seen = 0
        for i = 1, 2000 do
            assert(s.event(j, "event " .. i))
            lib.evrt_journal_submit(j, false)
            local b = lib.evrt_journal_take(j)
            if b ~= nil then lib.evrt_batch_unref(b) end
            local record, code, message = s.read(r)
            assert.is_nil(code, message)
            if record then
                seen = seen + 1
                assert.same({ seen, "event " .. seen }, { record.seq, record.text })
            end
        end
        while seen < 2000 do
            local record = s.await(function() return (s.read(r)) end)
            seen = seen + 1
            assert.same({ seen, "event " .. seen }, { record.seq, record.text })
        end
        while lib.evrt_journal_next_seq(j) ~= s.stats(j).next_seq do s.take(j) end
    end)

    it("names the segment and offset of damage, wherever it is met", function()
        write(1, 30)
        reopen()
        local name = s.segment_path(path, 1)
        local bytes = s.read_file(name)
        s.write_file(name, s.flip(bytes, (4096 + 1096 * 5 + 500) * 8))
        local all, code, message = s.read_all(r)
        assert.equal(5, #all)
        assert.equal(errno.EBADMSG, code)
        assert.matches("segment 0000000000000001.seg is damaged at offset 9576", message, 1, true)
        assert.matches("`evrt store repair " .. path .. "`", message, 1, true)
        assert.equal(errno.EBADMSG, s.seek(r, "seq", 8))
        assert.equal(0, s.seek(r, "seq", 12))
        assert.equal(12, s.read(r).seq)
    end)
end)
