-- What waits for its next attempt, as an operator sees it: each row's members, the command line, and the delays
-- that policies gave, told by the rows themselves (due less last_failed), so that no clock is raced.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local files = require "spec.support.files"
local http = require "spec.support.http"
local time = require "spec.support.time"

local hour = 3600 * 1000

local function handler(name, events, body, fields)
    return ([[
        local evrt = require "evrt"
        return { name = %q, events = %q, %s handle = function(event, ctx)
            %s
        end }]]):format(name, events, fields or "", body)
end

-- Every failure waits for hours: nothing is due before an operator says so.
local function start(retry, handlers, workers)
    local config = { policy = "exponential", max_retries = 9, initial_delay = "1h", max_delay = "100d",
        multiplier = 2, jitter = 0 }
    for k, v in pairs(retry) do config[k] = v end
    return evrt.start { config = { retry = config, workers = workers }, handlers = handlers }
end

local function rows(node) return node:get("/api/v1/retries?limit=1000").json.items end

local function milliseconds(from, to)
    return math.floor((time.seconds(to) - time.seconds(from)) * 1000 + 0.5)
end

local function delay(row) return milliseconds(row.last_failed, row.due) end

-- Waits for the row of that sequence to await that attempt.
local function await_row(node, seq, attempt)
    return node:await(("attempt %d of %d to wait"):format(attempt, seq), function()
        for _, row in ipairs(rows(node)) do
            if row.seq == seq and row.attempt == attempt and row.state == "waiting" then return row end
        end
    end, 60)
end

local function run_now(node, row)
    assert.equal(200, node:post_admin("/api/v1/retries/" .. row.id .. "/run").status)
end

-- The delays before so many attempts more, each made due as soon as it waits.
local function delays(node, seq, count)
    local list = {}
    for n = 1, count do
        local row = await_row(node, seq, n + 1)
        list[n] = delay(row)
        if n < count then run_now(node, row) end
    end
    return list
end

describe("a retry's row", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("says what failed, where, when first and last, and when it is due #plain", function()
        local before = os.time()
        local node = start({}, {
            ["A.lua"] = handler("A", "a", "error('boom ' .. ctx.attempt)"),
            ["B.lua"] = handler("B", "a", ""),
        })
        local seq = node:accept { type = "a" }
        local one = await_row(node, seq, 2)
        assert.equal(1, #rows(node)) -- for A alone
        assert.same({ "1-1", "A", seq, 2, 0, "error", node.dir .. "/handlers/A.lua:3: boom 1" },
            { one.id, one.handler, one.seq, one.attempt, one.crashes, one.error.type, one.error.message })
        assert.equal(one.first_failed, one.last_failed)
        assert.is_true(time.seconds(one.first_failed) >= before)
        assert.equal(hour, delay(one))

        run_now(node, one)
        local two = await_row(node, seq, 3)
        assert.equal(node.dir .. "/handlers/A.lua:3: boom 2", two.error.message)
        assert.equal(one.first_failed, two.first_failed)
        assert.is_true(time.seconds(two.last_failed) >= time.seconds(one.last_failed))
        assert.equal(2 * hour, delay(two))

        node:stop "sigkill"
        node = node:restart()
        assert.same({ two }, rows(node))
        assert.equal(0, node:stop())
    end)

    -- The host stands still while the attempt fails and the operator asks, so both come to it at once. Whether it looks
    -- at the worker first is the kernel's choice; it does as a rule.
    it("is found in the turn in which it fails again", function()
        local node = start({}, {
            ["A.lua"] = handler("A", "a", [[
                local go = io.open(event.subject .. ctx.attempt)
                while ctx.attempt > 1 and not go do
                    evrt.sleep(0.001)
                    go = io.open(event.subject .. ctx.attempt)
                end
                if go then go:close() end
                error 'boom']]),
            -- Has its turn in that worker when A's answer has left it.
            ["B.lua"] = handler("B", "b", [[
                for attempt = 2, 4 do
                    local go
                    repeat
                        evrt.sleep(0.001)
                        go = io.open(event.subject .. attempt)
                    until go
                    go:close()
                    evrt.sleep(0.005)
                    assert(io.open(event.subject .. "B" .. attempt, "w")):close()
                end]]),
        }, { count = 1 })
        local mark = node.dir .. "/go"
        local seq = node:accept { type = "a", subject = mark }
        node:accept { type = "b", subject = mark }
        local connection, due = http.connect(node.admin), false
        for attempt = 2, 4 do
            if not due then run_now(node, await_row(node, seq, attempt)) end
            node:await("the attempt to run", function() return rows(node)[1].state == "running" end)
            assert.equal(200, connection:request("GET", "/livez").status)
            node:kill "sigstop"
            evrt.write(mark .. attempt, "")
            node:await("the worker to be on", function() return files.read(mark .. "B" .. attempt) end)
            connection:send(http.format("POST", "/api/v1/retries/1-" .. seq .. "/run", ""))
            node:kill "sigcont"
            local status = connection:response().status
            assert.is_true(status == 200 or status == 409, status)
            due = status == 200
        end
        connection:close()
        evrt.write(mark .. 5, "") -- it may run by now
        assert.equal(0, node:stop())
    end)

    it("is worked with on the command line", function()
        local node = start({}, {
            ["A.lua"] = handler("A", "a", "if ctx.attempt == 1 then error 'boom' end"),
            ["B.lua"] = handler("B", "b", "error 'bang'"),
        })
        local function run(...)
            local args = { "retries", ... }
            args[#args + 1] = "--url"
            args[#args + 1] = "http://127.0.0.1:" .. node.admin
            return evrt.run(args)
        end
        assert.same({ 0, "No retries.", "" }, { run() })
        for _ = 1, 4 do await_row(node, node:accept { type = "a" }, 2) end
        await_row(node, node:accept { type = "b" }, 2)

        local code, out = run "list"
        assert.equal(0, code)
        assert.truthy(out:find "^ID +HANDLER +STATE +ATTEMPT +DUE +TYPE +ERROR\n", out)
        for _, row in ipairs(rows(node)) do
            local line = ("\n" .. out .. "\n"):match("\n(" .. row.id:gsub("%-", "%%-") .. " [^\n]*)\n")
            assert.truthy(line, out)
            for _, text in ipairs { row.handler, "waiting", row.due, "error", row.error.message } do
                assert.truthy(line:find(text, 1, true), line)
            end
        end
        assert.same({ 0, out, "" }, { run() })

        local function listed(...)
            local ok, json = run("list", "--json", ...)
            assert.equal(0, ok)
            return cjson.decode(json)
        end
        assert.same(rows(node), listed().items)
        local page = listed("--limit", "3")
        assert.same({ 3, "1-3" }, { #page.items, page.next })
        assert.equal("1-4", listed("--after", page.next).items[1].id)
        local of_b = listed("--handler", "B").items
        assert.same({ 1, "B" }, { #of_b, of_b[1].handler })

        code, out = run("run", "1-1")
        assert.equal(0, code)
        assert.truthy(out:find "id +1%-1" and out:find "state +due", out)
        code, out = run("run", "1-2", "--json")
        assert.same({ 0, { id = "1-2", state = "due" } }, { code, cjson.decode(out) })
        node:await("both", function() return node:handler("A").done == 2 end)

        assert.equal(64, (run("delete", "1-3")))
        assert.equal(3, #rows(node)) -- nobody was asked, and nothing was done
        code, out = run("delete", "1-3", "--yes")
        assert.equal(0, code)
        assert.truthy(out:find "state +discarded", out)
        code, out = run("delete", "1-4", "--yes", "--json")
        assert.same({ 0, { id = "1-4", state = "discarded" } }, { code, cjson.decode(out) })
        for _, words in ipairs { { "delete", "1-4", "--yes" }, { "run", "1-1" } } do
            local failed, _, why = run(unpack(words))
            assert.equal(1, failed)
            assert.truthy(why:find("no such retry", 1, true), why)
        end
        assert.equal(64, (run("run")))
        assert.equal(64, (run("list", "1-1")))

        local left = rows(node)
        assert.same({ 1, "B" }, { #left, left[1].handler })
        local s = node:get("/api/v1/stats").json
        assert.same({ 2, 2, 1, 0 }, { s.done, s.discarded, s.retrying, s.dead })
        assert.equal(0, node:stop())
    end)
end)

describe("the delay before a retry", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is spread by jitter within its bounds, and otherwise in another run #plain", function()
        local count = 200
        local function spread()
            local node = start({ jitter = 0.5 }, { ["A.lua"] = handler("A", "a", "error 'boom'") }, { count = 2 })
            local batch = {}
            for i = 1, count do batch[i] = { specversion = "1.0", type = "a", source = "spec", id = tostring(i) } end
            assert.equal(202, node:post_batch(batch).status)
            node:await("all to fail", function() return #rows(node) == count end, 60)
            local list, distinct, seen = {}, 0, {}
            for i, row in ipairs(rows(node)) do
                list[i] = delay(row)
                assert.is_true(list[i] >= hour / 2 and list[i] <= hour * 3 / 2, row.due)
                if not seen[list[i]] then distinct, seen[list[i]] = distinct + 1, true end
            end
            assert.equal(0, node:stop())
            -- Of millions of milliseconds; below, in the quarters at both ends.
            assert.is_true(distinct > count * 3 / 4, distinct .. " of " .. count)
            local low, high = math.min(unpack(list)), math.max(unpack(list))
            assert.is_true(low < hour * 3 / 4 and high > hour * 5 / 4, low .. " to " .. high)
            return list
        end
        local one, other = spread(), spread()
        local same = 0
        for i = 1, count do same = same + (one[i] == other[i] and 1 or 0) end
        assert.is_true(same < count / 4, same .. " of " .. count)
    end)

    it("is the same after an error, a timeout, a stall and a crash", function()
        local failures = {
            error = { "error 'boom'", "error" },
            answer = { "return nil, 'boom'", "error" },
            timeout = { "evrt.sleep(600)", "timeout", 'timeout = "50ms",' },
            stall = { "while true do end", "stalled" },
            crash = { "os.exit(1)", "crashed" },
        }
        local handlers = {}
        for kind, case in pairs(failures) do
            handlers[kind .. ".lua"] = handler(kind, kind, case[1], case[3])
        end
        local node = start({ multiplier = 3 }, handlers, { count = 1, stall_timeout = "500ms" })
        for kind, case in pairs(failures) do
            -- One at a time: a worker that dies takes what else it has with it.
            local seq = node:accept { type = kind }
            local first = await_row(node, seq, 2)
            run_now(node, first)
            local second = await_row(node, seq, 3)
            assert.same({ kind, case[2], hour, 3 * hour },
                { kind, second.error.type, delay(first), delay(second) })
            assert.equal((kind == "stall" or kind == "crash") and 2 or 0, second.crashes)
        end
        assert.equal(0, node:stop())
    end)

    it("grows by its multiplier up to max_delay, by the configuration and by a handler", function()
        local node = start({ multiplier = 3, max_delay = "20h" }, {
            ["A.lua"] = handler("A", "a", "error 'boom'"),
            ["B.lua"] = handler("B", "b", "error 'boom'", [[policies = { evrt.policy.retry {
                policy = "exponential", initial_delay = "2h", multiplier = 1.5, max_delay = "4h" } },]]),
            ["C.lua"] = handler("C", "c", "error 'boom'", [[policies = { evrt.policy.retry {
                policy = "linear", initial_delay = "1h", increment = "2h", max_delay = "4h" } },]]),
        })
        local a, b, c = node:accept { type = "a" }, node:accept { type = "b" }, node:accept { type = "c" }
        assert.same({ hour, 3 * hour, 9 * hour, 20 * hour, 20 * hour }, delays(node, a, 5))
        assert.same({ 2 * hour, 3 * hour, 4 * hour, 4 * hour }, delays(node, b, 4))
        assert.same({ hour, 3 * hour, 4 * hour, 4 * hour }, delays(node, c, 4))
        assert.equal(0, node:stop())
    end)

    it("is no longer than max_delay with jitter, too", function()
        local node = start({ jitter = 0.5, max_delay = "1h" }, { ["A.lua"] = handler("A", "a", "error 'boom'") })
        for _ = 1, 20 do node:accept { type = "a" } end
        node:await("all to fail", function() return #rows(node) == 20 end)
        for _, row in ipairs(rows(node)) do
            assert.is_true(delay(row) >= hour / 2 and delay(row) <= hour, row.due)
        end
        assert.equal(0, node:stop())
    end)

    it("is what a function of attempt, failure and event says, up to its max_delay", function()
        local node = start({ max_retries = 0 }, {
            ["A.lua"] = handler("A", "a", "error('boom ' .. ctx.attempt)", [[policies = { evrt.policy.retry {
                policy = function(attempt, failure, event)
                    assert(event.type == "a" and event.subject == "s" and event.source == "spec")
                    assert(failure.type == "error" and failure.message:find("boom " .. attempt .. "$"))
                    return event.data.hours[attempt] and event.data.hours[attempt] * 3600
                end, max_delay = "5h" } },]]),
        })
        local seq = node:accept { type = "a", subject = "s", data = { hours = { 2, 0.5, 7, 5 } } }
        assert.same({ 2 * hour, hour / 2, 5 * hour, 5 * hour }, delays(node, seq, 4))
        run_now(node, await_row(node, seq, 5)) -- of which it says nothing
        node:await_end()
        local one = node:outcome(seq, "A")
        assert.same({ "dead", 5 }, { one.outcome, one.attempt })
        assert.equal("declined", node:get("/api/v1/dead-letters").json.items[1].reason)
        assert.equal(0, node:stop())
    end)
end)

describe("retries that wait for long", function()
    require("spec.support.leak").guard(before_each, after_each)

    -- The host's thread sleeps in epoll_wait: each time it wakes is a voluntary switch. It does some a second for
    -- other reasons, and others may take it a few more; a window in which there are none of these comes.
    it("do not wake the host", function()
        local node = start({}, { ["A.lua"] = handler("A", "a", "error 'boom'") }, { count = 1 })
        local function wakes()
            local path = ("/proc/%d/task/%d/status"):format(node.pid, node.pid)
            local function count() return tonumber(evrt.read(path):match "\nvoluntary_ctxt_switches:%s*(%d+)") end
            local before = count()
            evrt.idle(1)
            return count() - before
        end
        local most = math.max(wakes(), wakes()) + 4
        for _ = 1, 100 do node:accept { type = "a" } end
        node:await("all to wait", function() return node:get("/api/v1/stats").json.retrying == 100 end)
        local few
        for _ = 1, 10 do
            few = wakes()
            if few <= most then break end
        end
        assert.is_true(few <= most, ("woke %d times in a second, at most %d without retries"):format(few, most))
        assert.equal(100, #rows(node))
        assert.equal(0, node:stop())
    end)
end)
