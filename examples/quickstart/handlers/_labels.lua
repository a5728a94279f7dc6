-- Which label a title asks for. A module of the handlers (its name begins with _), not a handler.
local labels = {}

-- First match wins.
local WORDS = {
    { "crash", "bug" },
    { "error", "bug" },
    { "slow", "performance" },
    { "how ", "question" },
    { "docs", "documentation" },
}

---@param title string
---@return string
function labels.propose(title)
    title = title:lower()
    for _, rule in ipairs(WORDS) do
        if title:find(rule[1], 1, true) then
            return rule[2]
        end
    end
    return "needs-triage"
end

return labels
