-- A storm of reloads under load: signals and saves, each twice, broken scripts among them. Nothing is refused,
-- lost or made twice, and the host grows by nothing. EVRT_SPEC_TRIGGERS: how many signals, and as many saves (1000).
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local loop = require "spec.support.loop"

local triggers = tonumber(os.getenv "EVRT_SPEC_TRIGGERS" or "") or 1000

-- Every event is written down with the version of the script that handled it; some wait on the way.
local function script(side, version)
    return ([[
local evrt = require "evrt"
local log = assert(io.open(%q, "a"))
log:setvbuf "no"
return {
    { name = "Quick", events = { "storm.quick" }, handle = function(event)
        log:write(event.id .. " %d\n")
    end },
    { name = "Slow", events = { "storm.slow" }, handle = function(event)
        evrt.sleep(0.05)
        log:write(event.id .. " " .. require("_version") .. "\n")
    end },
}
]]):format(side, version)
end

-- What the process has open besides its store, as text: "4 pipe, 2 socket".
local function descriptors(pid)
    local counts, list = {}, {}
    local request = assert(uv.fs_scandir(("/proc/%d/fd"):format(pid)))
    for fd in function() return uv.fs_scandir_next(request) end do
        local target = uv.fs_readlink(("/proc/%d/fd/%s"):format(pid, fd))
        local kind = target and target:gsub("[%d%[%]:]+", "") or "?"
        if not kind:find "/data" then counts[kind] = (counts[kind] or 0) + 1 end
    end
    for kind, count in pairs(counts) do list[#list + 1] = count .. " " .. kind end
    table.sort(list)
    return table.concat(list, ", ")
end

local function mib(pid, field)
    return tonumber(evrt.read(("/proc/%d/status"):format(pid)):match("\n" .. field .. ":%s*(%d+)")) / 1024
end

local function resident(pid) return mib(pid, "VmRSS") end

-- Sanitizers keep what was freed, and reserve terabytes of addresses.
local function sanitized(pid) return mib(pid, "VmSize") > 1024 * 1024 end

describe("a storm of reloads", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("refuses nothing, loses nothing and leaves nothing behind", function()
        local dir = evrt.folder()
        local side = dir .. "/handled.log"
        local node = evrt.start {
            dir = dir,
            config = {
                workers = { count = 2 }, reload = { interval = "0s" },
                logging = { level = "info", sampling = { first = 5, then_every = 0 } },
                -- Else ids, and events that wait, would be what the host grows by.
                dedup = { max = 1000 },
                bus = { memory_limit = "1MiB", window = 512 },
            },
            handlers = { ["a.lua"] = script(side, 0), ["_version.lua"] = "return 0" },
        }
        local times, handled, versions = {}, 0, {}
        local read = load.tail(side, function(line)
            local id, version = line:match "^(%S+) (%d+)$"
            assert(id, "a broken line: " .. line)
            times[id] = (times[id] or 0) + 1
            handled, versions[tonumber(version)] = handled + 1, true
        end)
        local fds, children = descriptors(node.pid), #load.children(node.pid)
        local client = load.new { connections = 8, batch = 10, types = { "storm.quick", "storm.slow" } }
        client:start(node.ingest)

        local function save(name, text, rename)
            local path = dir .. "/handlers/" .. name
            if not rename then return evrt.write(path, text) end
            evrt.write(dir .. "/saved", text)
            assert(uv.fs_rename(dir .. "/saved", path))
        end
        local sent, version, halfway = 0, 0, nil
        local began = uv.hrtime()
        while sent < triggers do
            version = version + 1
            local broken = version % 5 == 0
            local good = script(side, version)
            for _ = 1, 2 do
                save("a.lua", broken and good:sub(1, -30) or good, version % 2 == 0)
                node:kill "sighup"
                sent = sent + 1
            end
            if version % 3 == 0 then save("_version.lua", "return " .. version, true) end
            if sent == triggers / 2 then halfway = resident(node.pid) end
            evrt.idle(math.random(0, 40) / 1000)
        end
        local seconds = (uv.hrtime() - began) / 1e9
        local growth = resident(node.pid) - halfway
        -- A second half with a faster disk may still fill what bus.memory_limit, and the batches, may hold.
        assert.is_true(growth < 4 or sanitized(node.pid), ("the second half: %.1f MiB more"):format(growth))
        version = version + 1
        save("_version.lua", "return " .. version, true)
        save("a.lua", script(side, version))
        local last = node:post_admin "/api/v1/reload"
        assert.same({ 200, true }, { last.status, last.json.generation > 1 })

        client:stop(true)
        assert.same({ 0, {} }, { client.refused, client.unexpected })
        local function all(field)
            local sum = 0
            for _, item in ipairs(node:get("/api/v1/handlers").json.items) do sum = sum + item[field] end
            return sum
        end
        node:await("all to be handled", function() return all "done" == client.acked_count end)
        node:await("the last generation to drain", function()
            return node:get("/api/v1/handlers").json.reload.state == "idle" and #load.children(node.pid) == children
        end)
        read()
        local lost, twice = 0, 0
        for id in pairs(client.acked) do
            lost = lost + (times[id] and 0 or 1)
            twice = twice + (times[id] == 1 and 0 or 1)
        end
        for id in pairs(times) do assert.is_truthy(client.sent[id], id) end
        assert.same({ 0, 0, 0, 0 }, { lost, twice, all "dead", all "discarded" })
        assert.is_nil(node:logged({ msg = "Worker died" })[1])
        local now = node:get("/api/v1/handlers").json.reload
        assert.is_true(now.reloaded > 5 and now.refused > 0)
        local most = 0
        for v in pairs(versions) do most = math.max(most, v) end
        assert.is_true(most > 0)

        -- The client's connections are closed by now, as they were not yet open before.
        local open
        local ok = pcall(loop.await, "descriptors to be closed", function()
            open = descriptors(node.pid)
            return open == fds
        end)
        assert.is_true(ok, ("open before: %s\nand after: %s"):format(fds, open))
        print(("reload storm: %d signals and as many saves in %.1f s, %d reloads, %d refused, %d unchanged; %d acked, "
            .. "0 lost, 0 twice; the second half made the host grow by %.2f MiB"):format(sent, seconds, now.reloaded,
            now.refused, now.unchanged, client.acked_count, growth))
        loop.settle()
        assert.equal(0, node:stop())
    end)

    it("leaves the host as big as it was #plain", function()
        local node = evrt.start {
            config = { workers = { count = 2 }, reload = { watch = false } },
            handlers = { ["a.lua"] = script("/dev/null", 0), ["_version.lua"] = "return 0" },
        }
        local warm
        for i = 1, 60 do
            evrt.write(node.dir .. "/handlers/_version.lua", "return " .. i)
            assert.equal("reloaded", node:post_admin("/api/v1/reload").json.outcome)
            if i == 20 then warm = resident(node.pid) end
        end
        local growth = resident(node.pid) - warm
        assert.is_true(growth < 1, ("40 reloads made the host grow by %.1f MiB"):format(growth))
        assert.equal(0, node:stop())
    end)
end)
