-- What the specs of runtime/journal share: opening stores in folders that go away, appending, waiting for
-- commits, reading back, and files as strings to damage.
local ffi = require "ffi"
local lfs = require "lfs"
local assert = require "luassert"
local c = require "spec.support.c"
local files = require "spec.support.files"

local lib = c.load("journal", { "journal/journal.h", "journal/store.h", "journal/format.h",
    "journal/batch.h", "journal/segments.h", "journal/scan.h", "journal/file.h", "journal/oldest.h",
    "core/buf.h" })

ffi.cdef [[
int sched_yield(void);
int sem_init(void *sem, int shared, unsigned value);
int sem_post(void *sem);
int sem_trywait(void *sem);
int mkstemp(char *template);
int open(const char *path, int flags, ...);
int close(int fd);
]]
local C = ffi.C

local support = { lib = lib, kind = { event = 1, subscribe = 2, settle = 4, gap = 5, seal = 6 } }

support.errno = { ENOENT = 2, EAGAIN = 11, EBUSY = 16, EFBIG = 27, ENOSPC = 28, EBADMSG = 74,
    EMSGSIZE = 90, EPROTONOSUPPORT = 93 }

-- ---- Folders and files ----

local open_journals = {}

support.folder, support.write_file = files.folder, files.write

function support.read_file(path) return assert(files.read(path)) end

function support.segment_name(number)
    return ("%016x.seg"):format(number)
end

function support.segment_path(path, number)
    return path .. "/journal/" .. support.segment_name(number)
end

--- Names of the segment files in a store, in order.
function support.segments(path)
    local names = {}
    for name in lfs.dir(path .. "/journal") do
        if name:find "%.seg$" then names[#names + 1] = name end
    end
    table.sort(names)
    return names
end

--- The segment files of a store: name to bytes.
function support.save(path)
    local saved = {}
    for _, name in ipairs(support.segments(path)) do
        saved[name] = support.read_file(path .. "/journal/" .. name)
    end
    return saved
end

--- Makes the segment files of a store be exactly these.
function support.restore(path, saved)
    for _, name in ipairs(support.segments(path)) do
        if not saved[name] then os.remove(path .. "/journal/" .. name) end
    end
    for name, bytes in pairs(saved) do
        support.write_file(path .. "/journal/" .. name, bytes)
    end
end

--- s with one bit (from 0) turned.
function support.flip(s, bit_index)
    local at = math.floor(bit_index / 8) + 1
    local byte = bit.bxor(s:byte(at), bit.lshift(1, bit_index % 8))
    return s:sub(1, at - 1) .. string.char(byte) .. s:sub(at + 1)
end

-- ---- A journal ----

--- Opens. The journal, and what recovery reports; or nil, the errno and the message.
function support.open(path, options)
    local o = ffi.new "struct evrt_journal_options"
    o.segment_size = 16384
    o.path = path
    for key, value in pairs(options or {}) do o[key] = value end
    local out, report = ffi.new "struct evrt_journal *[1]", ffi.new "struct evrt_journal_recovery"
    local err = ffi.new "struct evrt_error"
    local rc = lib.evrt_journal_open(out, o, report, err)
    if rc < 0 then
        assert.equal(rc, err.code)
        return nil, -rc, ffi.string(err.message)
    end
    local j = out[0]
    open_journals[tostring(j)] = j
    return j, report
end

function support.close(j)
    open_journals[tostring(j)] = nil
    lib.evrt_journal_close(j)
end

--- After each spec: ends what it left open and removes its folders.
function support.clean()
    for key, j in pairs(open_journals) do
        open_journals[key] = nil
        lib.evrt_journal_close(j)
    end
    files.clean()
end

-- The journal looks at nothing of an event but its first 16 bytes, which it writes.
local head = ("\0"):rep(40)

--- Appends one record; an event's text stands behind a header of 40 bytes. true, or nil and the errno.
function support.append(j, kind, text)
    local payload = kind == support.kind.event and head .. text or text
    local rc = ffi.new "int[1]"
    local at = lib.evrt_journal_append(j, kind, #payload, rc)
    if at == nil then return nil, -rc[0] end
    ffi.copy(at, payload, #payload)
    return true
end

function support.event(j, text)
    return support.append(j, support.kind.event, text)
end

--- Calls f until it returns something true, and returns that; fails after ten seconds.
function support.await(f, what)
    local deadline = os.time() + 10
    while true do
        local result = f()
        if result then return result end
        if os.time() > deadline then error("waited in vain for " .. (what or "it"), 2) end
        C.sched_yield()
    end
end

--- The next committed batch as a table, waited for.
function support.take(j)
    local b = support.await(function()
        local taken = lib.evrt_journal_take(j)
        return taken ~= nil and taken or nil
    end, "a commit")
    local batch = { group = tonumber(lib.evrt_batch_group(b)), events = lib.evrt_batch_events(b),
        first_seq = tonumber(lib.evrt_batch_first_seq(b)), bytes = tonumber(lib.evrt_batch_bytes(b)) }
    local at, record = ffi.new "size_t[1]", ffi.new "struct evrt_batch_record"
    while lib.evrt_batch_next(b, at, record) do
        batch[#batch + 1] = support.record(record.kind, ffi.string(record.payload, record.n))
    end
    lib.evrt_batch_unref(b)
    return batch
end

function support.record(kind, payload)
    if kind ~= support.kind.event then return { kind = kind, text = payload } end
    local seq = ffi.new "uint64_t[2]"
    ffi.copy(seq, payload, 16)
    return { kind = kind, seq = tonumber(seq[0]), ms = tonumber(seq[1]), text = payload:sub(41) }
end

--- Submits, and waits until every record appended so far (n of them) is committed.
function support.commit(j, n)
    lib.evrt_journal_submit(j, false)
    local batches, records = {}, 0
    while records < n do
        local batch = support.take(j)
        batches[#batches + 1] = batch
        records = records + #batch
    end
    return batches
end

--- One group per text.
function support.events(j, texts)
    for _, text in ipairs(texts) do
        assert(support.event(j, text))
        support.commit(j, 1)
    end
end

function support.stats(j)
    local stats = ffi.new "struct evrt_journal_stats"
    lib.evrt_journal_stats(j, stats)
    return stats
end

-- ---- Reading ----

function support.reader(j)
    local out = ffi.new "struct evrt_journal_reader *[1]"
    assert.equal(0, lib.evrt_journal_reader_open(out, j))
    return out[0]
end

--- The next record, nil when there is none now, or nil, errno, message.
function support.read(r)
    local record, err = ffi.new "struct evrt_journal_record", ffi.new "struct evrt_error"
    local rc = lib.evrt_journal_read(r, record, err)
    if rc < 0 then return nil, -rc, ffi.string(err.message) end
    if rc == 0 then return nil end
    local got = support.record(record.kind, c.string(record.payload))
    got.group, got.time = tonumber(record.group), tonumber(record.time_ms)
    return got
end

--- All records from the reader's place on; with the errno and message that ended it, if any.
function support.read_all(r)
    local all = {}
    while true do
        local record, errno, message = support.read(r)
        if not record then return all, errno, message end
        all[#all + 1] = record
    end
end

--- The texts of all events of a journal, joined by spaces.
function support.texts(j)
    local r = support.reader(j)
    local all, errno, message = support.read_all(r)
    lib.evrt_journal_reader_close(r)
    local texts = {}
    for _, record in ipairs(all) do
        if record.kind == support.kind.event then texts[#texts + 1] = record.text end
    end
    return table.concat(texts, " "), errno, message
end

--- seek_seq, seek_group or seek_time: 0 or the errno.
function support.seek(r, by, number)
    local err = ffi.new "struct evrt_error"
    return -lib["evrt_journal_seek_" .. by](r, number, err)
end

-- ---- The offline tools ----

local function tool(run)
    local report, err = ffi.new "struct evrt_store_report", ffi.new "struct evrt_error"
    local findings, progress = {}, { calls = 0 }
    local on_finding = ffi.cast("evrt_store_finding_cb", function(_, f)
        findings[#findings + 1] = { segment = ffi.string(f.segment), offset = tonumber(f.offset),
            length = tonumber(f.length), torn = f.torn, what = ffi.string(f.what) }
    end)
    local on_progress = ffi.cast("evrt_store_progress_cb", function(_, done, total)
        progress.calls, progress.done, progress.total = progress.calls + 1, done, total
    end)
    local rc = run(report, on_finding, on_progress, err)
    on_finding:free()
    on_progress:free()
    if rc < 0 then return nil, -rc, ffi.string(err.message) end
    return report, findings, progress
end

--- The report, the findings and the progress; or nil, errno, message.
function support.verify(path)
    return tool(function(report, finding, progress, err)
        return lib.evrt_store_verify(path, report, finding, progress, nil, err)
    end)
end

function support.repair(path, dry_run)
    return tool(function(report, finding, progress, err)
        return lib.evrt_store_repair(path, dry_run or false, report, finding, progress, nil, err)
    end)
end

-- ---- Callbacks ----

-- A callback into Lua from another thread would crash; sem_post(arg) is a callback that needs no Lua.
local semaphore = {}
semaphore.__index = semaphore

function support.semaphore()
    local s = setmetatable({ sem = ffi.new "uint64_t[8]" }, semaphore)
    assert(C.sem_init(s.sem, 0, 0) == 0)
    return s
end

--- How often it was posted since the last call.
function semaphore:count()
    local n = 0
    while C.sem_trywait(self.sem) == 0 do n = n + 1 end
    return n
end

function support.poster(type_name)
    return ffi.cast(type_name, C.sem_post)
end

return support
