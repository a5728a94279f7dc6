-- The log as its users see it: levels, sampling, counts, flush, reopening.
local ffi = require "ffi"
local cjson = require "cjson"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/log.h", "telemetry/log_events.h" })
local field = require "spec.support.logfield"

describe("telemetry/log", function()
    local log, path
    before_each(function() path = os.tmpname() end)
    after_each(function()
        if log then lib.evrt_log_destroy(log) end
        log = nil
        os.remove(path)
        os.remove(path .. ".1")
    end)

    local function create(options, ...)
        local outputs = { ... }
        if #outputs == 0 then outputs = { path } end
        local list = ffi.new("const char *[?]", #outputs + 1)
        for i, name in ipairs(outputs) do list[i - 1] = name end
        options.outputs = list
        local out, err = ffi.new "struct evrt_log *[1]", ffi.new "struct evrt_error"
        local rc = lib.evrt_log_create(out, ffi.new("struct evrt_log_options", options), err)
        if rc < 0 then return nil, ffi.string(err.message), rc end
        log = out[0]
        return log
    end

    local function write(msg, fields, level, caller)
        lib.evrt_log_write(log, level or 1, caller, c.slice(msg), field.list(fields or {}))
    end

    local function lines(from)
        lib.evrt_log_flush(log, 5000)
        local list = {}
        for line in io.lines(from or path) do list[#list + 1] = cjson.decode(line) end
        return list
    end

    local function counts()
        local n = ffi.new "uint64_t[2]"
        lib.evrt_log_counts(log, n, n + 1)
        return tonumber(n[0]), tonumber(n[1])
    end

    it("writes lines in the order they were logged, with the time they were", function()
        create { level = 1, caller = true }
        local before = os.time()
        for i = 1, 500 do write("line", { { "u64", "i", i } }, 1, "spec.lua:" .. i) end
        local list = lines()
        assert.equal(500, #list)
        for i = 1, 500 do
            assert.equal(i, list[i].i)
            assert.equal("spec.lua:" .. i, list[i].caller)
        end
        local y, mo, d, h, mi, s = list[1].timestamp:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)%.%d%d%dZ$"
        local utc = os.date("!*t", before)
        assert.is_true(math.abs(os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = s }
            - os.time { year = utc.year, month = utc.month, day = utc.day, hour = utc.hour, min = utc.min,
                sec = utc.sec }) < 60)
    end)

    it("leaves out what is below its level, which can change", function()
        create { level = 2 }
        for level = 0, 3 do write("l" .. level, {}, level) end
        assert.is_false(lib.evrt_log_enabled(log, 1))
        lib.evrt_log_set_level(log, 0)
        write("now", {}, 0)
        local list = lines()
        assert.equal(3, #list)
        assert.equal("warn", list[1].level)
        assert.equal("error", list[2].level)
        assert.equal("debug", list[3].level)
    end)

    it("knows its levels by name", function()
        for i, name in ipairs { "debug", "info", "warn", "error" } do
            assert.equal(i - 1, lib.evrt_log_level_parse(c.slice(name)))
            assert.equal(name, ffi.string(lib.evrt_log_level_name(i - 1)))
        end
        assert.equal(-1, lib.evrt_log_level_parse(c.slice "INFO"))
    end)

    it("samples by message and counts what it left out", function()
        create { level = 0, sample_first = 10, sample_then = 100 }
        for _ = 1, 1000 do write "often" end
        for i = 1, 5 do write("rare " .. i) end
        for _ = 1, 1000 do
            if lib.evrt_log_event_admit(log, lib.EVRT_MSG_EVENT_HANDLED, 0) then
                lib.evrt_log_write_event(log, lib.EVRT_MSG_EVENT_HANDLED, nil, field.list {})
            end
        end
        local seen = {}
        for _, line in ipairs(lines()) do seen[line.msg] = (seen[line.msg] or 0) + 1 end
        local _, sampled = counts()
        -- The turn of a second may fall in between, and then ten more pass.
        assert.is_true(seen.often >= 19 and seen.often <= 30)
        assert.is_true(seen["Event handled successfully"] >= 19 and seen["Event handled successfully"] <= 30)
        for i = 1, 5 do assert.equal(1, seen["rare " .. i]) end
        assert.equal(2000 - seen.often - seen["Event handled successfully"], sampled)
    end)

    it("takes level and text of its own messages from the table", function()
        create { level = 0 }
        lib.evrt_log_write_event(log, lib.EVRT_MSG_EVENT_HANDLE_FAILED, "host/host.c:1",
            field.list { { "str", "error", "boom" } })
        assert.same({ level = "error", msg = "Event handle failed", error = "boom" },
            (function(l) l.timestamp = nil return l end)(lines()[1]))
    end)

    it("opens files anew, so that a moved one is complete", function()
        create { level = 1 }
        write "before"
        lib.evrt_log_flush(log, 5000)
        assert.is_true(os.rename(path, path .. ".1"))
        lib.evrt_log_reopen(log)
        lib.evrt_log_flush(log, 5000)
        write "after"
        assert.equal("before", lines(path .. ".1")[1].msg)
        local list = lines()
        assert.equal("Log file reopened", list[1].msg)
        assert.equal(path, list[1].path)
        assert.equal("after", list[2].msg)
    end)

    it("writes what is left when it is destroyed", function()
        create { level = 1 }
        for i = 1, 1000 do write("line " .. i) end
        lib.evrt_log_destroy(log)
        log = nil
        local n = 0
        for _ in io.lines(path) do n = n + 1 end
        assert.equal(1000, n)
    end)

    it("writes to every output, and says when one loses lines", function()
        create({ level = 1 }, "/dev/full", path)
        for i = 1, 10 do write("line " .. i) end
        lib.evrt_log_flush(log, 5000)
        lib.evrt_log_destroy(log)
        log = nil
        local kept, said = 0, nil
        for line in io.lines(path) do
            local v = cjson.decode(line)
            if v.msg:find "^line" then kept = kept + 1 end
            if v.msg == "Log lines dropped" then said = said or v end
        end
        assert.equal(10, kept)
        assert.is_true(said.count >= 1)
        assert.equal("No space left on device", said.error)
    end)

    it("cannot be made on a file that cannot be opened", function()
        local none, message, code = create({ level = 1 }, path, "/no/such/folder/x.log")
        assert.is_nil(none)
        assert.truthy(message:find("/no/such/folder/x.log", 1, true))
        assert.equal(-2, code)
    end)

    it("is silent when there is none", function()
        assert.is_false(lib.evrt_log_enabled(nil, 3))
        lib.evrt_log_write(nil, 3, nil, c.slice "x", nil, 0)
        lib.evrt_log_flush(nil, 0)
        lib.evrt_log_destroy(nil)
    end)
end)
