local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/error.h" })

describe("core/error", function()
    local err = ffi.new "struct evrt_error"
    local function format(size)
        local buf = ffi.new("char[?]", size or 2048)
        return ffi.string(lib.evrt_error_format(err, buf, size or 2048))
    end

    it("holds a message and returns the code", function()
        assert.equal(-22, lib.evrt_error_set(err, -22, "port %d: %s", ffi.new("int", 80), "taken"))
        assert.equal(-22, err.code)
        assert.equal("port 80: taken", format())
    end)

    it("names the place where there is one", function()
        assert.equal(-2, lib.evrt_error_at(err, -2, "a.yaml", 7, "bad"))
        assert.equal("a.yaml:7: bad", format())
        lib.evrt_error_at(err, -2, "a.yaml", 0, "cannot be read")
        assert.equal("a.yaml: cannot be read", format())
        lib.evrt_error_set(err, -1, "plain")
        assert.equal("plain", format())
    end)

    it("may be made from itself", function()
        lib.evrt_error_at(err, -2, "a.lua", 3, "inner")
        local inner = ffi.cast("const char *", err.message)
        lib.evrt_error_at(err, -5, ffi.cast("const char *", err.file), err.line, "outer: %s", inner)
        assert.equal("a.lua:3: outer: inner", format())
    end)

    it("cuts what is too long and stays terminated", function()
        lib.evrt_error_set(err, -1, "%s", ("m"):rep(5000))
        assert.equal(ffi.sizeof(err.message) - 1, #ffi.string(err.message))
        assert.equal("mmmm", format(5))
    end)

    it("accepts that nobody wants the reason", function()
        assert.equal(-9, lib.evrt_error_set(nil, -9, "unused"))
        assert.equal(-9, lib.evrt_error_at(nil, -9, "f", 1, "unused"))
    end)
end)
