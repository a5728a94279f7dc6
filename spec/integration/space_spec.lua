-- A store that is full refuses events with the reason, goes on with all else, and takes events again by
-- itself; so does one that events reach faster than the disk takes them.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"

-- Quick ends with an event at once; Held does when the file GATE is there, and pins the journal until then.
local HANDLERS = [[
local evrt = require "evrt"
local function there()
    local file = io.open "GATE"
    if file then file:close() end
    return file ~= nil
end
return {
    { name = "Quick", events = { "big" }, handle = function() end },
    { name = "Held", events = { "big" }, handle = function()
        while not there() do evrt.sleep(0.01) end
    end },
}
]]

local MIB = 2 ^ 20

local function laid(config)
    local dir = evrt.folder()
    return {
        dir = dir, config = config, handlers = { ["a.lua"] = (HANDLERS:gsub("GATE", dir .. "/gate")) },
    }
end

local function open_gate(node) evrt.write(node.dir .. "/gate", "") end

local function publish(node, bytes)
    return node:post("/events", ("x"):rep(bytes), { ["ce-type"] = "big", ["Content-Type"] = "text/plain" })
end

-- Publishes until that is refused: how many were accepted, and the refusal. The first is small: the first
-- segment holds it, and so it is needed, too.
local function fill(node, bytes)
    assert.equal(202, publish(node, 1).status)
    for accepted = 1, 1000 do
        local r = publish(node, bytes)
        if r.status ~= 202 then return accepted, r end
    end
    error "the store is never full"
end

local function refused(r, status, code, text)
    assert.equal(status, r.status, r.body)
    assert.equal(code, r.json.error.code)
    assert.truthy(r.json.error.message:find(text, 1, true), r.body)
    assert.truthy(tonumber(r.headers["retry-after"]) >= 1)
end

-- While it is full: reading works, and what is settled is settled.
local function goes_on(node, accepted)
    local r = node:get "/readyz"
    assert.equal(503, r.status)
    assert.truthy(r.body:find("the store is full", 1, true), r.body)
    assert.equal(200, node:get "/livez".status)
    assert.equal("big", node:get "/api/v1/events/1".json.type)
    local store = node:get "/api/v1/stats".json.store
    assert.is_true(store.full)
    assert.is_true(store.refused_full >= 1)
    node:await("Quick to be done", function() return node:handler("Quick").done == accepted end)
    assert.equal(0, node:handler("Held").done)
end

-- Each accepted event came to its one end.
local function nothing_lost(node, accepted)
    for _, name in ipairs { "Quick", "Held" } do
        node:await(name .. " to be done", function()
            local h = node:handler(name)
            return h.pending == 0 and h.running == 0
        end)
        local h = node:handler(name)
        assert.same({ accepted, 0, 0 }, { h.done, h.dead, h.discarded }, name)
    end
    assert.equal(accepted, node:get "/api/v1/stats".json.events)
end

-- A node whose disk has room for the first segment, one more and the reserve; what it says when there is no
-- more; and a function that makes room. The disk is a file system of its own, which goes with the node, or,
-- where none may be mounted, a limit on the size of its files. It is filled up when those files are there.
local function on_small_disk(options)
    local data = options.dir .. "/data"
    assert(uv.fs_mkdir(data, 448))
    local isolated = { "unshare", "--map-root-user", "--mount", "sh", "-c" }
    local mount = ('mount -t tmpfs -o size=216m tmpfs "%s"'):format(data)
    local mounted = os.execute(("%s '%s' 2>/dev/null"):format(table.concat(isolated, " "), mount)) == 0
    if mounted then
        isolated[#isolated + 1] = mount .. ' && exec "$0" "$@"'
        options.wrap = isolated
    end
    local node = evrt.start(options)
    local seen = mounted and ("/proc/%d/root%s"):format(node.pid, data) or data
    for _, name in ipairs { "spare", "reserve" } do
        node:await(name, function() return uv.fs_stat(seen .. "/journal/" .. name) end)
    end
    if mounted then
        assert.equal(0, os.execute(('head -c 76m /dev/zero >"%s/ballast"'):format(seen)))
        return node, "No space left on device", function() assert(uv.fs_unlink(seen .. "/ballast")) end
    end
    local function limit(bytes)
        assert.equal(0, os.execute(("prlimit --pid %d --fsize=%s:"):format(node.pid, bytes)))
    end
    limit(32 * MIB)
    return node, "File too large", function() limit "unlimited" end
end

describe("a store", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("that reached store.max_size takes events again when handlers let go of old ones", function()
        local node = evrt.start(laid {
            http = { max_event_size = "16MiB" }, store = { max_size = "192MiB", max_backlog = "64MiB" },
        })
        local accepted, r = fill(node, 15 * MIB)
        refused(r, 503, "store_full", "of store.max_size 192MiB")
        assert.equal("5", r.headers["retry-after"])
        r = node:post_batch { { type = "big", id = "b", data = ("x"):rep(15 * MIB) } }
        assert.same({ 503, "5" }, { r.status, r.headers["retry-after"] }, r.body)
        assert.equal("store_full", r.json[1].error.code)
        node:await_log { msg = "Store is full" }
        assert.truthy(node:await_log({ msg = "Event storage failed" }).error:find("store.max_size", 1, true))
        goes_on(node, accepted)
        -- Just as full after a restart.
        node:stop "sigkill"
        node = node:restart()
        refused(publish(node, 15 * MIB), 503, "store_full", "of store.max_size 192MiB")

        open_gate(node)
        local at = uv.hrtime()
        node:await_log { msg = "Segment dropped", reason = "store.max_size" }
        node:await_log { msg = "Store has space again" }
        assert.equal(200, node:get "/readyz".status)
        print(("space: %d ms from the handlers' go to intake"):format((uv.hrtime() - at) / 1e6))
        -- Faster than max_size allows for, now that nobody holds it up: refused at times, never for good.
        local more = 0
        for _ = 1, 30 do
            node:await("intake", function() return publish(node, 15 * MIB).status == 202 end)
            more = more + 1
        end
        nothing_lost(node, accepted + more)
        assert.is_true(node:get "/api/v1/stats".json.store.bytes <= 192 * MIB)
        assert.equal(0, (node:stop()))
    end)

    it("on a full disk takes events again when the disk has space", function()
        local node, why, make_room = on_small_disk(laid { http = { max_event_size = "2MiB" } })
        local accepted, r = fill(node, MIB)
        refused(r, 503, "store_full", why)
        goes_on(node, accepted)
        make_room()
        node:await_log { msg = "Store has space again" }
        assert.equal(200, node:get "/readyz".status)
        assert.equal(202, publish(node, MIB).status)
        open_gate(node)
        nothing_lost(node, accepted + 1)
        assert.equal(0, (node:stop()))
    end)

    it("whose reserve is used up, too, ends when it is told to, whoever waits for a commit", function()
        local options = laid {
            http = { max_event_size = "2MiB" }, workers = { drain_timeout = "1s" },
            retry = { policy = "fixed", max_retries = 65000, initial_delay = "5ms" },
            logging = { sampling = { first = 5, then_every = 0 } },
        }
        options.handlers["b.lua"] = ([[
            local evrt = require "evrt"
            return {
                { name = "Loud", events = "loud", handle = function() error(("x"):rep(8000)) end },
                { name = "Dies", events = "loud", on_dead_letter = function() end, handle = function()
                    while not io.open(%q) do evrt.sleep(0.01) end
                    evrt.reject "as asked"
                end },
            }]]):format(options.dir .. "/die")
        local node = on_small_disk(options)
        for _ = 1, 20 do assert.equal(202, node:publish { type = "loud" }.status) end
        fill(node, MIB)
        node:await("the reserve to be used up", function()
            return node:get "/api/v1/stats".json.store.backlog_bytes > 2 * MIB
        end)
        evrt.write(options.dir .. "/die", "")
        node:await("letters", function() return node:handler "Dies".dead == 20 end)
        local operator = http.connect(node.admin)
        operator:send(http.format("POST", "/api/v1/handlers/Quick/pause", ""))
        node:await("the handler to be paused", function() return node:handler "Quick".paused end)
        local readers = {}
        local paths = { "events/1", "events/1/why", "events?handler=Quick&limit=1", "dead-letters", "retries" }
        for i, path in ipairs(paths) do
            readers[i] = http.connect(node.admin)
            readers[i]:send(http.format("GET", "/api/v1/" .. path))
        end
        evrt.idle(0.2)
        assert.equal(0, (node:stop()))
        operator:close()
        for _, reader in ipairs(readers) do reader:close() end
    end)

    it("that more events wait for than store.max_backlog answers 429, and keeps what it took", function()
        local node = evrt.start {
            config = { http = { max_event_size = "32KiB" }, store = { max_backlog = "64KiB" } },
        }
        -- A batch is taken in one turn of the loop: nothing of it can be written meanwhile.
        local events = {}
        for i = 1, 5 do events[i] = { type = "a", id = "e" .. i, data = ("x"):rep(25000) } end
        local r = node:post_batch(events)
        assert.equal(207, r.status)
        for i, item in ipairs(r.json) do
            assert.equal(i <= 2 and 202 or 429, item.status)
            if i > 2 then
                assert.equal("busy", item.error.code)
                assert.truthy(item.error.message:find("store.max_backlog", 1, true))
            end
        end
        local stats = node:get "/api/v1/stats".json
        assert.same({ 2, 3 }, { stats.events, stats.store.refused_backlog })
        assert.equal(202, node:publish { type = "a", data = ("x"):rep(25000) }.status)
        assert.equal(0, (node:stop()))
    end)
end)
