local c = require "spec.support.c"
local lib = c.load("core", { "core/pattern.h" })

local function match(pattern, type)
    return lib.evrt_pattern_match(c.slice(pattern), c.slice(type))
end

describe("patterns of event types", function()
    local cases = {
        -- pattern, type, matches
        { "a", "a", true }, { "a", "b", false }, { "a", "a.b", false }, { "a.b", "a", false },
        { "like.added", "like.added", true }, { "like.added", "like.addedx", false },
        { "comment.*", "comment.created", true }, { "comment.*", "comment", false },
        { "comment.*", "comment.created.late", false }, { "*", "a", true }, { "*", "a.b", false },
        { "*.created", "comment.created", true }, { "*.created", "created", false },
        { "**", "a", true }, { "**", "a.b.c", true }, { "a.**", "a", true }, { "a.**", "a.b.c", true },
        { "a.**", "ab", false }, { "**.z", "z", true }, { "**.z", "a.b.z", true }, { "**.z", "a.zz", false },
        { "a.**.z", "a.z", true }, { "a.**.z", "a.b.c.z", true }, { "a.**.z", "a.b.c", false },
        { "**.b.**", "a.b.c", true }, { "**.b.**", "b", true }, { "**.b.**", "a.c", false },
        { "*.**", "a", true }, { "*.**", "a.b", true }, { "**.*", "a", true },
        { "a.*.*", "a.b.c", true }, { "a.*.*", "a.b", false },
        -- evrt's own events only by patterns that begin so
        { "**", "evrt.dead_letter", false }, { "*.dead_letter", "evrt.dead_letter", false },
        { "evrt.*", "evrt.dead_letter", true }, { "evrt.**", "evrt.dead_letter", true },
        { "**", "evrtx.y", true },
    }
    for _, case in ipairs(cases) do
        it(("%s %s %s"):format(case[1], case[3] and "matches" or "does not match", case[2]), function()
            assert.equal(case[3], match(case[1], case[2]))
        end)
    end

    it("are checked with the place of what is wrong", function()
        local function bad(pattern)
            return tonumber(lib.evrt_pattern_check(c.slice(pattern)))
        end
        for _, good in ipairs { "a", "a.b-c_D9", "*", "**", "a.*", "a.**.b" } do
            assert.equal(#good, bad(good), good)
        end
        assert.equal(0, bad "")
        assert.equal(0, bad ".a")
        assert.equal(1, bad "a.")
        assert.equal(2, bad "a..b")
        assert.equal(1, bad "a*")
        assert.equal(2, bad "a.***")
        assert.equal(1, bad "a b")
    end)

    it("make sets that match when one of them does", function()
        local set = lib.evrt_pattern_set_create(c.slice "like.added\ncomment.*")
        assert.is_true(lib.evrt_pattern_set_match(set, c.slice "like.added"))
        assert.is_true(lib.evrt_pattern_set_match(set, c.slice "comment.deleted"))
        assert.is_false(lib.evrt_pattern_set_match(set, c.slice "like.removed"))
        lib.evrt_pattern_set_unref(set)
        local none = lib.evrt_pattern_set_create(c.slice "")
        assert.is_false(lib.evrt_pattern_set_match(none, c.slice "a"))
        lib.evrt_pattern_set_unref(none)
        assert.is_true(lib.evrt_pattern_set_create(c.slice "a\n*x") == nil)
    end)
end)
