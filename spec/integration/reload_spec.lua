-- Reload: a new generation of workers on a frozen snapshot of the scripts, all or nothing.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local notify = require "spec.support.notify"

-- A handler that logs its mark with every event.
local function handler(name, events, mark, more)
    return ([[
local evrt = require "evrt"
return {
    name = %q, events = { %s }, %s
    handle = function(event, ctx)
        ctx.log.info("handled", { id = event.id, mark = %s })
    end,
}
]]):format(name, events, more or "", mark)
end

-- No watching unless the spec is about it: what a reload does must not depend on who was first.
local function start(options)
    options.config = options.config or {}
    options.config.reload = options.config.reload or { watch = false }
    return evrt.start(options)
end

local function reload(node) return node:post_admin "/api/v1/reload" end

local function write(node, name, text) evrt.write(node.dir .. "/handlers/" .. name, text) end

local function configure(node, text)
    evrt.write(node.dir .. "/evrt.yaml", text)
end

local number = 0
-- Publishes an event and returns the marks with which it was handled.
local function marks(node, type, count)
    number = number + 1
    local id = "mark-" .. number
    assert.equal(202, node:publish({ type = type, id = id }).status)
    local found = {}
    node:await(("event %s to be handled %d times"):format(id, count or 1), function()
        found = {}
        for _, line in ipairs(node:logged { msg = "handled", id = id }) do found[#found + 1] = line.mark end
        return #found >= (count or 1)
    end)
    table.sort(found)
    return table.concat(found, " ")
end

-- Deliveries of a handler that have not ended.
local function open(node, name)
    local one = node:handler(name)
    return one.pending + one.running
end

local function state(node) return node:get("/api/v1/handlers").json end

describe("a reload", function()
    require("spec.support.leak").guard(before_each, after_each)

    -- Policy 5 is SCHED_IDLE. It gives way while it loads, but only for a moment, and not once it serves.
    it("lets nobody load behind all others for ever", function()
        local script = [[
            local function policy()
                local file = assert(io.open "/proc/self/stat")
                local words = {}
                for word in file:read "*a":match "%%) (.*)":gmatch "%%S+" do words[#words + 1] = word end
                file:close()
                return words[39]
            end
            while policy() ~= "0" do end
            return { name = "One", events = "one", handle = function(event, ctx)
                ctx.log.info("handled", { id = event.id, mark = policy() .. " in %d" })
            end }
        ]]
        local node = start { config = { workers = { count = 2 } }, handlers = { ["a.lua"] = script:format(1) } }
        assert.equal("0 in 1", marks(node, "one"))
        for i = 2, 3 do
            write(node, "a.lua", script:format(i))
            assert.equal(200, reload(node).status)
            for _ = 1, 4 do assert.equal("0 in " .. i, marks(node, "one")) end
        end
        assert.equal(0, node:stop())
    end)

    it("takes over added, changed, renamed and removed files as a whole", function()
        local node = start { handlers = {
            ["a.lua"] = handler("A", '"a"', "1"),
            ["b.lua"] = handler("B", '"a"', "2"),
            ["c.lua"] = handler("C", '"c"', "3"),
        } }
        assert.equal("1 2", marks(node, "a", 2))
        write(node, "a.lua", handler("A", '"a", "c"', "4"))
        assert(uv.fs_rename(node.dir .. "/handlers/b.lua", node.dir .. "/handlers/bb.lua"))
        write(node, "c.lua", handler("C2", '"c"', "5"))
        write(node, "d.lua", handler("D", '"a"', "6"))
        local answer = reload(node)
        assert.equal(200, answer.status)
        assert.equal("reloaded", answer.json.outcome)
        assert.equal(2, answer.json.generation)
        local handlers = answer.json.handlers
        assert.same({ "C2", "D" }, handlers.added)
        assert.same({ "C" }, handlers.removed)
        assert.same({ { handler = "A", changes = "events, file" }, { handler = "B", changes = "place" } },
            handlers.changed)
        assert.same({ { from = "C", to = "C2" } }, handlers.renamed)
        assert.equal("2 4 6", marks(node, "a", 3))
        assert.equal("4 5", marks(node, "c", 2))
        assert.same({ "orphaned", "active" }, { node:handler("C").state, node:handler("B").state })
        assert.equal(2, node:handler("B").generation)
        local files = {}
        for _, file in ipairs(state(node).files) do
            assert.truthy(file.hash:find "^%x+$")
            files[#files + 1] = file.path:match "[^/]+$"
        end
        assert.same({ "a.lua", "bb.lua", "c.lua", "d.lua" }, files)
        assert.equal(2, node:await_log({ msg = "handled", mark = 6 }).generation or 2)
        assert.equal(2, node:await_log({ msg = "Event handled successfully", handler = "D" }).generation)
        node:await_log { msg = "Generation drained", generation = 1, redelivered = 0 }
        assert.equal(0, node:stop())
    end)

    it("takes over a module that changed, and late requires stay with their generation", function()
        local node = start { handlers = {
            ["_mark.lua"] = "return 1",
            ["a.lua"] = handler("A", '"a"', 'require "_mark"'),
            ["lib/late.lua"] = "return 10",
            ["b.lua"] = handler("B", '"b"', 'require "lib.late"'),
        } }
        assert.equal("1", marks(node, "a"))
        write(node, "_mark.lua", "return 2")
        write(node, "lib/late.lua", "return 20")
        -- On the disk, and not reloaded: neither a late require nor the worker after a crash sees it.
        assert.equal("10", marks(node, "b"))
        uv.kill(load.children(node.pid)[1], "sigkill")
        node:await_log { msg = "Worker replaced" }
        assert.equal("1", marks(node, "a"))
        local answer = reload(node)
        assert.equal("reloaded", answer.json.outcome)
        assert.same({}, answer.json.handlers.changed)
        assert.equal("2", marks(node, "a"))
        assert.equal("20", marks(node, "b"))
        assert.equal(0, node:stop())
    end)

    it("starts no workers when nothing has changed", function()
        local node = start { handlers = { ["a.lua"] = handler("A", '"a"', "1") } }
        local before = load.children(node.pid)
        write(node, "a.lua", handler("A", '"a"', "1"))
        local answer = reload(node)
        assert.same({ 200, "unchanged", 1 }, { answer.status, answer.json.outcome, answer.json.generation })
        assert.same(before, load.children(node.pid))
        assert.equal(0, node:stop())
    end)

    it("discards what no longer matches, counted, and keeps what a removed handler had", function()
        local node = start {
            config = { workers = { count = 1, drain_timeout = "50ms" } },
            handlers = {
                ["a.lua"] = [[
                    local evrt = require "evrt"
                    return { name = "A", events = { "a", "b" }, concurrency = 1,
                        handle = function() evrt.sleep(60) end }
                ]],
                ["gone.lua"] = [[
                    local evrt = require "evrt"
                    return { name = "Gone", events = { "b" }, concurrency = 1,
                        handle = function() evrt.sleep(60) end }
                ]],
            },
        }
        for i = 1, 20 do assert.equal(202, node:publish({ type = i % 2 == 0 and "a" or "b" }).status) end
        node:await("deliveries to wait", function() return open(node, "A") == 20 end)
        write(node, "a.lua", handler("A", '"a"', "1"))
        uv.fs_unlink(node.dir .. "/handlers/gone.lua")
        assert.same({ { handler = "A", changes = "events, concurrency, file" } }, reload(node).json.handlers.changed)
        node:await("A to end", function() return open(node, "A") == 0 end)
        local a, gone = node:handler("A"), node:handler("Gone")
        assert.same({ 10, 10, 0 }, { a.done, a.discarded, a.dead })
        assert.same({ "orphaned", 10, 0, 0 }, { gone.state, gone.pending, gone.done, gone.discarded })
        -- It comes back, and has them.
        write(node, "gone.lua", handler("Gone", '"b"', "2"))
        assert.same({ "Gone" }, reload(node).json.handlers.added)
        node:await("Gone to end", function() return open(node, "Gone") == 0 end)
        assert.equal(10, node:handler("Gone").done)
        -- And once more it goes, and is forgotten.
        uv.fs_unlink(node.dir .. "/handlers/gone.lua")
        assert.same({ "Gone" }, reload(node).json.handlers.removed)
        assert.equal(200, node:delete_admin("/api/v1/handlers/Gone").status)
        assert.is_nil(node:handler("Gone"))
        assert.equal(0, node:stop())
    end)

    it("lets suspended handlers finish on their own generation", function()
        local gate = evrt.folder() .. "/gate"
        local node = start { handlers = { ["a.lua"] = ([[
            local evrt = require "evrt"
            local old = 1
            return { name = "A", events = { "a" }, handle = function(event, ctx)
                ctx.log.info("begun", { id = event.id })
                while not io.open(%q) do evrt.sleep(0.01) end
                evrt.publish { type = "b", data = { mark = old } }
                ctx.log.info("ended", { id = event.id, mark = old })
            end }
        ]]):format(gate) } }
        node:publish { type = "a", id = "slow" }
        node:await_log { msg = "begun", id = "slow" }
        write(node, "a.lua", handler("A", '"a"', "2"))
        assert.equal("reloaded", reload(node).json.outcome)
        assert.equal("draining", state(node).reload.state)
        assert.equal("2", marks(node, "a"))
        evrt.write(gate, "")
        assert.equal(1, node:await_log({ msg = "ended", id = "slow" }).mark)
        assert.equal(1, node:await_log({ msg = "Event handled successfully", event_id = "slow" }).generation)
        assert.equal(0, node:await_log({ msg = "Generation drained" }).redelivered)
        assert.equal("idle", state(node).reload.state)
        assert.equal(1, #node:logged { msg = "begun" })
        assert.equal(0, node:stop())
    end)

    it("makes again what does not finish within drain_timeout, and lets one generation drain at a time", function()
        local node = start {
            config = { workers = { count = 1, drain_timeout = "300ms" } },
            handlers = { ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = { "a" }, handle = function() evrt.sleep(60) end }
            ]] },
        }
        node:publish { type = "a", id = "long" }
        node:await("a delivery to run", function() return node:handler("A").running == 1 end)
        write(node, "a.lua", handler("A", '"a"', "2"))
        assert.equal(2, reload(node).json.generation)
        write(node, "a.lua", handler("A", '"a"', "3"))
        assert.equal(3, reload(node).json.generation) -- after generation 1 had drained
        assert.equal(1, node:await_log({ msg = "Generation drained", generation = 1 }).redelivered)
        -- By the second or the third: when the first was drained, the third waited for that.
        node:await_log { msg = "handled", id = "long" }
        node:await("it to be settled", function() return node:handler("A").done == 1 end)
        assert.equal(0, #node:logged { msg = "Worker died" })
        assert.equal(0, node:stop())
    end)
end)

describe("a reload that is refused", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node

    local function expect(files, line, message, more)
        local before = state(node).generation
        for name, text in pairs(files) do write(node, name, text) end
        local answer = reload(node)
        assert.equal(422, answer.status)
        assert.equal("refused", answer.json.error.code)
        assert.equal(before, answer.json.generation)
        local first = answer.json.errors[1]
        if line then assert.same({ "bad.lua", line }, { first.file:match "[^/]+$", first.line }) end
        assert.truthy(first.message:find(message, 1, true), first.message)
        local now = state(node).reload
        assert.same({ "refused", first.message }, { now.outcome, now.errors[1].message })
        local logged = node:await_log { msg = "Reload refused", error = first.message }
        if line then assert.equal(line, logged.line) end
        assert.equal("1", marks(node, "a"))
        if more then more(answer) end
        for name in pairs(files) do os.remove(node.dir .. "/handlers/" .. name) end
    end

    local function started(workers)
        node = start { config = { workers = workers }, handlers = { ["a.lua"] = handler("A", '"a"', "1") } }
    end

    before_each(function() started { count = 2 } end)

    it("for a bad script keeps what serves, and names the place", function()
        expect({ ["bad.lua"] = "return {\n  name = 'B'\n  events = 'b' }" }, 3, "expected")
        expect({ ["bad.lua"] = "local x\nreturn x.y" }, 2, "attempt to index")
        expect({ ["bad.lua"] = "\nrequire 'no.such.module'" }, 2, "module 'no.such.module' not found")
        expect({ ["bad.lua"] = "local evrt = require 'evrt'\nevrt.sleep(1)" }, 2, "only while a handler")
        expect({ ["bad.lua"] = "return { events = 'b', handle = function() end }" }, 1, "name")
        expect({ ["bad.lua"] = handler("A", '"b"', "2") }, 4, "declared twice")
        expect({ ["bad.lua"] = handler("B", '"b"', "2", 'policies = { "retyr" },') }, 3,
            'policy "retyr" is not known (did you mean "retry"?)')
        expect({ ["bad.lua"] = "\nlocal x = require '_x'", ["_x.lua"] = "return require '_y'",
            ["_y.lua"] = "return require '_x'" }, nil, "requires itself: _x -> _y -> _x")
        assert.equal("unchanged", reload(node).json.outcome)
        assert.same({}, state(node).reload.errors)
        assert.equal(0, node:stop())
    end)

    -- Sanitizers hold signals back.
    it("for one that loops or sleeps while it is loaded #plain", function()
        assert.equal(0, node:stop())
        started { count = 2, stall_timeout = "700ms" }
        expect({ ["bad.lua"] = "local i = 0\nwhile true do i = i + 1 end" }, 2, "workers.stall_timeout")
        expect({ ["bad.lua"] = "\nos.execute 'sleep 2'" }, 2, "workers.stall_timeout")
        assert.equal(0, node:stop())
    end)

    it("for one that ends its worker while it is loaded", function()
        expect({ ["bad.lua"] = "\nos.exit(3)" }, 2, "os.exit: a script must not end its worker while it is loaded")
        expect({ ["bad.lua"] = "require('evrt.c.script').exit(3)" }, nil,
            "ended its worker while it was loaded (exit code 3)")
        expect({ ["bad.lua"] = "local f = io.open('/proc/self/stat')\nlocal pid = f:read '*n'\nf:close()\n"
            .. "os.execute('kill -KILL ' .. pid)" }, nil, "killed its worker while it was loaded")
        expect({ ["bad.lua"] = "local c = 0\nlocal f = io.open('/proc/self/stat')\nlocal pid = f:read '*n'\n"
            .. "return { name = 'P' .. pid, events = 'p', handle = function() end }" }, nil,
            "declare other handlers in one worker than in another")
        assert.equal(0, node:stop())
    end)

    it("tells every error", function()
        expect({ ["bad.lua"] = "return {", ["bad2.lua"] = "x x", ["bad3.lua"] = "return 1" }, 1, "expected",
            function(answer)
                assert.equal(3, #answer.json.errors)
            end)
        assert.equal(0, node:stop())
    end)

    it("keeps the old code also when workers crash then", function()
        write(node, "a.lua", "broken broken")
        assert.equal(422, reload(node).status)
        for _, pid in ipairs(load.children(node.pid)) do uv.kill(pid, "sigkill") end
        node:await_log({ msg = "Worker replaced" }, nil, 2)
        assert.equal("1", marks(node, "a"))
        assert.equal(1, node:await_log({ msg = "Event handled successfully" }).generation)
        write(node, "a.lua", handler("A", '"a"', "2"))
        assert.equal("reloaded", reload(node).json.outcome)
        assert.equal("2", marks(node, "a"))
        assert.equal(0, node:stop())
    end)

    it("for a bad configuration", function()
        configure(node, "handlers: handlers/\nlogging: {levle: debug}\nworkers: {memory_limit: lots}\n")
        local answer = reload(node)
        assert.equal(422, answer.status)
        local first = answer.json.errors[1]
        assert.same({ "evrt.yaml", 2 }, { first.file:match "[^/]+$", first.line })
        assert.truthy(first.message:find("logging.level", 1, true), first.message)
        assert.equal(2, #answer.json.errors)
        configure(node, "handlers: nowhere/\n")
        answer = reload(node)
        assert.equal(422, answer.status)
        assert.truthy(answer.json.errors[1].message:find("nowhere cannot be read", 1, true))
        assert.equal("1", marks(node, "a"))
        assert.equal(0, node:stop())
    end)
end)

describe("a reload is asked for", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("by SIGHUP, and systemd is told", function()
        local path = os.tmpname()
        os.remove(path)
        local socket = notify.listen(path)
        local node = start {
            handlers = { ["a.lua"] = handler("A", '"a"', "1") }, env = { NOTIFY_SOCKET = path },
        }
        node:await("READY=1", function() return socket:has "READY=1" end)
        write(node, "a.lua", handler("A", '"a"', "2"))
        node:kill "sighup"
        assert.equal(2, node:await_log({ msg = "Reloaded" }).generation)
        write(node, "a.lua", "x x")
        node:kill "sighup"
        node:await_log { msg = "Reload refused" }
        local function said()
            local words = {}
            for _, text in ipairs(socket:received()) do
                words[#words + 1] = text:gsub("MONOTONIC_USEC=%d+", "MONOTONIC_USEC=N"):gsub("\n", " ")
            end
            return words
        end
        local expected = {
            "READY=1",
            "RELOADING=1 MONOTONIC_USEC=N", "READY=1 STATUS=Serving.",
            "RELOADING=1 MONOTONIC_USEC=N", "READY=1 STATUS=The last reload was refused; what ran before goes on.",
        }
        node:await("all of it", function() return #said() >= #expected end)
        assert.same(expected, said())
        assert.equal(0, node:stop())
        socket:close()
    end)

    it("by the command line, which tells the outcome", function()
        local node = start { handlers = { ["a.lua"] = handler("A", '"a"', "1") } }
        local url = { "reload", "--url", "127.0.0.1:" .. node.admin }
        local code, out = evrt.run(url)
        assert.same({ 0, "generation 1 stays: nothing has changed" }, { code, out })
        write(node, "a.lua", handler("A", '"a", "b"', "2"))
        write(node, "b.lua", handler("B", '"b"', "2"))
        code, out = evrt.run(url)
        assert.same({ 0, "generation 2 serves\n  added handler B\n  changed handler A: events, file" }, { code, out })
        write(node, "b.lua", "return {\n")
        local err
        code, out, err = evrt.run(url)
        assert.same({ 78, "refused: generation 2 goes on serving" }, { code, out })
        assert.truthy(err:find(node.dir .. "/handlers/b.lua:2: ", 1, true), err)
        code, out = evrt.run { "reload", "--json", "--url", "127.0.0.1:" .. node.admin }
        assert.equal(78, code)
        assert.truthy(out:find('"outcome":"refused"', 1, true))
        write(node, "b.lua", handler("B", '"b"', "2", 'policies = { "no such" },'))
        code, out, err = evrt.run(url)
        assert.same({ 78, "refused: generation 2 goes on serving" }, { code, out })
        assert.truthy(err:find(node.dir .. '/handlers/b.lua:3: policy "no such" is not known', 1, true), err)
        assert.equal("2", marks(node, "a"))
        assert.equal(2, state(node).generation)
        assert.equal(0, node:stop())
        assert.equal(69, (evrt.run(url)))
    end)

    it("by saving a script, however that is done", function()
        local node = start {
            config = { reload = { watch = true } },
            handlers = { ["a.lua"] = handler("A", '"a"', "1"), ["_m.lua"] = "return 1", ["lib/m.lua"] = "return 1" },
        }
        local dir = node.dir .. "/handlers/"
        local generation = 1
        -- Noticed by watching, and then read to the end: a save is more than one change of the disk, and each
        -- may be noticed by itself.
        local function reloaded(what)
            node:await(what, function() return state(node).generation > generation end)
            assert.equal(200, reload(node).status)
            generation = state(node).generation
        end
        write(node, "a.lua", handler("A", '"a"', "2"))
        reloaded "written in place"
        assert.equal("2", marks(node, "a"))
        for _, mark in ipairs { "3", "4" } do -- twice: what is watched must survive the first
            evrt.write(node.dir .. "/saved", handler("A", '"a"', mark))
            assert(uv.fs_rename(node.dir .. "/saved", dir .. "a.lua"))
            reloaded "renamed over"
        end
        assert.equal("4", marks(node, "a"))
        write(node, "_m.lua", "return 2")
        reloaded "a module"
        write(node, "lib/m.lua", "return 2")
        reloaded "a module in a subfolder"
        write(node, "lib/deep/er/m.lua", "return 2")
        reloaded "new folders"
        write(node, "lib/deep/er/m.lua", "return 3")
        reloaded "a file in a new folder"
        os.remove(dir .. "_m.lua")
        reloaded "a file removed"
        -- Exchanged for another folder of that name.
        assert.equal(0, os.execute(("cp -r %slib %slib2 && mv %slib %s../was && mv %slib2 %slib")
            :format(dir, dir, dir, dir, dir, dir)))
        write(node, "lib/m.lua", "return 4")
        reloaded "a folder exchanged"
        write(node, "lib/m.lua", "return 5")
        reloaded "a file in it"
        -- Not scripts.
        write(node, ".a.lua.swp", "x")
        write(node, "a.lua~", "x")
        write(node, "notes.txt", "x")
        -- What was written in place may have been read when it was half there, and refused for a moment.
        local refused = state(node).reload.refused
        evrt.write(node.dir .. "/saved", "x x")
        assert(uv.fs_rename(node.dir .. "/saved", dir .. "a.lua"))
        node:await("a refusal", function() return state(node).reload.outcome == "refused" end)
        assert.is_true(state(node).reload.refused > refused)
        assert.equal(generation, state(node).generation)
        assert.equal("4", marks(node, "a"))
        assert.equal(0, node:stop())
    end)

    it("many times at once, and done a few times", function()
        local node = start { handlers = { ["a.lua"] = handler("A", '"a"', "1") } }
        write(node, "a.lua", handler("A", '"a"', "2"))
        for _ = 1, 50 do node:kill "sighup" end
        assert.equal(200, reload(node).status)
        local now = state(node).reload
        assert.equal(1, now.reloaded)
        assert.is_true(now.reloaded + now.unchanged < 10)
        assert.equal("2", marks(node, "a"))
        -- Who asks while one is under way gets the outcome of one that has read what stood there by then.
        write(node, "a.lua", handler("A", '"a"', "3"))
        node:kill "sighup"
        write(node, "a.lua", handler("A", '"a"', "4"))
        assert.equal(200, reload(node).status)
        assert.equal("4", marks(node, "a"))
        assert.equal(0, node:stop())
    end)

    it("without a pause, and is done at once a few times, then by who waits for it", function()
        local node = start {
            config = { reload = { watch = false, interval = "1h" } },
            handlers = { ["a.lua"] = handler("A", '"a"', "0") },
        }
        for i = 1, 4 do
            write(node, "a.lua", handler("A", '"a"', tostring(i)))
            node:kill "sighup"
            node:await("reload " .. i, function() return state(node).reload.reloaded == i end)
        end
        write(node, "a.lua", handler("A", '"a"', "5"))
        node:kill "sighup"
        node:await("the fifth to be put off", function() return state(node).reload.state == "put_off" end)
        assert.equal("4", marks(node, "a"))
        write(node, "a.lua", handler("A", '"a"', "6"))
        assert.equal(200, reload(node).status)
        assert.equal("6", marks(node, "a"))
        assert.equal(5, state(node).reload.reloaded)
        assert.equal(0, node:stop())
    end)

    it("without a pause, and the last is not forgotten", function()
        local node = start {
            config = { reload = { watch = false, interval = "300ms" } },
            handlers = { ["a.lua"] = handler("A", '"a"', "0") },
        }
        for i = 1, 50 do
            write(node, "a.lua", handler("A", '"a"', tostring(i)))
            node:kill "sighup"
            evrt.idle(0.01)
        end
        node:await("the last one", function() return marks(node, "a") == "50" end)
        assert.equal(0, node:stop())
    end)

    it("while the node drains, and is not done", function()
        local gate = evrt.folder() .. "/gate"
        local node = start { handlers = { ["a.lua"] = ([[
            local evrt = require "evrt"
            return { name = "A", events = { "a" }, handle = function()
                while not io.open(%q) do evrt.sleep(0.01) end
            end }
        ]]):format(gate) } }
        node:publish { type = "a" }
        node:await("a delivery to run", function() return node:handler("A").running == 1 end)
        node:kill "sigterm"
        node:await_log { msg = "Draining" }
        write(node, "a.lua", handler("A", '"a"', "2"))
        local answer = reload(node)
        assert.same({ 503, "shutting_down" }, { answer.status, answer.json.error.code })
        evrt.write(gate, "")
        assert.equal(0, node:wait())
        assert.is_nil(node:logged({ msg = "Reloaded" })[1])
    end)
end)
