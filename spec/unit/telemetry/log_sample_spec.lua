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

    -- Runs f(i) n times inside one second of the sampler's clock and returns how many passed: a run that
    -- the turn of a second fell into is made again.
    local function passed(n, f)
        while true do
            local clock = ffi.new "struct evrt_log_sampler"
            lib.evrt_log_sampler_set(clock, 1, 0)
            lib.evrt_log_sample_event(clock, 0)
            local before, count = clock.events[0].second, 0
            for i = 1, n do
                if f(i) then count = count + 1 end
            end
            lib.evrt_log_sample_event(clock, 0)
            if clock.events[0].second == before then return count end
            sampler(s.first, s["then"])
        end
    end

    it("lets the first through, then every so many", function()
        sampler(10, 5)
        assert.equal(10 + 18, passed(100, function() return lib.evrt_log_sample_event(s, 1) end))
        assert.equal(72, tonumber(s.left_out))
        sampler(10, 0)
        assert.equal(10, passed(100, function() return lib.evrt_log_sample_event(s, 1) end))
        sampler(0, 0)
        assert.equal(100, passed(100, function() return lib.evrt_log_sample_event(s, 1) end))
        assert.equal(0, tonumber(s.left_out))
    end)

    it("counts every message and level for itself", function()
        sampler(3, 0)
        local texts = {}
        for i = 1, 200 do texts[i] = "message " .. i end
        assert.equal(600, passed(2000, function(i)
            return lib.evrt_log_sample_text(s, 1, c.slice(texts[i % 200 + 1]))
        end))
        sampler(3, 0)
        assert.equal(6, passed(20, function(i) return lib.evrt_log_sample_text(s, i % 2, c.slice "same") end))
        sampler(3, 0)
        assert.equal(6, passed(20, function(i) return lib.evrt_log_sample_event(s, i % 2) end))
    end)

    it("never leaves out a rare message because of floods of others", function()
        sampler(5, 0)
        local flood = {}
        for i = 1, 5000 do flood[i] = "flood " .. i end
        for i = 1, 5000 do lib.evrt_log_sample_text(s, 1, c.slice(flood[i])) end
        assert.is_true(lib.evrt_log_sample_text(s, 1, c.slice "rare"))
    end)

    it("starts over with the second", function()
        sampler(1, 0)
        assert.equal(1, passed(2, function() return lib.evrt_log_sample_event(s, 0) end))
        s.events[0].second = s.events[0].second - 1 -- as if that had been a second ago
        assert.is_true(lib.evrt_log_sample_event(s, 0))
        assert.equal(1, s.events[0].count)
    end)
end)
