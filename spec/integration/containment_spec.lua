-- Runaways beside handlers that behave: each costs its worker and nobody else; it is charged by name, tried
-- again, and dead at the third time. What was in the same worker is made again and not charged.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local load = require "spec.support.load"
local loop = require "spec.support.loop"
local seconds = require "spec.support.time".seconds

-- Handlers by event type: what a script can do to its worker, and what is said of it.
local runaways = {
    loop = { "while true do end", "stalled", "the handler did not return or wait for 500ms (workers.stall_timeout)" },
    backtrack = { "return (('a'):rep(40)):find(('a-'):rep(30) .. 'b')", "stalled",
        "the handler did not return or wait for 500ms (workers.stall_timeout)" },
    exit = { "os.exit(3)", "crashed", "the handler ended its worker (exit code 3)" },
    segfault = { "require('ffi').cast('int *', 8)[0] = 1", "crashed", "signal 11 (Segmentation fault)" },
    abort = { "require('ffi').C.abort()", "crashed", "signal 6 (Aborted)" },
    kill = { "os.execute('kill -9 $PPID')", "crashed", "signal 9 (Killed)" },
    memory = { "local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end", "memory", "not enough memory" },
    caught = { "local t = {} while pcall(function() t[#t + 1] = ('x'):rep(1e6) .. #t end) do end", "memory",
        "not enough memory" },
}

local retry = { max_retries = 5, initial_delay = "1ms" }

describe("a runaway", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("costs its worker, is charged by name, and leaves the others alone #plain", function()
        local handlers = {
            ["good.lua"] = [[return { name = "Good", events = "good", handle = function() end }]],
            ["patient.lua"] = [[
                local evrt = require "evrt"
                return { name = "Patient", events = "patient", handle = function() evrt.sleep(0.3) end }]],
        }
        for kind, case in pairs(runaways) do
            handlers[kind .. ".lua"] = ([[
                require("ffi").cdef "void abort(void);"
                return { name = %q, events = %q, handle = function() %s end }
            ]]):format(kind, kind, case[1]):gsub('require%("ffi"%).cdef', kind == "abort" and "%0" or "--")
        end
        local node = evrt.start {
            config = { retry = retry,
                workers = { count = 2, stall_timeout = "500ms", memory_limit = "16MiB", allow_ffi = true } },
            handlers = handlers,
        }
        local seqs, others = {}, 0
        for kind in pairs(runaways) do
            for _ = 1, 5 do node:accept { type = "good" } end
            node:accept { type = "patient" }
            seqs[kind] = node:accept { type = kind }
            others = others + 6
        end
        local stats = node:await_end(60)
        for kind, case in pairs(runaways) do
            local h = node:outcome(seqs[kind], kind)
            assert.same({ kind, "dead", 3, case[2] }, { kind, h.outcome, h.attempt, h.error.type })
            assert.truthy(h.error.message:find(case[3], 1, true), h.error.message)
            node:await_log({ msg = "Event handle failed", handler = kind }, nil, 3)
            local said = node:logged { msg = "Event handle failed", handler = kind }
            assert.equal(3, #said)
            for i, line in ipairs(said) do assert.same({ i, case[2] }, { line.attempt, line.error_type }) end
        end
        assert.same({ crashed = 12, stalled = 6, memory = 6 }, stats.charged)
        assert.same({ others, 8 }, { stats.done, stats.dead })
        -- Those beside them were never charged.
        for name, count in pairs { Good = 40, Patient = 8 } do
            node:await_log({ msg = "Event handled successfully", handler = name }, nil, count)
            for _, line in ipairs(node:logged { msg = "Event handled successfully", handler = name }) do
                assert.equal(1, line.attempt)
            end
            assert.equal(0, #node:logged { msg = "Event handle failed", handler = name })
        end
        assert.equal(0, node:stop())
    end)

    it("that stalls is replaced within a second after workers.stall_timeout", function()
        local node = evrt.start {
            config = { retry = retry, workers = { count = 2, stall_timeout = "1s" } },
            handlers = { ["a.lua"] = [[
                return { name = "A", events = "a", handle = function() while true do end end }]] },
        }
        node:accept { type = "a" }
        node:await_end(60)
        node:await_log({ msg = "Worker replaced" }, nil, 3)
        local sent = { node:logged { msg = "Event published" }[1],
            unpack(node:logged { msg = "Event retry attempt" }) }
        local died = node:logged { msg = "Worker died", reason = "stalled: did not turn its loop for 1s "
            .. "(workers.stall_timeout)" }
        local replaced = node:logged { msg = "Worker replaced" }
        assert.same({ 3, 3, 3 }, { #sent, #died, #replaced })
        -- The quickest of three: a busy machine may stand in the way of any.
        local quickest = math.huge
        for i = 1, 3 do
            local began = seconds(sent[i].timestamp)
            assert.is_true(seconds(died[i].timestamp) - began >= 0.9) -- lines may have waited for their time stamp
            quickest = math.min(quickest, seconds(replaced[i].timestamp) - began)
        end
        assert.is_true(quickest < 1 + loop.stretch ^ 2, quickest)
        assert.equal(0, node:stop())
    end)

    it("is replaced later and later when workers die as soon as they live", function()
        local node = evrt.start {
            config = { workers = { count = 1 }, logging = { level = "debug" } },
            handlers = { ["a.lua"] = [[return { name = "A", events = "a", handle = function() end }]] },
        }
        local started = 1
        node:await("a replacement that was waited for", function()
            local lines = node:logged { msg = "Worker started" }
            if #lines >= started then
                uv.kill(lines[#lines].worker_pid, "sigkill")
                started = #lines + 1
            end
            local gaps = node:logged { msg = "Worker died" }
            local last = #lines > 1 and #gaps == #lines - 1 and seconds(lines[#lines].timestamp)
                - seconds(gaps[#gaps].timestamp)
            return last and last >= 0.2
        end)
        assert.equal(200, node:publish({ type = "a" }, "?wait=handled").status)
        assert.equal(0, node:stop())
    end)

    it("is found by what it does not take, too: a worker that was stopped", function()
        local node = evrt.start {
            config = { workers = { count = 1, stall_timeout = "500ms" } },
            handlers = { ["a.lua"] = [[return { name = "A", events = "a", handle = function() end }]] },
        }
        uv.kill(load.children(node.pid)[1], "sigstop")
        local seq = node:accept { type = "a" }
        node:await_end()
        assert.equal("done", node:outcome(seq, "A").outcome)
        assert.same({ crashed = 0, stalled = 0, memory = 0 }, node:get("/api/v1/stats").json.charged)
        assert.equal(0, node:stop())
    end)

    it("that crashes on every event is held back and not its workers #plain", function()
        local node = evrt.start {
            config = { retry = retry, workers = { count = 2 } },
            handlers = {
                ["a.lua"] = [[return { name = "A", events = "a", handle = function() os.exit(1) end }]],
                ["b.lua"] = [[return { name = "B", events = "b", handle = function() end }]],
            },
        }
        for _ = 1, 4 do node:accept { type = "a" } end
        for _ = 1, 50 do assert.equal(200, node:publish({ type = "b" }, "?wait=handled").status) end
        local stats = node:await_end(60)
        assert.same({ 4, 50, 12 }, { stats.dead, stats.done, stats.charged.crashed })
        assert.equal(12, stats.worker_restarts)
        assert.equal(0, node:stop())
    end)

    it("is killed while the node drains", function()
        local node = evrt.start {
            config = { retry = retry, workers = { count = 1, stall_timeout = "500ms", drain_timeout = "20s" } },
            handlers = { ["a.lua"] = [[
                local evrt = require "evrt"
                return { name = "A", events = "a", handle = function() evrt.log.info "in" while true do end end }]] },
        }
        node:accept { type = "a" }
        node:kill()
        assert.equal(0, (node:wait(10)))
        node = node:restart()
        node:await_log { msg = "Event handle failed", error_type = "stalled" }
        node:stop("sigkill")
    end)
end)

describe("an answer for what the worker does not have", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is refused and counted", function()
        local node = evrt.start {
            config = { workers = { count = 1, allow_ffi = true } },
            handlers = { ["a.lua"] = [[
                local ffi = require "ffi"
                ffi.cdef "long write(int fd, const void *p, size_t n);"
                return { name = "A", events = "a", handle = function()
                    -- DONE: u32 length, u8 type 34, then subscription 1's delivery 999
                    ffi.C.write(3, "\16\0\0\0\34\0\0\0\231\3\0\0\0\1\0\0", 16)
                end }]] },
        }
        local seq = node:accept { type = "a" }
        local stats = node:await_end()
        assert.same({ 1, 1, 0 }, { stats.stale_answers, stats.done, stats.dead })
        assert.equal("done", node:outcome(seq, "A").outcome)
        assert.equal(0, node:stop())
    end)

    -- Generation 1 has two workers: one with the delivery of p, one with that of q. After a reload the first is
    -- killed, so p is delivered again, under the number it had, to generation 2. Then the other one, which still
    -- drains, answers for it.
    it("is refused and counted when it comes from a generation that drains, for what was taken from it", function()
        local script = [[
            local evrt = require "evrt"
            local ffi = require "ffi"
            ffi.cdef "long write(int fd, const void *p, size_t n); int getpid(void);"
            local dir, generation = %q, %d
            local function read(name)
                local file = io.open(dir .. name)
                local text = file and file:read "*a"
                if file then file:close() end
                return text
            end
            -- The page shared with the host names the delivery that runs.
            local function number()
                for line in io.lines "/proc/self/maps" do
                    local at = line:match "^(%%x+)%%-.*evrt%%-page"
                    if at then return tonumber(ffi.cast("uint64_t *", tonumber(at, 16))[1]) end
                end
            end
            return { name = "A", events = "*", handle = function(event, ctx)
                ctx.log.info("waits", { type = event.type, mark = generation, number = number(), pid = ffi.C.getpid() })
                if event.type == "p" and generation == 1 then evrt.sleep(3600) end
                local told = false
                while not read "/gate" do
                    local forge = event.type == "q" and not told and tonumber(read "/forge")
                    if forge then -- DONE, as above
                        ffi.C.write(3, ffi.new("uint64_t[2]", { 34 * 2 ^ 32 + 16, forge }), 16)
                        told = true
                    end
                    evrt.sleep(0.02)
                end
            end }
        ]]
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir,
            config = { workers = { count = 2, allow_ffi = true, drain_timeout = "1h" }, reload = { watch = false } },
            handlers = { ["a.lua"] = script:format(dir, 1) },
        }
        local p = node:accept { type = "p" }
        local first = node:await_log { msg = "waits", type = "p" } -- told when it sleeps, so it is not to blame
        local q = node:accept { type = "q" }
        assert.are_not.equal(first.pid, node:await_log({ msg = "waits", type = "q" }).pid)
        evrt.write(dir .. "/handlers/a.lua", script:format(dir, 2))
        assert.equal("reloaded", node:post_admin("/api/v1/reload").json.outcome)
        require("luv").kill(first.pid, "sigkill")
        local again = node:await_log { msg = "waits", type = "p", mark = 2 }
        assert.equal(first.number, again.number)
        evrt.write(dir .. "/forge", ("%.0f"):format(first.number))
        node:await("the answer", function() return node:get("/api/v1/stats").json.stale_answers == 1 end)
        assert.same({ 0, 2 }, { node:handler("A").done, node:handler("A").running })
        evrt.write(dir .. "/gate", "")
        local stats = node:await_end()
        assert.same({ 1, 2, 0 }, { stats.stale_answers, stats.done, stats.dead })
        for seq, generation in pairs { [p] = 2, [q] = 1 } do
            local line = node:await_log { msg = "Event handled successfully", seq = seq }
            assert.equal(generation, line.generation)
        end
        assert.equal(0, node:stop())
    end)
end)

describe("a timeout", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function handled(body, policy, stall_timeout)
        local node = evrt.start {
            config = { retry = policy, workers = { count = 1, stall_timeout = stall_timeout } },
            handlers = { ["a.lua"] = ([[
                local evrt = require "evrt"
                return { name = "A", events = "a", timeout = "50ms", handle = function() %s end }]]):format(body) },
        }
        local seq = node:accept { type = "a" }
        node:await_end(20)
        local h = node:outcome(seq, "A")
        assert.equal(0, node:stop())
        return h
    end

    it("is raised by the next wait and by every later one", function()
        for _, body in ipairs {
            "evrt.sleep(60)",
            "for i = 1, 3 do local ok = pcall(evrt.sleep, 60) assert(not ok) end",
            "for i = 1, 3 do xpcall(evrt.sleep, function() return 'mine' end, 60) end return true",
            "local w = coroutine.wrap(function() pcall(evrt.sleep, 60) pcall(evrt.sleep, 60) end) pcall(w)",
            "pcall(evrt.sleep, 60) pcall(evrt.publish, { type = 'b' }) return true",
            "pcall(evrt.sleep, 60) error('another')",
        } do
            local h = handled(body)
            assert.same({ body, "dead", "timeout", 1 }, { body, h.outcome, h.error.type, h.attempt })
        end
    end)

    it("that is caught for ever is a stall", function()
        local h = handled("while true do pcall(evrt.sleep, 1) end", retry, "1s")
        assert.same({ "dead", "stalled", 3 }, { h.outcome, h.error.type, h.attempt })
    end)
end)

describe("what a handler raises", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is recorded readably, whatever it is", function()
        local cases = {
            { "error(nil)", "raised nil" },
            { "error({})", "raised a table {}" },
            { "error({ code = 7, why = 'no luck' })", 'raised a table {code = 7, why = "no luck"}' },
            { "error({ message = 'with a text' })", "with a text" },
            { "error(print)", "raised a function" },
            { "return nil, {}", "raised a table {}" },
            { "return nil, { code = 7 }", "raised a table {code = 7}" },
            { "return nil, 404", "404" },
            { "return nil, false", "false" },
            { "(('x'):rep(3)):gsub('x', function() require('evrt').sleep(0.01) end)",
                "evrt.sleep: cannot wait inside a callback of a C function (string.gsub, table.sort, require, ...); "
                .. "do the waiting before or after it" },
            { "(('x'):rep(3)):gsub('x', coroutine.yield)",
                "coroutine.yield: not in a coroutine that the script made" },
            { "coroutine.wrap(function() ('x'):gsub('x', coroutine.yield) end)()",
                "attempt to yield across C-call boundary" },
        }
        local handlers = {}
        for i, case in ipairs(cases) do
            handlers[("h%02d.lua"):format(i)] =
                ("return { name = 'H%d', events = 'a', handle = function()\n%s\nend }"):format(i, case[1])
        end
        handlers["good.lua"] = "return { name = 'Good', events = { 'a', 'b' }, handle = function() end }"
        local node = evrt.start { handlers = handlers }
        local seq = node:accept { type = "a" }
        local stats = node:await_end()
        assert.same({ #cases, 1, 0 }, { stats.dead, stats.done, stats.worker_restarts })
        assert.equal(200, node:publish({ type = "b" }, "?wait=handled").status) -- the one worker goes on
        for i, case in ipairs(cases) do
            local h = node:outcome(seq, "H" .. i)
            assert.same({ case[1], "dead", "error" }, { case[1], h.outcome, h.error.type })
            assert.truthy(h.error.message:find(case[2], 1, true), case[1] .. ": " .. h.error.message)
            assert.truthy(h.error.message:find(("h%02d.lua:"):format(i), 1, true), h.error.message)
        end
        assert.equal(0, node:stop())
    end)
end)
