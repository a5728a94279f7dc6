-- Times that a node tells, as numbers.
local time = {}

--- Seconds since 1970 of an RFC 3339 time in UTC.
---@param text string
---@return number
function time.seconds(text)
    local y, m, d, h, min, s = text:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$"
    assert(y, text)
    y, m = tonumber(y), tonumber(m)
    if m <= 2 then y, m = y - 1, m + 12 end
    local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
        + math.floor((153 * (m - 3) + 2) / 5) + tonumber(d) - 719469
    return days * 86400 + tonumber(h) * 3600 + tonumber(min) * 60 + tonumber(s)
end

--- A time zone in which it is about noon, so that today does not begin or end now.
function time.noon() return ("SPEC%+d"):format(tonumber(os.date "!%H") - 12) end

return time
