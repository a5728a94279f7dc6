-- What timers of a node fired.
local timers = {}

--- The times for which they did, in the order in which they did.
function timers.fired(node)
    local list = {}
    for _, e in ipairs(node:get("/api/v1/events?type=evrt.timer.*&limit=1000").json.items) do
        list[#list + 1] = e.data.scheduled_at
    end
    return list
end

return timers
