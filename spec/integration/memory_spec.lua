-- A backlog is on disk, not in memory: publishing far more than fits to a handler that does not get on grows
-- the host by less than 64 MiB. EVRT_MEMORY_EVENTS sets how many events (400,000, 140 MB of journal; the
-- claim is made for 10,000,000).
local evrt = require "spec.support.evrt"

local EVENTS = tonumber(os.getenv "EVRT_MEMORY_EVENTS" or "") or 400000
local LIMIT_KIB = 64 * 1024

-- Resident memory of a process in KiB, and how much of it is its own and changed.
local function memory(pid)
    local text = evrt.read(("/proc/%d/smaps_rollup"):format(pid))
    return tonumber(text:match "\nRss: *(%d+)"), tonumber(text:match "\nPrivate_Dirty: *(%d+)")
end

describe("a handler that does not get on", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("costs disk, not memory #plain", function()
        local node = evrt.start {
            config = {
                workers = { count = 1, drain_timeout = "100ms" },
                logging = { level = "info", sampling = { first = 10, then_every = 0 } },
                store = { durability = "os" },
            },
            handlers = {
                ["stuck.lua"] = [[
                    local evrt = require "evrt"
                    return { name = "Stuck", events = { "**" }, timeout = "1h", handle = function()
                        evrt.sleep(3000)
                    end }
                ]],
                ["slow.lua"] = [[
                    local evrt = require "evrt"
                    return { name = "Slow", events = { "**" }, timeout = "1h", concurrency = 4, handle = function()
                        evrt.sleep(0.05)
                    end }
                ]],
            },
        }
        local event = '{"specversion":"1.0","id":"","source":"memory","type":"x.y","data":{"pad":"'
            .. ("x"):rep(200) .. '"}}'
        event = event:gsub('"id":"",', "") -- the node makes ids
        local batch = "[" .. (event .. ","):rep(999) .. event .. "]"
        local connection = evrt.connect(node.ingest)
        local function publish()
            local answer = connection:request("POST", "/events", batch, evrt.batch)
            assert.equal(202, answer.status, answer.body)
        end
        publish()
        local rss, dirty = memory(node.pid)
        local most_rss, most_dirty = rss, dirty
        for i = 2, EVENTS / 1000 do
            publish()
            if i % 50 == 0 then
                local r, d = memory(node.pid)
                most_rss, most_dirty = math.max(most_rss, r), math.max(most_dirty, d)
            end
        end
        connection:close()
        for _, item in ipairs(node:get("/api/v1/handlers").json.items) do
            assert.is_true(item.pending > EVENTS * 0.9)
        end
        local r, d = memory(node.pid)
        most_rss, most_dirty = math.max(most_rss, r), math.max(most_dirty, d)
        print(("memory: %d events to handlers that do not get on: host grew by %.1f MiB resident, %.1f MiB of its own "
            .. "(limit 64 MiB)"):format(EVENTS, (most_rss - rss) / 1024, (most_dirty - dirty) / 1024))
        assert.is_true(most_rss - rss < LIMIT_KIB)
        assert.is_true(most_dirty - dirty < LIMIT_KIB)
        assert.equal(0, (node:stop()))
    end)
end)
