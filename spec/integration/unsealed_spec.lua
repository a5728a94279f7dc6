-- A node that is killed while it goes over to the next segment leaves that one empty and the one before
-- without an end. The next start takes the empty one away and writes on in the other: its name has to be gone
-- for good by then, for should it be there again after a power cut, events would stand where it says that none
-- do. strace kills, and tells in which order the calls came.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local tamper = require "spec.support.tamper"

local function publish(node, bytes)
    return node:post("/events", ("x"):rep(bytes), { ["ce-type"] = "a", ["Content-Type"] = "text/plain" })
end

-- Leaves segment 2 named, in a folder not synced since, and segment 1 not sealed: how many were acknowledged.
local function die_between(node)
    tamper(node, node.dir .. "/data/journal", "fsync:signal=SIGKILL")
    for acked = 0, 100 do
        local ok, r = pcall(publish, node, 1000000)
        if not ok then return acked end
        assert.equal(202, r.status)
    end
    error "the node did not end"
end

-- The first line of the trace, from line `at` on, in which all of these stand.
local function find(trace, at, ...)
    for i = at, #trace do
        local all = true
        for _, text in ipairs { ... } do all = all and trace[i]:find(text, 1, true) ~= nil end
        if all then return i end
    end
end

describe("an empty segment behind one without an end #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is gone for good before anything is written", function()
        local node = evrt.start()
        local dir = node.dir
        local acked = die_between(node)
        node:wait()
        local out = dir .. "/trace"
        node = evrt.start { dir = dir, wrap = { "strace", "-f", "-y", "-o", out, "-e",
            "trace=unlinkat,fsync,fadvise64,pwritev2" } }
        local stored = node:get "/api/v1/stats".json.events
        assert.is_true(stored == acked or stored == acked + 1)
        assert.equal(stored + 1, publish(node, 10).json.seq)
        uv.kill(node:logged({ msg = "evrt starting" })[1].pid, "sigterm") -- strace would keep it to itself
        assert.same({ 0, 0 }, { node:wait() })
        local trace = {}
        for line in io.lines(out) do trace[#trace + 1] = line end
        local removed = assert(find(trace, 1, "unlinkat", "0000000000000002.seg"), "nothing was left to remove")
        local synced = find(trace, removed, "fsync(", "/data/journal>)")
        local written = assert(find(trace, removed, "pwritev2(", "0000000000000001.seg>", "RWF_DSYNC"))
        assert.is_true(synced ~= nil and synced < written, "the folder was not synced before the next commit")
        -- Where O_DIRECT reads the page cache, the disk is asked only after the cache has forgotten.
        local forgotten = find(trace, removed, "fadvise64(", "0000000000000001.seg>", "POSIX_FADV_DONTNEED) = 0")
        assert.is_true(forgotten ~= nil and forgotten < written)
        assert.equal(0, (evrt.run { "store", "verify", dir .. "/data" }))
    end)
end)
