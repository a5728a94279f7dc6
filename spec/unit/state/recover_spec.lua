local support = require "spec.unit.state.support"

local record = support.record

describe("a state.db that cannot be used", function()
    after_each(support.clean)

    local journal = support.journal(7, 120)
    local expected

    -- A closed store of the whole journal, as bytes; with some weight, so that there are many pages.
    local bytes
    setup(function()
        local path = support.folder()
        local s = assert(support.open(path)):feed(journal)
        expected = assert(s:dump())
        s:close()
        bytes = assert(support.read(path .. "/state.db"))
        support.clean()
    end)

    -- Opens a store whose state.db is these bytes, feeds it and compares. Returns why it was replaced.
    local function heals(damaged, beside)
        local path = support.folder()
        if damaged then support.write(path .. "/state.db", damaged) end
        for suffix, text in pairs(beside or {}) do support.write(path .. "/state.db" .. suffix, text) end
        local s = assert(support.open(path, { next_group = #journal + 1 }))
        s:feed(journal, nil, s.applied_at_open + 1)
        local same = s:dump() == expected
        local restored = s.restored
        s:close()
        local aside = support.names(path, "damaged")
        local left = assert(support.open(path))
        assert.are.equal("", left.restored)
        same = same and left:dump() == expected
        left:close()
        support.clean()
        return same, restored, aside
    end

    it("is rebuilt when it is missing", function()
        local same, restored, aside = heals(nil)
        assert.is_true(same)
        assert.are.equal("state.db is missing; starting from an empty one", restored)
        assert.are.same({}, aside)
    end)

    it("is rebuilt when it is cut short, at any size", function()
        for _, size in ipairs { 0, 1, 15, 16, 99, 100, 101, 511, 512, 4095, 4096, 4097, 8192, 12288,
            #bytes - 4096, #bytes - 1 } do
            local same, restored, aside = heals(bytes:sub(1, size))
            assert.is_true(same, "cut to " .. size)
            assert.is_truthy(restored:find("; starting from an empty one", 1, true))
            assert.are.equal(1, #aside)
        end
    end)

    it("is rebuilt, or unharmed, when a byte is flipped", function()
        local function flip(at, bit)
            return bytes:sub(1, at) .. string.char(require "bit".bxor(bytes:byte(at + 1), bit))
                .. bytes:sub(at + 2)
        end
        local random = support.random(5)
        local tried = {}
        for at = 0, 99, 3 do tried[#tried + 1] = at end             -- the file's header
        for page = 0, #bytes / 4096 - 1 do
            for at = 0, 11, 4 do tried[#tried + 1] = page * 4096 + at end -- headers of pages
            for _ = 1, 8 do tried[#tried + 1] = page * 4096 + random(0, 4095) end
        end
        local replaced = 0
        for _, at in ipairs(tried) do
            local same, restored = heals(flip(at, 2 ^ random(0, 7)))
            assert.is_true(same, "byte " .. at)
            if restored ~= "" then replaced = replaced + 1 end
        end
        assert.is_true(replaced > #tried / 4) -- the others are in pages of empty tables
    end)

    it("is rebuilt when it is something else", function()
        for _, other in ipairs { "hello\n", ("text "):rep(5000), ("\0"):rep(8192), ("\255"):rep(8192),
            "SQLite format 3\0" .. ("\0"):rep(4080) } do
            local same, restored, aside = heals(other)
            assert.is_true(same)
            assert.are_not.equal("", restored)
            assert.are.equal(1, #aside)
        end
    end)

    it("is set aside with its log, and never meets another's", function()
        -- A log that belongs to another moment of the same database.
        local path = support.folder()
        local s = assert(support.open(path)):feed(journal, 60):flush()
        local stale = assert(support.read(path .. "/state.db-wal"))
        s:close()
        assert.is_true(#stale > 4096)
        assert.is_true((heals(nil, { ["-wal"] = stale })))
        assert.is_true((heals(bytes, { ["-wal"] = stale })))
        assert.is_true((heals(bytes, { ["-wal"] = "not a log", ["-shm"] = ("\1"):rep(32768) })))
        local same, _, aside = heals(bytes:sub(1, 5000), { ["-wal"] = "not a log" })
        assert.is_true(same)
        assert.is_true(#aside >= 1)
    end)

    it("loses only the tail of a log that is cut or flipped", function()
        local path = support.folder()
        local s = assert(support.open(path))
        for group = 1, #journal do s:feed(journal, group, group):flush() end
        local db = assert(support.read(path .. "/state.db"))
        local wal = assert(support.read(path .. "/state.db-wal"))
        s:close()
        local random = support.random(9)
        for _ = 1, 12 do
            local at = random(0, 32767) * 13 % #wal
            assert.is_true((heals(db, { ["-wal"] = wal:sub(1, at) })), "cut at " .. at)
            assert.is_true((heals(db, { ["-wal"] = wal:sub(1, at) .. "\170" .. wal:sub(at + 2) })),
                "flipped at " .. at)
        end
    end)

    it("is another journal's when it is ahead of this one", function()
        local path = support.folder()
        local s = assert(support.open(path)):feed(journal)
        assert(s:snapshot())
        s:close()
        s = assert(support.open(path, { next_group = 51 }))
        assert.are.equal(0, s.applied_at_open)
        assert.is_truthy(s.restored:find("group 120, the journal ends before 51", 1, true))
        assert.are.equal(1, #support.names(path, "^state%.db%.damaged%-%d+$"))
        assert.are.equal(0, #support.names(path .. "/snapshots", "%.db$"))
        s:close()
    end)

    it("is not used where the journal does not go on from it: a snapshot is, or the store is refused", function()
        local path = support.folder()
        local s = assert(support.open(path)):feed(journal, 60)
        s:close()
        local old = assert(support.read(path .. "/state.db"))
        s = assert(support.open(path)):feed(journal, 80, 61)
        assert(s:snapshot())
        s:feed(journal, 100, 81)
        assert(s:snapshot())
        s:close()
        -- Its newest commits were not on the disk yet; it is used where that is no harm.
        support.write(path .. "/state.db", old)
        s = assert(support.open(path, { first_group = 61, next_group = #journal + 1 }))
        assert.same({ 60, "" }, { s.applied_at_open, s.restored })
        s:close()
        s = assert(support.open(path, { first_group = 62, next_group = #journal + 1 }))
        assert.equal(100, s.applied_at_open)
        local moved = "of group 60, the journal begins with 62; starting from snapshot 100"
        assert.is_truthy(s.restored:find(moved, 1, true), s.restored)
        assert.equal(expected, s:feed(journal, nil, 101):dump())
        s:close()
        -- Behind the snapshots, too, or where there is none.
        support.write(path .. "/state.db", old)
        for _ = 1, 2 do
            local none, why, code = support.open(path, { first_group = 102, next_group = #journal + 1 })
            assert.same({ nil, -61 }, { none, code }) -- ENODATA
            assert.is_truthy(why:find("the journal begins with group 102", 1, true), why)
        end
        assert.equal(2, #support.names(path, "^state%.db%.damaged%-%d+$"))
        assert.equal(0, #support.names(path, "^state%.db$"))
        local none, why, code = support.open(support.folder(), { first_group = 2, next_group = 9 })
        assert.same({ nil, -61 }, { none, code })
        assert.is_truthy(why:find("state.db is missing", 1, true), why)
    end)

    it("is left alone when a newer version wrote it", function()
        local path = support.folder()
        local s = assert(support.open(path))
        s:group(1, { record.subscribe { sub = 1 } })
        s:close()
        -- As a newer version would: the format, and a sum that agrees.
        local file = path .. "/state.db"
        support.set_format(file, 99)
        local before = support.read(file)
        local opened, message, code = support.open(path)
        assert.is_nil(opened)
        assert.are.equal(-93, code) -- EPROTONOSUPPORT
        assert.is_truthy(message:find("format 99", 1, true))
        assert.are.equal(before, support.read(file))
        assert.are.same({}, support.names(path, "damaged"))
    end)

    it("is found damaged also when that shows only later, and is rebuilt at the next start", function()
        local path = support.folder()
        local s = assert(support.open(path))
        local long, dead = ("trace "):rep(100), {}
        s:group(1, { record.subscribe { sub = 1 } })
        for seq = 1, 4000 do dead[seq] = { seq = seq, message = "m" .. seq, traceback = long } end
        s:group(2, { record.settle { sub = 1, cursor = 4001, done = 0, dead_total = 4000, dead_list = dead } })
        local before = s:dump()
        s:close()
        s = assert(support.open(path))
        local file = assert(io.open(path .. "/state.db", "r+b"))
        local size = file:seek "end"
        file:seek("set", 4096)
        file:write(("\170"):rep(size - 4096))
        file:close()
        local bad
        for seq = 1, 4000, 50 do
            bad = bad or select(3, s:report(seq))
        end
        assert.are.equal(-74, bad) -- EBADMSG
        assert.are.equal(-74, select(3, s:report())) -- and so does everything after it
        assert.are.equal(-74, s:stats().error)
        assert.are.equal(1, #support.names(path, "^state%.db%.damaged%-%d+$"))
        s:close()
        s = assert(support.open(path, { next_group = 3 }))
        assert.are.equal(0, s.applied_at_open)
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { record.settle { sub = 1, cursor = 4001, done = 0, dead_total = 4000, dead_list = dead } })
        assert.are.equal(before, s:dump())
        s:close()
    end)

    it("names the place when that is at fault", function()
        local opened, message, code = support.open(support.folder() .. "/nowhere")
        assert.is_nil(opened)
        assert.is_true(code < 0)
        assert.is_truthy(message:find("nowhere/state.db", 1, true))
    end)
end)
