local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("cli", { "cli/table.h" })

-- wcwidth() follows the locale, as in the program.
ffi.cdef "char *setlocale(int category, const char *locale);"
local LC_CTYPE = 0

local function show(text, lines)
    local out = ffi.new "struct evrt_buf"
    lib.evrt_show(out, c.slice(text), lines or false)
    local s = c.string(out)
    lib.evrt_buf_finish(out)
    return s
end

local function render(headers, cells, colour)
    local names = ffi.new("const char *[?]", #headers + 1, headers)
    names[#headers] = nil
    local t, out = ffi.new "struct evrt_table", ffi.new "struct evrt_buf"
    lib.evrt_table_init(t, names)
    for _, cell in ipairs(cells) do lib.evrt_table_cell(t, c.slice(cell)) end
    lib.evrt_table_print(t, out, colour or false)
    local s = c.string(out)
    lib.evrt_table_finish(t)
    lib.evrt_buf_finish(out)
    return s
end

describe("tables", function()
    local before
    setup(function()
        before = ffi.string(ffi.C.setlocale(LC_CTYPE, nil))
        ffi.C.setlocale(LC_CTYPE, "C.UTF-8")
    end)
    teardown(function() ffi.C.setlocale(LC_CTYPE, before) end)

    it("aligns columns, numbers to the right, without blanks at the end", function()
        assert.are.equal("NAME     N  X\na        1  x\nlonger  22  -\n",
            render({ "NAME", ">N", "X" }, { "a", "1", "x", "longer", "22", "" }))
    end)

    it("counts what a terminal shows, not bytes", function()
        assert.are.equal("A     B\nÄdä   1\n日本  2\n", render({ "A", "B" }, { "Ädä", "1", "日本", "2" }))
        assert.are.equal(3, tonumber(lib.evrt_show_width(c.slice "Ädä")))
        assert.are.equal(4, tonumber(lib.evrt_show_width(c.slice "日本")))
        assert.are.equal(1, tonumber(lib.evrt_show_width(c.slice "e\204\129"))) -- a combining accent
    end)

    it("makes the header bold when asked", function()
        assert.are.equal("\27[1mA\27[0m\nx\n", render({ "A" }, { "x" }, true))
    end)

    it("lets nothing through that a terminal would act on", function()
        assert.are.equal("a?[31mb?c?d", show "a\27[31mb\nc\0d")
        assert.are.equal("??x?", show "\255\254x\194\155")
        assert.are.equal("a?b", show "a\226\128\174b") -- right-to-left override
        assert.are.equal("a\nb\tc?", show("a\nb\tc\r", true))
        assert.are.equal("Ä日", show "Ä日")
    end)
end)
