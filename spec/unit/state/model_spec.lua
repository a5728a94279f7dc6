local support = require "spec.unit.state.support"
local record = support.record

-- What each record means, seen through a state in memory.
describe("the projection", function()
    local s
    before_each(function() s = assert(support.open(nil)) end)
    after_each(function() s:close() end)

    local function sub(number)
        for _, row in ipairs(s:report().subs) do
            if row.sub == number then return row end
        end
    end

    it("starts a handler at its first sequence", function()
        s:group(1, { record.subscribe { sub = 3, name = "Mailer", from_seq = 17, patterns = "a.*\nb" } })
        assert.are.same({ sub = 3, name = "Mailer", from_seq = 17, orphaned_ms = 0, paused_ms = 0,
            cursor = 17, seen = 17, matched = 0, done = 0, dead = 0, discarded = 0, retrying = 0,
            settled = {} }, sub(3))
        assert.are.same({ { sub = 3, from_seq = 17, patterns = "a.*\nb" } }, s:report().epochs)
    end)

    it("takes cursor and counters from the last settlement, and the ranges above the cursor", function()
        s:group(1, { record.subscribe { sub = 1, from_seq = 1 } })
        s:group(2, { record.settle { sub = 1, cursor = 1, matched = 9, done = 4, ranges = { { 3, 2 }, { 8, 1 } } } })
        s:group(3, { record.settle { sub = 1, cursor = 4, matched = 20, done = 7, dead_total = 1, discarded = 2,
            ranges = { { 1, 2 }, { 6, 2 } } } })
        local row = sub(1)
        assert.are.same({ 4, 20, 7, 1, 2 }, { row.cursor, row.matched, row.done, row.dead, row.discarded })
        assert.are.same({ { 4, 1 }, { 6, 3 } }, row.settled)
    end)

    it("keeps the cursor where it was when a settlement tells of an earlier one", function()
        s:group(1, { record.subscribe { sub = 1, from_seq = 10 } })
        s:group(2, { record.settle { sub = 1, cursor = 5, ranges = { { 6, 2 }, { 12, 1 } } } })
        assert.are.equal(10, sub(1).cursor)
        assert.are.same({ { 12, 1 } }, sub(1).settled)
    end)

    it("adds an epoch when the patterns change, and drops those that are over", function()
        s:group(1, { record.subscribe { sub = 1, from_seq = 1, patterns = "a" } })
        s:group(2, { record.subscribe { sub = 1, from_seq = 50, patterns = "a" } })
        s:group(3, { record.subscribe { sub = 1, from_seq = 100, patterns = "b" } })
        s:group(4, { record.subscribe { sub = 1, from_seq = 200, patterns = "a" } })
        local function epochs()
            local out = {}
            for _, e in ipairs(s:report().epochs) do out[#out + 1] = e.from_seq .. e.patterns end
            return table.concat(out, " ")
        end
        assert.are.equal("1a 100b 200a", epochs())
        s:group(5, { record.settle { sub = 1, cursor = 99 } })
        assert.are.equal("1a 100b 200a", epochs())
        for i = 3, 18 do
            s:group(i + 3, { record.subscribe { sub = 1, from_seq = i * 100, patterns = i % 2 == 0 and "a" or "b" } })
        end
        s:group(22, { record.settle { sub = 1, cursor = 1600 } })
        assert.are.equal("1a 100b", epochs():sub(1, 7)) -- 16 that are over, the one in force, two to come
        s:group(23, { record.settle { sub = 1, cursor = 1700 } })
        assert.are.equal("100b 200a", epochs():sub(1, 9))
        assert.are.equal("1700b 1800a", epochs():sub(-11))
    end)

    it("lets the later of two subscriptions at one sequence stand", function()
        s:group(1, { record.subscribe { sub = 1, from_seq = 5, patterns = "a" },
            record.subscribe { sub = 1, from_seq = 5, patterns = "b" } })
        assert.are.same({ { sub = 1, from_seq = 5, patterns = "b" } }, s:report().epochs)
    end)

    it("knows a paused handler, whatever else becomes of it", function()
        s:group(1, { record.subscribe { sub = 1 }, record.pause { sub = 1, at_ms = 77 } })
        s:group(2, { record.orphan { sub = 1, at_ms = 1234 }, record.subscribe { sub = 1, from_seq = 1 } })
        assert.are.equal(77, sub(1).paused_ms)
        s:group(3, { record.resume { sub = 1, at_ms = 99 } })
        assert.are.equal(0, sub(1).paused_ms)
    end)

    it("marks a removed handler, and a returning one as present", function()
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { record.orphan { sub = 1, at_ms = 1234 } })
        assert.are.equal(1234, sub(1).orphaned_ms)
        s:group(3, { record.subscribe { sub = 1, from_seq = 1 } })
        assert.are.equal(0, sub(1).orphaned_ms)
        assert.are.equal(1, #s:report().epochs)
    end)

    it("forgets a handler with its epochs and dead deliveries, committed or not", function()
        local dead = { { seq = 7, message = "first" } }
        s:group(1, { record.subscribe { sub = 1 }, record.subscribe { sub = 2 },
            record.settle { sub = 1, cursor = 1, dead_list = dead },
            record.settle { sub = 2, cursor = 1, dead_list = dead } })
        s:flush()
        s:group(2, { record.settle { sub = 1, cursor = 1, dead_list = { { seq = 7, attempt = 2 }, { seq = 8 } } } })
        assert.are.equal(2, #s:report(7).dead)
        s:group(3, { record.forget { sub = 1 } })
        for _ = 1, 2 do
            local report = s:report(7)
            assert.are.equal(1, #report.subs)
            assert.are.equal(1, #report.epochs)
            assert.are.equal(1, #report.dead)
            assert.are.equal(2, report.dead[1].sub)
            assert.are.equal(0, #s:report(8).dead)
            s:flush()
        end
        assert.is_nil(s:dump():find "dead %[8,")
    end)

    it("starts a number that was forgotten anew", function()
        s:group(1, { record.subscribe { sub = 1, from_seq = 1, patterns = "a" },
            record.settle { sub = 1, cursor = 9, done = 5, dead_list = { { seq = 3 } } } })
        s:flush()
        s:group(2, { record.forget { sub = 1 }, record.subscribe { sub = 1, from_seq = 20, patterns = "b" },
            record.settle { sub = 1, cursor = 21, dead_list = { { seq = 20 } } } })
        s:flush()
        assert.are.equal(21, sub(1).cursor)
        assert.are.same({ { sub = 1, from_seq = 20, patterns = "b" } }, s:report().epochs)
        assert.are.equal(0, #s:report(3).dead)
        assert.are.equal(1, #s:report(20).dead)
    end)

    it("keeps every word of a dead delivery", function()
        local dead = { seq = 41, attempt = 3, at_ms = 1700000000123, error_type = "timeout",
            message = 'line "one"\nline two \1', traceback = ("frame\n"):rep(500) }
        s:group(1, { record.subscribe { sub = 6 }, record.settle { sub = 6, cursor = 42, dead_list = { dead } } })
        dead.sub = 6
        assert.are.same({ dead }, s:report(41).dead)
        s:flush()
        assert.are.same({ dead }, s:report(41).dead)
        assert.are.same({}, s:report(40).dead)
    end)

    it("shows the later of two deaths of one delivery", function()
        s:group(1, { record.subscribe { sub = 1 },
            record.settle { sub = 1, cursor = 1, dead_list = { { seq = 2, attempt = 1 } } } })
        s:flush()
        s:group(2, { record.settle { sub = 1, cursor = 1, dead_list = { { seq = 2, attempt = 2 },
            { seq = 2, attempt = 3 } } } })
        for _ = 1, 2 do
            local dead = s:report(2).dead
            assert.are.equal(1, #dead)
            assert.are.equal(3, dead[1].attempt)
            s:flush()
        end
    end)

    local function attempts()
        local seen = {}
        for _, r in ipairs(s:report().retries) do seen[#seen + 1] = { r.sub, r.seq, r.attempt, r.message } end
        return seen
    end

    it("knows what is to be tried again, until that ends or its handler is forgotten", function()
        s:group(1, { record.subscribe { sub = 1 }, record.subscribe { sub = 2 } })
        s:group(2, { record.settle { sub = 1, cursor = 9, retrying = 2, ranges = { { 1, 8 } },
            retries = { { seq = 4, attempt = 2, due_ms = 77, message = "a" },
                { seq = 7, attempt = 2, message = "b" } } },
            record.settle { sub = 2, cursor = 9, retrying = 1,
                retries = { { seq = 4, attempt = 3, message = "c" } } } })
        assert.are.same({ { 1, 4, 2, "a" }, { 1, 7, 2, "b" }, { 2, 4, 3, "c" } }, attempts())
        assert.are.equal(2, sub(1).retrying)
        s:group(3, { record.settle { sub = 1, cursor = 9, retrying = 1, retried = { 4 },
            retries = { { seq = 7, attempt = 3, message = "d" } } } })
        assert.are.same({ { 1, 7, 3, "d" }, { 2, 4, 3, "c" } }, attempts())
        s:group(4, { record.forget { sub = 2 }, record.settle { sub = 1, cursor = 9, retried = { 7 } } })
        assert.are.same({}, attempts())
    end)

    it("ignores settlements, orphans and deaths of a handler that it does not know", function()
        s:group(1, { record.settle { sub = 9, cursor = 4, dead_list = { { seq = 1 } } }, record.orphan { sub = 9 },
            record.forget { sub = 9 } })
        assert.are.same({ applied = 1, subs = {}, epochs = {}, dead = {}, retries = {} }, s:report(1))
    end)

    it("ignores other kinds, also ones that it does not know", function()
        for _, kind in ipairs { 1, 5, 6, 98, 99, 4000000000 } do
            s:group(s:report().applied + 1, { { kind = kind, bytes = "anything" } })
        end
        assert.are.equal(6, s:report().applied)
        assert.are.equal(0, s:stats().error)
    end)

    it("is what plain Lua makes of the same records", function()
        for seed = 1, 25 do
            local journal, next_seq = support.journal(seed, 60)
            local model = support.model()
            local state = assert(support.open(nil))
            for number, records in ipairs(journal) do
                state:group(number, records)
                for _, r in ipairs(records) do model:apply(r) end
                if number % 7 == seed % 7 then state:flush() end
            end
            for seq = 1, next_seq, 13 do
                assert.are.same(model:report(#journal, seq), state:report(seq))
            end
            state:close()
        end
    end)
end)
