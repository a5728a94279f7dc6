-- Writing on in the last segment's file after a restart, instead of writing it anew.
local lfs = require "lfs"
local s = require "spec.unit.journal.support"

local function inode(path)
    return lfs.attributes(s.segment_path(path, 1), "ino")
end

local function reopened(path, options)
    s.close(assert(s.open(path, options)))
    return inode(path)
end

-- Whether O_DIRECT works in the folder that specs use; without it a segment is always written anew.
local function direct_works()
    return os.execute(("dd if=/dev/zero of=%s/direct bs=4096 count=1 oflag=direct 2>/dev/null"):format(s.folder())) == 0
end

describe("journal/reuse", function()
    after_each(s.clean)

    it("goes on in the same file when the disk has what it shows", function()
        local path = s.folder()
        local j = assert(s.open(path))
        s.events(j, { "one", "two" })
        s.close(j)
        local before = inode(path)
        assert.equal(direct_works(), reopened(path) == before)
        local again = assert(s.open(path))
        s.events(again, { "three" })
        s.close(again)
        assert.equal("one two three", s.texts(assert(s.open(path))))
    end)

    it("clears what a torn write has left", function()
        local path = s.folder()
        local j = assert(s.open(path))
        s.events(j, { "one", "two" })
        s.close(j)
        local bytes = s.read_file(s.segment_path(path, 1))
        local used = #bytes:gsub("%z+$", "")
        local torn = bytes:sub(1, used - 8) .. "torn" .. bytes:sub(used - 3)
        s.write_file(s.segment_path(path, 1), torn)
        local again, report = assert(s.open(path))
        assert.is_true(report.torn)
        s.close(again)
        local after = s.read_file(s.segment_path(path, 1)):gsub("%z+$", "")
        assert.equal(bytes:sub(1, #after), after)
        local clean, second = assert(s.open(path))
        assert.is_false(second.torn)
        assert.equal("one", s.texts(clean))
    end)

    it("writes anew what was not synced group by group, or is cut short", function()
        local path = s.folder()
        local j = assert(s.open(path, { durability = "EVRT_DURABILITY_OS" }))
        s.events(j, { "one", "two" })
        s.close(j)
        local before = inode(path)
        assert.not_equal(before, reopened(path, { durability = "EVRT_DURABILITY_OS" }))
        local bytes = s.read_file(s.segment_path(path, 1))
        s.write_file(s.segment_path(path, 1), bytes:sub(1, -4097))
        before = inode(path)
        assert.not_equal(before, reopened(path))
        assert.equal("one two", s.texts(assert(s.open(path))))
    end)

    it("has the disk's space for all of a copy that has holes", function()
        local path = s.folder()
        local j = assert(s.open(path, { segment_size = 1048576 }))
        s.events(j, { "one" })
        s.close(j)
        local first = s.segment_path(path, 1)
        local copy = ("cp --sparse=always %s %s.copy && mv %s.copy %s"):format(first, first, first, first)
        assert.equal(0, os.execute(copy))
        assert.is_true(lfs.attributes(first, "blocks") * 512 < 1048576)
        s.close(assert(s.open(path, { segment_size = 1048576 })))
        assert.is_true(lfs.attributes(first, "blocks") * 512 >= 1048576)
    end)

    -- What ends the segment before is then the last that was written: a write of it may have failed.
    it("writes the end of the segment before again while nothing stands behind it", function()
        local path = s.folder()
        local first = s.segment_path(path, 1)
        local j = assert(s.open(path))
        for i = 1, 12 do s.events(j, { tostring(i) .. ("x"):rep(992) }) end
        s.close(j)
        local saved = s.save(path)
        local second = saved[s.segment_name(2)]
        local function written_again(bytes)
            saved[s.segment_name(2)] = bytes
            s.restore(path, saved)
            assert(lfs.touch(first, 1))
            s.close(assert(s.open(path)))
            assert.equal(saved[s.segment_name(1)], s.read_file(first))
            return lfs.attributes(first, "modification") ~= 1
        end
        assert.is_false(written_again(second))
        assert.is_true(written_again(second:sub(1, 4096) .. ("\0"):rep(#second - 4096)))
    end)
end)
