-- Snapshots of scripts: what goes in comes out in order, sealed, and spoilt bytes are refused.
local ffi = require "ffi"
local c = require "spec.support.c"

local frame = c.load("frame", { "frame/snapshot.h" })

ffi.cdef [[
long lseek(int fd, long offset, int whence);
long write(int fd, const void *p, size_t n);
long read(int fd, void *p, size_t n);
int close(int fd);
]]

local EBADMSG = -74

local files = {
    { role = "h", path = "handlers/a.lua", name = "", bytes = "return {}" },
    { role = "m", path = "handlers/lib/b.lua", name = "lib.b", bytes = "" },
    { role = "h", path = "handlers/c.lua", name = "", bytes = "-- \0 any bytes" },
}

local function build(list)
    local b = ffi.gc(ffi.new "struct evrt_buf", frame.evrt_buf_finish)
    frame.evrt_snapshot_start(b)
    for _, f in ipairs(list) do
        frame.evrt_snapshot_add(b, ffi.new("struct evrt_snapshot_file", string.byte(f.role),
            c.slice(f.path), c.slice(f.name), c.slice(f.bytes)))
    end
    return b
end

local function walk(bytes)
    local copy, at, out, list = c.exact(bytes), ffi.new "size_t[1]", ffi.new "struct evrt_snapshot_file", {}
    while true do
        local rc = frame.evrt_snapshot_next(ffi.new("struct evrt_slice", copy, #bytes), at, out)
        if rc ~= 1 then return rc, list end
        list[#list + 1] = {
            role = string.char(out.role), path = c.string(out.path), name = c.string(out.name),
            bytes = c.string(out.bytes),
        }
    end
end

describe("snapshot", function()
    it("gives back its files in order", function()
        local rc, list = walk(c.string(build(files)))
        assert.equal(0, rc)
        assert.same(files, list)
    end)

    it("may be empty", function()
        local rc, list = walk(c.string(build {}))
        assert.equal(0, rc)
        assert.same({}, list)
    end)

    it("is refused when cut at any byte", function()
        local whole = c.string(build(files))
        for n = 0, #whole - 1 do
            assert.equal(EBADMSG, (walk(whole:sub(1, n))), "at " .. n)
        end
    end)

    it("is refused when its count does not agree", function()
        local whole = c.string(build(files))
        assert.equal(EBADMSG, (walk(whole:sub(1, 8) .. "\2\0\0\0" .. whole:sub(13))))
        assert.equal(EBADMSG, (walk("EVRTSNP2" .. whole:sub(9))))
    end)

    it("is refused when a length is beyond its end", function()
        local whole = c.string(build(files))
        for at = 14, 22, 4 do -- the three lengths of the first file
            assert.equal(EBADMSG, (walk(whole:sub(1, at - 1) .. "\255\255\255\255" .. whole:sub(at + 4))))
        end
    end)

    it("is sealed against change", function()
        local b = build(files)
        local fd = frame.evrt_snapshot_seal(b)
        assert.is_true(fd >= 0)
        assert.equal(tonumber(b.n), tonumber(ffi.C.lseek(fd, 0, 2)))
        assert.equal(-1, tonumber(ffi.C.write(fd, "x", 1)))
        ffi.C.lseek(fd, 0, 0)
        local back = ffi.new("char[?]", b.n)
        assert.equal(tonumber(b.n), tonumber(ffi.C.read(fd, back, b.n)))
        assert.equal(c.string(b), ffi.string(back, b.n))
        ffi.C.close(fd)
    end)
end)
