-- What the specs of runtime/state share: records as bytes, a state that is easy to drive, folders that
-- go away, and a model of the projection in plain Lua to compare with.
local ffi = require "ffi"
local lfs = require "lfs"
local cjson = require "cjson"
local c = require "spec.support.c"
local files = require "spec.support.files"

local lib = c.load("state", { "state/state.h", "state/rangeset.h", "state/ended.h", "state/db.h", "core/buf.h",
    "core/record.h", "core/event.h" })

local support = { lib = lib, random = require "spec.support.random" }

-- ---- Folders and files ----

support.folder, support.clean = files.folder, files.clean
support.read, support.write = files.read, files.write

--- Names in a folder that match a pattern, sorted.
function support.names(path, pattern)
    local found = {}
    if lfs.attributes(path, "mode") ~= "directory" then return found end
    for name in lfs.dir(path) do
        if name ~= "." and name ~= ".." and name:find(pattern or "") then found[#found + 1] = name end
    end
    table.sort(found)
    return found
end

-- ---- Buffers and records ----

function support.buf()
    local b = ffi.gc(ffi.new "struct evrt_buf", lib.evrt_buf_finish)
    lib.evrt_buf_init(b)
    return b
end

--- Runs as evrt_ranges_put writes them: { { first, count }, ... }.
function support.ranges(list)
    local b, from = support.buf(), ffi.new "uint64_t[1]"
    for _, r in ipairs(list or {}) do
        lib.evrt_ranges_put(b, from, ffi.new("struct evrt_range", r[1], r[2]))
    end
    return c.string(b)
end

local function dead_list(list)
    local b = support.buf()
    for _, d in ipairs(list or {}) do
        local r = ffi.new "struct evrt_record_dead"
        r.seq, r.attempt, r.at_ms = d.seq, d.attempt or 1, d.at_ms or 0
        local type, message, traceback = d.error_type or "error", d.message or "", d.traceback or ""
        r.error_type, r.message, r.traceback = c.slice(type), c.slice(message), c.slice(traceback)
        local event_type, id = d.type or "a.b", d.id or tostring(d.seq)
        r.type, r.id = c.slice(event_type), c.slice(id)
        r.reason, r.generation, r.script = d.reason or 1, d.generation or 1, d.script or 7
        lib.evrt_dead_put(b, r)
    end
    return c.string(b)
end

local retry_fields = { "seq", "attempt", "crashes", "due_ms", "delay_ms", "first_failed_ms", "last_failed_ms", "key" }

local function retry_list(list)
    local b = support.buf()
    for _, d in ipairs(list or {}) do
        local r = ffi.new "struct evrt_record_retry"
        for _, name in ipairs(retry_fields) do r[name] = d[name] or 0 end
        local type, message = d.error_type or "error", d.message or ""
        r.error_type, r.message = c.slice(type), c.slice(message)
        lib.evrt_retry_put(b, r)
    end
    return c.string(b)
end

local record = {}
support.record = record

function record.subscribe(t)
    local b, r = support.buf(), ffi.new "struct evrt_record_subscribe"
    local name, patterns = t.name or ("handler" .. t.sub), t.patterns or "**"
    r.sub, r.from_seq, r.at_ms = t.sub, t.from_seq or 1, t.at_ms or 0
    r.name, r.patterns = c.slice(name), c.slice(patterns)
    lib.evrt_record_put_subscribe(b, r)
    return { kind = ffi.C.EVRT_RECORD_SUBSCRIBE, bytes = c.string(b), what = "subscribe", t = t }
end

local function with_sub(kind, what)
    return function(t)
        local b, r = support.buf(), ffi.new "struct evrt_record_sub"
        r.sub, r.at_ms = t.sub, t.at_ms or 0
        lib.evrt_record_put_sub(b, r)
        return { kind = kind, bytes = c.string(b), what = what, t = t }
    end
end
record.forget = with_sub(ffi.C.EVRT_RECORD_FORGET, "forget")
record.orphan = with_sub(ffi.C.EVRT_RECORD_ORPHAN, "orphan")
record.pause = with_sub(ffi.C.EVRT_RECORD_PAUSE, "pause")
record.resume = with_sub(ffi.C.EVRT_RECORD_RESUME, "resume")

function record.settle(t)
    local b, r = support.buf(), ffi.new "struct evrt_record_settle"
    local ranges, dead = support.ranges(t.ranges), dead_list(t.dead_list)
    r.sub, r.cursor, r.matched, r.done = t.sub, t.cursor, t.matched or 0, t.done or 0
    r.seen = t.seen or 0
    r.dead_total, r.discarded = t.dead_total or 0, t.discarded or 0
    r.ranges, r.dead = c.slice(ranges), c.slice(dead)
    local singles = {}
    for i, seq in ipairs(t.retried or {}) do singles[i] = { seq, 1 } end
    local retries, retried = retry_list(t.retries), support.ranges(singles)
    r.retrying, r.retries, r.retried = t.retrying or 0, c.slice(retries), c.slice(retried)
    local gone = {}
    for i, seq in ipairs(t.left or {}) do gone[i] = { seq, 1 } end
    local left = support.ranges(gone)
    r.left = c.slice(left)
    lib.evrt_record_put_settle(b, r)
    return { kind = ffi.C.EVRT_RECORD_SETTLE, bytes = c.string(b), what = "settle", t = t }
end

--- An event's encoding.
function support.event(seq, type)
    local e, id = ffi.new "struct evrt_event", "id" .. seq
    e.id, e.type, e.source, e.seq = c.slice(id), c.slice(type or "a.b"), c.slice "/t", seq
    local n = tonumber(lib.evrt_event_size(e))
    local bytes = ffi.new("char[?]", n)
    lib.evrt_event_encode(e, bytes)
    return ffi.string(bytes, n)
end

function record.keep(t)
    local b, r, event = support.buf(), ffi.new "struct evrt_record_keep", support.event(t.seq)
    r.sub, r.event = t.sub, c.slice(event)
    lib.evrt_record_put_keep(b, r)
    return { kind = ffi.C.EVRT_RECORD_KEEP, bytes = c.string(b), what = "keep", t = t }
end

-- ---- Driving a state ----

local State = {}
State.__index = State

--- Opens; options as struct evrt_state_options. nil, message, code on failure.
function support.open(path, options)
    local o = ffi.new "struct evrt_state_options"
    o.path = path
    -- Commits come when a spec asks for them, and not by the clock.
    o.flush_ms = 3600 * 1000
    for key, value in pairs(options or {}) do o[key] = value end
    local out, applied = ffi.new "struct evrt_state *[1]", ffi.new "uint64_t[1]"
    local restored, err = ffi.new "char[160]", ffi.new "struct evrt_error"
    local rc = lib.evrt_state_open(out, o, applied, restored, err)
    if rc < 0 then return nil, ffi.string(err.message), rc end
    return setmetatable({ s = out[0], path = path, applied_at_open = tonumber(applied[0]),
        restored = ffi.string(restored), keep = { path, o } }, State)
end

--- Gives the records of one group and says that it is whole.
function State:group(number, records)
    for _, r in ipairs(records) do
        lib.evrt_state_apply(self.s, number, r.kind, c.slice(r.bytes))
    end
    lib.evrt_state_advance(self.s, number)
    return self
end

--- Gives every group of a journal (a list of lists of records) after the applied one.
function State:feed(journal, to, from)
    for number = from or 1, to or #journal do self:group(number, journal[number]) end
    return self
end

function State:flush()
    lib.evrt_state_flush(self.s)
    return self
end

function State:applied()
    return tonumber(lib.evrt_state_applied(self.s))
end

function State:snapshotted()
    return tonumber(lib.evrt_state_snapshotted(self.s))
end

function State:snapshot()
    local err = ffi.new "struct evrt_error"
    local rc = lib.evrt_state_snapshot_now(self.s, err)
    if rc < 0 then return nil, ffi.string(err.message), rc end
    return true
end

function State:dump()
    local b = support.buf()
    local rc = lib.evrt_state_dump_now(self.s, b)
    if rc < 0 then return nil, "dump", rc end
    return c.string(b)
end

--- What a job sees, decoded; dead deliveries are those of event `seq`. nil, message, code on failure.
function State:report(seq)
    local b = support.buf()
    local rc = lib.evrt_state_report_now(self.s, seq or 0, b)
    if rc < 0 then return nil, "report", rc end
    return cjson.decode(c.string(b))
end

function State:stats()
    local out = ffi.new "struct evrt_state_stats"
    lib.evrt_state_stats(self.s, out)
    return out
end

function State:close()
    lib.evrt_state_close(self.s)
    self.s = nil
end

--- Makes a closed state.db say that it is of that format, as the version of that format would.
function support.set_format(file, format)
    local db, err = ffi.new "struct evrt_db *[1]", ffi.new "struct evrt_error"
    assert(lib.evrt_db_open(db, file, 0, err) == 0, ffi.string(err.message))
    local sqlite = ffi.load "sqlite3.so.0"
    ffi.cdef [[
        int sqlite3_exec(struct sqlite3 *db, const char *sql, void *cb, void *arg, char **message);
    ]]
    local sum = ffi.cast("int64_t", lib.evrt_db_meta_sum(format, 1, 0))
    local sql = ("UPDATE meta SET format = %d, applied = 1, digest = 0, sum = %s")
        :format(format, (tostring(sum):gsub("LL$", "")))
    assert(sqlite.sqlite3_exec(db[0].h, sql, nil, nil, nil) == 0)
    lib.evrt_db_close(db[0])
end

-- ---- The projection in plain Lua ----

local Model = {}
Model.__index = Model

function support.model()
    return setmetatable({ subs = {}, dead = {}, retries = {} }, Model)
end

function Model:apply(r)
    local t = r.t
    local sub = self.subs[t.sub]
    if r.what == "subscribe" then
        local patterns = t.patterns or "**"
        if not sub then
            sub = { name = t.name or ("handler" .. t.sub), from_seq = t.from_seq or 1,
                cursor = t.from_seq or 1, seen = t.from_seq or 1, matched = 0, done = 0, dead = 0, discarded = 0,
                retrying = 0, settled = {}, epochs = {}, paused_ms = 0 }
            self.subs[t.sub] = sub
        end
        sub.orphaned_ms = 0
        local last = sub.epochs[#sub.epochs]
        if not last or last.patterns ~= patterns then
            if last and last.from_seq == (t.from_seq or 1) then table.remove(sub.epochs) end
            sub.epochs[#sub.epochs + 1] = { from_seq = t.from_seq or 1, patterns = patterns }
        end
    elseif not sub then
        return
    elseif r.what == "forget" then
        self.subs[t.sub] = nil
        for key, d in pairs(self.dead) do
            if d.sub == t.sub then self.dead[key] = nil end
        end
        self.retries[t.sub] = nil
    elseif r.what == "orphan" then
        sub.orphaned_ms = t.at_ms
    elseif r.what == "pause" then
        sub.paused_ms = t.at_ms
    elseif r.what == "resume" then
        sub.paused_ms = 0
    elseif r.what == "settle" then
        sub.cursor = math.max(sub.cursor, t.cursor)
        sub.seen, sub.matched, sub.done = t.seen or 0, t.matched or 0, t.done or 0
        sub.dead, sub.discarded, sub.retrying = t.dead_total or 0, t.discarded or 0, t.retrying or 0
        local retries = self.retries[t.sub] or {}
        self.retries[t.sub] = retries
        for _, seq in ipairs(t.retried or {}) do retries[seq] = nil end
        for _, d in ipairs(t.retries or {}) do
            local kept = { sub = t.sub, error_type = d.error_type or "error", message = d.message or "" }
            for _, name in ipairs(retry_fields) do kept[name] = d[name] or 0 end
            retries[d.seq] = kept
        end
        for _, run in ipairs(t.ranges or {}) do
            for seq = run[1], run[1] + run[2] - 1 do sub.settled[seq] = true end
        end
        for _, seq in ipairs(t.left or {}) do self.dead[seq .. "/" .. t.sub] = nil end
        for _, d in ipairs(t.dead_list or {}) do
            self.dead[d.seq .. "/" .. t.sub] = { sub = t.sub, seq = d.seq, attempt = d.attempt or 1,
                at_ms = d.at_ms or 0, error_type = d.error_type or "error",
                message = d.message or "", traceback = d.traceback or "" }
        end
    end
end

local function runs_above(set, cursor)
    local seqs, runs = {}, {}
    for seq in pairs(set) do
        if seq >= cursor then seqs[#seqs + 1] = seq end
    end
    table.sort(seqs)
    for _, seq in ipairs(seqs) do
        local last = runs[#runs]
        if last and last[1] + last[2] == seq then last[2] = last[2] + 1
        else runs[#runs + 1] = { seq, 1 } end
    end
    return runs
end

--- The same shape as State:report().
function Model:report(applied, seq)
    local out = { applied = applied, subs = {}, epochs = {}, dead = {}, retries = {} }
    local numbers = {}
    for number in pairs(self.subs) do numbers[#numbers + 1] = number end
    table.sort(numbers)
    for _, number in ipairs(numbers) do
        local s = self.subs[number]
        out.subs[#out.subs + 1] = { sub = number, name = s.name, from_seq = s.from_seq,
            orphaned_ms = s.orphaned_ms, paused_ms = s.paused_ms, cursor = s.cursor, seen = s.seen,
            matched = s.matched, done = s.done, dead = s.dead, discarded = s.discarded, retrying = s.retrying,
            settled = runs_above(s.settled, s.cursor) }
        local first = 1
        for i, e in ipairs(s.epochs) do
            if e.from_seq <= s.cursor then first = i end
        end
        for i = math.max(1, first - c.define.EVRT_EPOCHS_KEPT), #s.epochs do
            out.epochs[#out.epochs + 1] = { sub = number, from_seq = s.epochs[i].from_seq,
                patterns = s.epochs[i].patterns }
        end
        local d = self.dead[seq .. "/" .. number]
        if d then out.dead[#out.dead + 1] = d end
        local seqs = {}
        for one in pairs(self.retries[number] or {}) do seqs[#seqs + 1] = one end
        table.sort(seqs)
        for _, one in ipairs(seqs) do out.retries[#out.retries + 1] = self.retries[number][one] end
    end
    return out
end

-- ---- A journal made up ----

--- A list of groups of records as a busy node would write them: handlers come, change, go and are
--- forgotten; their deliveries end out of order, some dead; some are tried again, and again.
function support.journal(seed, groups)
    local random = support.random(seed)
    local journal, subs, next_seq, group_ms = {}, {}, 1, 0
    local function settle(number, s)
        local ranges, dead, at = {}, {}, s.cursor + random(0, 4)
        local retries, retried, left = {}, {}, {}
        for seq in pairs(s.letters) do
            if random(1, 5) == 1 then left[#left + 1] = seq end
        end
        table.sort(left)
        for _, seq in ipairs(left) do s.letters[seq] = nil end
        for seq, attempt in pairs(s.retries) do
            local dice = random(1, 5)
            if dice == 5 then
                retried[#retried + 1], s.letters[seq] = seq, true
                dead[#dead + 1] = { seq = seq, attempt = attempt, at_ms = random(1, 30000), message = "gave up" }
            elseif dice == 1 then retried[#retried + 1] = seq
            elseif dice == 2 then retries[#retries + 1] = { seq = seq, attempt = attempt + 1, due_ms = seq * 7 } end
        end
        table.sort(retried)
        for _, seq in ipairs(retried) do s.retries[seq], s.retrying = nil, s.retrying - 1 end
        for _, r in ipairs(retries) do s.retries[r.seq] = r.attempt end
        for _ = 1, random(0, 4) do
            local count = random(1, 5)
            if at + count > next_seq then break end
            ranges[#ranges + 1] = { at, count }
            if random(1, 6) == 1 then
                dead[#dead + 1] = { seq = at, attempt = random(1, 3), at_ms = random(1, 30000),
                    error_type = "error", message = "boom " .. at, traceback = ("x"):rep(random(0, 300)) }
                s.letters[at] = true
            elseif random(1, 4) == 1 and not s.retries[at] then
                retries[#retries + 1] = { seq = at, attempt = 2, crashes = random(0, 2), due_ms = random(1, 30000),
                    delay_ms = 1000, first_failed_ms = group_ms, last_failed_ms = group_ms, key = random(0, 9),
                    message = "boom " .. at }
                s.retries[at], s.retrying = 2, s.retrying + 1
            end
            at = at + count + random(0, 3)
        end
        if random(1, 3) == 1 then s.cursor = math.min(next_seq, s.cursor + random(0, 12)) end
        s.done = s.done + #ranges
        s.dead = s.dead + #dead - #left
        return record.settle { sub = number, cursor = s.cursor, seen = s.cursor + 3, matched = s.done + s.dead,
            done = s.done, dead_total = s.dead, discarded = 0, ranges = ranges, dead_list = dead,
            retrying = s.retrying, retries = retries, retried = retried, left = left }
    end
    local function keep(number, s)
        local seqs = {}
        for seq in pairs(s.retries) do seqs[#seqs + 1] = seq end
        for seq in pairs(s.letters) do seqs[#seqs + 1] = seq end
        table.sort(seqs)
        return record.keep { sub = number, seq = seqs[random(1, math.max(1, #seqs))] or 1 }
    end
    for group = 1, groups do
        group_ms = group
        local records = {}
        for _ = 1, random(0, 5) do
            next_seq = next_seq + random(0, 8)
            local number, dice = random(1, 6), random(1, 40)
            local s = subs[number]
            if not s or dice <= 3 then
                subs[number] = s or { cursor = next_seq, done = 0, dead = 0, retries = {}, retrying = 0,
                    letters = {} }
                records[#records + 1] = record.subscribe { sub = number, from_seq = next_seq,
                    patterns = ("a.%d\nb.*"):format(random(1, 3)) }
            elseif dice == 4 then
                subs[number] = nil
                records[#records + 1] = record.forget { sub = number, at_ms = group }
            elseif dice == 5 then
                records[#records + 1] = record.orphan { sub = number, at_ms = group }
            elseif dice <= 7 then
                records[#records + 1] = (dice == 6 and record.pause or record.resume) { sub = number, at_ms = group }
            elseif dice <= 11 then
                records[#records + 1] = keep(number, s)
            else
                records[#records + 1] = settle(number, s)
            end
        end
        journal[group] = records
    end
    return journal, next_seq
end

return support
