-- Order by key, waiting for others, and pausing, in the running node: whatever is killed.
local uv = require "luv"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"

-- Nothing is awaited in it: a log of floods costs more than they do.
local QUIET = { level = "info", sampling = { first = 1, then_every = 0 } }

-- Publishes `count` events made by event(i), 500 to a request.
local function flood(node, count, event)
    for from = 1, count, 500 do
        local batch = {}
        for i = from, math.min(from + 499, count) do batch[#batch + 1] = event(i) end
        local r = node:post_batch(batch)
        assert.equal(202, r.status, r.body)
    end
end

local function settled(node, name)
    return function()
        local one = node:handler(name)
        return one.pending == 0 and one.running == 0 and one
    end
end

-- A handler that writes a line when it begins an event and one when it has ended it. Lines are appended
-- whole, so their order in the file is the order in which things happened in all workers.
---@param gate? string until that file is there, none is begun
local function side_handler(side, more, gate)
    return ([[
        local evrt = require "evrt"
        local log = assert(io.open(%q, "a"))
        log:setvbuf "full"
        return { name = "A", events = { "**" }, start = "beginning", %s handle = function(event)
            local k = event.data.k
            %s
            log:write(("\nb %%d %%d\n"):format(event.seq, k)) log:flush()
            evrt.sleep(0.0005)
            log:write(("\ne %%d %%d\n"):format(event.seq, k)) log:flush()
        end }
    ]]):format(side, more, gate and ("while not io.open(%q) do evrt.sleep(0.01) end"):format(gate) or "")
end

-- Reads such a file. A key's events begin in sequence, each after the one before has ended; what began and
-- was cut off by a kill, or ended and was not settled, may come again.
local function reader(side)
    local last, open, wrong, seen = {}, {}, {}, { begun = 0, again = 0, handled = {} }
    seen.read = load.tail(side, function(line)
        local what, seq, key = line:match "^(%a) (%d+) (%d+)$"
        if not what then return end -- a piece of one, cut off by a kill
        seq = tonumber(seq)
        if what == "e" then
            if open[key] == seq then open[key] = nil end
            seen.handled[seq] = true
            return
        end
        seen.begun = seen.begun + 1
        if seq <= (last[key] or 0) then
            seen.again = seen.again + 1
        elseif open[key] then
            wrong[#wrong + 1] = ("key %s: %d began before %d had ended"):format(key, seq, open[key])
        else
            last[key] = seq
        end
        open[key] = seq
    end)
    seen.wrong = wrong
    return seen
end

describe("ordered_by", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("keeps each key's events in sequence, one at a time, while workers and the host are killed", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        math.randomseed(seed)
        local dir = evrt.folder()
        local side = dir .. "/side.log"
        local node = evrt.start {
            dir = dir, config = { retry = { max_retries = 3, initial_delay = "1ms" }, workers = { count = 2 },
                logging = QUIET },
            handlers = { ["a.lua"] = side_handler(side, [[ordered_by = "data.k", concurrency = 64,]]) },
        }
        local seen = reader(side)
        local client = load.new { connections = 6, batch = 40, types = { "x.y" }, keys = 23 }
        local hosts, workers = 0, 0
        for cycle = 1, 4 do
            client:start(node.ingest)
            for _ = 1, 3 do
                local goal = client.acked_count + 150
                node:await("some load", function() return client.acked_count >= goal end)
                local pids = load.children(node.pid)
                if #pids > 0 then
                    uv.kill(pids[math.random(#pids)], "sigkill")
                    workers = workers + 1
                end
            end
            if cycle < 4 then
                node:stop "sigkill"
                hosts = hosts + 1
                client:stop()
                node = node:restart()
            else
                client:stop(true)
            end
            seen.read()
            assert.same({}, seen.wrong, "EVRT_SEED=" .. seed)
        end
        local one = node:await("all to be handled", settled(node, "A"), 60)
        seen.read()
        assert.same({}, seen.wrong, "EVRT_SEED=" .. seed)
        local lost = 0
        for _, seq in pairs(client.acked) do
            if not seen.handled[seq] then lost = lost + 1 end
        end
        print(("order: EVRT_SEED=%d; %d kills of the host, %d of workers; %d acked, %d lost, %d again, 0 out of order")
            :format(seed, hosts, workers, client.acked_count, lost, seen.again))
        assert.equal(0, lost)
        assert.same({ 0, 0, 0 }, { one.dead, one.discarded, one.parked })
        assert.equal(0, (node:stop()))
    end)

    it("lets other keys go on beside one that stands, and goes on with it after a restart", function()
        local slow = [[
            local evrt = require "evrt"
            local gate = %q
            local function is_open(path)
                local file = io.open(path)
                if file then file:close() end
                return file
            end
            return { name = "A", events = "**", ordered_by = "partitionkey", handle = function(event)
                while event.extensions.partitionkey == "slow" and not is_open(gate) do evrt.sleep(0.02) end
                if not event.data then return end
                local file = assert(io.open(gate .. ".seen", "a")) -- the log drops lines at this rate
                file:write(event.data, " ")
                file:close()
            end }
        ]]
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, config = { workers = { count = 2 }, logging = QUIET },
            handlers = { ["a.lua"] = slow:format(dir .. "/gate") } }
        -- Three of four are of the slow key, among them the first.
        flood(node, 20000, function(i)
            return { type = "a", partitionkey = i % 4 == 1 and "k" .. i % 1000 or "slow" }
        end)
        local one = node:await("the other keys", function()
            local a = node:handler("A")
            return a.done == 5000 and not a.behind and a
        end, 60)
        assert.same({ 14999, 1 }, { one.pending, one.running })
        assert.is_true(one.parked > 14000)
        node:stop "sigkill"
        node = node:restart()
        flood(node, 1000, function(i) return { type = "a", partitionkey = "after" .. i } end)
        one = node:await("the other keys again", function()
            local a = node:handler("A")
            return a.done >= 6000 and a
        end, 60)
        assert.equal(6000, one.done)
        for n = 1, 5 do node:publish { type = "a", partitionkey = "slow", data = n } end
        evrt.write(dir .. "/gate", "")
        local seen = node:await("the slow key's", function()
            local text = require "spec.support.files".read(dir .. "/gate.seen")
            return text and text:find "5" and text
        end, 60)
        assert.equal("1 2 3 4 5 ", seen)
        one = node:await("all", settled(node, "A"), 60)
        assert.same({ 0, 0, 0 }, { one.parked, one.dead, one.discarded })
        assert.equal(0, (node:stop()))
    end)

    it("may be changed by a reload while events are under way", function()
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir, config = { workers = { count = 2 }, reload = { watch = false }, logging = QUIET },
            handlers = { ["a.lua"] = side_handler(dir .. "/one.log", [[ordered_by = "data.other",]], dir .. "/gate") },
        }
        flood(node, 2000, function(i) return { type = "a", data = { k = i % 5, other = i % 7 } } end)
        evrt.write(dir .. "/handlers/a.lua", side_handler(dir .. "/two.log", [[ordered_by = "data.k",]]))
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        evrt.write(dir .. "/gate", "")
        local one = node:await("all", settled(node, "A"))
        assert.same({ 2000, 2000, "data.k" }, { one.done, one.cursor - 1, one.ordered_by })
        local seen = reader(dir .. "/two.log")
        seen.read()
        assert.same({}, seen.wrong)
        assert.is_true(seen.begun > 0)
        assert.equal(0, (node:stop()))
    end)

    it("takes a key from an attribute or from data, and none from what is not there", function()
        local handlers = {}
        for i, by in ipairs { "subject", "source", "type", "region", "data.a.b" } do
            handlers[i] = ([[{ name = "H%d", events = "**", ordered_by = %q, handle = function(event, ctx)
                evrt.log.info("in", { h = ctx.handler, n = event.data.n })
                evrt.sleep(0.05)
                evrt.log.info("out", { h = ctx.handler, n = event.data.n })
            end }]]):format(i, by)
        end
        local node = evrt.start { handlers = { ["a.lua"] = 'local evrt = require "evrt" return {'
            .. table.concat(handlers, ",") .. "}" }, config = { logging = { sampling = { first = 0 } } } }
        local function overlap(a, b)
            a.data, b.data = a.data or {}, b.data or {}
            a.data.n, b.data.n = 1, 2
            local before = #node.lines
            node:post_batch {
                { specversion = "1.0", id = "a" .. before, source = a.source or "s1", type = a.type or "t.a",
                    subject = a.subject, region = a.region, data = a.data },
                { specversion = "1.0", id = "b" .. before, source = b.source or "s2", type = b.type or "t.b",
                    subject = b.subject, region = b.region, data = b.data },
            }
            local ended, open, both = 0, {}, {}
            node:await("both", function()
                ended = 0
                for i = before + 1, #node.lines do
                    if node.lines[i].msg == "out" then ended = ended + 1 end
                end
                return ended == 10
            end)
            for i = before + 1, #node.lines do
                local line = node.lines[i]
                if line.msg == "in" then
                    if open[line.h] then both[line.h] = true end
                    open[line.h] = true
                elseif line.msg == "out" then
                    open[line.h] = nil
                end
            end
            local list = {}
            for i = 1, 5 do list[i] = both["H" .. i] and "both" or "one" end
            return table.concat(list, " ")
        end
        assert.equal("both both both both both", overlap({}, {}))
        assert.equal("one both both both both", overlap({ subject = "x" }, { subject = "x" }))
        assert.equal("both one both both both", overlap({ source = "x" }, { source = "x" }))
        assert.equal("both both one both both", overlap({ type = "x" }, { type = "x" }))
        assert.equal("both both both one both", overlap({ region = "eu" }, { region = "eu" }))
        assert.equal("both both both both one", overlap({ data = { a = { b = 1 } } }, { data = { a = { b = 1 } } }))
        assert.equal("both both both both both", overlap({ data = { a = { b = 1 } } }, { data = { a = { b = "1" } } }))
        assert.equal("both both both both both",
            overlap({ data = { a = { b = cjson.null } } }, { data = { a = { b = cjson.null } } }))
        assert.equal(0, (node:stop()))
    end)
end)

describe("what a handler declares", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("of its priority holds among the handlers of an event", function()
        local handlers = {}
        for i, priority in ipairs { 0, 10, -10, 5 } do
            handlers[("h%d.lua"):format(i)] = ([[return { name = "H%d", events = "**", priority = %d,
                handle = function(_, ctx) ctx.log.info("in", { h = ctx.handler }) end }]]):format(i, priority)
        end
        local node = evrt.start { config = { workers = { count = 1 } }, handlers = handlers }
        for _ = 1, 10 do assert.equal(200, node:publish({ type = "a" }, "?wait=handled").status) end
        node:await_log({ msg = "in" }, nil, 40)
        local order = {}
        for i, line in ipairs(node:logged { msg = "in" }) do order[i] = line.h end
        assert.equal(("H2 H4 H1 H3 "):rep(10), table.concat(order, " ") .. " ")
        assert.equal(0, (node:stop()))
    end)

    it("of its concurrency holds for all workers together", function()
        local dir = evrt.folder()
        local node = evrt.start { dir = dir, config = { workers = { count = 2 } },
            handlers = { ["a.lua"] = side_handler(dir .. "/side.log", "concurrency = 3,") } }
        flood(node, 300, function(i) return { type = "a", data = { k = i } } end)
        node:await("all", settled(node, "A"))
        local open, most = 0, 0
        load.tail(dir .. "/side.log", function(line)
            open = open + (line:find "^b" and 1 or line:find "^e" and -1 or 0)
            most = math.max(most, open)
        end)()
        assert.same({ 0, 3 }, { open, most })
        assert.equal(0, (node:stop()))
    end)
end)

describe('wait = "handled"', function()
    require("spec.support.leak").guard(before_each, after_each)

    it("gives credit back: 10,000 waits on two workers, one at a time each, end", function()
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir, config = { workers = { count = 2, concurrency = 4 }, logging = QUIET },
            handlers = { ["a.lua"] = ([[
                local evrt = require "evrt"
                return {
                    { name = "Asks", events = "ask", concurrency = 1, timeout = "10m", handle = function()
                        local sent = assert(evrt.publish({ type = "task" }, { wait = "handled", timeout = "10m" }))
                        if sent.outcomes[1].outcome ~= "success" then error(sent.outcomes[1].outcome) end
                    end },
                    -- Nobody is served before all have asked.
                    { name = "Serves", events = "task", concurrency = 2, handle = function()
                        while not io.open(%q) do evrt.sleep(0.05) end
                    end },
                }]]):format(dir .. "/gate") },
        }
        flood(node, 10000, function() return { type = "ask" } end)
        node:await("all to wait", function()
            return node:handler("Asks").running == 10000 and node:handler("Serves").running == 2
        end, 60)
        evrt.write(dir .. "/gate", "")
        local one = node:await("all to be answered", settled(node, "Asks"), 60)
        assert.same({ 10000, 0 }, { one.done, one.dead })
        assert.equal(10000, node:handler("Serves").done)
        assert.equal(0, (node:stop()))
    end)

    it("is refused where a delivery would wait for its own key by way of others", function()
        local node = evrt.start { handlers = { ["a.lua"] = [[
            local evrt = require "evrt"
            local function ask(type, key)
                return assert(evrt.publish({ type = type, extensions = { partitionkey = key } }, { wait = "handled" }))
            end
            return {
                { name = "A", events = "a", ordered_by = "partitionkey", handle = function(event)
                    if event.source == "spec" then
                        error(ask("b", event.extensions.partitionkey).outcomes[1].error.message)
                    end
                end },
                { name = "B", events = "b", handle = function(event)
                    local key = event.extensions.partitionkey
                    ask("a", key .. "other") -- another key is free
                    ask("a", key)
                end },
            }]] } }
        local answer = node:publish({ type = "a", partitionkey = "k" }, "?wait=handled&timeout=20s")
        assert.equal(200, answer.status)
        assert.matches("holds the key that this event is ordered by", answer.body)
        assert.equal(0, (node:stop()))
    end)
end)

describe("a handler that is paused", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("finishes what it has and gets nothing more, across restarts and reloads, until it is resumed", function()
        local script = [[
            local evrt = require "evrt"
            return {
                { name = "A", events = "**", concurrency = 2, handle = function() evrt.sleep(0.5) end },
                { name = "B", events = "**", handle = function() end },
            }]]
        local node = evrt.start { handlers = { ["a.lua"] = script }, config = { reload = { watch = false } } }
        flood(node, 10, function() return { type = "a" } end)
        node:await("two to run", function() return node:handler("A").running == 2 end)
        local r = node:post_admin "/api/v1/handlers/A/pause"
        assert.same({ 200, "A" }, { r.status, r.json.paused })
        local one = node:await("those to end", function()
            local a = node:handler("A")
            return a.running == 0 and a
        end)
        assert.equal("paused", one.state)
        assert.is_true(one.done >= 2 and one.done < 10)
        local done = one.done
        node:stop "sigkill"
        node = node:restart()
        flood(node, 2000, function() return { type = "a" } end)
        node:await("the other handler", function() return node:handler("B").done == 2010 end)
        evrt.write(node.dir .. "/handlers/a.lua", script .. "\n-- changed\n")
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        one = node:handler("A")
        -- What had ended and was not settled when the host was killed has not ended.
        assert.is_true(one.done <= done)
        assert.same({ "paused", 0, 2010 - one.done }, { one.state, one.running, one.pending })
        assert.equal("active", node:handler("B").state)

        local url = { "--url", "http://127.0.0.1:" .. node.admin }
        local code, out = evrt.run { "handlers", url[1], url[2] }
        assert.equal(0, code)
        assert.matches("A%s+paused", out)
        evrt.write(node.dir .. "/handlers/a.lua", (script:gsub("0%.5", "0")))
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        code, out = evrt.run { "handlers", "resume", "A", url[1], url[2] }
        assert.equal(0, code)
        assert.matches("resumed%s+A", out)
        one = node:await("all", settled(node, "A"))
        assert.same({ "active", 2010 }, { one.state, one.done })
        assert.equal(0, (node:stop()))
    end)

    it("is named", function()
        local node = evrt.start { handlers = { ["a.lua"] = "return { name = 'A', events = '**', handle = print }" } }
        local r = node:post_admin "/api/v1/handlers/nobody/pause"
        assert.same({ 404, "not_found" }, { r.status, r.json.error.code })
        local url = "http://127.0.0.1:" .. node.admin
        local code, _, err = evrt.run { "handlers", "pause", "nobody", "--url", url }
        assert.equal(1, code)
        assert.matches("nobody", err)
        assert.equal(64, (evrt.run { "handlers", "pause", "--url", url }))
        assert.equal(64, (evrt.run { "handlers", "puase", "A", "--url", url }))
        code = evrt.run { "handlers", "pause", "A", "--url", url }
        assert.equal(0, code)
        assert.equal("paused", node:handler("A").state)
        assert.equal(200, node:post_admin("/api/v1/handlers/A/pause").status)
        assert.equal(0, (node:stop()))
    end)
end)
