-- Long work shows how far it is: at a terminal, on a line that is written over, and gone at the end; not in a pipe.
local evrt = require "spec.support.evrt"
local terminal = require "spec.support.terminal"

local EVENTS = 12

describe("the progress of long work", function()
    require("spec.support.leak").guard(before_each, after_each)

    local node, url
    -- Each handling but the first of an event takes a moment, one after the other.
    before_each(function()
        node = evrt.start { handlers = { ["a.lua"] = [[
            local evrt = require "evrt"
            return {
                { name = "Slow", events = "a.*", concurrency = 1,
                  handle = function(event, ctx) if ctx.replay then evrt.sleep(0.05) end end },
                { name = "Dies", events = "a.*", concurrency = 1,
                  handle = function(event, ctx)
                      if ctx.attempt > 1 then evrt.sleep(0.05) end
                      evrt.reject "as asked"
                  end },
            }]] } }
        for _ = 1, EVENTS do node:accept { type = "a.b" } end
        node:await_end()
        url = "127.0.0.1:" .. node.admin
    end)
    after_each(function() assert.equal(0, (node:stop())) end)

    -- The line, written over: "\r", cleared, percent and the rest; and cleared at the end.
    local function is_shown(text, what)
        local times = 0
        for line in text:gmatch "\r\27%[K([^\r\n]*)" do
            if line:find(what) then times = times + 1 end
        end
        assert.is_true(times >= 2, text)
        assert.truthy(text:find "\r\27%[K[^\r\n%%]+\n", text) -- then what it came to
    end

    local function both(args, code, what)
        args[#args + 1], args[#args + 2] = "--url", url
        local shown = terminal.run(args)
        assert.equal(code, shown.code, shown.text)
        is_shown(shown.text, what)
        local piped, out, err = evrt.run(args)
        assert.equal(code, piped, err)
        assert.is_nil((out .. err):find "[\r\27]", out .. err)
        assert.is_nil((out .. err):find " %% ", out .. err)
    end

    it("shows in a replay at a terminal", function()
        both({ "replay", "--handler", "Slow", "--from-seq", "1" }, 0, "^Replay %d+: +%d+ %%")
    end)

    it("shows in a reprocessing at a terminal", function()
        both({ "dead-letters", "reprocess", "--handler", "Dies" }, 1, "^ *%d+ %%.* failed again$")
    end)

    it("is plain lines at a terminal that is dumb", function()
        local shown = terminal.run({ "replay", "--handler", "Slow", "--from-seq", "1", "--url", url },
            { env = { TERM = "dumb" } })
        assert.equal(0, shown.code, shown.text)
        assert.matches("^Replay 1 to Slow: done[^\r\27]*\n$", shown.text)
        for _, command in ipairs { { "handlers" }, { "top", "--count", "1" } } do
            local args = { command[1], "--url", url, command[2], command[3] }
            assert.is_nil(terminal.run(args, { env = { TERM = "dumb" } }).text:find "[\r\27]")
            assert.truthy(terminal.run(args).text:find "\27")
            local plain = terminal.run({ "handlers", "--url", url }, { env = { NO_COLOR = "1" } })
            assert.is_nil(plain.text:find "\27")
        end
    end)

    it("does not show with --json at a terminal", function()
        local shown = terminal.run { "replay", "--handler", "Slow", "--from-seq", "1", "--json", "--url", url }
        assert.equal(0, shown.code)
        assert.is_nil(shown.text:find "[\r\27]")
    end)
end)
