local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/wrap.h" })

local function wrap(prefix, width, text)
    local out = ffi.new "struct evrt_buf"
    lib.evrt_wrap(out, prefix, width, text)
    local s = c.string(out)
    lib.evrt_buf_finish(out)
    return s
end

describe("wrap", function()
    it("breaks between words, never beyond the width", function()
        assert.are.equal("# aa bb\n# cc\n", wrap("# ", 7, "aa bb cc"))
        assert.are.equal("# aa bb\n# cc\n", wrap("# ", 9, "aa bb cc"))
        assert.are.equal("# aa bb cc\n", wrap("# ", 10, "aa bb cc"))
    end)

    it("gives a word that is too long a line of its own", function()
        assert.are.equal("a\nbbbbbbbb\nc\n", wrap("", 4, "a bbbbbbbb c"))
    end)

    it("keeps line breaks and leaves no trailing blanks", function()
        assert.are.equal("# a\n#\n# b\n", wrap("# ", 80, "a\n\nb"))
        assert.are.equal("", wrap("  ", 80, ""))
    end)
end)
