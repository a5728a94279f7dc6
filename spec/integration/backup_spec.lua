-- A backup of a running node: what it held at one moment, whatever came afterwards. That is its events and all that
-- became of them: handlers' books, retries, dead letters, keys, events for later, jobs.
local uv = require "luv"
local cjson = require "cjson"
local content = require "spec.support.content"
local effects = require "spec.support.effects"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local oracle = require "spec.support.oracle"
local pages = require "spec.support.pages"
local stream = require "spec.support.stream"
local tamper = require "spec.support.tamper"

local HANDLERS = { ["a.lua"] = [[return {
    { name = "All", events = { "**" }, start = "beginning", handle = function(event)
        if event.data and event.data.n and event.data.n % 50 == 0 then error "fifty" end
    end },
}]] }

local function stored(node)
    local list = {}
    pages(node, "/api/v1/events?limit=1000", function(e) list[e.seq] = e.id end)
    return list
end

local function handler(node) return node:handler "All" end

local function url(node) return "127.0.0.1:" .. node.admin end

local function entries(dir)
    local names, request = {}, uv.fs_scandir(dir)
    while request do
        local name = uv.fs_scandir_next(request)
        if not name then break end
        names[#names + 1] = name
    end
    return names
end

local function exists(path) return uv.fs_stat(path) ~= nil end

local function post(node, body)
    local c = evrt.connect(node.admin)
    local r = c:request("POST", "/api/v1/backup", cjson.encode(body))
    c:close()
    return r
end

describe("a backup", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("made under load is the node at one moment, and runs when the original has been killed", function()
        local dir = evrt.folder()
        local books = oracle.new(dir)
        effects.handler(books, { events = { "load.b" }, fails = { "load.b" }, ordered_by = "data.k",
            key = "event.data.k" })
        books.scripts["a.lua"] = HANDLERS["a.lua"]
        local node = evrt.start { handlers = books.scripts, dir = dir, config = {
            logging = { level = "info", sampling = { first = 1, then_every = 0 } } } }
        local client = load.new { connections = 8, types = { "load.a", "load.b" }, pad = 12000, batch = 20, keys = 101 }
        client:start(node.ingest)
        node:await("a segment to be closed", function() return node:get "/api/v1/stats".json.store.segments > 1 end)
        local backup = evrt.spawn { args = { "backup", dir .. "/backup", "--json", "--url", url(node) } }
        assert.same({ 0, 0 }, { backup:wait() })
        local more = client.acked_count + 50
        node:await("more to come", function() return client.acked_count > more end)
        node:stop "sigkill"
        client:stop()

        local manifest = backup.lines[1]
        assert.same(manifest, cjson.decode(evrt.read(dir .. "/backup/backup.json")))
        assert.equal(1, manifest.first_seq)
        assert.is_true(manifest.group >= manifest.state_group and manifest.segments > 1)
        local code, out = evrt.run { "store", "verify", dir .. "/backup" }
        assert.equal(0, code)
        assert.truthy(out:find("\nsound$") and out:find(" " .. manifest.events .. " events", 1, true), out)

        local copy = evrt.start { handlers = books.scripts,
            config = { store = { path = dir .. "/backup" }, logging = { level = "info" } } }
        for _, msg in ipairs { "State restored", "Torn tail cut" } do assert.same({}, copy:logged { msg = msg }) end
        -- What had begun goes on, publishes, and comes when it is time.
        local held, last = stored(copy), manifest.next_seq - 1
        assert.is_true(#held >= last)
        for id, seq in pairs(client.acked) do
            if seq < manifest.next_seq then assert.equal(id, held[seq]) end
        end
        books:settle(copy, 60)
        assert.is_true(effects.sound(books, copy) > 0)
        assert.is_true(handler(copy).dead > 0)
        assert.equal(202, copy:publish({ type = "after" }).status)
        assert.equal(0, (copy:stop()))

        node = node:restart()
        books:settle(node, 60)
        effects.sound(books, node)
        local original = stored(node)
        assert.is_true(#original > last)
        for seq = 1, last do assert.equal(original[seq], held[seq]) end
        assert.equal(0, (node:stop()))
    end)

    it("tells the same as the node, of all that it holds", function()
        local node = evrt.start { handlers = content.handlers }
        content.make(node)
        local expected = content.of(node)
        assert.equal(0, (evrt.run { "backup", node.dir .. "/backup", "--url", url(node) }))
        assert.equal(202, node:publish({ type = "content.keys" }).status)
        local copy = evrt.start { handlers = content.handlers, config = { store = { path = node.dir .. "/backup" } } }
        content.same(expected, copy)
        assert.equal(0, (copy:stop()))
        -- The journal alone, too.
        os.execute(("rm -rf %s/backup/state.db* %s/backup/snapshots"):format(node.dir, node.dir))
        copy = copy:restart()
        content.same(expected, copy)
        assert.equal(0, (copy:stop()))
        assert.equal(0, (node:stop()))
    end)

    -- A node with a closed segment and a second one.
    local function two_segments(config)
        local node = evrt.start {
            handlers = HANDLERS, config = { http = { max_event_size = "8MiB" }, store = { max_backlog = "64MiB" },
                logging = { level = "info" }, workers = config },
        }
        while node:get "/api/v1/stats".json.store.segments < 2 do
            assert.equal(202, node:post("/events", ("x"):rep(7 * 2 ^ 20), { ["ce-type"] = "big",
                ["Content-Type"] = "text/plain" }).status)
        end
        return node
    end

    local function inode(path) return assert(uv.fs_stat(path)).ino end

    it("links closed segments, or copies them; both outlive what the node drops", function()
        local node = two_segments()
        local first = "/journal/0000000000000001.seg"
        -- Relative to the folder of the command, not of the node.
        local code, out = evrt.run({ "backup", "linked", "--url", url(node) }, { cwd = node.dir })
        assert.equal(0, code)
        assert.equal(1, (out:find(node.dir .. "/linked: ", 1, true)))
        assert.truthy(out:find "%d+ events? %(seq 1 to %d+%) in 2 segments")
        code = evrt.run { "backup", node.dir .. "/copied/", "--copy", "--url", url(node) }
        assert.equal(0, code)
        assert.equal(inode(node.dir .. "/data" .. first), inode(node.dir .. "/linked" .. first))
        assert.is_true(inode(node.dir .. "/data" .. first) ~= inode(node.dir .. "/copied" .. first))
        node:await("all to be handled", function()
            return handler(node).done == node:get "/api/v1/stats".json.events
        end)
        code = evrt.run { "cleanup", "--before", "0s", "--yes", "--url", url(node) }
        assert.equal(0, code)
        node:await("the segment to go", function() return not exists(node.dir .. "/data" .. first) end)
        for _, name in ipairs { "linked", "copied" } do
            assert.equal(0, (evrt.run { "store", "verify", node.dir .. "/" .. name }))
        end
        node:await_log({ msg = "Operator action", action = "backup", outcome = "made" }, nil, 2)
        assert.equal(0, (node:stop()))
    end)

    it("is refused where it would be no good", function()
        local node = evrt.start { config = { logging = { level = "info" } } }
        local full = node.dir .. "/full"
        evrt.write(full .. "/x", "")
        for _, case in ipairs {
            { { dir = full }, 409, "is not empty" }, { { dir = "backup" }, 400, "absolute path" },
            { { dir = node.dir .. "/evrt.yaml" }, 400, "Not a directory" },
            { { dir = node.dir .. "/data" }, 409, "is not empty" },
            { { dir = node.dir .. "/no/such" }, 400, "No such file" },
            { { dir = node.dir .. "/no/such/" }, 400, "No such file" },
            { { copy = true }, 400, "absolute path" }, { { dir = 1 }, 400, "dir: expected a string" },
        } do
            local r = post(node, case[1])
            assert.equal(case[2], r.status, r.body)
            assert.truthy(r.json.error.message:find(case[3], 1, true), r.body)
        end
        assert.same({ "x" }, entries(full))
        node:await_log { msg = "Operator action", action = "backup", target = full }
        local code, _, err = evrt.run { "backup", full, "--url", url(node) }
        assert.equal(1, code)
        assert.truthy(err:find("is not empty", 1, true), err)
        -- An empty one is fine.
        assert(uv.fs_mkdir(node.dir .. "/empty", 448))
        assert.equal(0, (evrt.run { "backup", node.dir .. "/empty", "--url", url(node) }))
        assert.equal(0, (evrt.run { "store", "verify", node.dir .. "/empty" }))
        assert.equal(0, (node:stop()))

        node = evrt.start { config = { store = { durability = "memory" } } }
        local r = post(node, { dir = node.dir .. "/backup" })
        assert.equal(409, r.status)
        assert.truthy(r.json.error.message:find("memory", 1, true))
        assert.equal(0, (node:stop()))
    end)

    it("ends with its client or its node, and leaves nothing then #plain", function()
        local node = two_segments()
        local dir = node.dir .. "/backup"
        -- Its first sync takes a while.
        tamper(node, dir .. "/state.db", "fsync:delay_enter=3000000")
        local client = stream.open(node.admin, "POST", "/api/v1/backup", cjson.encode { dir = dir })
        assert.equal(200, client.status)
        local r = post(node, { dir = node.dir .. "/other" })
        assert.equal(409, r.status)
        assert.truthy(r.json.error.message:find(dir, 1, true))
        -- Nothing is dropped under it.
        local c = evrt.connect(node.admin)
        r = c:request("POST", "/api/v1/cleanup", '{"before":"0s"}')
        c:close()
        assert.equal(0, r.json.dropped.segments)
        assert.equal("backup", r.json.pins[#r.json.pins].reason)
        client:close()
        node:await_log { msg = "Operator action", action = "backup", outcome = "cancelled; nothing is left of it" }
        assert.is_false(exists(dir))

        client = stream.open(node.admin, "POST", "/api/v1/backup", cjson.encode { dir = dir })
        node:kill()
        client:finish()
        assert.equal("cancelled", client.lines[#client.lines].error.code)
        client:close()
        node:wait()
        assert.is_false(exists(dir))
    end)
end)
