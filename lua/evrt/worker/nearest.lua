-- The name that was probably meant.

-- Edits (insert, delete, replace, swap of neighbours) between two names.
local function distance(a, b)
    local rows = { [0] = {} }
    for j = 0, #b do rows[0][j] = j end
    for i = 1, #a do
        rows[i] = { [0] = i }
        for j = 1, #b do
            local same = a:byte(i) == b:byte(j) and 0 or 1
            local d = math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + same)
            if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
                d = math.min(d, rows[i - 2][j - 2] + 1)
            end
            rows[i][j] = d
        end
    end
    return rows[#a][#b]
end

--- The nearest of the names, or nil when none is near.
---@param name string
---@param names string[]
---@return string?
return function(name, names)
    local best, least = nil, math.max(2, math.floor(#name / 3)) + 1
    for _, candidate in ipairs(names) do
        local d = distance(name:lower(), candidate:lower())
        if d < least then
            best, least = candidate, d
        end
    end
    return best
end
