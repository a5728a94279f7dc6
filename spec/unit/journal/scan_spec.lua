-- Walking a file: groups are found as far as they are whole, and what lies behind them is looked through at
-- every place, across the edges of the window.
local ffi = require "ffi"
local s = require "spec.unit.journal.support"
local c = require "spec.support.c"
local lib, C = s.lib, ffi.C

local SALT, WINDOW = 77, lib.EVRT_SCAN_WINDOW

-- One group of one settlement of n bytes.
local function group(number, n)
    local record = ffi.new("char[?]", 8 + n + 8)
    ffi.fill(lib.evrt_record_begin(record, s.kind.settle, n), n, 0x61)
    local body = c.exact(ffi.string(record, 8 + math.ceil(n / 8) * 8))
    local head, iov, g = ffi.new "char[56]", ffi.new "struct iovec[2]", ffi.new "struct evrt_group"
    g.number, g.first_seq, g.records, g.length = number, 1, 1, 8 + math.ceil(n / 8) * 8
    iov[1].iov_base, iov[1].iov_len = body, g.length
    lib.evrt_group_put(head, iov, 2, g, SALT)
    return ffi.string(head, 56) .. ffi.string(body, g.length)
end

describe("journal/scan", function()
    local scan, fd
    before_each(function() scan = ffi.new "struct evrt_scan" end)
    after_each(function()
        lib.evrt_scan_finish(scan)
        C.close(fd)
        s.clean()
    end)

    local function open(bytes, limit)
        local path = s.folder() .. "/file"
        s.write_file(path, bytes)
        fd = C.open(path, 0)
        lib.evrt_scan_init(scan, fd, SALT, limit or #bytes)
    end

    local function walk()
        local number, seq, at = ffi.new("uint64_t[1]", 1), ffi.new("uint64_t[1]", 1), ffi.new "uint64_t[1]"
        assert.equal(0, lib.evrt_scan_walk(scan, 0, number, seq, at, nil, nil))
        return tonumber(number[0]), tonumber(at[0])
    end

    local function tail(from, above)
        local t = ffi.new "struct evrt_tail"
        assert.equal(0, lib.evrt_scan_tail(scan, from, above, t))
        return t
    end

    it("walks groups smaller and larger than its window, and stops at the first that is not whole",
        function()
            local parts, size = {}, 0
            for i = 1, 200 do
                parts[i] = group(i, i % 50 == 0 and WINDOW * 2 + i or i * 37)
                size = size + #parts[i]
            end
            open(table.concat(parts) .. ("\0"):rep(5000))
            local number, at = walk()
            assert.same({ 201, size }, { number, at })
            assert.equal(size, tonumber(tail(size, 201).used_end))
        end)

    it("reads nothing behind its limit", function()
        local bytes = group(1, 100) .. group(2, 100)
        open(bytes, #bytes - 1)
        local number, at = walk()
        assert.same({ 2, #bytes / 2 }, { number, at })
    end)

    it("finds a later group at any place, also across the edge of the window", function()
        local good = group(1, 40)
        for _, gap in ipairs { 8, 64, 4096, WINDOW - #good - 8, WINDOW - #good - 56, WINDOW - #good,
            WINDOW * 2 + 24 } do
            open(good .. ("\0"):rep(gap - 8) .. "garbage!" .. group(7, 40) .. ("\0"):rep(64))
            local number, at = walk()
            assert.same({ 2, #good }, { number, at })
            local t = tail(at, number)
            assert.is_true(t.later)
            assert.same({ #good + gap, 8, #good * 2 + gap }, { tonumber(t.later_at),
                tonumber(t.last_group), tonumber(t.used_end) })
            assert.is_false(tail(at, 7).later)
            local offset, g = ffi.new "uint64_t[1]", ffi.new "struct evrt_group"
            assert.equal(1, lib.evrt_scan_resume(scan, at, number, offset, g))
            assert.same({ #good + gap, 7 }, { tonumber(offset[0]), tonumber(g.number) })
            assert.equal(0, lib.evrt_scan_resume(scan, at, 7, offset, g))
            lib.evrt_scan_finish(scan)
            C.close(fd)
        end
        open "x"
    end)

    it("takes a header as evidence, but resumes only at a whole group", function()
        local bytes = group(1, 40) .. s.flip(group(2, 40), 70 * 8) .. s.flip(group(3, 40), 70 * 8)
        open(bytes)
        local number, at = walk()
        assert.is_true(tail(at, number).later)
        local offset, g = ffi.new "uint64_t[1]", ffi.new "struct evrt_group"
        assert.equal(0, lib.evrt_scan_resume(scan, at, number, offset, g))
    end)

    it("gives a large window back", function()
        open(group(1, WINDOW * 8) .. group(2, 40):rep(3))
        walk()
        assert.is_true(tonumber(scan.cap) <= WINDOW * 8 + 4096)
        local g = ffi.new "struct evrt_group"
        assert.equal(0, lib.evrt_scan_group(scan, WINDOW * 8 + 64, g))
        assert.equal(WINDOW, tonumber(scan.cap))
    end)

    it("reports a read that fails", function()
        lib.evrt_scan_init(scan, -1, SALT, 4096)
        fd = -1
        assert.equal(-9, lib.evrt_scan_group(scan, 0, ffi.new "struct evrt_group"))
    end)
end)
