local c = require "spec.support.c"
local lib = c.load("core", { "core/distance.h" })

local function distance(a, b)
    return tonumber(lib.evrt_distance(c.slice(a), c.slice(b)))
end

describe("distance", function()
    it("counts edits", function()
        for _, case in ipairs {
            { "", "", 0 }, { "", "abc", 3 }, { "abc", "abc", 0 }, { "abc", "abd", 1 }, { "abc", "acb", 1 },
            { "abc", "bc", 1 }, { "kitten", "sitting", 3 }, { "listen", "lisen", 1 }, { "http", "htpt", 1 },
            { "ab", "ba", 1 }, { "abcdef", "badcfe", 3 }, { "a", "b", 1 },
        } do
            assert.are.equal(case[3], distance(case[1], case[2]))
            assert.are.equal(case[3], distance(case[2], case[1]))
        end
    end)

    it("looks at no more than its table holds", function()
        assert.are.equal(0, distance(("x"):rep(63) .. "a", ("x"):rep(63) .. "b"))
        assert.are.equal(63, distance(("x"):rep(10000), ""))
    end)
end)
