-- Frames: every type survives a round trip, and no input, however cut or spoilt, is read past its end.
local ffi = require "ffi"
local c = require "spec.support.c"

local frame = c.load("frame", { "frame/frame.h" })

local EBADMSG = -74
local SIZE_MAX = 0xffffffffffffffffULL

local function buffer()
    return ffi.gc(ffi.new "struct evrt_buf", frame.evrt_buf_finish)
end

-- Samples of each frame with fields, by the name in its functions. Strings become slices.
local samples = {
    hello = {
        worker = 3, generation = 2 ^ 40, concurrency = 256, memory_limit = 2 ^ 28, max_event_size = 2 ^ 20,
        max_hops = 16, allow_ffi = 1, testing = 1, log_level = 2, load_timeout_ms = 30000,
        confine = 1, tracing = 2, trace_threshold = 2 ^ 50, service = "my-app", service_version = "1.0.0",
        environment = "", user = "nobody", store = "/var/lib/evrt", kv_max_key = 512, kv_max_value = 2 ^ 18,
        kv_max_effects = 2 ^ 22, steady_ms = 2 ^ 40, nice = 5,
        kv_writers = "A=B *=shared",
    },
    deliver = { handler = 7, attempt = 2, purpose = 1, delivery = 2 ^ 41, timeout_ms = -1, event = ("e"):rep(300) },
    failed = { delivery = 9, error_type = "error", message = "a.lua:1: b", traceback = "a.lua:1: in main",
        retry_ms = 250 },
    publish = { token = 1, delivery = 2, wait = 1, timeout_ms = 5000, event = "x\0y" },
    published = { token = 1, status = -28, seq = 77, id = "id", message = "full", outcomes = "[]" },
    log = { level = 1, delivery = 4, caller = "a.lua:1", message = "hi", fields = '"a":1' },
    span = { delivery = 2 ^ 41, id = 2 ^ 52, parent = 3, start_ns = 2 ^ 40, end_ns = 2 ^ 41, name = "query", failed = 1,
        error_type = "error", message = "a.lua:1: b", attributes = "x\0" },
    note = { delivery = 2 ^ 50, text = "filter: not wanted" },
    effects = { delivery = 2 ^ 41, ops = "as they\0are" },
    read = { token = 2 ^ 33, limit = 0, ns = "Ledger", key = "account:1", after = "" },
    query = { token = 2 ^ 40, after = 2 ^ 41, limit = 500, type = "order.**", subject = "a/b" },
    write = { token = 4, delivery = 2 ^ 41, op = "one\0" },
    value = { token = 4, status = -11, more = 1, value = "s\0" },
    share = { token = 3, version = 2 ^ 40, ttl_ms = 1000, remove = 0, key = "k", value = "v\0" },
    log_level = { level = 2 },
    metric = { metric = 3, type = 2, name = "wait_seconds", help = "Waits.", labels = "a,b", bounds = ("\0"):rep(16) },
    metric_series = { series = 2 ^ 20, metric = 3, overflow = 1, values = "x\0y" },
    shared = { token = 0, status = -11, version = 7, key = "k", value = "" },
}
local to_worker = { hello = true, deliver = true, published = true, shared = true, value = true, log_level = true }

local function put(name, out, fields)
    local f = ffi.new("struct evrt_frame_" .. name)
    for k, v in pairs(fields) do
        f[k] = type(v) == "string" and c.slice(v) or v
    end
    frame["evrt_frame_put_" .. name](out, f)
end

local function get(name, payload)
    local f = ffi.new("struct evrt_frame_" .. name)
    return frame["evrt_frame_get_" .. name](payload, f), f
end

local function take(bytes, direction)
    local out = ffi.new "struct evrt_frame"
    local copy = c.exact(bytes)
    local n = frame.evrt_frame_take(ffi.new("struct evrt_slice", copy, #bytes), string.byte(direction), out)
    return tonumber(n), out, copy
end

describe("frame", function()
    it("holds counts of metrics end to end", function()
        local b = buffer()
        local items = ffi.new("struct evrt_frame_metric_count[2]", { { 1, 0, 2.5 }, { 7, 3, 1 } })
        frame.evrt_frame_put_metric_counts(b, items, 2)
        local n, f = take(c.string(b), "<")
        assert.equal(8 + 32, n)
        assert.equal("METRIC_COUNTS", ffi.string(frame.evrt_frame_name(f.type)))
        assert.equal(ffi.string(items, 32), c.string(f.payload))
    end)

    for name, fields in pairs(samples) do
        local direction = to_worker[name] and ">" or "<"

        it("round-trips " .. name, function()
            local b = buffer()
            put(name, b, fields)
            local n, f = take(c.string(b), direction)
            assert.equal(tonumber(b.n), n)
            assert.equal(name:upper(), ffi.string(frame.evrt_frame_name(f.type)))
            local rc, back = get(name, f.payload)
            assert.equal(0, rc)
            for k, v in pairs(fields) do
                local got = back[k]
                assert.equal(v, type(v) == "string" and c.string(got) or tonumber(got), k)
            end
        end)

        it("waits for the rest of a cut " .. name, function()
            local b = buffer()
            put(name, b, fields)
            local whole = c.string(b)
            for n = 0, #whole - 1 do
                assert.equal(0, (take(whole:sub(1, n), direction)), "at " .. n)
            end
        end)

        it("refuses a " .. name .. " that goes the wrong way", function()
            local b = buffer()
            put(name, b, fields)
            assert.equal(EBADMSG, (take(c.string(b), to_worker[name] and "<" or ">")))
        end)

        it("refuses a payload of " .. name .. " cut at any byte", function()
            local b = buffer()
            put(name, b, fields)
            local payload = c.string(b):sub(9)
            local fixed = name == "deliver" and 24 or #payload
            for n = 0, fixed - 1 do
                local copy = c.exact(payload:sub(1, n))
                assert.equal(EBADMSG, (get(name, ffi.new("struct evrt_slice", copy, n))), "at " .. n)
            end
        end)

        if name ~= "deliver" then
            it("refuses a payload of " .. name .. " with bytes left over", function()
                local b = buffer()
                put(name, b, fields)
                assert.equal(EBADMSG, (get(name, c.slice(c.string(b):sub(9) .. "x"))))
            end)
        end
    end

    it("gathers done deliveries in one frame", function()
        local b, at = buffer(), ffi.new("size_t[1]", SIZE_MAX)
        for id = 1, 3 do
            frame.evrt_frame_put_done(b, at, id)
        end
        at[0] = SIZE_MAX
        frame.evrt_frame_put_done(b, at, 4)
        local n, f = take(c.string(b), "<")
        assert.equal(8 + 24, n)
        assert.equal(3ULL, ffi.cast("uint64_t *", f.payload.p)[2])
        local second = take(c.string(b):sub(n + 1), "<")
        assert.equal(16, second)
    end)

    it("carries a text", function()
        local b = buffer()
        frame.evrt_frame_put_text(b, frame.EVRT_FRAME_REFUSED, c.slice "a.lua:1: no")
        local _, f = take(c.string(b), "<")
        assert.equal("a.lua:1: no", c.string(f.payload))
        assert.equal("REFUSED", ffi.string(frame.evrt_frame_name(f.type)))
    end)

    it("refuses what cannot be a frame", function()
        for _, bytes in ipairs {
            "\7\0\0\0\34\0\0\0", -- shorter than its header
            "\0\0\0\0\34\0\0\0",
            "\1\0\0\4\34\0\0\0", -- longer than the maximum
            "\255\255\255\255\34\0\0\0",
            "\8\0\0\0\99\0\0\0", -- unknown type
            "\8\0\0\0\34\1\0\0", -- reserved bytes in use
            "\8\0\0\0\34\0\0\1",
        } do
            assert.equal(EBADMSG, (take(bytes, "<")))
        end
        assert.equal("unknown", ffi.string(frame.evrt_frame_name(99)))
    end)

    it("survives every single byte changed", function()
        for name, fields in pairs(samples) do
            local b = buffer()
            put(name, b, fields)
            local whole = c.string(b)
            for i = 1, #whole do
                for _, x in ipairs { 0, 1, 127, 128, 255 } do
                    local spoilt = whole:sub(1, i - 1) .. string.char(x) .. whole:sub(i + 1)
                    local n, f, keep = take(spoilt, to_worker[name] and ">" or "<")
                    assert.is_true(n == EBADMSG or n >= 0 and n <= #whole)
                    if n > 0 then
                        for kind in pairs(samples) do
                            get(kind, f.payload)
                        end
                    end
                    assert.is_truthy(keep)
                end
            end
        end
    end)
end)
