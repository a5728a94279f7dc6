local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/buf.h" })

describe("core/buf", function()
    local b
    before_each(function()
        b = ffi.new "struct evrt_buf"
        lib.evrt_buf_init(b)
    end)
    after_each(function() lib.evrt_buf_finish(b) end)

    it("holds what was put, whatever the bytes", function()
        lib.evrt_buf_put(b, "a\0b", 3)
        lib.evrt_buf_put(b, nil, 0)
        lib.evrt_buf_puts(b, "cd")
        lib.evrt_buf_putc(b, 0x0a)
        assert.equal("a\0bcd\n", c.string(b))
    end)

    it("grows past any capacity and keeps the content", function()
        local expected = {}
        for i = 1, 3000 do
            local piece = ("%d,"):format(i)
            lib.evrt_buf_puts(b, piece)
            expected[i] = piece
        end
        lib.evrt_buf_put(b, ("x"):rep(1000000), 1000000)
        assert.equal(table.concat(expected) .. ("x"):rep(1000000), c.string(b))
        assert.is_true(b.cap >= b.n)
    end)

    it("formats like printf, across a growth", function()
        lib.evrt_buf_put(b, ("p"):rep(250), 250)
        lib.evrt_buf_printf(b, "%s-%d", "tail", ffi.new("int", -5))
        assert.equal(("p"):rep(250) .. "tail--5", c.string(b))
    end)

    it("writes every integer that fits 64 bits", function()
        for _, v in ipairs { 0ULL, 1ULL, 9ULL, 10ULL, 18446744073709551615ULL } do
            lib.evrt_buf_put_u64(b, v)
            lib.evrt_buf_putc(b, 32)
        end
        for _, v in ipairs { 0LL, -1LL, 9223372036854775807LL, -9223372036854775807LL - 1 } do
            lib.evrt_buf_put_i64(b, v)
            lib.evrt_buf_putc(b, 32)
        end
        assert.equal("0 1 9 10 18446744073709551615 0 -1 9223372036854775807 -9223372036854775808 ",
            c.string(b))
    end)

    it("consumes from the front", function()
        lib.evrt_buf_consume(b, 0)
        lib.evrt_buf_puts(b, "abcdef")
        lib.evrt_buf_consume(b, 2)
        assert.equal("cdef", c.string(b))
        lib.evrt_buf_consume(b, 4)
        assert.equal(0, tonumber(b.n))
    end)

    it("ends with a NUL that does not count", function()
        lib.evrt_buf_puts(b, "abc")
        assert.equal("abc", ffi.string(lib.evrt_buf_cstr(b)))
        assert.equal(3, tonumber(b.n))
    end)

    it("gives up its memory and is empty then", function()
        lib.evrt_buf_puts(b, "mine")
        local p = lib.evrt_buf_release(b)
        assert.equal("mine", ffi.string(p, 4))
        assert.is_true(b.p == nil and b.n == 0 and b.cap == 0)
        ffi.C.free(p)
    end)

    it("duplicates strings by length, NUL-terminated", function()
        local p = lib.evrt_strndup("abcdef", 3)
        assert.equal("abc", ffi.string(p))
        ffi.C.free(p)
    end)
end)
