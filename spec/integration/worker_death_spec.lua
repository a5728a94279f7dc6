-- Workers die, hosts die: a killed worker is replaced and its deliveries are made again; a host's death
-- ends its workers, whatever they are doing.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"

-- Whether the process is there and not a zombie.
local function alive(pid)
    local file = io.open(("/proc/%d/stat"):format(pid))
    if not file then return false end
    local state = file:read("*a"):match "%) (%a)"
    file:close()
    return state ~= "Z" and state ~= "X"
end

describe("a worker killed with -9", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is replaced, and what it had is delivered again", function()
        local dir = evrt.folder()
        local side = dir .. "/handled.log"
        local node = evrt.start {
            dir = dir,
            config = { retry = { max_retries = 3, initial_delay = "1ms" },
                workers = { count = 2 },
                -- A flood of lines would leave those out that are waited for; of any one message there are few here.
                logging = { level = "info", sampling = { first = 20, then_every = 0 } } },
            handlers = { ["a.lua"] = ([[
                local evrt = require "evrt"
                local log = assert(io.open(%q, "a"))
                log:setvbuf("full", 4096)
                return { name = "A", events = { "**" }, start = "beginning", handle = function(event)
                    evrt.sleep(0.01)
                    log:write(event.id, "\n")
                    log:flush()
                end }
            ]]):format(side) },
        }
        local times, handled = {}, 0
        local read = load.tail(side, function(id)
            times[id] = (times[id] or 0) + 1
            handled = handled + 1
        end)
        local client = load.new { connections = 8, batch = 20, types = { "x.y" } }
        client:start(node.ingest)
        local before = {}
        for n = 1, 6 do
            local goal = client.acked_count + 200
            node:await("some load", function() return client.acked_count >= goal end)
            local pids = load.children(node.pid)
            local pid = pids[math.random(#pids)]
            before[#before + 1] = pid
            uv.kill(pid, "sigkill")
            local died = node:await_log { msg = "Worker died", worker_pid = pid }
            assert.equal("killed by signal 9 (Killed)", died.reason)
            node:await_log({ msg = "Worker replaced" }, nil, n)
        end
        client:stop(true)
        node:await("all to be handled", function()
            local item = node:get("/api/v1/handlers").json.items[1]
            return item.pending == 0 and item.running == 0 and item.retrying == 0 and item.done
        end, 60)
        read()
        local lost, duplicates = 0, 0
        for id in pairs(client.acked) do
            if not times[id] then lost = lost + 1 end
        end
        for id, n in pairs(times) do
            assert.is_truthy(client.sent[id])
            duplicates = duplicates + n - 1
        end
        assert.equal(0, lost)
        print(("worker death: 6 kills, %d acked, 0 lost, %d duplicates"):format(client.acked_count, duplicates))
        local item = node:get("/api/v1/handlers").json.items[1]
        assert.equal(client.acked_count, item.done)
        assert.equal(0, item.dead)
        for _, pid in ipairs(before) do assert.is_false(alive(pid)) end
        assert.equal(2, #load.children(node.pid))
        assert.is_nil(node.code)
        assert.equal(0, (node:stop()))
    end)
end)

describe("a host killed with -9", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function workers_end(script, publish)
        local node = evrt.start { config = { workers = { count = 2 } }, handlers = { ["a.lua"] = script } }
        local pids = load.children(node.pid)
        assert.equal(2, #pids)
        if publish then
            for _ = 1, 4 do assert.equal(202, node:publish({ type = "x.y" }).status) end
            node:await_log { msg = "started" }
        end
        node:stop "sigkill"
        evrt.await("its workers to end", function() return not alive(pids[1]) and not alive(pids[2]) end)
    end

    it("takes idle workers with it", function()
        workers_end [[return { name = "A", events = { "**" }, handle = function() end }]]
    end)

    it("takes workers that never yield with it", function()
        workers_end([[
            local evrt = require "evrt"
            return { name = "A", events = { "**" }, handle = function()
                evrt.log.info("started")
                evrt.sleep(0.02)
                while true do end
            end }
        ]], true)
    end)
end)
