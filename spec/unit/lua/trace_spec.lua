-- ctx.span, ctx.trace_id and ctx.span_id as scripts see them.
local worker = require "spec.support.worker"

local PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

-- As core/event.h has it.
local function traceparent(value)
    return "\11s" .. string.char(#value, 0) .. "traceparent" .. value
end

local EVENT = { type = "a.b", extensions = traceparent(PARENT) }
local ON, KEEP = { tracing = 1 }, { tracing = 2 }

-- What came of the body: "done" or the failure, and the frames of its spans before that.
local function run(body, hello, event)
    local w = worker.start({ ["h.lua"] = 'local evrt = require "evrt"\nreturn { name = "H", events = "**", '
        .. "handle = function(event, ctx)\n" .. body .. "\nend }" }, hello)
    w:expect "READY"
    w:deliver(event or EVENT)
    local spans = {}
    while true do
        local f = w:next()
        if f.frame == "SPAN" then
            spans[#spans + 1] = f
        elseif f.frame == "DONE" or f.frame == "FAILED" then
            w:stop()
            return f.frame == "DONE" and "done" or f.message, spans
        end
    end
end

describe("ctx.span", function()
    it("returns what its function returns, and measures it", function()
        local outcome, spans = run([[
            local a, b, c = ctx.span("outer", function()
                return ctx.span("inner", function() return 1, nil, 3 end)
            end, { rows = 1 })
            assert(a == 1 and b == nil and c == 3)]], ON)
        assert.equal("done", outcome)
        local inner, outer = spans[1], spans[2]
        assert.same({ "inner", "outer", 0, 0 }, { inner.name, outer.name, inner.failed, outer.failed })
        assert.is_true(inner.parent == outer.id)
    end)

    it("raises what its function raises, with the place where that was", function()
        local outcome, spans = run([[
            local thing = setmetatable({}, { __tostring = function() return "thing" end })
            local ok, value = pcall(ctx.span, "a", function() error(thing) end)
            assert(not ok and value == thing)
            ctx.span("b", function()
                error "deep"
            end)]], ON)
        assert.equal("h.lua:7: deep", outcome)
        assert.same({ "a", 1, "error" }, { spans[1].name, spans[1].failed, spans[1].error_type })
        assert.same({ "b", 1, "h.lua:7: deep" }, { spans[2].name, spans[2].failed, spans[2].message })
    end)

    it("takes nil and a reason for a failure", function()
        local _, spans = run([[ctx.span("a", function() return nil, "no rows" end)]], ON)
        assert.same({ 1, "error", "no rows" }, { spans[1].failed, spans[1].error_type, spans[1].message })
    end)

    it("only calls its function when nothing is recorded", function()
        for _, case in ipairs { { {}, EVENT }, { ON, { type = "a.b" } },
            { ON, { type = "a.b", extensions = traceparent(PARENT:sub(1, -2) .. "0") } } } do
            local outcome, spans = run([[assert(ctx.span("a", function() return 5 end) == 5)]], case[1], case[2])
            assert.same({ "done", 0 }, { outcome, #spans })
        end
    end)

    it("is held back for a failure where failures are kept", function()
        local outcome, spans = run([[ctx.span("a", function() end)]], KEEP, { type = "a.b" })
        assert.same({ "done", 0 }, { outcome, #spans })
        outcome, spans = run([[ctx.span("a", function() end) error "no"]], KEEP, { type = "a.b" })
        assert.same({ "h.lua:3: no", "a" }, { outcome, spans[1].name })
    end)

    it("says what is wrong with its arguments", function()
        for arguments, why in pairs {
            ["nil, print"] = "a name expected, got nil", ["'', print"] = "a name expected",
            ["'a'"] = "a function expected, got nil", ["'a', print, 5"] = "attributes: a table expected, got number",
            ["'a', print, { 1 }"] = "attributes: names are strings, got the key 1",
            ["'a', print, { x = {} }"] = "attributes.x: a string, number or boolean expected, got table",
        } do
            local outcome = run("ctx.span(" .. arguments .. ")", ON)
            assert.equal("h.lua:3: ctx.span: " .. why, outcome:sub(1, #why + 19))
        end
    end)
end)

describe("a delivery's ids", function()
    it("are those of its event's trace", function()
        assert.equal("done", (run([[
            assert(ctx.trace_id == "0af7651916cd43dd8448eb211c80319c")
            local own = ctx.span_id
            assert(#own == 16 and own ~= "b7ad6b7169203331")
            ctx.span("a", function() assert(ctx.span_id ~= own and #ctx.span_id == 16) end)
            assert(ctx.span_id == own)]], ON)))
    end)

    it("are there for an event without a trace, and not when tracing is off", function()
        assert.equal("done", (run([[assert(#ctx.trace_id == 32 and #ctx.span_id == 16)]], ON, { type = "a.b" })))
        assert.equal("done", (run [[assert(ctx.trace_id == nil and ctx.span_id == nil)]]))
    end)
end)
