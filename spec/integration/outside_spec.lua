-- What needs a delivery (evrt.kv, snapshots, publishing, waiting) and is used without one: refused with its place, and
-- nothing is done.
local evrt = require "spec.support.evrt"

local MESSAGE = ": only while a handler handles an event; a script that loads has no side effect"

local calls = {
    ["evrt.kv.set"] = 'evrt.kv.set("k", 1)',
    ["evrt.kv.delete"] = 'evrt.kv.delete("k")',
    ["evrt.kv.incr"] = 'evrt.kv.incr("k")',
    ["evrt.kv.cas"] = 'evrt.kv.cas("k", nil, 1)',
    ["evrt.kv.get"] = 'evrt.kv.get("k", "A")',
    ["evrt.kv.scan"] = 'for _ in evrt.kv.scan("", "A") do end',
    ["evrt.publish"] = 'evrt.publish { type = "b" }',
    ["evrt.sleep"] = "evrt.sleep(0)",
    ["evrt.snapshot.save"] = 'evrt.snapshot.save("t", "i", 1, {})',
    ["evrt.snapshot.get"] = 'evrt.snapshot.get("t", "i")',
    ["evrt.fold"] = 'evrt.fold("t", "i", function(s) return s end)',
}

-- Where a script may do it too early: files, and the place that is named.
local function handler(before, policies)
    return ([[local evrt = require "evrt"
%s
return { name = "A", events = "a", policies = %s, handle = function() end }]]):format(before, policies or "{}")
end
local places = {
    ["in a handler's file"] = function(call)
        return { ["handlers/a.lua"] = handler(call) }, "handlers/a.lua:2: "
    end,
    ["in a module"] = function(call)
        return { ["handlers/a.lua"] = handler 'require "_m"',
            ["handlers/_m.lua"] = 'local evrt = require "evrt"\n' .. call }, "handlers/_m.lua:2: "
    end,
    ["in a policy's file"] = function(call)
        return { ["handlers/a.lua"] = handler "", ["policies/p.lua"] = 'local evrt = require "evrt"\n\n' .. call
            .. '\nreturn { name = "p", wrap = function(next) return next end }' }, "policies/p.lua:3: "
    end,
    ["in wrap"] = function(call)
        return { ["handlers/a.lua"] = handler("", '{ "p" }'), ["policies/p.lua"] = 'local evrt = require "evrt"\n'
            .. 'return { name = "p", wrap = function(next)\n' .. call .. "\nreturn next end }" }, "policies/p.lua:3: "
    end,
}

describe("without a delivery", function()
    require("spec.support.leak").guard(before_each, after_each)

    local config = { policies = "policies/", reload = { watch = false } }

    it("a script that loads is refused for what needs one #plain", function()
        for place, files_of in pairs(places) do
            for name, call in pairs(calls) do
                local files, where = files_of(call)
                files["policies/_"] = ""
                local code, out, err = evrt.run { "check", evrt.lay { config = config, files = files } .. "/evrt.yaml" }
                assert.same({ 78, "" }, { code, out }, place .. ", " .. name)
                local said = err:find(where, 1, true) and err:find(name .. MESSAGE, 1, true)
                assert.truthy(said, ("%s, %s: %s"):format(place, name, err))
            end
        end
    end)

    it("a reload is refused, what runs goes on, and nothing is written", function()
        local good = handler 'local counted = 0'
        local node = evrt.start { config = config, files = { ["handlers/a.lua"] = good, ["policies/_"] = "" } }
        evrt.write(node.dir .. "/handlers/a.lua", handler 'evrt.kv.set("k", 1)')
        local answer = node:post_admin "/api/v1/reload"
        assert.equal(422, answer.status)
        local said = answer.json.errors[1]
        assert.same({ node.dir .. "/handlers/a.lua", 2, "evrt.kv.set" .. MESSAGE },
            { said.file, said.line, said.message })
        -- One that wants to know better has written nothing, either.
        evrt.write(node.dir .. "/handlers/a.lua", [[
            local evrt = require "evrt"
            local function write() return evrt.kv.set("k", (evrt.kv.get "k" or 0) + 1) end
            local early, why = pcall(write)
            local threads, late = pcall(coroutine.wrap(write))
            return { name = "A", events = "a", handle = function(event, ctx)
                ctx.kv.set("early", { early, why:match ":%d+: (.*)", threads, late:match ":%d+: (.*)" })
                assert(write())
                assert(coroutine.wrap(write)())
                local ok, blocked = pcall(string.gsub, "x", "x", write)
                ctx.kv.set("blocked", { ok, blocked })
            end }]])
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        assert.equal(0, #node:get("/api/v1/kv").json.items)
        node:accept { type = "a" }
        assert.equal(1, node:await_end().done)
        local function value(key) return node:get("/api/v1/kv?namespace=A&key=" .. key).json.value end
        assert.equal(2, value "k")
        assert.same({ false, "evrt.kv.get" .. MESSAGE, false, "evrt.kv.get" .. MESSAGE }, value "early")
        assert.is_false(value "blocked"[1])
        assert.truthy(value "blocked"[2]:find("evrt.kv.get: cannot wait inside a callback", 1, true))
        assert.equal(0, node:stop())
    end)
end)
