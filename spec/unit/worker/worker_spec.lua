-- The process: how it starts, what it answers, and how it ends.
local ffi = require "ffi"
local worker = require "spec.support.worker"

local quiet = { ["h.lua"] = "return { name = 'H', events = 'a.*', handle = function() end }" }
local SIGHUP, SIGINT, SIGTERM = 1, 2, 15
local EX_PROTOCOL, EX_CONFIG = 76, 78

describe("worker/worker", function()
    it("says what its scripts declare", function()
        local w = worker.start {
            ["b.lua"] = [[return {
                { name = "One", events = "a.*", timeout = "1.5s", concurrency = 3, start = "beginning",
                  ordered_by = "data.user.id", priority = -3, handle = function() end },
                { name = "Two", events = { "b", "**" }, handle = function() end },
            }]],
        }
        local ready = require "cjson".decode(w:expect("READY").text)
        w:stop()
        assert.same({
            { name = "One", file = "b.lua", line = 3, events = { "a.*" }, timeout_ms = 1500, concurrency = 3,
                ordered_by = "data.user.id", priority = -3, start = "beginning", on_retry = "hold",
                on_dead_letter = false, policies = {}, chain = "[]", retries = {} },
            { name = "Two", file = "b.lua", line = 4, events = { "b", "**" }, timeout_ms = 0, concurrency = 0,
                ordered_by = require "cjson".null, priority = 0, start = "new", on_retry = "hold",
                on_dead_letter = false, policies = {}, chain = "[]", retries = {} },
        }, ready.handlers)
        assert.is_true(ready.memory > 50000)
    end)

    it("handles what arrives, and gathers what is done", function()
        local w = worker.start(quiet)
        w:expect "READY"
        for _ = 1, 1000 do w:deliver { type = "a.b" } end
        for i = 1, 1000 do assert.equal("done", w:settle(i)) end
        assert.equal(0, w:stop())
    end)

    it("gives each handler its own deliveries", function()
        local w = worker.start { ["h.lua"] = [[return {
            { name = "A", events = "**", handle = function(_, ctx) print(ctx.handler, ctx.attempt) end },
            { name = "B", events = "**", handle = function(_, ctx) print(ctx.handler, ctx.attempt) end },
        }]] }
        w:expect "READY"
        w:handle({ type = "a" }, { handler = 1, attempt = 4 })
        w:handle({ type = "a" }, { handler = 0 })
        assert.same({ "B\t4", "A\t1" }, w:printed())
        w:stop()
    end)

    it("ends when the host goes, also while handlers wait", function()
        local w = worker.start { ["h.lua"] = [[local evrt = require "evrt"
            return { name = "H", events = "**", handle = function() print "waiting" evrt.sleep(1000) end }]] }
        w:expect "READY"
        w:deliver { type = "a" }
        w:expect "LOG"
        assert.equal(0, w:stop())
    end)

    it("drains: finishes what it has, says so, and ends", function()
        local w = worker.start { ["h.lua"] = [[local evrt = require "evrt"
            return { name = "H", events = "**", handle = function() evrt.sleep(0.02) end }]] }
        w:expect "READY"
        for _ = 1, 20 do w:deliver { type = "a" } end
        w:text("DRAIN", "")
        for i = 1, 20 do assert.equal("done", w:settle(i)) end
        w:expect "DRAINED"
        assert.equal(0, w:wait())
        w:stop()
    end)

    it("ignores signals that are meant for the host", function()
        local w = worker.start(quiet)
        w:expect "READY"
        for _, signal in ipairs { SIGHUP, SIGINT, SIGTERM } do
            ffi.C.kill(w.pid, signal)
        end
        assert.equal("done", w:handle { type = "a.b" })
        assert.equal(0, w:stop())
    end)

    it("does not make what scripts run deaf to signals", function()
        local _, printed = worker.run "print(io.popen('kill -TERM $$; echo alive'):read '*a')"
        assert.same({ "" }, printed)
    end)

    it("only checks when asked to", function()
        local refused, ready = worker.check(quiet)
        assert.is_nil(refused)
        assert.matches('"name":"H"', ready)
        assert.matches("^h.lua:1: ", worker.check { ["h.lua"] = "return 1" })
    end)

    it("refuses with every error of every file", function()
        local w = worker.start { ["a.lua"] = "x =", ["b.lua"] = "error 'no'", ["c.lua"] = quiet["h.lua"] }
        local lines = w:expect("REFUSED").text
        assert.equal(EX_CONFIG, w:stop())
        assert.matches("^a.lua:1: [^\n]+\nb.lua:1: no$", lines)
    end)

    it("refuses a snapshot that is none", function()
        assert.equal("the snapshot of scripts is malformed", worker.check "EVRTSNP1 and then something else")
    end)

    for what, bytes in pairs {
        ["no frame"] = "\1\0\0\0\0\0\0\0",
        ["a frame of the other direction"] = "\8\0\0\0\34\0\0\0",
        ["a delivery that is cut"] = "\16\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0",
    } do
        it("ends itself on " .. what, function()
            local w = worker.start(quiet)
            w:expect "READY"
            w:write(bytes)
            assert.is_nil(w:next())
            assert.equal(EX_PROTOCOL, w:stop())
        end)
    end

    it("ends itself on a delivery for no handler, or of no event", function()
        local good = worker.encode { type = "a" }
        for _, bad in ipairs { { handler = 1, event = good }, { handler = 0, event = "junk" } } do
            local w = worker.start(quiet)
            w:expect "READY"
            w:send("deliver", { handler = bad.handler, attempt = 1, delivery = 1, timeout_ms = 0, event = bad.event })
            assert.is_nil(w:next())
            assert.equal(EX_PROTOCOL, w:stop())
        end
    end)

    it("expects HELLO first, and once", function()
        local w = worker.start(quiet)
        w:expect "READY"
        w:send("hello", { concurrency = 1, memory_limit = 2 ^ 20 })
        assert.is_nil(w:next())
        assert.equal(EX_PROTOCOL, w:stop())
    end)

    -- Both come to it at once, as it is stopped meanwhile: an answer that ends a delivery, and room for what it wrote.
    it("goes on when it may write again just as an answer comes", function()
        local SIGCONT, SIGSTOP = 18, 19
        local w = worker.start { ["h.lua"] = [[
            local evrt = require "evrt"
            return {
                { name = "Big", events = "big", handle = function()
                    evrt.publish { type = "x", data = ("x"):rep(300000) }
                end },
                { name = "Small", events = "small", handle = function() end },
            }]] }
        w:expect "READY"
        local big = w:deliver({ type = "big" }, { handler = 0 })
        assert.is_true(w:readable(20000))
        w:is "S"
        w:signal(SIGSTOP)
        w:is "T"
        local first = 2 ^ 32 -- the first token that a worker gives
        w:send("published", { token = first, status = 0, seq = 1, id = "x", message = "", outcomes = "" })
        local small = w:deliver({ type = "small" }, { handler = 1 })
        w:drain()
        w:signal(SIGCONT)
        assert.equal(first, tonumber(w:expect("PUBLISH").token))
        assert.equal("done", w:settle(big))
        assert.equal("done", w:settle(small))
        assert.equal(0, w:stop())
    end)
end)
