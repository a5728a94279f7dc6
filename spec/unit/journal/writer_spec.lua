-- What the writer does when the disk says no. The limit on file sizes stands in for a full or failing disk:
-- it needs no privilege and no mount.
local ffi = require "ffi"
local lfs = require "lfs"
local uv = require "luv"
local limits = require "spec.support.limits"
local s = require "spec.unit.journal.support"
local lib, kind, errno = s.lib, s.kind, s.errno

-- Four such records fill a segment of 64 KiB up to 56416: below 60 KiB, the limit of these specs.
local text, LIMIT = ("x"):rep(12952), 61440

describe("journal/writer", function()
    after_each(s.clean)

    local function exists(path) return lfs.attributes(path, "mode") ~= nil end

    local function ready(path)
        s.await(function()
            return exists(path .. "/journal/spare") and exists(path .. "/journal/reserve")
        end, "the spare files")
    end

    it("refuses events when there is no room for a next segment, and comes back by itself", function()
        local path, wake = s.folder(), s.semaphore()
        local j = assert(s.open(path, { segment_size = 65536, reserve = 32768, arg = wake.sem,
            on_commit = s.poster "void (*)(void *)" }))
        ready(path)
        for _ = 1, 4 do s.events(j, { text }) end
        limits.with_file_size(LIMIT, function()
            s.events(j, { text }) -- takes the spare; another cannot be made
            s.await(function() return s.stats(j).space == -errno.ENOSPC end, "the refusal")
            assert.equal("no 64KiB for the next segment in " .. path .. ": File too large",
                ffi.string(s.stats(j).space_reason))
            assert.equal(errno.ENOSPC, select(2, s.event(j, "refused")))
            -- Settlements: three more here, then two in the reserve.
            for _ = 1, 5 do
                assert(s.append(j, kind.settle, text))
                s.commit(j, 1)
            end
            assert.is_false(exists(path .. "/journal/reserve"))
            assert.equal(3, #s.segments(path))
            -- Now there is nowhere to write: what is submitted waits.
            assert(s.append(j, kind.settle, text))
            lib.evrt_journal_submit(j, false)
            wake:count()
        end)
        assert.equal(text, s.take(j)[1].text)
        s.await(function() return s.stats(j).space == 0 end, "space")
        assert.is_true(wake:count() > 0)
        s.events(j, { "goes on" })
        ready(path)
        s.close(j)
        j = assert(s.open(path))
        local r = s.reader(j)
        assert.equal(12, #s.read_all(r))
        lib.evrt_journal_reader_close(r)
    end)

    it("looks for space now and then while there is none", function()
        local path = s.folder()
        local j = assert(s.open(path, { segment_size = 65536, reserve = 16384 }))
        ready(path)
        for _ = 1, 4 do s.events(j, { text }) end
        local changes, watch, timer = 0, uv.new_fs_event(), uv.new_timer()
        limits.with_file_size(LIMIT, function()
            s.events(j, { text })
            s.await(function() return s.stats(j).space ~= 0 end, "the refusal")
            for _ = 1, 3 do
                assert(s.append(j, kind.settle, text))
                s.commit(j, 1)
            end
            assert(s.append(j, kind.settle, text)) -- the reserve is too small for it
            lib.evrt_journal_submit(j, false)
            watch:start(path .. "/journal", {}, function() changes = changes + 1 end)
            timer:start(300, 0, uv.stop)
            uv.run()
        end)
        watch:close()
        timer:close()
        uv.run()
        s.close(j)
        assert.is_true(changes < 50, "it made " .. changes .. " changes to the folder")
    end)

    it("does not wait for space when it is closed", function()
        local path = s.folder()
        local j = assert(s.open(path, { segment_size = 65536, reserve = 16384 }))
        ready(path)
        for _ = 1, 4 do s.events(j, { text }) end
        limits.with_file_size(LIMIT, function()
            s.events(j, { text })
            s.await(function() return s.stats(j).space ~= 0 end)
            for i = 1, 5 do -- three fit; the reserve is too small for one
                assert(s.append(j, kind.settle, text .. i))
                lib.evrt_journal_submit(j, false)
            end
            s.close(j)
        end)
        assert.equal(6, tonumber(select(2, assert(s.open(path))).next_seq))
    end)

    it("never commits again after a failed write", function()
        local path, fatal = s.folder(), s.semaphore()
        local j = assert(s.open(path, { segment_size = 65536, arg = fatal.sem,
            on_fatal = s.poster "void (*)(void *, const struct evrt_error *)" }))
        s.events(j, { "before" })
        ready(path)
        limits.with_file_size(4096 + 200, function()
            assert(s.event(j, "not written"))
            lib.evrt_journal_submit(j, false)
            s.await(function() return fatal:count() == 1 end, "the end")
        end)
        assert(s.event(j, "nor this"))
        lib.evrt_journal_submit(j, false)
        s.close(j)
        assert.equal(0, fatal:count())
        assert.equal("before", s.texts(assert(s.open(path))))
    end)
end)
