-- Starting a worker's process. What is started here is a shell script that says what it was given.
local ffi = require "ffi"
local uv = require "luv"
local c = require "spec.support.c"
local evrt = require "spec.support.evrt"
local loop = require "spec.support.loop"
local lib = c.load("host", { "host/process.h" })

ffi.cdef "int pipe2(int fds[2], int flags); int close(int fd); long read(int fd, void *buf, size_t n);"

local function wait(pid)
    local status, signal = ffi.new "int[1]", ffi.new "int[1]"
    loop.await("the process to end", function() return lib.host_process_ended(pid, status, signal) end)
    return status[0], signal[0]
end

-- Runs the script with a pipe as its descriptor 3; returns what it wrote there, its exit code and its signal.
local function run(text, aside)
    local path = evrt.folder() .. "/program"
    evrt.write(path, "#!/bin/sh\n" .. text)
    assert(uv.fs_chmod(path, 493)) -- 0755
    local pipe, pid = ffi.new "int[2]", ffi.new "pid_t[1]"
    assert.equal(0, ffi.C.pipe2(pipe, 524288)) -- O_CLOEXEC
    local fds = ffi.new("int[3]", { pipe[1], -1, pipe[0] })
    local rc = lib.host_process_start(pid, path, fds, 3, aside or false)
    ffi.C.close(pipe[1])
    assert.equal(0, rc)
    local code, signal = wait(pid[0])
    local bytes = ffi.new "char[65536]"
    local n = ffi.C.read(pipe[0], bytes, 65536)
    ffi.C.close(pipe[0])
    return ffi.string(bytes, n), code, signal
end

describe("host/process", function()
    it("starts a program with the descriptors it is given, and no others", function()
        local said, code, signal = run 'echo "$0 $*" >&3; ls -l /proc/$$/fd >&3; exit 7'
        assert.same({ 7, 0 }, { code, signal })
        assert.is_truthy(said:find("program worker\n", 1, true))
        assert.is_truthy(said:find " 0 %-> /dev/null\n")
        assert.is_truthy(said:find " 3 %-> pipe:")
        assert.is_nil(said:find " 4 %-> ")
    end)

    it("gives it the default of every signal, and blocks none", function()
        local ignored = uv.new_signal()
        ignored:start "sigusr2"
        local said = run "exec cat /proc/self/status >&3"
        ignored:close()
        assert.equal("0000000000000000", said:match "SigBlk:%s*(%x+)")
        assert.equal("0000000000000000", said:match "SigIgn:%s*(%x+)")
    end)

    it("tells how it ended", function()
        local _, code, signal = run "kill -9 $$"
        assert.same({ 0, 9 }, { code, signal })
    end)

    it("makes it stand aside from its first moment when that is wanted", function()
        local policy = "exec 4<>/proc/$$/stat; read line <&4; set -- ${line##*) }; echo ${39} >&3"
        assert.equal("0\n", (run(policy)))
        assert.equal("5\n", (run(policy, true)))
    end)

    it("says why a program cannot be started, and leaves no process behind", function()
        local pid = ffi.new "pid_t[1]"
        local fds = ffi.new("int[1]", { -1 })
        local missing = evrt.folder() .. "/missing"
        assert.equal(-2, lib.host_process_start(pid, missing, fds, 1, false)) -- ENOENT
        assert.is_nil(uv.fs_stat(("/proc/%d"):format(pid[0])))
        evrt.write(missing, "not a program")
        assert.equal(-13, lib.host_process_start(pid, missing, fds, 1, false)) -- EACCES
    end)
end)
