-- A node that is ended while it reloads, under load: when it was only asked to, while the new scripts load, while
-- the old workers finish what they have, and at random moments. Nothing acknowledged is lost; an orderly end stays
-- one, and after it nothing is done twice.
--
-- EVRT_RELOAD_STOPS sets how many times at each of these.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"

local STOPS = tonumber(os.getenv "EVRT_RELOAD_STOPS" or "") or (faults.soak and 25 or 2)

-- Loading takes a while, and says that it has begun.
local LOADING = [[
assert(io.open(%q, "w")):close()
local began = os.clock()
while os.clock() - began < 0.1 do end
]]

local function is_there(path) return uv.fs_stat(path) ~= nil end

-- Each returns when the node is so far.
local MOMENTS = {
    { "asked", function() end },
    { "loading", function(node, file) node:await("scripts to load", function() return is_there(file) end) end },
    { "going over", function(node) node:await_log { msg = "Reloaded" } end },
    { "some time", function() evrt.idle(math.random() * 0.4) end },
}

describe("a reload", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function lives(signal)
        local dir = evrt.folder()
        -- Long enough a nap that the old workers have some left when the new ones serve.
        local books, client = oracle.under_load(dir, 8, 0.1)
        local function start()
            local node = evrt.start {
                dir = dir, handlers = books.scripts,
                config = { workers = { count = 2 }, reload = { watch = false },
                    logging = { level = "info", sampling = { first = 1, then_every = 0 } } },
            }
            assert.is_true(oracle.balance(node).events >= client.acked_count)
            return node
        end
        local began, cycles, over = uv.hrtime(), 0, 0
        for _ = 1, STOPS do
            for _, moment in ipairs(MOMENTS) do
                cycles = cycles + 1
                local node, file = start(), dir .. "/loading-" .. cycles
                client:start(node.ingest)
                evrt.idle(math.random() * 0.1)
                evrt.write(dir .. "/handlers/A.lua", LOADING:format(file) .. books.scripts["A.lua"])
                node:kill "sighup"
                moment[2](node, file)
                assert.is_nil(node.code, node:said())
                node:kill(signal)
                local ended = { node:wait() }
                client:stop()
                if signal == "sigterm" then assert.same({ 0, 0 }, ended, moment[1] .. ": " .. node:said()) end
                if #node:logged { msg = "Reloaded" } > 0 then over = over + 1 end
            end
        end
        local r = faults.last_life(books, client, start())
        faults.say("%s during a reload: %d cycles, in %d the new scripts served, in %.1f s; %s", signal, cycles, over,
            (uv.hrtime() - began) / 1e9, oracle.line(r))
        assert.is_true(over >= STOPS)
        return r
    end

    faults.seed "reload"

    it("loses nothing to SIGTERM, which ends in order, and nothing is done twice", function()
        assert.equal(0, lives("sigterm").duplicates)
    end)

    it("loses nothing to kill -9", function() lives "sigkill" end)
end)
