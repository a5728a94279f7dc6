-- Files: whole writes, zeros at any alignment, and what ends a fill early.
local ffi = require "ffi"
local limits = require "spec.support.limits"
local s = require "spec.unit.journal.support"
local lib, C = s.lib, ffi.C

local O_DIRECTORY = 65536

describe("journal/file", function()
    local path, dir
    before_each(function()
        path = s.folder()
        dir = C.open(path, O_DIRECTORY)
    end)
    after_each(function()
        C.close(dir)
        s.clean()
    end)

    local function create(name)
        local fd = lib.evrt_file_create(dir, name)
        assert.is_true(fd >= 0)
        return fd
    end

    it("fills with zeros from and to any place, and leaves what is before", function()
        for _, range in ipairs { { 0, 4096 }, { 0, 100 }, { 5000, 9000 }, { 4096, 8192 },
            { 12345, 3000001 } } do
            local fd = create "zeros"
            assert.equal(0, lib.evrt_file_write(fd, ("x"):rep(range[1]), range[1], 0))
            assert.equal(0, lib.evrt_file_fill(fd, range[1], range[2], true, nil, nil))
            C.close(fd)
            assert.is_true(s.read_file(path .. "/zeros") == ("x"):rep(range[1])
                .. ("\0"):rep(range[2] - range[1]))
        end
    end)

    it("ends a fill with what the pause says, the space being there", function()
        local fd, asked = create "zeros", {}
        local pause = ffi.cast("int (*)(void *, uint64_t)", function(_, done)
            asked[#asked + 1] = tonumber(done)
            return #asked == 2 and 7 or 0
        end)
        assert.equal(7, lib.evrt_file_fill(fd, 0, 4 * 1048576, true, pause, nil))
        pause:free()
        C.close(fd)
        assert.same({ 1048576, 2097152 }, asked)
        assert.equal(4 * 1048576, #s.read_file(path .. "/zeros"))
    end)

    it("says that there is no room before it writes any", function()
        local fd = create "zeros"
        limits.with_file_size(8192, function()
            assert.equal(-s.errno.EFBIG, lib.evrt_file_fill(fd, 0, 1048576, true, nil, nil))
        end)
        C.close(fd)
        assert.equal("", s.read_file(path .. "/zeros"))
    end)

    it("gives a new file to who creates a name again", function()
        local old = create "name"
        assert.equal(0, lib.evrt_file_write(old, "old", 3, 0))
        local new = create "name"
        local text = ffi.new "char[8]"
        assert.equal(0, lib.evrt_file_write(new, "new!", 4, 0))
        assert.equal(3, tonumber(lib.evrt_file_read(old, text, 8, 0)))
        assert.equal("old", ffi.string(text, 3))
        assert.equal(2, tonumber(lib.evrt_file_read(new, text, 8, 2)))
        C.close(old)
        C.close(new)
        assert.equal("rw-------", require "lfs".attributes(path .. "/name", "permissions"))
    end)

    it("makes a folder once", function()
        assert.equal(1, lib.evrt_folder_make(path .. "/folder"))
        assert.equal(0, lib.evrt_folder_make(path .. "/folder"))
        s.write_file(path .. "/file", "")
        assert.equal(-20, lib.evrt_folder_make(path .. "/file"))
        assert.equal(-2, lib.evrt_folder_make(path .. "/no/folder"))
    end)
end)
