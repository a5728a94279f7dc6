local support = require "spec.unit.state.support"
local record = support.record

local function name(group)
    return ("%016x.db"):format(group)
end

describe("snapshots of state.db", function()
    after_each(support.clean)

    local path, folder, s
    before_each(function()
        path = support.folder()
        folder = path .. "/snapshots"
        s = assert(support.open(path))
    end)
    after_each(function() if s then s:close() end s = nil end)

    local function upto(group)
        for number = s:report().applied + 1, group do
            s:group(number, number == 1 and { record.subscribe { sub = 1 } }
                or { record.settle { sub = 1, cursor = number * 10, done = number } })
        end
    end

    it("are two, the newest, each with its sum", function()
        assert.is_true(s:snapshot())
        assert.are.same({}, support.names(folder))
        for group = 10, 40, 10 do
            upto(group)
            assert.is_true(s:snapshot())
            assert.are.equal(group > 10 and group - 10 or 0, s:snapshotted())
        end
        assert.are.same({ name(30), name(30) .. ".sum", name(40), name(40) .. ".sum" },
            support.names(folder))
    end)

    it("are not made again when nothing changed", function()
        upto(5)
        assert.is_true(s:snapshot())
        assert.is_true(s:snapshot())
        assert.are.same({ name(5), name(5) .. ".sum" }, support.names(folder))
        assert.are.equal(0, s:snapshotted())
    end)

    it("are known again after a start", function()
        upto(5)
        assert(s:snapshot())
        upto(9)
        assert(s:snapshot())
        s:close()
        s = assert(support.open(path))
        s:report()
        s:report() -- the second turn of the thread comes after it has read them
        assert.are.equal(5, s:snapshotted())
    end)

    it("take the place of a state.db that is lost: the newest good one, then the one before", function()
        upto(10)
        assert(s:snapshot())
        local ten = s:dump()
        upto(20)
        assert(s:snapshot())
        local twenty = s:dump()
        s:close()
        s = nil

        local newest = folder .. "/" .. name(20)
        local whole = support.read(newest)
        local sum = support.read(newest .. ".sum")
        local function restores(applied, dump)
            os.remove(path .. "/state.db")
            local again = assert(support.open(path))
            assert.are.equal(applied, again.applied_at_open)
            assert.are.equal(dump, again:dump())
            assert.are.equal("state.db is missing; starting from "
                .. (applied == 0 and "an empty one" or "snapshot " .. applied),
                again.restored ~= "" and again.restored or "state.db is missing; starting from an empty one")
            again:close()
        end
        restores(20, twenty)
        for _, damage in ipairs {
            function() support.write(newest, whole:sub(1, -2)) end,
            function() support.write(newest, whole:sub(1, 5000) .. "?" .. whole:sub(5002)) end,
            function() support.write(newest, "") end,
            function() os.remove(newest) end,
            function() os.remove(newest .. ".sum") end,
            function() support.write(newest .. ".sum", "evrt-snapshot 1 0123456789abcdef 5\n") end,
        } do
            support.write(newest, whole)
            support.write(newest .. ".sum", sum)
            damage()
            restores(10, ten)
        end
        os.remove(folder .. "/" .. name(10) .. ".sum")
        os.remove(path .. "/state.db")
        s = assert(support.open(path))
        assert.are.equal(0, s.applied_at_open)
    end)

    it("that are bad do not count, and go when two good ones stand", function()
        upto(10)
        assert(s:snapshot())
        upto(20)
        assert(s:snapshot())
        s:close()
        support.write(folder .. "/" .. name(20), "bad")
        support.write(folder .. "/copy.tmp", "left by a crash")
        s = assert(support.open(path))
        upto(30)
        assert(s:snapshot())
        assert.are.equal(10, s:snapshotted())
        assert.are.same({ name(10), name(10) .. ".sum", name(30), name(30) .. ".sum" },
            support.names(folder))
    end)

    it("give, with the rest of the journal, the same content", function()
        for seed = 30, 36 do
            local journal = support.journal(seed, 90)
            local where = support.folder()
            local state = assert(support.open(where))
            state:feed(journal, 30)
            assert(state:snapshot())
            state:feed(journal, 60, 31)
            assert(state:snapshot())
            state:feed(journal, 90, 61)
            local expected = assert(state:dump())
            state:close()
            support.write(where .. "/state.db", "gone")
            state = assert(support.open(where, { next_group = 91 }))
            assert.are.equal(60, state.applied_at_open)
            state:feed(journal, nil, 61)
            assert.are.equal(expected, state:dump())
            state:close()
        end
    end)

    it("hold what is committed while they are made", function()
        -- Large enough for several steps; settlements go on between them.
        local dead = {}
        for seq = 1, 3000 do dead[seq] = { seq = seq, traceback = ("trace %d "):format(seq):rep(100) } end
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { record.settle { sub = 1, cursor = 3001, dead_total = 3000, dead_list = dead } })
        s:flush()
        support.lib.evrt_state_snapshot(s.s)
        for group = 3, 30 do
            s:group(group, { record.settle { sub = 1, cursor = 3001 + group, done = group } })
            s:flush()
        end
        assert.is_true(s:snapshot())
        local expected = s:dump()
        s:close()
        support.write(path .. "/state.db", "gone")
        s = assert(support.open(path))
        local at = s.applied_at_open
        assert.is_true(at >= 2)
        for group = at + 1, 30 do
            s:group(group, { record.settle { sub = 1, cursor = 3001 + group, done = group } })
        end
        assert.are.equal(expected, s:dump())
    end)

    it("that cannot be written are told, and state.db goes on", function()
        upto(5)
        support.write(folder, "a file in the way")
        local made, message, code = s:snapshot()
        assert.is_nil(made)
        assert.is_true(code < 0)
        assert.is_truthy(message:find("snapshots", 1, true))
        assert.are.equal(1, tonumber(s:stats().snapshot_failures))
        upto(6)
        s:flush()
        assert.are.equal(6, s:applied())
    end)
end)
