local ffi = require "ffi"
local c = require "spec.support.c"
local limits = require "spec.support.limits"
local support = require "spec.unit.state.support"
local record, lib = support.record, support.lib

ffi.cdef [[
char *strcat(char *to, const char *from);
]]

local function settle(cursor, done)
    return record.settle { sub = 1, cursor = cursor, matched = done, done = done }
end

describe("state.db", function()
    after_each(support.clean)

    it("opens empty where nothing was, and keeps what was flushed", function()
        local path = support.folder()
        local s = assert(support.open(path))
        assert.are.equal(0, s.applied_at_open)
        assert.are.equal("", s.restored)
        s:group(1, { record.subscribe { sub = 1, from_seq = 1 } })
        s:group(2, { settle(5, 4) })
        assert.are.equal(0, s:applied())
        s:flush()
        assert.are.equal(2, s:applied())
        local dump = s:dump()
        s:close()

        s = assert(support.open(path))
        assert.are.equal(2, s.applied_at_open)
        assert.are.equal("", s.restored)
        assert.are.equal(dump, s:dump())
        s:close()
    end)

    it("writes complete groups when it is closed, and no others", function()
        local path = support.folder()
        local s = assert(support.open(path))
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { settle(7, 6) })
        local half = settle(9, 8)
        lib.evrt_state_apply(s.s, 3, half.kind, c.slice(half.bytes))
        s:close()
        s = assert(support.open(path))
        assert.are.equal(2, s.applied_at_open)
        assert.are.equal(7, s:report().subs[1].cursor)
        s:close()
    end)

    it("counts the newest group given as complete at a flush", function()
        local s = assert(support.open(nil))
        local r = record.subscribe { sub = 1 }
        lib.evrt_state_apply(s.s, 4, r.kind, c.slice(r.bytes))
        assert.are.equal(0, #s:report().subs)
        s:flush()
        assert.are.equal(4, s:applied())
        assert.are.equal(1, #s:report().subs)
        s:close()
    end)

    it("ignores records of groups that are applied", function()
        local path = support.folder()
        local s = assert(support.open(path))
        s:group(5, { record.subscribe { sub = 1 }, settle(9, 8) })
        s:flush()
        s:group(5, { record.forget { sub = 1 } })
        s:group(3, { record.forget { sub = 1 } })
        s:close()
        s = assert(support.open(path))
        s:group(5, { record.forget { sub = 1 } })
        s:group(6, { settle(10, 9) })
        s:flush()
        assert.are.equal(10, s:report().subs[1].cursor)
        assert.are.equal(6, s:applied())
        s:close()
    end)

    it("moves its position also when groups held nothing for it", function()
        local path = support.folder()
        local s = assert(support.open(path))
        lib.evrt_state_advance(s.s, 1000)
        s:close()
        s = assert(support.open(path))
        assert.are.equal(1000, s.applied_at_open)
        s:close()
    end)

    it("commits by itself after flush_records, and after flush_ms", function()
        for _, options in ipairs { { flush_records = 3 }, { flush_ms = 1 } } do
            local s = assert(support.open(nil, options))
            s:group(1, { record.subscribe { sub = 1 } })
            s:group(2, { settle(2, 1) })
            s:group(3, { settle(3, 2) })
            while s:applied() < 3 do s:report() end -- each report is a turn of the state thread
            s:close()
        end
    end)

    it("runs jobs after what came before them and before what comes later is asked for", function()
        local s = assert(support.open(nil))
        local dump = ffi.cast("evrt_state_job", lib.evrt_state_dump)
        local first, second, third = support.buf(), support.buf(), support.buf()
        s:group(1, { record.subscribe { sub = 1 } })
        lib.evrt_state_run(s.s, dump, first)
        lib.evrt_state_query(s.s, dump, second)
        s:group(2, { settle(77, 3) })
        lib.evrt_state_query(s.s, dump, third)
        assert.is_truthy(c.string(first):find("handler1", 1, true))
        assert.are.equal(c.string(first), c.string(second))
        assert.is_truthy(c.string(third):find("77", 1, true))
        s:close()
    end)

    it("runs jobs that are queued when it is closed", function()
        local s = assert(support.open(nil))
        local out = support.buf()
        lib.evrt_state_run(s.s, ffi.cast("evrt_state_job", lib.evrt_state_dump), out)
        s:close()
        assert.is_truthy(c.string(out):find("meta", 1, true))
    end)

    it("takes a feed larger than its queue", function()
        local s = assert(support.open(nil))
        s:group(1, { record.subscribe { sub = 1 } })
        local dead = {}
        for i = 1, 20 do dead[i] = { seq = i, message = ("m"):rep(100), traceback = ("t"):rep(50000) } end
        local big = record.settle { sub = 1, cursor = 21, dead_list = dead }
        for group = 2, 41 do s:group(group, { big }) end
        s:flush()
        assert.are.equal(41, s:applied())
        assert.is_false(lib.evrt_state_behind(s.s))
        assert.are.equal(1, #s:report(20).dead)
        s:close()
    end)

    it("needs no folder in memory, and covers what it applied", function()
        local s = assert(support.open(nil))
        s:group(1, { record.subscribe { sub = 1 } })
        s:flush()
        assert.are.equal(1, s:snapshotted())
        assert.is_true(s:snapshot())
        s:close()
    end)

    it("is the same whenever it was committed, closed and opened, and built again", function()
        for seed = 100, 112 do
            local random = support.random(seed)
            local journal = support.journal(seed, 80)
            local whole = assert(support.open(nil)):feed(journal)
            local expected = assert(whole:dump())
            whole:close()

            local path = support.folder()
            local s = assert(support.open(path))
            local at = 1
            while at <= #journal do
                local to = math.min(#journal, at + random(0, 9))
                s:feed(journal, to, at)
                at = to + 1
                local dice = random(1, 6)
                if dice <= 3 then s:flush() end
                if dice == 4 then assert(s:snapshot()) end
                if dice == 5 then
                    s:close()
                    s = assert(support.open(path))
                    -- The journal is fed from anywhere at or before the applied group.
                    at = math.max(1, s.applied_at_open - random(0, 3))
                end
            end
            assert.are.equal(expected, s:dump())
            s:close()

            os.remove(path .. "/state.db")
            s = assert(support.open(path))
            s:feed(journal, nil, s.applied_at_open + 1)
            assert.are.equal(expected, s:dump())
            s:close()

            s = assert(support.open(support.folder())):feed(journal)
            assert.are.equal(expected, s:dump())
            s:close()
        end
    end)

    it("keeps what it cannot write for lack of space, goes on answering, and writes it later", function()
        local path = support.folder()
        local s = assert(support.open(path))
        s:group(1, { record.subscribe { sub = 1 } })
        s:flush()
        local stuck, error, reason, report, dump
        limits.with_file_size(4096, function()
            s:group(2, { record.settle { sub = 1, cursor = 9, done = 8, dead_list = { { seq = 4, message = "m" } } } })
            s:flush()
            stuck, error, reason = s:applied(), s:stats().error, ffi.string(s:stats().reason)
            report, dump = s:report(4), { s:dump() }
        end)

        assert.are.equal(1, stuck)
        assert.are.equal(-28, error)
        assert.is_truthy(reason:find("state.db", 1, true))
        assert.are.equal(9, report.subs[1].cursor)
        assert.are.equal("m", report.dead[1].message)
        assert.are.equal(-28, dump[3])
        s:flush()
        assert.are.equal(2, s:applied())
        assert.are.equal(0, s:stats().error)
        assert.are.same(report, s:report(4))
        s:close()
    end)

    it("says once that it failed for good, and goes on running jobs", function()
        local told = ffi.new "char[64]"
        -- A C function, since it is called on the state thread: it appends the error's first field, the
        -- code, up to the zero that follows it.
        local s = assert(support.open(nil, { arg = told, on_fatal = ffi.cast(
            "void (*)(void *, const struct evrt_error *)", ffi.C.strcat) }))
        s:group(1, { record.subscribe { sub = 1 } })
        s:flush()
        for group = 2, 4 do s:group(group, { { kind = ffi.C.EVRT_RECORD_SETTLE, bytes = "\1" } }) end
        s:flush()
        local code = s:stats().error
        assert.are.equal(-71, code) -- EPROTO
        assert.is_truthy(ffi.string(s:stats().reason):find("group 2", 1, true))
        assert.are.equal(4, #ffi.string(told))
        assert.are.equal(code, ffi.cast("int32_t *", told)[0])
        assert.are.equal(1, s:applied())
        assert.are.same({ nil, "report", code }, { s:report() })
        assert.are.same({ nil, "dump", code }, { s:dump() })
        assert.is_nil((s:snapshot()))
        s:group(5, { record.subscribe { sub = 2 } })
        s:flush()
        s:close()
    end)
end)
