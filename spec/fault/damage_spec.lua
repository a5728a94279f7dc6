-- Damage that a node meets in state.db while it serves, whoever reads it: it ends, fails no delivery for that, and the
-- next life has state.db built again, with what was in it.
local evrt = require "spec.support.evrt"
local files = require "spec.support.files"
local oracle = require "spec.support.oracle"
local sqlite = require "spec.support.sqlite"

describe("damage of state.db #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    -- Reads, or compares and sets when there is the file GATE.
    local HANDLER = [[
        return { name = "A", events = "a", handle = function(event, ctx)
            local file = assert(io.open("GATE.tried", "a"))
            file:write(ctx.attempt, "\n")
            file:close()
            if event.data == "read" then return assert(ctx.kv.get "n" == "before it was damaged") end
            assert(ctx.kv.cas("n", "before it was damaged", "after"))
            ctx.kv.get "other" -- what is remembered is the last one that was read
            while not io.open "GATE" do ctx.sleep(0.01) end
        end }]]

    local dir, node
    local function value(key)
        return node:get("/api/v1/kv?namespace=A&key=" .. key).json.value
    end
    local function put(key, text, ttl)
        local path = ("/api/v1/kv?namespace=A&key=%s%s"):format(key, ttl and "&ttl=" .. ttl or "")
        assert.equal(200, node:put_admin(path, '"' .. text .. '"').status)
    end

    -- A node whose state.db has all that was put, and no log.
    before_each(function()
        dir = evrt.folder()
        local script = HANDLER:gsub("GATE", dir .. "/gate"):gsub("ctx.sleep", "require('evrt').sleep")
        node = evrt.start { dir = dir, handlers = { ["a.lua"] = script }, config = { kv = { cache = 0 } } }
        put("n", "before it was damaged")
        put("other", "x")
        put("hour", "x", "1h")
        assert.equal(0, node:stop())
        node = node:restart()
    end)

    local function spoil_row()
        local path = dir .. "/data/state.db"
        local at = assert(assert(files.read(path)):find("before it was damaged", 1, true))
        files.overwrite(path, at - 1, "B")
    end

    local function tried()
        local file = io.open(dir .. "/gate.tried")
        local text = file and file:read "*a"
        if file then file:close() end
        return text
    end

    -- It has ended for that; in the next life all is there.
    local function ends()
        assert.equal(1, (node:wait()))
        assert.truthy(node:await_log({ msg = "Store failed" }).error:find("damaged", 1, true))
        node = node:restart()
        assert.equal(1, #node:logged { msg = "State restored" })
    end

    it("that a delivery's read meets fails it not", function()
        spoil_row()
        node:accept { type = "a", data = "read" }
        ends()
        assert.same({ 1, 0 }, (function(s) return { s.done, s.dead } end)(node:await_end()))
        assert.equal("1\n1\n", tried())
        assert.equal("before it was damaged", value "n")
        assert.equal(0, node:stop())
    end)

    it("that its compare-and-set meets when it is done fails it not", function()
        node:accept { type = "a" }
        node:await("it to be tried", tried)
        node:await("its reads", function() return node:get("/api/v1/stats").json.kv.reads_of_state >= 2 end)
        spoil_row()
        evrt.write(dir .. "/gate", "")
        ends()
        assert.same({ 1, 0 }, (function(s) return { s.done, s.dead } end)(node:await_end()))
        assert.equal("1\n1\n", tried())
        assert.equal("after", value "n")
        assert.equal(0, node:stop())
    end)

    it("that is met where expired keys are looked for ends the node", function()
        sqlite.spoil(dir .. "/data/state.db", "kv_expires")
        pcall(put, "more", "x") -- what was read before is read anew; it may have ended by then
        ends()
        for key, text in pairs { n = "before it was damaged", other = "x", hour = "x" } do
            assert.equal(text, value(key))
        end
        oracle.balance(node)
        assert.equal(0, node:stop())
    end)
end)
