-- Appending and committing: what goes in comes back in order, stamped, grouped within the caps, and is
-- still there after the next open.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local lib, kind, errno = s.lib, s.kind, s.errno

local function fill(n, from)
    local texts = {}
    for i = 1, n do texts[i] = ("event %d"):format((from or 0) + i) end
    return texts
end

describe("journal/journal", function()
    after_each(s.clean)

    it("commits what was submitted and gives it back", function()
        local j = assert(s.open(s.folder()))
        assert.equal(1, tonumber(lib.evrt_journal_next_seq(j)))
        local before = os.time() * 1000
        assert(s.event(j, "one"))
        assert(s.append(j, kind.settle, "settled"))
        assert(s.event(j, "two"))
        assert.equal(3, tonumber(lib.evrt_journal_next_seq(j)))
        local batch = s.commit(j, 3)[1]
        assert.same({ 1, 1, 2, 3 }, { batch.group, batch.first_seq, batch.events, #batch })
        assert.same({ "one", 1 }, { batch[1].text, batch[1].seq })
        assert.same({ kind.settle, "settled" }, { batch[2].kind, batch[2].text })
        assert.same({ "two", 2 }, { batch[3].text, batch[3].seq })
        assert.is_true(batch[1].ms >= before and batch[1].ms <= os.time() * 1000 + 1000)
        assert.is_true(lib.evrt_journal_take(j) == nil)
    end)

    it("keeps together what is to be durable together", function()
        local j = assert(s.open(s.folder(), { group_bytes = 4096 }))
        local big = ("x"):rep(1500)
        assert(s.event(j, big))
        local bytes = 3 * tonumber(lib.evrt_journal_record_bytes(1600))
        assert.equal(0, lib.evrt_journal_hold(j, bytes, 3))
        assert(s.event(j, big))
        assert(s.append(j, kind.settle, big))
        assert(s.event(j, big))
        assert.equal(-errno.EMSGSIZE, lib.evrt_journal_hold(j, 2 ^ 40, 1))
        local batches = s.commit(j, 4)
        assert.same({ 1, 3 }, { #batches[1], #batches[2] })
        assert.same({ 2, 2 }, { batches[2].first_seq, batches[2].events })
    end)

    it("keeps everything over a restart", function()
        local path = s.folder()
        local j = assert(s.open(path))
        s.events(j, fill(5))
        s.close(j)
        local again, report = s.open(path)
        assert.same({ 1, 5, 6, false }, { tonumber(report.segments), tonumber(report.groups),
            tonumber(report.next_seq), report.torn })
        assert.equal(table.concat(fill(5), " "), s.texts(again))
        s.events(again, { "next" })
        assert.equal(table.concat(fill(5), " ") .. " next", s.texts(again))
        assert.equal(7, tonumber(s.stats(again).next_seq))
    end)

    it("commits at close what was submitted, and only that", function()
        local path = s.folder()
        local j = assert(s.open(path))
        assert(s.event(j, "submitted"))
        lib.evrt_journal_submit(j, false)
        assert(s.event(j, "only appended"))
        s.close(j)
        assert.equal("submitted", s.texts(assert(s.open(path))))
    end)

    it("makes the store's folder for its owner alone", function()
        local path = s.folder() .. "/store"
        assert(s.open(path))
        local lfs = require "lfs"
        assert.equal("rwx------", lfs.attributes(path, "permissions"))
        assert.equal("evrt store 1\n", s.read_file(path .. "/format"))
    end)

    it("joins what is submitted while a commit runs into one group", function()
        local j = assert(s.open(s.folder(), { segment_size = 1048576 }))
        for i = 1, 500 do
            assert(s.event(j, "event " .. i))
            lib.evrt_journal_submit(j, false)
        end
        local batches, seq = s.commit(j, 500), 0
        assert.is_true(#batches < 500)
        for i, batch in ipairs(batches) do
            assert.equal(i, batch.group)
            assert.equal(seq + 1, batch.first_seq)
            for _, record in ipairs(batch) do
                seq = seq + 1
                assert.same({ seq, "event " .. seq }, { record.seq, record.text })
            end
        end
    end)

    it("keeps groups within the caps of bytes and records", function()
        local j = assert(s.open(s.folder(), { segment_size = 1048576, group_records = 10,
            group_bytes = 4096 }))
        for i = 1, 35 do assert(s.event(j, "event " .. i)) end
        local sizes = {}
        for _, batch in ipairs(s.commit(j, 35)) do sizes[#sizes + 1] = #batch end
        assert.same({ 10, 10, 10, 5 }, sizes)
        for _ = 1, 9 do assert(s.event(j, ("x"):rep(952))) end
        sizes = {}
        for _, batch in ipairs(s.commit(j, 9)) do sizes[#sizes + 1] = #batch end
        assert.same({ 4, 4, 1 }, sizes)
        assert(s.event(j, ("y"):rep(10000)))
        assert.equal(10000, #s.commit(j, 1)[1][1].text)
    end)

    it("takes records larger than a chunk of memory, beside small ones", function()
        local j = assert(s.open(s.folder(), { segment_size = 4 * 1048576 }))
        local large = {}
        for i = 1, 8 do
            large[i] = string.char(64 + i):rep(i * 50000 + i)
            assert(s.event(j, large[i]))
            assert(s.event(j, "small " .. i))
        end
        local records = {}
        for _, batch in ipairs(s.commit(j, 16)) do
            for _, record in ipairs(batch) do records[#records + 1] = record.text end
        end
        for i = 1, 8 do
            assert.is_true(records[2 * i - 1] == large[i])
            assert.equal("small " .. i, records[2 * i])
        end
        assert.is_true(s.texts(j) == table.concat(records, " "))
    end)

    it("refuses a record that no group can hold", function()
        local j = assert(s.open(s.folder()))
        local got, why = s.event(j, ("x"):rep(16384))
        assert.same({ nil, errno.EMSGSIZE }, { got, why })
        assert.equal(1, tonumber(lib.evrt_journal_next_seq(j)))
        assert(s.event(j, ("x"):rep(12000)))
        s.commit(j, 1)
    end)

    it("refuses events, not settlements, when too much waits for the disk", function()
        local j = assert(s.open(s.folder(), { backlog_bytes = 4096 }))
        local n = 0
        while s.event(j, ("x"):rep(200)) do n = n + 1 end
        assert.equal(16, n)
        assert.equal(errno.EAGAIN, select(2, s.event(j, ("x"):rep(200))))
        assert.equal(n * 248, tonumber(s.stats(j).backlog_bytes))
        assert(s.append(j, kind.settle, "settled"))
        s.commit(j, n + 1)
        assert.equal(0, tonumber(s.stats(j).backlog_bytes))
        assert(s.event(j, "and on"))
    end)

    it("lets batches outlive later ones, charged for no more than their share", function()
        local j = assert(s.open(s.folder(), { segment_size = 4 * 1048576 }))
        local held = {}
        for i = 1, 1000 do
            assert(s.event(j, "event " .. i))
            lib.evrt_journal_submit(j, false)
            held[i] = s.await(function()
                local b = lib.evrt_journal_take(j)
                return b ~= nil and lib.evrt_batch_ref(b) or nil
            end)
            lib.evrt_batch_unref(held[i])
        end
        local at, record = ffi.new "size_t[1]", ffi.new "struct evrt_batch_record"
        for i = 1, 1000, 3 do
            at[0] = 0
            assert.is_true(lib.evrt_batch_next(held[i], at, record))
            assert.equal("event " .. i, ffi.string(record.payload + 40, record.n - 40))
            assert.is_true(tonumber(lib.evrt_batch_bytes(held[i])) < 512)
        end
        for i = 1, 1000 do lib.evrt_batch_unref(held[i]) end
    end)

    it("wakes the owner once for commits that it has not come for", function()
        local wake = s.semaphore()
        local j = assert(s.open(s.folder(), { arg = wake.sem, segment_size = 1048576,
            on_commit = s.poster "void (*)(void *)" }))
        for i = 1, 20 do
            assert(s.event(j, "event " .. i))
            lib.evrt_journal_submit(j, false)
            s.await(function() return tonumber(s.stats(j).next_seq) == i + 1 end)
        end
        s.await(function() return wake:count() == 1 end)
        local n = 0
        while n < 20 do n = n + #s.take(j) end
        assert.is_true(lib.evrt_journal_take(j) == nil)
        assert(s.event(j, "again"))
        lib.evrt_journal_submit(j, false)
        s.await(function() return wake:count() == 1 end)
    end)

    it("commits on the owner's thread what is small, when nothing is being written", function()
        local wake = s.semaphore()
        local memory = assert(s.open(nil, { durability = "EVRT_DURABILITY_MEMORY", arg = wake.sem,
            on_commit = s.poster "void (*)(void *)" }))
        local function here(text)
            assert(s.event(memory, text))
            return lib.evrt_journal_submit(memory, true)
        end
        -- Until the writer has come to wait, it takes what is submitted.
        s.await(function() return here "small" or s.take(memory) == nil end, "the writer to be idle")
        while lib.evrt_journal_take(memory) ~= nil do end
        wake:count()
        assert.is_true(here "now")
        assert.equal("now", s.take(memory)[1].text)
        assert.is_false(lib.evrt_journal_submit(memory, true))
        assert.equal(0, wake:count())
    end)

    it("leaves to the writer what is large, or would need another segment", function()
        local j = assert(s.open(s.folder(), { segment_size = 262144 }))
        assert(s.event(j, ("x"):rep(40000)))
        assert.is_false(lib.evrt_journal_submit(j, true))
        assert.equal(40000, #s.take(j)[1].text)
        local text, n = ("y"):rep(20000), 0
        for _ = 1, 30 do
            assert(s.event(j, text))
            lib.evrt_journal_submit(j, true)
            n = n + #s.take(j)
        end
        assert.equal(30, n)
        assert.is_true(tonumber(s.stats(j).segments) > 2)
    end)

    it("keeps order between what the owner and what the writer commits", function()
        local path = s.folder()
        local j = assert(s.open(path, { segment_size = 65536 }))
        local expected = fill(600)
        for i, text in ipairs(expected) do
            assert(s.event(j, text))
            lib.evrt_journal_submit(j, i % 3 ~= 0)
        end
        local n = 0
        while n < 600 do n = n + #s.take(j) end
        assert.equal(table.concat(expected, " "), s.texts(j))
    end)

    it("works without syncing, and without a disk", function()
        local path = s.folder()
        local j = assert(s.open(path, { durability = "EVRT_DURABILITY_OS" }))
        s.events(j, fill(200))
        s.close(j)
        assert.equal(table.concat(fill(200), " "),
            s.texts(assert(s.open(path, { durability = "EVRT_DURABILITY_OS" }))))

        local memory = assert(s.open(nil, { durability = "EVRT_DURABILITY_MEMORY" }))
        s.events(memory, fill(400))
        assert.is_true(tonumber(s.stats(memory).segments) > 1)
        assert.equal(table.concat(fill(400), " "), s.texts(memory))
        local first = tonumber(s.stats(memory).first_seq)
        assert.is_true(lib.evrt_journal_drop(memory, 300, 2 ^ 52) > 0)
        assert.is_true(tonumber(s.stats(memory).first_seq) > first)
        local r = s.reader(memory)
        assert.equal(tonumber(s.stats(memory).first_seq), s.read(r).seq)
        lib.evrt_journal_reader_close(r)
    end)

    it("tells figures", function()
        local j = assert(s.open(s.folder()))
        s.events(j, fill(3))
        local stats = s.stats(j)
        assert.same({ 1, 4, 1, 3, 1, 3, 3, 0 }, { tonumber(stats.first_seq), tonumber(stats.next_seq),
            tonumber(stats.first_group), tonumber(stats.last_group), tonumber(stats.segments),
            tonumber(stats.commits), tonumber(stats.committed_records), stats.space })
        assert.equal(16384, tonumber(stats.bytes))
        assert.is_true(tonumber(stats.fsync_ns) > 0)
    end)

    describe("space", function()
        -- Each of these events takes a group of 1096 bytes: eleven to a segment of 16 KiB.
        local text = ("x"):rep(992)

        it("drops whole segments that are old and not needed", function()
            local path = s.folder()
            local j = assert(s.open(path))
            for _ = 1, 50 do s.events(j, { text }) end
            local segments = tonumber(s.stats(j).segments)
            assert.equal(5, segments)
            assert.equal(0, lib.evrt_journal_drop(j, 0, 2 ^ 52))
            assert.equal(0, lib.evrt_journal_drop(j, 2 ^ 52, 0))
            assert.equal(2, lib.evrt_journal_drop(j, 26, 2 ^ 52))
            local stats = s.stats(j)
            assert.same({ 3, 25, 23 }, { tonumber(stats.segments), tonumber(stats.first_group),
                tonumber(stats.first_seq) })
            s.await(function() return #s.segments(path) == 3 end, "files to go")
            assert.equal(2, lib.evrt_journal_drop(j, 2 ^ 52, 2 ^ 52))
            assert.equal(1, tonumber(s.stats(j).segments))
            s.close(j)
            assert.equal(1, #s.segments(path))
            local _, report = assert(s.open(path))
            assert.equal(51, tonumber(report.next_seq))
        end)

        it("refuses events beyond max_size, says why, and goes on when segments went", function()
            local j = assert(s.open(s.folder(), { max_size = 3 * 16384 }))
            local n = 0
            while s.event(j, text) do
                s.commit(j, 1)
                n = n + 1
                assert.is_true(n < 40)
            end
            assert.is_true(n > 26 and n <= 33, n)
            assert.equal(errno.ENOSPC, select(2, s.event(j, text)))
            local stats = s.stats(j)
            assert.equal(-errno.ENOSPC, stats.space)
            assert.equal("the journal holds 48KiB of store.max_size 48KiB and no segment can go yet",
                ffi.string(stats.space_reason))
            assert(s.append(j, kind.settle, "settled"))
            s.commit(j, 1)
            assert.equal(1, lib.evrt_journal_drop(j, 2 ^ 52, 0))
            assert.equal(0, s.stats(j).space)
            assert(s.event(j, text))
            s.commit(j, 1)
        end)
    end)
end)
