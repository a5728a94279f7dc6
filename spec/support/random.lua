-- Random numbers that are the same on every run: xoshiro128++ (Blackman and Vigna), whose period is 2^128 - 1 whatever
-- the seed is; its four words come from the seed by a mix that is one to one, so they are never all zero.
local bit = require "bit"
local bxor, rol, lshift, rshift, tobit = bit.bxor, bit.rol, bit.lshift, bit.rshift, bit.tobit

-- Of a product the low 32 bits; nothing on the way is beyond 2^49, so a double has it exactly.
local function multiply(a, b)
    a = a % 2 ^ 32
    return tobit(a % 2 ^ 16 * b + math.floor(a / 2 ^ 16) * b % 2 ^ 16 * 2 ^ 16)
end

local function mix(x)
    x = multiply(bxor(x, rshift(x, 16)), 0x85ebca6b)
    x = multiply(bxor(x, rshift(x, 13)), 0xc2b2ae35)
    return bxor(x, rshift(x, 16))
end

--- A function (low, high) that gives whole numbers from low to high, each time another.
---@param seed integer
---@return fun(low: integer, high: integer): integer
return function(seed)
    local a, b, c, d = mix(tobit(seed)), mix(tobit(seed + 1)), mix(tobit(seed + 2)), mix(tobit(seed + 3))
    local function word()
        local result = tobit(rol(tobit(a + d), 7) + a)
        local t = lshift(b, 9)
        c, d = bxor(c, a), bxor(d, b)
        b, a = bxor(b, c), bxor(a, d)
        c, d = bxor(c, t), rol(d, 11)
        return result % 2 ^ 32
    end
    for _ = 1, 8 do word() end -- neighbouring seeds have words in common
    return function(low, high)
        return low + (word() * 2 ^ 21 + rshift(word(), 11)) % (high - low + 1)
    end
end
