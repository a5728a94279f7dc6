-- The ring and its thread, through the log: nothing lost or mixed up when it goes round, lines dropped and
-- counted when it is full, no waiting for an output that takes nothing.
local ffi = require "ffi"
local cjson = require "cjson"
local c = require "spec.support.c"
ffi.cdef [[
typedef struct { uint64_t opaque[5]; } pthread_mutex_t;
typedef struct { uint64_t opaque[6]; } pthread_cond_t;
typedef unsigned long pthread_t;
int pthread_mutex_lock(pthread_mutex_t *lock);
int pipe2(int fds[2], int flags);
long read(int fd, void *p, size_t n);
int close(int fd);
]]
local O_NONBLOCK = 2048
local lib = c.load("telemetry", { "telemetry/log.h", "telemetry/log_writer.h" })
local field = require "spec.support.logfield"

describe("telemetry/log_writer", function()
    local log, path
    before_each(function() path = os.tmpname() end)
    after_each(function()
        if log then lib.evrt_log_destroy(log) end
        log = nil
        os.remove(path)
    end)

    local function create(paths, buffer)
        local out, err = ffi.new "struct evrt_log *[1]", ffi.new "struct evrt_error"
        if type(paths) == "string" then paths = { paths } end
        local outputs = ffi.new("const char *[?]", #paths + 1)
        for i, each in ipairs(paths) do outputs[i - 1] = each end
        assert.equal(0, lib.evrt_log_create(out, ffi.new("struct evrt_log_options",
            { level = 1, outputs = outputs, buffer = buffer }), err))
        log = out[0]
    end

    local function write(i, size)
        local fields = field.list { { "u64", "i", i }, { "str", "pad", ("x"):rep(size) } }
        lib.evrt_log_write(log, 1, nil, c.slice "line", fields, 2)
    end

    local function dropped()
        local n = ffi.new "uint64_t[2]"
        lib.evrt_log_counts(log, n, n + 1)
        return tonumber(n[0])
    end

    it("goes round with lines of every size", function()
        create(path, 16384)
        math.randomseed(3)
        local sizes = {}
        for i = 1, 3000 do
            sizes[i] = math.random(0, 1500)
            write(i, sizes[i])
            if i % 7 == 0 then lib.evrt_log_flush(log, 5000) end
        end
        lib.evrt_log_flush(log, 5000)
        local n = 0
        for line in io.lines(path) do
            n = n + 1
            local v = cjson.decode(line)
            assert.equal(n, v.i)
            assert.equal(sizes[n], #v.pad)
        end
        assert.equal(3000, n)
        assert.equal(0, dropped())
    end)

    it("drops and counts when nobody reads, does not wait, and says so afterwards", function()
        local fds, buffer = ffi.new "int[2]", ffi.new "char[65536]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        create("/dev/fd/" .. fds[1], 65536)
        local count = 20000 -- 4 MB into 128 KiB of ring and pipe
        for i = 1, count do write(i, 150) end
        local text = {}
        local function drain()
            while true do
                local n = tonumber(ffi.C.read(fds[0], buffer, 65536))
                if n <= 0 then return end
                text[#text + 1] = ffi.string(buffer, n)
            end
        end
        local lines, said = 0, 0
        local function parse()
            local all, last = table.concat(text), 0
            lines, said = 0, 0
            for line in all:gmatch "[^\n]+" do
                local v = cjson.decode(line)
                if v.msg == "Log lines dropped" then
                    said = said + v.count
                else
                    assert.is_true(v.i > last)
                    last, lines = v.i, lines + 1
                end
            end
        end
        -- Every line is either written or counted, and every one counted is told in a line.
        local deadline = os.time() + 10
        repeat
            drain()
            lib.evrt_log_flush(log, 20)
            parse()
        until lines + said == count or os.time() > deadline
        assert.equal(count, lines + said)
        assert.equal(dropped(), said)
        assert.is_true(said > 0)
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)

    -- Reads what nobody read until there is so much of a pattern.
    local function await(fd, pattern, count)
        local buffer, text, deadline = ffi.new "char[65536]", "", os.time() + 10
        repeat
            local n = tonumber(ffi.C.read(fd, buffer, 65536))
            text = text .. ffi.string(buffer, math.max(n, 0))
            lib.evrt_log_flush(log, 20)
        until select(2, text:gsub(pattern, "")) >= count or os.time() > deadline
        assert.equal(count, (select(2, text:gsub(pattern, ""))))
    end

    it("says what a stuck output lost once it takes lines again, without another line", function()
        local fds = ffi.new "int[2]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        create("/dev/fd/" .. fds[1], 65536)
        for i = 1, 5000 do write(i, 150) end
        lib.evrt_log_flush(log, 10000)
        await(fds[0], '"msg":"Log lines dropped"', 1)
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)

    it("says what one of two outputs lost, and not that it lost that, again and again", function()
        local fds = ffi.new "int[2]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        create({ path, "/dev/fd/" .. fds[1] }, 65536)
        for i = 1, 1000 do write(i, 150) end
        lib.evrt_log_flush(log, 10000)
        os.execute "sleep 2.3" -- it looks each second
        local said = 0
        for line in io.lines(path) do
            if cjson.decode(line).msg == "Log lines dropped" then said = said + 1 end
        end
        assert.is_true(said <= 1, said .. " times")
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)

    it("keeps an eighth of the ring for urgent lines", function()
        local ring, line = ffi.new "char[4096]", ("x"):rep(99) .. "\n"
        local w = ffi.new("struct evrt_log_writer", { ring = ring, size = 4096 })
        local function put(urgent)
            ffi.C.pthread_mutex_lock(w.lock)
            return lib.evrt_log_writer_put(w, line, #line, urgent)
        end
        local plain, urgent = 0, 0
        while put(false) do plain = plain + 1 end
        while put(true) do urgent = urgent + 1 end
        assert.same({ 35, 5, 2 }, { plain, urgent, tonumber(w.dropped) })
    end)

    it("drops a line that is longer than half the ring, and goes on", function()
        create(path, 4096)
        write(1, 3000)
        write(2, 10)
        lib.evrt_log_flush(log, 5000)
        assert.equal(1, dropped())
        local seen
        for line in io.lines(path) do
            local v = cjson.decode(line)
            if v.i == 2 then seen = true end
        end
        assert.is_true(seen)
    end)

    it("ends though an output takes nothing", function()
        local fds = ffi.new "int[2]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        create("/dev/fd/" .. fds[1], 65536)
        for i = 1, 1000 do write(i, 150) end
        lib.evrt_log_destroy(log)
        log = nil
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
    end)

    it("survives a reader that went away", function()
        local fds = ffi.new "int[2]"
        assert.equal(0, ffi.C.pipe2(fds, O_NONBLOCK))
        create("/dev/fd/" .. fds[1], 65536)
        ffi.C.close(fds[0])
        ffi.C.close(fds[1])
        write(1, 10)
        lib.evrt_log_flush(log, 5000)
        assert.equal(1, dropped())
    end)
end)
