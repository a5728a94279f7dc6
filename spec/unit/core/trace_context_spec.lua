-- W3C Trace Context as the recommendation has it, and the trace of an event.
local ffi = require "ffi"
local c = require "spec.support.c"

local core = c.load("core", { "core/trace_context.h", "core/event.h" })

local PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

local function parse(text)
    local out = ffi.new "struct evrt_trace_context"
    local copy = c.exact(text)
    local rc = core.evrt_traceparent_parse(ffi.new("struct evrt_slice", copy, #text), out)
    return rc, out
end

local function state(text)
    local out = ffi.gc(ffi.new "struct evrt_buf", core.evrt_buf_finish)
    local copy = c.exact(text)
    local rc = core.evrt_tracestate_put(out, ffi.new("struct evrt_slice", copy, #text))
    return rc == 0 and c.string(out) or nil
end

describe("traceparent", function()
    it("is read and written", function()
        local rc, got = parse(PARENT)
        assert.equal(0, rc)
        assert.equal(1, got.flags)
        local text = ffi.new "char[56]"
        assert.equal(PARENT, ffi.string(core.evrt_traceparent_format(got, text)))
        local id = ffi.new "char[33]"
        assert.equal(PARENT:sub(4, 35), ffi.string(core.evrt_trace_id_format(got.high, got.low, id)))
        assert.equal(PARENT:sub(37, 52), ffi.string(core.evrt_span_id_format(got.span, id)))
    end)

    it("has no digits but those of lower case", function()
        for byte = 0, 255 do
            local char = string.char(byte)
            local good = char:find "^[0-9a-f]$" ~= nil
            for _, at in ipairs { 4, 11, 12, 19, 20, 35, 37, 44, 52, 54, 55 } do
                local text = PARENT:sub(1, at - 1) .. char .. PARENT:sub(at + 1)
                local rc, got = parse(text)
                assert.equal(good and 0 or -22, rc, text)
                if good and at < 36 then
                    local id = ffi.new "char[33]"
                    assert.equal(text:sub(4, 35), ffi.string(core.evrt_trace_id_format(got.high, got.low, id)))
                end
            end
        end
    end)

    it("of a later version is read as far as it is known", function()
        for _, text in ipairs {
            "cc" .. PARENT:sub(3), "cc" .. PARENT:sub(3) .. "-what-comes-later", "01" .. PARENT:sub(3) .. "-",
        } do
            assert.equal(0, (parse(text)), text)
        end
    end)

    it("keeps only the flags that are known", function()
        local _, got = parse(PARENT:sub(1, 53) .. "ff")
        assert.equal(3, got.flags)
        _, got = parse(PARENT:sub(1, 53) .. "fe")
        assert.equal(2, got.flags)
    end)

    it("that is malformed is none", function()
        local bad = {
            "", "00", PARENT:sub(1, -2), PARENT .. "-", PARENT .. "0", "ff" .. PARENT:sub(3), " " .. PARENT,
            PARENT:upper(), PARENT:gsub("-", "_"), "0x" .. PARENT:sub(3), PARENT:sub(1, 52) .. ".01",
            "00-" .. ("0"):rep(32) .. "-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-" .. ("0"):rep(16) .. "-01",
            "cc" .. PARENT:sub(3) .. ".x", PARENT:sub(1, 40) .. "g" .. PARENT:sub(42), PARENT:sub(1, 53) .. "0g",
            PARENT:sub(1, 20) .. "\0" .. PARENT:sub(22),
        }
        for _, text in ipairs(bad) do
            local rc, got = parse(text)
            assert.equal(-22, rc, text)
            assert.is_true(got.high == 0 and got.low == 0 and got.span == 0)
        end
    end)
end)

describe("tracestate", function()
    it("is passed on without what is empty", function()
        assert.equal("a=1,b=2", state "a=1,b=2")
        assert.equal("a=1,b=2", state "a=1 ,\tb=2")
        assert.equal("a=1", state ",a=1,, ")
        assert.equal("", state "")
        assert.equal("fw529a3039@dt=FfAAAAAAA,0x@s=!#~;:", state "fw529a3039@dt=FfAAAAAAA,0x@s=!#~;:")
        assert.equal("a=x y", state "a=x y")
    end)

    it("that is malformed is none", function()
        for _, text in ipairs { "a", "=1", "a=", "A=1", "a =1", "a=1=2", "a=b\tc", "a=\127", "a@=1", "@b=1", "a@B=1",
            "a@" .. ("b"):rep(15) .. "=1", ("a"):rep(257) .. "=1", "a=" .. ("b"):rep(257), "a=1,a=2", "a=\195\164" } do
            assert.is_nil(state(text), text)
        end
        local many = {}
        for i = 1, 33 do many[i] = "k" .. i .. "=1" end
        assert.is_nil(state(table.concat(many, ",")))
        assert.is_string(state(table.concat(many, ",", 1, 32)))
    end)

    it("loses its longest members first when it is too long", function()
        local long = "long=" .. ("x"):rep(200)
        local list = { "a=1", long, "b=2" }
        for i = 1, 28 do list[#list + 1] = ("k%02d="):format(i) .. ("y"):rep(12) end
        local got = state(table.concat(list, ","))
        assert.is_nil(got:find("long=", 1, true))
        assert.equal("a=1,b=2,k01=yyyyyyyyyyyy", got:sub(1, 24))
        assert.is_true(#got <= 512)
    end)
end)

describe("the trace of an event", function()
    local function encode(fields, extensions)
        local out = ffi.gc(ffi.new "struct evrt_buf", core.evrt_buf_finish)
        for name, value in pairs(extensions or {}) do
            assert.equal(0, core.evrt_extensions_add(out, c.slice(name), string.byte "s", c.slice(value)))
        end
        local e = ffi.new "struct evrt_event"
        local texts = { id = "1", type = "a.b", source = "/s", time = "2026-01-01T00:00:00Z" }
        for name, value in pairs(fields or {}) do texts[name] = value end
        for _, name in ipairs { "id", "type", "source", "time" } do e[name] = c.slice(texts[name]) end
        e.extensions = ffi.new("struct evrt_slice", out.p, out.n)
        e.seq, e.flags = texts.seq or 7, texts.flags or 0
        local n = tonumber(core.evrt_event_size(e))
        local at = ffi.new("char[?]", n)
        core.evrt_event_encode(e, at)
        return { at = at, out = out, texts = texts }
    end
    local TRACED, UNSAMPLED = 64, 32
    local ALL, NONE = 0xffffffffffffffffULL, 0ULL

    local function trace(fields, extensions, threshold)
        local event = encode(fields, extensions)
        local t = ffi.new "struct evrt_event_trace"
        core.evrt_event_trace(event.at, threshold or ALL, t)
        local state_text = c.string(t.tracestate)
        return t, state_text
    end

    it("is that of its extension", function()
        local _, given = parse(PARENT)
        local t, state_text = trace({}, { traceparent = PARENT, tracestate = "a=1", other = "x" }, NONE)
        assert.is_true(t.given)
        assert.is_false(t.decided)
        assert.is_true(t.context.high == given.high and t.context.low == given.low and t.context.span == given.span)
        assert.equal(1, t.context.flags)
        assert.equal("a=1", state_text)
    end)

    it("has the span of publishing once it was traced", function()
        local _, given = parse(PARENT)
        local t = trace({ flags = TRACED }, { traceparent = PARENT })
        assert.is_true(t.decided)
        assert.is_true(t.context.span == core.evrt_publish_span_id(given, 7))
        assert.is_true(t.context.span ~= core.evrt_publish_span_id(given, 8))
        assert.equal(0, trace({ flags = TRACED + UNSAMPLED }, { traceparent = PARENT }).context.flags)
        assert.equal(1, trace({ flags = TRACED }, { traceparent = PARENT:sub(1, -2) .. "0" }).context.flags)
    end)

    it("is its own when it was given none, always the same", function()
        local a, b = trace(), trace()
        assert.is_true(a.context.low ~= 0 and a.context.low == b.context.low and a.context.high == b.context.high)
        assert.is_true(a.context.span == 0)
        for _, fields in ipairs { { id = "2" }, { source = "/t" }, { seq = 8 }, { time = "2026-01-01T00:00:01Z" } } do
            assert.is_true(trace(fields).context.low ~= a.context.low)
        end
        assert.is_false(a.given)
        assert.is_true(trace({}, { traceparent = "garbage", tracestate = "a=1" }).context.low == a.context.low)
    end)

    it("is sampled by share only when nobody has decided", function()
        assert.equal(1, trace({}, nil, ALL).context.flags)
        assert.equal(0, trace({}, nil, NONE).context.flags)
        assert.equal(0, trace({ flags = TRACED + UNSAMPLED }, nil, ALL).context.flags)
        assert.equal(1, trace({ flags = TRACED }, nil, NONE).context.flags)
    end)

    it("falls into a share as often as the share says", function()
        local half, count = core.evrt_trace_threshold(0.25), 0
        assert.is_true(core.evrt_trace_threshold(0) == NONE and core.evrt_trace_threshold(1) == ALL)
        assert.is_true(core.evrt_trace_threshold(0 / 0) == NONE)
        for i = 1, 2000 do count = count + trace({ seq = i }, nil, half).context.flags end
        assert.is_true(count > 400 and count < 600, count)
    end)

    it("gives each attempt of each delivery another span", function()
        local _, given = parse(PARENT)
        local seen = {}
        for delivery = 1, 20 do
            for attempt = 1, 5 do
                local id = tostring(core.evrt_handle_span_id(given, delivery, attempt))
                assert.is_nil(seen[id])
                seen[id] = true
            end
        end
    end)
end)
