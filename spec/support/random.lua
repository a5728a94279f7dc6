-- Random numbers that are the same on every run.

--- A function (low, high) that gives whole numbers from low to high, each time another.
return function(seed)
    local state = seed
    return function(low, high)
        state = (state * 1103515245 + 12345) % 2147483648
        return low + math.floor(state / 65536) % (high - low + 1)
    end
end
