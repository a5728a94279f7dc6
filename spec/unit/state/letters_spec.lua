-- Dead letters in state.db: listed, found, with the history of their attempts and a copy of their event.
local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.state.support"
local lib, record = support.lib, support.record

describe("state/letters", function()
    local s

    before_each(function() s = assert(support.open(nil)) end)
    after_each(function()
        s:close()
        support.clean()
    end)

    local function text(options)
        local b = support.buf()
        local w = ffi.new "struct evrt_state_letters"
        w.reason, w.limit, w.budget_ms = -1, 100, 10000
        for k, v in pairs(options or {}) do
            w[k] = type(v) == "string" and c.slice(v) or v
        end
        assert(lib.evrt_state_letters_now(s.s, w, b) == 0)
        return c.string(b)
    end

    local function seqs(options)
        local list = {}
        for line in text(options):gmatch "[^\n]+" do
            list[#list + 1] = tonumber(line:match '"seq":(%d+)')
        end
        return list
    end

    it("are listed newest first, in pages, by handler, type, reason and time", function()
        s:group(1, { record.subscribe { sub = 1 }, record.subscribe { sub = 2 } })
        for i = 1, 9 do
            s:group(i + 1, { record.settle { sub = i % 2 + 1, cursor = i + 1, dead_total = i, dead_list = {
                { seq = i, at_ms = i * 10, type = i <= 3 and "x.y" or "a.b", reason = i % 3 + 1 } } } })
        end
        assert.same({ 9, 8, 7, 6, 5, 4, 3, 2, 1 }, seqs())
        assert.same({ 9, 8, 7 }, seqs { limit = 3 })
        local after
        for n in text({ limit = 3 }):gmatch '"after":"(%d+)"' do after = n end
        assert.same({ 6, 5, 4 }, seqs { limit = 3, after = ffi.cast("uint64_t", tonumber(after)) })
        assert.same({ 9, 7, 5, 3, 1 }, seqs { sub = 2 })
        assert.same({ 3, 2, 1 }, seqs { type = "x.*" })
        assert.same({ 8, 5, 2 }, seqs { reason = 3 })
        assert.same({ 6, 5, 4 }, seqs { from_ms = 40, to_ms = 70 })
        assert.same({ 1, 2, 3 }, seqs { ascending = true, ["until"] = 1e15, limit = 3 })
        assert.same({ 3, 1 }, seqs { type = "x.*", sub = 2 })
    end)

    it("have what every attempt failed with, also when they fail again", function()
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { record.settle { sub = 1, cursor = 6, retrying = 1,
            retries = { { seq = 5, attempt = 2, message = "one", last_failed_ms = 1 } } } })
        s:group(3, { record.settle { sub = 1, cursor = 6, retrying = 1,
            retries = { { seq = 5, attempt = 3, message = "two", last_failed_ms = 2 } } } })
        s:group(4, { record.settle { sub = 1, cursor = 6, dead_total = 1, retried = { 5 },
            dead_list = { { seq = 5, attempt = 3, message = "three", at_ms = 3 } } } })
        assert.truthy(text():find('"history":[["one",1],["two",2]],"message":"three"', 1, true))
        s:group(5, { record.settle { sub = 1, cursor = 6, dead_total = 1,
            dead_list = { { seq = 5, attempt = 4, message = "four", at_ms = 4 } } } })
        assert.truthy(text():find('"history":[["one",1],["two",2],["three",3]],"message":"four"', 1, true))
        assert.same({ 5 }, seqs())
        s:group(6, { record.settle { sub = 1, cursor = 6, done = 1, left = { 5 } } })
        assert.same({}, seqs())
    end)

    it("that were never tried again have what their retry knew", function()
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { record.settle { sub = 1, cursor = 6, retrying = 1,
            retries = { { seq = 5, attempt = 4, message = "one", last_failed_ms = 1 } } } })
        s:group(3, { record.settle { sub = 1, cursor = 6, dead_total = 1, retried = { 5 },
            dead_list = { { seq = 5, attempt = 0, message = "left", at_ms = 3 } } } })
        assert.truthy(text():find('"attempt":3', 1, true))
    end)

    it("keep a copy of their event for as long as they are there", function()
        s:group(1, { record.subscribe { sub = 1 } })
        s:group(2, { record.settle { sub = 1, cursor = 8, retrying = 1, dead_total = 1,
            dead_list = { { seq = 6 } }, retries = { { seq = 5, attempt = 2 } } } })
        s:group(3, { record.keep { sub = 1, seq = 5 }, record.keep { sub = 1, seq = 6 },
            record.keep { sub = 1, seq = 7 } })
        local function copies()
            local list = {}
            for seq in s:dump():gmatch "copy %[1,(%d+)" do list[#list + 1] = tonumber(seq) end
            return list
        end
        assert.same({ 5, 6 }, copies())
        s:group(4, { record.settle { sub = 1, cursor = 8, dead_total = 2, retried = { 5 },
            dead_list = { { seq = 5, attempt = 2 } } } })
        assert.same({ 5, 6 }, copies())
        s:group(5, { record.settle { sub = 1, cursor = 8, dead_total = 1, discarded = 1, left = { 5 } } })
        assert.same({ 6 }, copies())
    end)
end)
