-- Jobs whose handler leaves the scripts end, with the reason.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

describe("a job whose handler leaves the scripts", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("ends as failed, though deliveries were queued", function()
        local node = evrt.start { config = { reload = { watch = false } }, handlers = { ["a.lua"] = [[
            local evrt = require "evrt"
            return { name = "A", events = "a.*", concurrency = 1,
                handle = function(_, ctx) if ctx.replay then evrt.sleep(0.5) end end }]] } }
        for _ = 1, 60 do node:accept { type = "a.b" } end
        node:await_end()
        local id = node:post_admin("/api/v1/replays", cjson.encode { handler = "A", from_seq = 1 }).json.id
        local function replay() return node:get("/api/v1/replays/" .. id).json end
        node:await("deliveries", function() return replay().in_flight > 1 end)
        assert(os.remove(node.dir .. "/handlers/a.lua"))
        assert.equal(200, node:post_admin "/api/v1/reload".status)
        node:await("the replay to end", function() return replay().state == "failed" end)
        assert.truthy(replay().error:find("not in the scripts", 1, true))
        node:await("what was under way to end", function() return replay().in_flight == 0 end)
        assert.equal(0, (node:stop()))
    end)

    it("delivers nothing again that its worker took along", function()
        local node = evrt.start {
            config = { reload = { watch = false }, workers = { drain_timeout = "100ms" } },
            handlers = {
                ["a.lua"] = [[
                    local evrt = require "evrt"
                    return { name = "A", events = "a.*", handle = function(_, ctx)
                        if ctx.replay then evrt.sleep(3600) end end }]],
                ["b.lua"] = [[return { name = "B", events = "b.*", handle = function() end }]],
            },
        }
        node:accept { type = "a.b" }
        node:await_end()
        local id = node:post_admin("/api/v1/replays", cjson.encode { handler = "A", from_seq = 1 }).json.id
        local function replay() return node:get("/api/v1/replays/" .. id).json end
        node:await("a delivery", function() return replay().in_flight == 1 end)
        assert.equal(200, node:delete_admin("/api/v1/replays/" .. id).status)
        assert(os.remove(node.dir .. "/handlers/a.lua"))
        assert.equal(200, node:post_admin "/api/v1/reload".status)
        node:await("its worker's end", function() return replay().in_flight == 0 end)
        assert.equal("cancelled", replay().state)
        assert.equal(200, node:delete_admin("/api/v1/handlers/A").status)
        assert.equal(0, (node:stop()))
    end)
end)
