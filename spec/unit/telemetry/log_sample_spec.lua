-- Sampling: the first n of a message in a second, then every m-th; each message for itself.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/log_sample.h" })

describe("telemetry/log_sample", function()
    local s
    local function sampler(first, and_then)
        s = ffi.new "struct evrt_log_sampler"
        lib.evrt_log_sampler_set(s, first, and_then)
    end

    local NOW = 5e9
    local function passed(n, f)
        local count = 0
        for i = 1, n do
            if f(i) then count = count + 1 end
        end
        return count
    end
    local function event(id, now) return lib.evrt_log_sample_event(s, id, now or NOW) end
    local function text(level, message) return lib.evrt_log_sample_text(s, level, c.slice(message), NOW) end
    local function left_out() return tonumber(lib.evrt_log_sample_left_out(s)) end

    it("lets the first through, then every so many", function()
        sampler(10, 5)
        assert.equal(10 + 18, passed(100, function() return event(1) end))
        assert.equal(72, left_out())
        sampler(10, 0)
        assert.equal(10, passed(100, function() return event(1) end))
        sampler(0, 0)
        assert.equal(100, passed(100, function() return event(1) end))
        assert.equal(0, left_out())
    end)

    it("counts every message and level for itself", function()
        sampler(3, 0)
        local texts = {}
        for i = 1, 200 do texts[i] = "message " .. i end
        assert.equal(600, passed(2000, function(i)
            return text(1, texts[i % 200 + 1])
        end))
        sampler(3, 0)
        assert.equal(6, passed(20, function(i) return text(i % 2, "same") end))
        sampler(3, 0)
        assert.equal(6, passed(20, function(i) return event(i % 2) end))
    end)

    it("never leaves out a rare message because of floods of others", function()
        sampler(5, 0)
        local flood = {}
        for i = 1, 5000 do flood[i] = "flood " .. i end
        for i = 1, 5000 do text(1, flood[i]) end
        assert.is_true(text(1, "rare"))
    end)

    it("starts over with the second", function()
        sampler(1, 0)
        assert.equal(1, passed(2, function() return event(0) end))
        assert.is_false(event(0, NOW + 999999999))
        assert.is_true(event(0, NOW + 1e9))
        assert.is_false(event(0, NOW)) -- who is a little behind does not turn it back
        assert.is_false(event(0, NOW + 1e9))
        assert.equal(4, left_out())
    end)

    it("knows how many it left out, whatever becomes of the limits and of slots", function()
        sampler(2, 3)
        assert.equal(4, passed(10, function() return event(1) end)) -- 1, 2, 5, 8
        assert.equal(6, left_out())
        lib.evrt_log_sampler_set(s, 1, 0)
        assert.equal(6, left_out())
        assert.equal(1, passed(3, function() return event(1) end))
        assert.equal(8, left_out())
        for i = 1, 5000 do
            text(1, "flood " .. i)
            text(1, "flood " .. i)
        end
        assert.equal(5008, left_out())
        lib.evrt_log_sampler_set(s, 0, 0)
        assert.is_true(event(1))
        assert.equal(5008, left_out())
    end)
end)
