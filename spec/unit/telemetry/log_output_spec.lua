-- Outputs: whole lines into files and pipes, honest counts of what was lost.
local ffi = require "ffi"
local lfs = require "lfs"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/log_output.h" })

ffi.cdef [[
int pipe2(int fds[2], int flags);
long read(int fd, void *p, size_t n);
int close(int fd);
int mkfifo(const char *path, unsigned mode);
]]
local O_NONBLOCK = 2048

local function slurp(path)
    local f = assert(io.open(path, "rb"))
    local text = f:read "*a"
    f:close()
    return text
end

describe("telemetry/log_output", function()
    local o, path, err
    before_each(function()
        o, path, err = ffi.new "struct evrt_log_output", os.tmpname(), ffi.new "struct evrt_error"
        os.remove(path)
    end)
    after_each(function()
        if o.path ~= nil then lib.evrt_log_output_close(o) end
        os.remove(path)
        os.remove(path .. ".1")
    end)

    local never = ffi.cast("bool (*)(void *)", function() return false end)
    local function write(text) return tonumber(lib.evrt_log_output_write(o, text, #text, never, nil)) end

    it("appends to a file that others may not read", function()
        assert.equal(0, lib.evrt_log_output_open(o, path, err))
        assert.equal(0, write "one\ntwo\n")
        assert.equal("one\ntwo\n", slurp(path))
        assert.equal("---", lfs.attributes(path, "permissions"):sub(-3))
        lib.evrt_log_output_close(o)
        assert.equal(0, lib.evrt_log_output_open(o, path, err))
        assert.equal(0, write "three\n")
        assert.equal("one\ntwo\nthree\n", slurp(path))
        assert.is_false(lib.evrt_log_output_is_terminal(o))
    end)

    it("opens a moved file anew, and keeps the one it has when it cannot", function()
        assert.equal(0, lib.evrt_log_output_open(o, path, err))
        assert.equal(0, write "old\n")
        assert.is_true(os.rename(path, path .. ".1"))
        assert.equal(0, write "still old\n")
        assert.equal(0, lib.evrt_log_output_reopen(o))
        assert.equal(0, write "new\n")
        assert.equal("old\nstill old\n", slurp(path .. ".1"))
        assert.equal("new\n", slurp(path))
        os.remove(path)
        assert(lfs.mkdir(path))
        assert.equal(-21, lib.evrt_log_output_reopen(o)) -- EISDIR
        assert.equal(0, write "gone but taken\n")
        lfs.rmdir(path)
    end)

    it("says which file cannot be opened and what would do", function()
        assert.equal(-2, lib.evrt_log_output_open(o, path .. ".no/where", err))
        local message = ffi.string(err.message)
        assert.truthy(message:find(path .. ".no/where", 1, true))
        assert.truthy(message:find("stdout, stderr or a file", 1, true))
        assert.equal(0, ffi.C.mkfifo(path, 384))
        assert.equal(-6, lib.evrt_log_output_open(o, path, err)) -- ENXIO: nobody reads it
    end)

    it("counts the lines that a full disk loses", function()
        assert.equal(0, lib.evrt_log_output_open(o, "/dev/full", err))
        assert.equal(3, write "a\nb\nc\n")
        assert.equal(-28, o.error)
        assert.is_false(o.torn)
    end)

    it("gives a pipe whole lines, and gives up only when told to", function()
        local fds, buffer = ffi.new "int[2]", ffi.new "char[65536]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        assert.equal(0, lib.evrt_log_output_open(o, "/dev/fd/" .. fds[1], err))
        local line = ("x"):rep(999) .. "\n"
        local lost = write(line:rep(100))
        assert.is_true(lost > 0 and lost < 100)
        assert.is_true(o.stalled)
        assert.equal(-11, o.error)
        local got = 0
        while true do
            local n = tonumber(ffi.C.read(fds[0], buffer, 65536))
            if n <= 0 then break end
            assert.equal("\n", ffi.string(buffer + n - 1, 1))
            got = got + n
        end
        assert.equal((100 - lost) * 1000, got)
        assert.equal(0, write(line))
        assert.is_false(o.stalled)
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)

    it("ends a line that a failure cut short before it writes the next", function()
        local fds, buffer = ffi.new "int[2]", ffi.new "char[65536]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        assert.equal(0, lib.evrt_log_output_open(o, "/dev/fd/" .. fds[1], err))
        assert.equal(1, write(("x"):rep(200000) .. "\n"))
        assert.is_true(o.torn)
        while ffi.C.read(fds[0], buffer, 65536) > 0 do end -- luacheck: ignore 542
        assert.equal(0, write "next\n")
        local n = tonumber(ffi.C.read(fds[0], buffer, 65536))
        assert.equal("\nnext\n", ffi.string(buffer, n))
        assert.is_false(o.torn)
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)
end)
