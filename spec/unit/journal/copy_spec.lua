-- A copy of a journal that is being written: the same events up to one group, whatever comes later.
local ffi = require "ffi"
local lfs = require "lfs"
local c = require "spec.support.c"
local s = require "spec.unit.journal.support"
c.load("journal", { "journal/copy.h" })
local lib = s.lib

local O_DIRECTORY = 0x10000

local function begin(j)
    local copy = ffi.new "struct evrt_journal_copy"
    lib.evrt_journal_copy_begin(copy, j)
    return copy
end

-- Copies all segments into a store's folder, as an evrt store.
local function copy_to(copy, path, link)
    lfs.mkdir(path .. "/journal")
    local dir, err = ffi.C.open(path .. "/journal", O_DIRECTORY), ffi.new "struct evrt_error"
    assert.is_true(dir >= 0)
    for i = 0, tonumber(copy.n) - 1 do
        local rc = lib.evrt_journal_copy_segment(copy, i, dir, link or false, nil, nil, err)
        assert.equal(0, rc, ffi.string(err.message))
    end
    ffi.C.close(dir)
end

local function texts(j)
    local r, found = s.reader(j), {}
    while true do
        local record = s.read(r)
        if not record then break end
        found[#found + 1] = ("%d %s"):format(record.seq, record.text)
    end
    lib.evrt_journal_reader_close(r)
    return found
end

local function inode(path) return lfs.attributes(path, "ino") end

describe("journal/copy", function()
    after_each(s.clean)

    local function fill(j, from, to)
        for i = from, to do s.events(j, { i .. ("x"):rep(992) }) end
    end

    it("holds what was durable when it began, and opens without a torn tail", function()
        local path, to = s.folder(), s.folder()
        local j = assert(s.open(path))
        fill(j, 1, 40)
        local before, copy = texts(j), begin(j)
        assert.is_true(copy.n > 2)
        assert.equal(41, tonumber(copy.next_seq))
        assert.equal(1, tonumber(copy.first_seq))
        fill(j, 41, 70) -- the last segment then is sealed, and others follow
        copy_to(copy, to)
        lib.evrt_journal_copy_finish(copy)
        local other, report = assert(s.open(to))
        assert.is_false(report.torn)
        assert.equal(41, tonumber(report.next_seq))
        assert.same(before, texts(other))
        fill(other, 41, 60) -- it goes on by itself
        assert.equal(60, #texts(other))
        s.close(other)
        other = assert(s.open(to))
        assert.equal(60, #texts(other))
        assert.equal(70, #texts(j))
    end)

    it("passes verify", function()
        local path, to = s.folder(), s.folder()
        local j = assert(s.open(path))
        fill(j, 1, 30)
        local copy = begin(j)
        copy_to(copy, to)
        lib.evrt_journal_copy_finish(copy)
        s.close(assert(s.open(to))) -- makes lock and format
        local report, err = ffi.new "struct evrt_store_report", ffi.new "struct evrt_error"
        assert.equal(0, lib.evrt_store_verify(to, report, nil, nil, nil, err))
        assert.same({ 30, 0, 0 }, { tonumber(report.events), tonumber(report.damaged), tonumber(report.torn) })
    end)

    it("links what is closed, and only that", function()
        local path, to = s.folder(), s.folder()
        local j = assert(s.open(path))
        fill(j, 1, 40)
        local copy = begin(j)
        copy_to(copy, to, true)
        lib.evrt_journal_copy_finish(copy)
        local names = s.segments(to)
        for i, name in ipairs(names) do
            local same = inode(path .. "/journal/" .. name) == inode(to .. "/journal/" .. name)
            assert.equal(i < #names, same, name)
        end
        local other = assert(s.open(to))
        fill(other, 41, 60)
        assert.equal(40, #texts(j))
    end)

    it("copies a journal that is empty", function()
        local path, to = s.folder(), s.folder()
        local j = assert(s.open(path))
        local copy = begin(j)
        copy_to(copy, to)
        lib.evrt_journal_copy_finish(copy)
        local other, report = assert(s.open(to))
        assert.is_false(report.torn)
        fill(other, 1, 3)
        assert.equal(3, #texts(other))
    end)

    it("ends when it is told to, and names the segment that cannot be copied", function()
        local path, to = s.folder(), s.folder()
        local j = assert(s.open(path))
        fill(j, 1, 20)
        local copy, err = begin(j), ffi.new "struct evrt_error"
        lfs.mkdir(to .. "/journal")
        local dir = ffi.C.open(to .. "/journal", O_DIRECTORY)
        local stop = ffi.cast("int (*)(void *, uint64_t)", function() return -125 end)
        assert.equal(-125, lib.evrt_journal_copy_segment(copy, 0, dir, false, stop, nil, err))
        stop:free()
        os.remove(s.segment_path(path, 1))
        assert.equal(-s.errno.ENOENT, lib.evrt_journal_copy_segment(copy, 0, dir, false, nil, nil, err))
        assert.truthy(ffi.string(err.message):find(s.segment_name(1), 1, true))
        ffi.C.close(dir)
        lib.evrt_journal_copy_finish(copy)
    end)
end)
