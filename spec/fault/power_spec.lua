-- The power is cut under load, again and again: what was acknowledged is there, and the effects of what was handled
-- once, though whatever had not reached the disk is gone. The books that say so are tested themselves: with syncs
-- that do nothing (eatmydata) they find loss.
--
-- EVRT_CUTS sets how many cuts.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local content = require "spec.support.content"
local disk = require "spec.support.disk"
local effects = require "spec.support.effects"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"
local preload = require "spec.support.preload"
local tamper = require "spec.support.tamper"

local CUTS = tonumber(os.getenv "EVRT_CUTS" or "") or (faults.soak and 100 or 10)

local missing = disk.missing()
if missing then
    faults.say("NOT RUN, power cuts: %s", missing)
    return
end

describe("a machine without power #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, books, client, store

    before_each(function()
        dir = evrt.folder()
        books, client = oracle.under_load(dir, 16, 0.02)
        effects.handler(books, { events = { "load.a" }, ordered_by = "data.k", key = "event.data.k" })
        store = assert(disk.create(dir))
    end)

    local function start(env)
        return evrt.start {
            dir = dir, handlers = books.scripts, wrap = store:wrap(), env = env,
            config = {
                store = { path = store.path .. "/data" },
                logging = { level = "info", sampling = { first = 1, then_every = 0 } },
            },
        }
    end

    -- Under load, until the disk is gone and the node with it.
    local function cut(node, seconds)
        effects.replay(node, 20)
        client:start(node.ingest)
        evrt.idle(seconds)
        assert.is_nil(node.code, node.code and node:said())
        assert(store:cut())
        node:await_log { msg = "Store failed" }
        local code = node:wait()
        client:stop()
        books:read()
        store:unmount()
        assert(store:mount())
        return code
    end

    it("keeps what was acknowledged", function()
        faults.seed "power cuts"
        local began = uv.hrtime()
        for _ = 1, CUTS do
            local node = start()
            assert.is_true(oracle.balance(node).events >= client.acked_count)
            assert.equal(1, cut(node, math.random() * 0.6))
        end
        local node = start()
        books:settle(node, 60)
        local r = faults.sound(books, node)
        assert.is_true(client.acked_count > 0)
        assert.equal(0, (node:stop()))
        store:unmount()
        faults.say("power cuts: %d cycles in %.1f s; %s", CUTS, (uv.hrtime() - began) / 1e9, oracle.line(r))
    end)

    -- What state.db had not synced is not in the journal any more, but in the snapshots that let it go.
    it("keeps what was done with segments that are gone", function()
        for name, text in pairs(content.handlers) do books.scripts[name] = text end
        local node = start()
        node:accept { type = "load.b", id = "before" }
        node:await_end()
        assert.equal(0, node:stop())
        node = start()
        content.make(node)
        local function segments() return node:get "/api/v1/stats".json.store.segments end
        local pad, headers = ("x"):rep(1000000), { ["ce-type"] = "pad", ["Content-Type"] = "text/plain" }
        while segments() < 3 do assert.equal(202, node:post("/events", pad, headers).status) end
        assert.equal(200, node:post_admin("/api/v1/handlers/Paused/resume").status)
        node:await("nothing to be needed", function() return node:handler("Paused").done == 1 end)
        local gone = node:post_admin("/api/v1/cleanup", '{"before":"0s"}')
        assert.equal(200, gone.status, gone.body)
        assert.equal(1, segments(), gone.body)
        node:await("their files to go", function()
            return select(2, assert(store:inside("ls", store.path .. "/data/journal")):gsub("%.seg", "")) == 1
        end)
        assert(store:inside("sync", store.path)) -- the kernel does after 5 s; file's data waits for 30
        local expected = content.of(node)
        assert(store:cut())
        node:stop "sigkill"
        store:unmount()
        assert(store:mount())
        node = start()
        content.same(expected, node)
        assert.equal(0, node:stop())
        store:unmount()
    end)

    local library = preload.find "libeatmydata.so"
    if not library then
        faults.say "NOT RUN, power cuts with eatmydata: it is not installed"
        return
    end

    it("is seen to lose when syncs do nothing", function()
        assert.equal(0, (start():stop()))
        local node = start { LD_PRELOAD = library }
        local path = store.path .. "/data/journal/0000000000000001.seg"
        tamper({ pid = node:logged({ msg = "evrt starting" })[1].pid }, path, "pwritev2:error=EOPNOTSUPP")
        client:start(node.ingest)
        node:await("some load", function() return client.acked_count > 500 end)
        assert(store:cut())
        node:stop "sigkill"
        client:stop()
        books:read()
        store:unmount()
        assert(store:mount())
        node = start()
        books:settle(node, 60)
        local r = books:compare(node)
        node:stop()
        store:unmount()
        faults.say("power cut under eatmydata: %s", oracle.line(r))
        assert.is_true(#r.lost > 0, "syncs that do nothing went unnoticed")
    end)
end)
