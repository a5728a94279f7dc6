-- Reload: what of the configuration changes without a restart, and that it does so with the scripts, or not at all.
local evrt = require "spec.support.evrt"

-- A handler that logs its mark with every event.
local function handler(name, events, mark)
    return ([[
return {
    name = %q, events = { %s },
    handle = function(_, ctx) ctx.log.info("handled", { mark = %s }) end,
}
]]):format(name, events, mark)
end

local function reload(node) return node:post_admin "/api/v1/reload" end

local function configure(node, text) evrt.write(node.dir .. "/evrt.yaml", text) end

describe("a reload's configuration", function()
    require("spec.support.leak").guard(before_each, after_each)

    local base = "handlers: handlers/\nreload: {watch: false}\nhttp: {listen: '127.0.0.1:0', %s}\n"
        .. "admin: {listen: '127.0.0.1:0'}\nlogging: {level: %s, sampling: {first: 0}}\nworkers: {count: %d%s}\n"

    it("takes over what may change, and says what needs a restart", function()
        local node = evrt.start {
            config = base:format("max_event_size: 1MiB", "debug", 1, ""),
            handlers = { ["a.lua"] = handler("A", '"a"', "1") },
        }
        configure(node, base:format("max_event_size: 2KiB", "warn", 3, ", concurrency: 7"))
        local changes = {}
        for _, c in ipairs(reload(node).json.config) do
            changes[#changes + 1] = ("%s %s %s%s"):format(c.key, c.old, c.new, c.needs_restart and " restart" or "")
        end
        assert.same({ "workers.count 1 3 restart", "workers.concurrency 256 7",
            "http.max_event_size 1MiB 2KiB", "logging.level debug warn" }, changes)
        local warned = node:await_log { msg = "Configuration needs a restart" }
        assert.same({ "warn", "workers.count", "1", "3" }, { warned.level, warned.key, warned.old, warned.new })
        assert.equal(7, node:handler("A").concurrency)
        assert.equal(413, node:publish({ type = "a", data = ("x"):rep(4000) }).status)
        assert.equal(202, node:publish({ type = "a", data = "x" }).status)
        node:await("it to be handled", function() return node:handler("A").done == 1 end)
        assert.same({}, node:logged { msg = "Event published" })
        -- The same again: only the restart is still due.
        local again = reload(node).json
        assert.same({ "unchanged", 1 }, { again.outcome, #again.config })
        assert.equal(0, node:stop())
    end)

    it("changes nothing when a script is bad", function()
        local node = evrt.start {
            config = base:format("max_event_size: 1MiB", "debug", 1, ""),
            handlers = { ["a.lua"] = handler("A", '"a"', "1") },
        }
        configure(node, base:format("max_event_size: 2KiB", "warn", 1, ""))
        evrt.write(node.dir .. "/handlers/bad.lua", "x x")
        assert.equal(422, reload(node).status)
        assert.equal(202, node:publish({ type = "a", data = ("x"):rep(4000) }).status)
        node:await_log { msg = "Event published" }
        assert.equal(0, node:stop())
    end)

    it("reads token files anew", function()
        local node = evrt.start {
            config = { http = { token_file = "token" }, reload = { watch = false } },
            files = { token = "first\n" }, handlers = {},
        }
        local function status(token)
            return node:post("/events", "{}", { ["ce-specversion"] = "1.0", ["ce-type"] = "a", ["ce-source"] = "s",
                ["Content-Type"] = "application/json", Authorization = "Bearer " .. token }).status
        end
        assert.same({ 202, 403 }, { status "first", status "second" })
        evrt.write(node.dir .. "/token", "second\n")
        assert.same({ 202, 403 }, { status "first", status "second" })
        assert.equal("unchanged", reload(node).json.outcome)
        assert.same({ 403, 202 }, { status "first", status "second" })
        evrt.write(node.dir .. "/token", "\n")
        assert.equal(422, reload(node).status)
        assert.same({ 403, 202 }, { status "first", status "second" })
        assert.equal(0, node:stop())
    end)

    it("may point to another folder of scripts", function()
        local node = evrt.start {
            config = { reload = { watch = false } },
            handlers = { ["a.lua"] = handler("A", '"a"', "1") },
            files = { ["other/b.lua"] = handler("B", '"a"', "2") },
        }
        local text = evrt.read(node.dir .. "/evrt.yaml")
        configure(node, (text:gsub('"handlers":"handlers/"', '"handlers":"other/"')))
        local answer = reload(node).json
        assert.same({ { "B" }, { "A" } }, { answer.handlers.added, answer.handlers.removed })
        node:accept { type = "a" }
        assert.equal(2, node:await_log({ msg = "handled" }).mark)
        assert.equal(0, node:stop())
    end)
end)
