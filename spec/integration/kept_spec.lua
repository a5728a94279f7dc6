-- What failed outlives the segment of the journal that its event was in: retries and dead letters keep a copy,
-- and pin nothing.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local lfs = require "lfs"

local HANDLERS = [[
local evrt = require "evrt"
local function failing(name)
    return { name = name, events = { "first" }, policies = { evrt.policy.retry {
            policy = "fixed", initial_delay = name == "Later" and "1h" or "1ms",
            max_retries = name == "Later" and 3 or 1 } },
        handle = function(event, ctx)
            local file = io.open("FOLDER/repaired")
            if not file then error "broken" end
            file:close()
            ctx.log.info("handled", { by = name, got = event.data.x })
        end }
end
return { failing "Dead", failing "Later" }
]]

local function publish(node, kind, bytes)
    return node:post("/events", ("x"):rep(bytes), { ["ce-type"] = kind, ["Content-Type"] = "text/plain" }).status
end

local function oldest(node)
    local first
    for name in lfs.dir(node.dir .. "/data/journal") do
        if name:find "%.seg$" and (not first or name < first) then first = name end
    end
    return node.dir .. "/data/journal/" .. first
end

describe("an event that failed #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is there when its segment has gone, also after state.db was lost", function()
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir, handlers = { ["a.lua"] = (HANDLERS:gsub("FOLDER", dir)) },
            config = { http = { max_event_size = "8MiB" }, store = { max_size = "192MiB", max_backlog = "64MiB" } },
        }
        assert.equal(202, node:publish({ type = "first", id = "one", data = { x = 7 } }).status)
        node:await("one dead, one to be tried again", function()
            return #node:get("/api/v1/dead-letters").json.items == 1 and #node:get("/api/v1/retries").json.items == 1
        end)
        local file = oldest(node)
        while uv.fs_stat(file) do
            publish(node, "big", 7 * 2 ^ 20)
        end
        node:await_log { msg = "Events kept", events = 2 }
        assert.equal(7, node:get("/api/v1/dead-letters/1-1").json.event.data.x)

        node:stop "sigkill"
        os.remove(dir .. "/data/state.db")
        node = node:restart()
        node:await_log { msg = "State restored" }
        assert.equal(7, node:get("/api/v1/dead-letters/1-1").json.event.data.x)
        evrt.write(dir .. "/repaired", "x")
        assert.equal(1, node:post_admin("/api/v1/dead-letters/1-1/reprocess").json.done)
        assert.equal(200, node:post_admin("/api/v1/retries/2-1/run").status)
        node:await_log { msg = "handled", by = "Dead", got = 7 }
        node:await_log { msg = "handled", by = "Later", got = 7 }
        node:await_end()
        local s = node:get("/api/v1/stats").json
        assert.same({ 2, 0, 0 }, { s.done, s.dead, s.discarded })
        assert.equal(0, node:stop())
    end)

    it("is found, too, when no event is left in the journal behind it", function()
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir, config = { store = { retention = "1s" } },
            handlers = { ["a.lua"] = (HANDLERS:gsub("FOLDER", dir)), ["fill.lua"] = [[
                local evrt = require "evrt"
                return { name = "Fill", events = "fill", timeout = "60s", handle = function(_, ctx)
                    local large = ("x"):rep(250000)
                    for _ = 1, 300 do assert(evrt.kv.set("large", large)) end -- more than a segment holds
                end }]] },
        }
        local file = oldest(node)
        assert.equal(202, node:publish({ type = "first", id = "one", data = { x = 7 } }).status)
        assert.equal(202, node:publish({ type = "fill" }).status)
        node:await("what fails", function()
            return #node:get("/api/v1/dead-letters").json.items == 1 and #node:get("/api/v1/retries").json.items == 1
        end)
        node:await("the segment to go", function() return not uv.fs_stat(file) end)
        evrt.write(dir .. "/repaired", "x")
        assert.equal(200, node:post_admin("/api/v1/retries/2-1/run").status)
        node:await_log { msg = "handled", by = "Later", got = 7 }
        assert.equal(0, node:stop())
    end)
end)
