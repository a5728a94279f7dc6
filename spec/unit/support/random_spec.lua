-- What the generator of other specs is good for: nothing that it gives comes round, and all of a range comes.
local generator = require "spec.support.random"

describe("random numbers of specs", function()
    it("are the same for a seed, and others for another", function()
        local first = {}
        for seed = 0, 999 do
            local random, again = generator(seed), generator(seed)
            local x = random(0, 2 ^ 53 - 1)
            assert.equal(x, again(0, 2 ^ 53 - 1))
            assert.is_nil(first[x], seed)
            first[x] = seed
        end
    end)

    -- A generator of 31 bits that is calculated in doubles had cycles of some thousands.
    it("do not come round", function()
        for seed = 0, 20 do
            local random, seen = generator(seed), {}
            for i = 1, 20000 do
                local x = random(0, 2 ^ 53 - 1)
                assert.is_nil(seen[x], ("seed %d, number %d"):format(seed, i))
                seen[x] = true
            end
        end
    end)

    it("have all of a range, each about as often", function()
        for _, range in ipairs { { 0, 1 }, { 1, 6 }, { -50, 49 }, { 7, 7 } } do
            local low, high = range[1], range[2]
            local random, counts, n = generator(9), {}, 1000 * (high - low + 1)
            for _ = 1, n do
                local x = random(low, high)
                counts[x] = (counts[x] or 0) + 1
            end
            for x = low, high do
                assert.is_true(counts[x] > 850 and counts[x] < 1150, x)
                n = n - counts[x]
            end
            assert.equal(0, n) -- nothing else came
        end
    end)

    it("have every bit of a large range", function()
        local random = generator(1)
        for power = 0, 52 do
            local set = 0
            for _ = 1, 200 do set = set + math.floor(random(0, 2 ^ 53 - 1) / 2 ^ power) % 2 end
            assert.is_true(set > 60 and set < 140, power)
        end
    end)
end)
