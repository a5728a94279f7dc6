local ffi = require "ffi"
local c = require "spec.support.c"
local config = require "spec.support.config"
local lib = config.lib

local function nearest(key)
    local out = ffi.new("char[?]", c.define.EVRT_OPTION_KEY_MAX)
    return ffi.string(lib.evrt_option_nearest(c.slice(key), out))
end

local function expects(key)
    return c.collect(lib, function(out) lib.evrt_option_expects(lib.evrt_option_find(c.slice(key)), out) end)
end

describe("option table", function()
    it("has every option documented once, with a key that fits", function()
        local seen = {}
        for _, o in ipairs(config.options()) do
            assert.is_nil(seen[o.key])
            seen[o.key] = true
            assert.is_true(#o.key < c.define.EVRT_OPTION_KEY_MAX)
            assert.is_truthy(o.help:match "^[%w%.].*%.$", o.key)
            assert.is_true(o.min <= o.max, o.key)
        end
    end)

    it("keeps the keys of one section together", function()
        local seen, last = {}, nil
        for _, o in ipairs(config.options()) do
            local section = o.key:match "^(%w+)%." or o.key
            if section ~= last then
                assert.is_nil(seen[section], section)
                seen[section], last = true, section
            end
        end
    end)

    it("finds keys and sections", function()
        assert.are.equal("http.listen", ffi.string(lib.evrt_option_find(c.slice "http.listen").key))
        assert.is_true(lib.evrt_option_find(c.slice "http") == nil)
        assert.is_true(lib.evrt_option_find(c.slice "http.liste") == nil)
        assert.is_true(lib.evrt_option_is_section(c.slice "http"))
        assert.is_true(lib.evrt_option_is_section(c.slice "logging.sampling"))
        assert.is_true(lib.evrt_option_is_section(c.slice ""))
        assert.is_false(lib.evrt_option_is_section(c.slice "htt"))
        assert.is_false(lib.evrt_option_is_section(c.slice "handlers"))
        assert.is_false(lib.evrt_option_is_section(c.slice "http."))
    end)

    it("names the nearest key", function()
        assert.are.equal("http.listen", nearest "http.lisen")
        assert.are.equal("http.listen", nearest "htpp.listen")
        assert.are.equal("http", nearest "htpt")
        assert.are.equal("handlers", nearest "handler")
        assert.are.equal("store.durability", nearest "http.durability")
        assert.are.equal("logging.sampling.first", nearest "logging.first")
        assert.is_true(#nearest "" > 0)
        assert.is_true(#nearest(("x"):rep(5000)) > 0)
    end)

    it("says what is expected", function()
        assert.are.equal("auto or a whole number from 1 to 256", expects "workers.count")
        assert.are.equal("a duration from 0s to 1d", expects "workers.stall_timeout")
        assert.are.equal("one of fsync, os, memory", expects "store.durability")
        assert.are.equal("true or false", expects "logging.caller")
        assert.are.equal("a text, not empty", expects "service.name")
        assert.are.equal("a path or list of paths", expects "handlers")
    end)
end)
