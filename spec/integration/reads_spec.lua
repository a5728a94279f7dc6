-- What handlers read by themselves, without asking the host, is what was accepted last: of two writes of one
-- delivery nobody sees one alone, a delivery sees what the one before it left, and what expires, is removed or set
-- by others is seen at once. The same whether workers share values or not.
local evrt = require "spec.support.evrt"

local function node_of(shared, handlers, workers)
    return evrt.start { handlers = handlers,
        config = { kv = { shared_cache = shared and "4MiB" or 0 }, workers = { count = workers or 2 },
            retry = { max_retries = 0 } } }
end

local function batch(node, events)
    for i, e in ipairs(events) do
        e.specversion, e.source, e.id = "1.0", "/t", e.type .. i
    end
    return node:post_batch(events)
end

local function value(node, key)
    return node:get("/api/v1/kv?namespace=A&key=" .. key).json.value
end

for _, shared in ipairs { true, false } do
    describe("reading keys, workers " .. (shared and "sharing" or "asking for") .. " values", function()
        require("spec.support.leak").guard(before_each, after_each)

        it("never shows one of two writes of a delivery alone", function()
            local node = node_of(shared, { ["a.lua"] = [[return {
                { name = "A", events = "write", ordered_by = "source", handle = function(event, ctx)
                    local n = event.data.n
                    ctx.kv.incr("first")
                    ctx.kv.set("second", n - 1) -- nobody sees that
                    ctx.kv.set("second", n)
                    ctx.kv.set("third", ctx.kv.get("first"))
                end },
                { name = "B", events = "read", handle = function(event, ctx)
                    for _ = 1, 100 do
                        local last = 0
                        for _, key in ipairs { "third", "second", "first", "third" } do
                            local n = ctx.kv.get(key, "A") or 0
                            assert(n >= last, key)
                            last = n
                        end
                    end
                end } }]] })
            local list = {}
            for n = 1, 400 do
                list[#list + 1] = { type = "write", data = { n = n } }
                list[#list + 1] = { type = "read", data = {} }
            end
            assert.equal(202, batch(node, list).status)
            assert.equal(800, node:await_end(120).done)
            assert.same({ 400, 400, 400 }, { value(node, "first"), value(node, "second"), value(node, "third") })
            assert.equal(0, node:stop())
        end)

        it("gives a delivery what the one before it left, in one worker as in many", function()
            for _, workers in ipairs { 1, 2 } do
                local node = node_of(shared, { ["a.lua"] = [[
                    return { name = "A", events = "a", ordered_by = "source", handle = function(event, ctx)
                        local n = event.data
                        assert((ctx.kv.get("n") or 0) == n - 1)
                        ctx.kv.set("n", n)
                        assert((ctx.kv.get("text") or ("x"):rep(n - 1)) == ("x"):rep(n - 1))
                        ctx.kv.set("text", ("x"):rep(n)) -- too large for what is shared, from some length on
                        if n % 7 == 0 then ctx.kv.delete("text") end
                        if n % 7 == 1 then assert(n == 1 or ctx.kv.get("gone") == nil) end
                    end }]] }, workers)
                local list = {}
                for n = 1, 200 do list[n] = { type = "a", data = n } end
                assert.equal(202, batch(node, list).status)
                assert.equal(200, node:await_end(120).done)
                assert.equal(200, value(node, "n"))
                assert.equal(0, node:stop())
            end
        end)

        it("shows what others set, and what expires no longer", function()
            local node = node_of(shared, { ["a.lua"] = [[
                return { name = "A", events = "a", handle = function(event, ctx)
                    if event.data.ttl then ctx.kv.set("key", 1, { ttl = event.data.ttl }) end
                    local is = ctx.kv.get "key"
                    ctx.kv.set("seen", is == nil and "nothing" or is)
                end }]] })
            local function seen(data)
                node:publish({ type = "a", source = "/t", data = data or { n = 1 } }, "?wait=handled")
                return value(node, "seen")
            end
            assert.equal("nothing", seen())
            for n = 1, 5 do
                assert.equal(200, node:put_admin("/api/v1/kv?namespace=A&key=key", tostring(n)).status)
                assert.equal(n, seen())
                assert.equal(n, seen())
            end
            assert.equal(1, seen { ttl = 3600 })
            assert.equal(1, seen())
            seen { ttl = 0.2 }
            evrt.await("the key to expire", function() return seen() == "nothing" end)
            assert.equal(0, node:stop())
        end)

        it("lets a handler that waits for a key by reading it get there", function()
            local node = node_of(shared, { ["a.lua"] = [[return {
                { name = "A", events = "a", handle = function(event, ctx)
                    repeat local go = ctx.kv.get("go", "B") until go
                    ctx.kv.set("went", true)
                end },
                { name = "B", events = "b", handle = function(event, ctx) ctx.kv.set("go", true) end } }]] }, 1)
            node:publish { type = "a", data = {} }
            node:publish { type = "b", data = {} }
            node:await_end(120)
            assert.is_true(value(node, "went"))
            assert.equal(0, node:stop())
        end)
    end)
end
