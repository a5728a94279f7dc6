-- Calls each(item) for all items of a list of a node's admin API, page after page.
--
--     pages(node, "/api/v1/kv?namespace=A", function(item) all[item.key] = item.value end)
local cjson = require "cjson"

---@param path string  with a query or without
return function(node, path, each)
    local join, after = path:find("?", 1, true) and "&" or "?", ""
    repeat
        local answer = node:get(path .. after)
        assert(answer.status == 200, answer.body)
        local page = answer.json
        for _, item in ipairs(page.items) do each(item) end
        after = page.next ~= cjson.null and ("%safter=%s"):format(join, page.next) or nil
    until not after
end
