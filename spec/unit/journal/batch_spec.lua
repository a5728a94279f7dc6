-- Batches: records in shared chunks, stamped, joined, and given back in any order.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local lib, kind = s.lib, s.kind

describe("journal/batch", function()
    local pool
    before_each(function()
        pool = ffi.new "struct evrt_batch_pool"
        lib.evrt_batch_pool_init(pool)
    end)
    after_each(function() lib.evrt_batch_pool_finish(pool) end)

    local function add(b, kind_number, text)
        local payload = kind_number == kind.event and ("\0"):rep(40) .. text or text
        ffi.copy(lib.evrt_batch_add(b, kind_number, #payload), payload, #payload)
    end

    local function records(b)
        local at, record, all = ffi.new "size_t[1]", ffi.new "struct evrt_batch_record", {}
        while lib.evrt_batch_next(b, at, record) do
            all[#all + 1] = s.record(record.kind, ffi.string(record.payload, record.n))
        end
        return all
    end

    it("numbers and dates the events among other records", function()
        local b = lib.evrt_batch_create(pool, 100)
        for i = 1, 3000 do
            add(b, i % 3 == 0 and kind.settle or kind.event, ("r"):rep(i % 50) .. i)
        end
        lib.evrt_batch_stamp(b, 1700000000123)
        assert.is_true(b.span_count > 1)
        assert.same({ 2000, 3000, 100 }, { b.events, b.records, tonumber(b.first_seq) })
        local seq = 100
        for i, record in ipairs(records(b)) do
            assert.equal(("r"):rep(i % 50) .. i, record.text)
            if record.kind == kind.event then
                assert.same({ seq, 1700000000123 }, { record.seq, record.ms })
                seq = seq + 1
            end
        end
        lib.evrt_batch_unref(b)
    end)

    it("puts small batches side by side in one chunk, and joins them into one span", function()
        local a = lib.evrt_batch_create(pool, 1)
        add(a, kind.event, "a")
        local b = lib.evrt_batch_create(pool, 2)
        add(b, kind.event, "b")
        assert.is_true(a.spans[0].chunk == b.spans[0].chunk)
        lib.evrt_batch_join(a, b)
        assert.same({ 1, 2, 2 }, { a.span_count, a.events, a.records })
        local all = records(a)
        assert.same({ "a", "b" }, { all[1].text, all[2].text })
        lib.evrt_batch_unref(a)
    end)

    it("joins batches that stand apart", function()
        local a = lib.evrt_batch_create(pool, 1)
        add(a, kind.event, ("a"):rep(100000))
        add(a, kind.event, "small")
        local b = lib.evrt_batch_create(pool, 3)
        for i = 1, 5 do add(b, kind.event, tostring(i):rep(70000)) end
        lib.evrt_batch_join(a, b)
        local all = records(a)
        assert.equal(7, #all)
        assert.is_true(all[7].text == ("5"):rep(70000))
        lib.evrt_batch_unref(a)
    end)

    it("fills a chunk again from its start when nothing in it is held", function()
        local seen = {}
        for i = 1, 10000 do
            local b = lib.evrt_batch_create(pool, i)
            add(b, kind.event, ("x"):rep(100))
            seen[tostring(b.spans[0].chunk)] = true
            lib.evrt_batch_unref(b)
        end
        local count = 0
        for _ in pairs(seen) do count = count + 1 end
        assert.equal(1, count)
    end)

    it("keeps memory as long as any batch in it is held", function()
        local held = {}
        for i = 1, 3000 do
            local b = lib.evrt_batch_create(pool, i)
            add(b, kind.event, ("%06d"):format(i):rep(10))
            if i % 7 == 0 then held[i] = b else lib.evrt_batch_unref(b) end
        end
        for i, b in pairs(held) do
            assert.equal(("%06d"):format(i):rep(10), records(b)[1].text)
            lib.evrt_batch_unref(b)
        end
    end)
end)
