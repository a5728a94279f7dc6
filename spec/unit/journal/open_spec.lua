-- Recovery. The heart is the matrix: a small store of two segments, truncated at every byte and with every
-- bit turned (where bits are alike, not each of them unless EVRT_SOAK is set). What is provably a torn tail is
-- cut, all else is refused, or found when it is read, by name.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local errno = s.errno
local soak = os.getenv "EVRT_SOAK" ~= nil

local text = ("x"):rep(992) -- eleven groups fill a segment of 16 KiB

-- A store of two segments: eleven large groups, then three small ones.
local function two_segments(path)
    local j = assert(s.open(path))
    for i = 1, 11 do s.events(j, { ("%02d"):format(i) .. text:sub(3) }) end
    for i = 12, 14 do s.events(j, { ("small %d"):format(i) .. ("y"):rep(120) }) end
    s.close(j)
    assert.equal(2, #s.segments(path))
    return s.save(path)
end

local FIRST, SECOND = s.segment_name(1), s.segment_name(2)
-- Where the groups of the second segment stand: 56 and 8, then 40 and the text.
local GROUP = 56 + 8 + 40 + 128
local END = 4096 + 3 * GROUP

-- What became of a store: "refused", or how many events can be read and what recovery and reading said.
local function outcome(path, options)
    local j, report, message = s.open(path, options)
    if not j then
        return { refused = report, message = message }
    end
    local _, code, why = s.texts(j)
    s.close(j)
    return { torn = report.torn, offset = tonumber(report.torn_offset),
        bytes = tonumber(report.torn_bytes), segment = ffi.string(report.torn_segment),
        read_error = code, message = why, next_seq = tonumber(report.next_seq) }
end

describe("journal/open", function()
    local path, saved
    setup(function()
        local made = s.folder()
        saved = two_segments(made)
        s.clean()
    end)
    before_each(function()
        path = s.folder()
        s.close(assert(s.open(path)))
        s.restore(path, saved)
    end)
    after_each(s.clean)

    local function damage(name, bytes)
        s.restore(path, saved)
        s.write_file(path .. "/journal/" .. name, bytes)
    end

    it("opens the store as it was", function()
        local got = outcome(path)
        assert.same({ 15, false }, { got.next_seq, got.torn })
    end)

    it("says who holds a store that is open", function()
        local j = assert(s.open(path))
        local again, code, message = s.open(path)
        assert.same({ nil, errno.EBUSY }, { again, code })
        assert.matches("store " .. path .. " is in use by process %d+, started %d+%-%d+%-%d+T", message)
        s.close(j)
        assert(s.open(path))
    end)

    it("refuses a newer format by name", function()
        s.write_file(path .. "/format", "evrt store 2\n")
        local _, code, message = s.open(path)
        assert.equal(errno.EPROTONOSUPPORT, code)
        assert.matches("has format 2, written by a newer evrt", message, 1, true)
        assert.matches("formats up to 1", message, 1, true)
        s.write_file(path .. "/format", "something else")
        _, code, message = s.open(path)
        assert.equal(errno.EBADMSG, code)
        assert.matches("format: not an evrt store", message, 1, true)
    end)

    it("refuses a newer segment by name", function()
        local bytes = saved[SECOND]
        local function newer(at) return bytes:sub(at + 1, at + 8) .. "\3" .. bytes:sub(at + 10, at + 2048) end
        damage(SECOND, newer(0) .. newer(2048) .. bytes:sub(4097))
        local _, code, message = s.open(path)
        assert.equal(errno.EPROTONOSUPPORT, code)
        assert.matches("segment " .. SECOND .. " has format 3", message, 1, true)
    end)

    it("refuses a path that is no folder", function()
        local name = path .. "/file"
        s.write_file(name, "")
        local _, code, message = s.open(name)
        assert.equal(20, code)
        assert.matches(name, message, 1, true)
    end)

    it("leaves no descriptor open when it refuses", function()
        local leak = require "spec.support.leak"
        damage(SECOND, s.flip(saved[SECOND], 0))
        local before = leak.descriptors()
        assert.is_nil((s.open(path)))
        assert.same(before, leak.descriptors())
    end)

    -- The second segment is the one being written. Cut anywhere behind its header it is a torn tail.
    it("cuts the last segment wherever it was truncated", function()
        for size = 0, END + 40 do
            damage(SECOND, saved[SECOND]:sub(1, size))
            local got = outcome(path)
            if size < 4096 then
                assert.equal(errno.EBADMSG, got.refused, size)
                assert.matches("segment " .. SECOND .. " is damaged at offset 0", got.message, 1, true)
            else
                local whole = math.min(3, math.floor((size - 4096) / GROUP))
                assert.equal(12 + whole, got.next_seq, size)
                assert.is_true(got.torn)
                assert.same({ SECOND, 4096 + whole * GROUP }, { got.segment, got.offset })
            end
        end
    end)

    it("refuses a closed segment wherever it was truncated", function()
        local seal_end = 4096 + 11 * 1096 + 64
        for size = 0, seal_end + 40 do
            damage(FIRST, saved[FIRST]:sub(1, size))
            local j, code, message = s.open(path)
            if size < seal_end then
                assert.equal(errno.EBADMSG, code, size)
                assert.matches("segment " .. FIRST .. " is damaged at offset", message, 1, true)
            else
                s.close(j)
            end
        end
    end)

    -- 1, 2 and 3 were built on; the fourth is the last: only its end may have been torn off.
    it("cuts the last group when one of its bits is turned, refuses the store for any other", function()
        for at = 4096 * 8, END * 8 - 1 do
            damage(SECOND, s.flip(saved[SECOND], at))
            local group = math.floor((at / 8 - 4096) / GROUP)
            local j, report, message = s.open(path)
            if group == 2 then
                assert.same({ 14, true, END - GROUP, GROUP }, { tonumber(report.next_seq), report.torn,
                    tonumber(report.torn_offset), tonumber(report.torn_bytes) }, at)
                s.close(j)
            else
                assert.same({ nil, errno.EBADMSG }, { j, report }, at)
                assert.matches(("segment %s is damaged at offset %d"):format(SECOND, 4096 + group * GROUP),
                    message, 1, true)
                assert.matches("`evrt store repair " .. path .. "`", message, 1, true)
            end
        end
    end)

    it("refuses a segment with any bit of its header page turned", function()
        for _, name in ipairs { FIRST, SECOND } do
            for at = 0, 4095 do
                -- Every bit of both copies; of each byte between one bit, or all.
                local all = soak or at % 2048 < 88
                for bit_of = 0, all and 7 or 0 do
                    damage(name, s.flip(saved[name], at * 8 + (all and bit_of or at % 8)))
                    local j, code, message = s.open(path)
                    assert.same({ nil, errno.EBADMSG }, { j, code }, at)
                    assert.matches("segment " .. name .. " is damaged at offset 0", message, 1, true)
                end
            end
        end
    end)

    it("changes nothing when it refuses", function()
        damage(SECOND, s.flip(saved[SECOND], 4100 * 8))
        local before = s.save(path)
        assert.is_nil((s.open(path)))
        assert.same(before, s.save(path))
    end)

    it("finds a turned bit in a closed segment at its end, or else when it is read", function()
        local seal = 4096 + 11 * 1096
        for at = 4096 * 8, (seal + 64) * 8 - 1 do
            local offset = math.floor(at / 8) - 4096
            local group = math.floor(offset / 1096)
            -- Every bit of the seal and of two groups' headers; of the rest every 101st, or all.
            if soak or (offset % 1096 < 56 and group % 10 == 0) or group == 11 or at % 101 == 0 then
                damage(FIRST, s.flip(saved[FIRST], at))
                local j, code, message = s.open(path)
                if j then
                    local texts
                    texts, code, message = s.texts(j)
                    assert.equal(group * 993, #texts == 0 and 0 or #texts + 1)
                    s.close(j)
                end
                assert.equal(errno.EBADMSG, code, at)
                assert.matches(("segment %s is damaged at offset %d"):format(FIRST,
                    4096 + group * 1096), message, 1, true)
            end
        end
    end)

    it("reports bytes behind the last group as torn, and cuts them", function()
        local bytes = saved[SECOND]
        damage(SECOND, bytes:sub(1, END) .. ("\1"):rep(99) .. bytes:sub(END + 100))
        local got = outcome(path)
        assert.same({ true, END, 104, 15 }, { got.torn, got.offset, got.bytes, got.next_seq })
        assert.is_false(outcome(path).torn)
    end)

    it("does not take bytes of an event for a group", function()
        local j = assert(s.open(path))
        -- The groups of this very store, as an event's text; then the tail is torn.
        s.events(j, { saved[SECOND]:sub(4097, END), "last" })
        s.close(j)
        local bytes = s.read_file(s.segment_path(path, 2))
        local last = END + 56 + 8 + 40 + 3 * GROUP
        s.write_file(s.segment_path(path, 2), s.flip(bytes, (last + 80) * 8))
        local got = outcome(path)
        assert.same({ true, last, 16 }, { got.torn, got.offset, got.next_seq })
    end)

    it("does not take what an earlier life of the file left for a group", function()
        -- Another store's groups, with the right numbers, behind the end: another salt.
        local other = s.folder()
        local foreign = two_segments(other)[SECOND]
        local bytes = saved[SECOND]
        damage(SECOND, bytes:sub(1, 4096 + GROUP) .. foreign:sub(4096 + GROUP + 1))
        local got = outcome(path)
        assert.same({ true, 4096 + GROUP, 13 }, { got.torn, got.offset, got.next_seq })
    end)

    it("names a missing segment", function()
        local j = assert(s.open(path))
        for _ = 1, 30 do s.events(j, { text }) end
        s.close(j)
        local all = s.save(path)
        for number = 2, #s.segments(path) do
            s.restore(path, all)
            os.remove(s.segment_path(path, number))
            local _, code, message = s.open(path)
            assert.equal(errno.EBADMSG, code)
            assert.matches("segment " .. s.segment_name(number) .. " is damaged", message, 1, true)
            assert.matches("missing", message, 1, true)
        end
    end)

    -- The successor is named before the seal is written.
    it("recovers from every point of a change of segment", function()
        local seal = 4096 + 11 * 1096
        local empty = saved[SECOND]:sub(1, 4096) .. ("\0"):rep(12288)
        for keep = 0, 64 do
            damage(SECOND, empty)
            s.write_file(s.segment_path(path, 1),
                saved[FIRST]:sub(1, seal + keep) .. ("\0"):rep(16384 - seal - keep))
            local j, report, message = s.open(path)
            assert(j, message)
            -- The seal's last three bytes are zeros, as what is behind it.
            local sealed = keep >= 61
            assert.same({ 12, sealed and 2 or 1 }, { tonumber(report.next_seq),
                tonumber(report.segments) })
            assert.equal(keep > 0 and not sealed, report.torn)
            s.events(j, { text, "on" })
            local texts = s.texts(j)
            assert.equal("on", texts:sub(-2))
            s.close(j)
            assert.equal(14, outcome(path).next_seq)
        end
    end)

    it("refuses when the segment before an empty last one lost groups", function()
        damage(SECOND, saved[SECOND]:sub(1, 4096) .. ("\0"):rep(12288))
        local cut = 4096 + 10 * 1096
        s.write_file(s.segment_path(path, 1), saved[FIRST]:sub(1, cut) .. ("\0"):rep(16384 - cut))
        local _, code, message = s.open(path)
        assert.equal(errno.EBADMSG, code)
        assert.matches("segment " .. FIRST .. " is damaged at offset " .. cut, message, 1, true)
    end)

    it("removes what an interrupted start left", function()
        for _, name in ipairs { "segment.new", "spare.new", "spare", "reserve" } do
            s.write_file(path .. "/journal/" .. name, "half")
        end
        local j = assert(s.open(path))
        for _ = 1, 30 do s.events(j, { text }) end
        s.close(j)
        assert.equal(45, outcome(path).next_seq)
    end)

    it("writes on in a store made with other sizes", function()
        for _, size in ipairs { 65536, 16384, 1048576 } do
            local j = assert(s.open(path, { segment_size = size }))
            for _ = 1, 30 do s.events(j, { text }) end
            s.close(j)
        end
        assert.equal(15 + 90, outcome(path).next_seq)
    end)
end)
