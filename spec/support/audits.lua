-- What operators do by the admin API, route by route in an order in which each finds what it needs: the request, and
-- what the log has to say of it. spec/integration/audit_spec.lua does all of it; a route that changes something and
-- is not here fails spec/unit/http/route_spec.lua.
local cjson = require "cjson"

local audits = {}

-- Refuse, fail for long, succeed; one that goes; one that is slow enough to be cancelled.
audits.handlers = {
    ["a.lua"] = [[
        local evrt = require "evrt"
        return {
            { name = "Dies", events = "dies.*", handle = function() evrt.reject "as asked" end },
            { name = "Waits", events = "waits.*",
              policies = { evrt.policy.retry { max_retries = 1, initial_delay = "1h" } },
              handle = function() error "as asked" end },
            { name = "Good", events = "good.*", handle = function() end },
        }]],
    ["gone.lua"] = [[return { name = "Gone", events = "gone.*", handle = function() end }]],
}

--- The events they want: these, in this order.
audits.events = { "dies.a", "dies.b", "dies.c", "waits.a", "waits.b", "good.a", "good.b" }

local function body(t) return cjson.encode(t) end

local function first_id(node, path) return node:get(path).json.items[1].id end

-- {route, request(node) -> response, action, target, outcome}; target and outcome are patterns. `refused`: the same
-- for what cannot be done.
audits.list = {
    { "POST /api/v1/handlers/{name}/pause", function(node) return node:post_admin "/api/v1/handlers/Good/pause" end,
        "pause handler", "^Good$", "^paused$",
        refused = function(node) return node:post_admin "/api/v1/handlers/None/pause" end },
    { "POST /api/v1/handlers/{name}/resume", function(node) return node:post_admin "/api/v1/handlers/Good/resume" end,
        "resume handler", "^Good$", "^resumed$",
        refused = function(node) return node:post_admin "/api/v1/handlers/None/resume" end },
    { "PUT /api/v1/log-level", function(node) return node:put_admin("/api/v1/log-level", body { level = "info" }) end,
        "set log level", "^log$", "^debug to info$" },
    { "PUT /api/v1/kv", function(node) return node:put_admin("/api/v1/kv?namespace=N&key=k", "5") end,
        "set key", "^N/k$", "^written$" },
    { "DELETE /api/v1/kv", function(node) return node:delete_admin "/api/v1/kv?namespace=N&key=k" end,
        "delete key", "^N/k$", "^deleted$" },
    { "POST /api/v1/retries/{id}/run", function(node)
        return node:post_admin("/api/v1/retries/" .. first_id(node, "/api/v1/retries?handler=Waits") .. "/run")
    end, "run retry", "^%d+%-%d+$", "^due$",
        refused = function(node) return node:post_admin "/api/v1/retries/1-99/run" end },
    { "DELETE /api/v1/retries/{id}", function(node)
        node:await("the retry that was run to fail", function()
            return #node:get "/api/v1/dead-letters?handler=Waits".json.items == 1
        end)
        return node:delete_admin("/api/v1/retries/" .. first_id(node, "/api/v1/retries?handler=Waits"))
    end, "discard retry", "^%d+%-%d+$", "^discarded$",
        refused = function(node) return node:delete_admin "/api/v1/retries/1-99" end },
    { "POST /api/v1/dead-letters/{id}/reprocess", function(node)
        local id = first_id(node, "/api/v1/dead-letters?handler=Dies")
        return node:post_admin("/api/v1/dead-letters/" .. id .. "/reprocess")
    end, "reprocess dead letters", "^%d+%-%d+$", "^begun$",
        refused = function(node) return node:post_admin "/api/v1/dead-letters/1-99/reprocess" end },
    { "POST /api/v1/dead-letters/reprocess", function(node)
        return node:post_admin("/api/v1/dead-letters/reprocess?wait=true", body { handler = "Dies" })
    end, "reprocess dead letters", "^Dies$", "^begun$",
        refused = function(node)
            return node:post_admin("/api/v1/dead-letters/reprocess", body { handler = "None" })
        end },
    { "DELETE /api/v1/dead-letters/{id}", function(node)
        return node:delete_admin("/api/v1/dead-letters/" .. first_id(node, "/api/v1/dead-letters?handler=Dies"))
    end, "delete dead letters", "^%d+%-%d+$", "^1 deleted$",
        refused = function(node) return node:delete_admin "/api/v1/dead-letters/1-99" end },
    { "DELETE /api/v1/dead-letters", function(node) return node:delete_admin "/api/v1/dead-letters?handler=Dies" end,
        "delete dead letters", "^Dies$", "^2 deleted$",
        refused = function(node) return node:delete_admin "/api/v1/dead-letters?handler=None" end },
    { "POST /api/v1/replays", function(node)
        return node:post_admin("/api/v1/replays", body { handler = "Good", from_seq = 1, rate = 1 })
    end, "replay", "^Good$", "^begun$",
        refused = function(node)
            return node:post_admin("/api/v1/replays", body { handler = "None", from_seq = 1 })
        end },
    { "DELETE /api/v1/replays/{id}", function(node)
        return node:delete_admin("/api/v1/replays/" .. first_id(node, "/api/v1/replays"))
    end, "cancel job", "^%d+$", "^cancelled$",
        refused = function(node) return node:delete_admin "/api/v1/replays/99" end },
    { "DELETE /api/v1/jobs/{id}", function(node)
        node:post_admin("/api/v1/replays", body { handler = "Good", from_seq = 1, rate = 1 })
        return node:delete_admin("/api/v1/jobs/" .. first_id(node, "/api/v1/jobs"))
    end, "cancel job", "^%d+$", "^cancelled$",
        refused = function(node) return node:delete_admin "/api/v1/jobs/99" end },
    { "DELETE /api/v1/scheduled/{id}", function(node)
        assert(node:publish({ type = "good.c", deliverafter = "1h" }).status == 202)
        return node:delete_admin("/api/v1/scheduled/" .. first_id(node, "/api/v1/scheduled"))
    end, "cancel scheduled event", "^%d+$", "^cancelled$",
        refused = function(node) return node:delete_admin "/api/v1/scheduled/99" end },
    { "POST /api/v1/cleanup", function(node)
        return node:post_admin("/api/v1/cleanup", body { before = "1h", dry_run = false })
    end, "cleanup", "^journal$", "^0 segments dropped$" },
    { "POST /api/v1/backup", function(node)
        return node:post_admin("/api/v1/backup", body { dir = node.dir .. "/backup" })
    end, "backup", "/backup$", "^made$",
        refused = function(node) return node:post_admin("/api/v1/backup", body { dir = node.dir .. "/handlers" }) end },
    { "POST /api/v1/reload", function(node)
        assert(os.remove(node.dir .. "/handlers/gone.lua"))
        return node:post_admin "/api/v1/reload"
    end, "reload", "^scripts and configuration$", "^decided$" },
    { "DELETE /api/v1/handlers/{name}", function(node) return node:delete_admin "/api/v1/handlers/Gone" end,
        "forget handler", "^Gone$", "^forgotten$",
        refused = function(node) return node:delete_admin "/api/v1/handlers/Good" end },
}

return audits
