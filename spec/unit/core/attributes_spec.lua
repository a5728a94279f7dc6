-- Attributes: what was put comes back, and what is cut or spoilt is not read past its end.
local ffi = require "ffi"
local c = require "spec.support.c"

local core = c.load("core", { "core/attributes.h" })

local function put(list)
    local out = ffi.gc(ffi.new "struct evrt_buf", core.evrt_buf_finish)
    for _, a in ipairs(list) do
        local one = ffi.new "struct evrt_attribute"
        one.name = c.slice(a[1])
        local kind, value = type(a[2]), a[2]
        if kind == "string" then
            one.kind, one.text = 0, c.slice(value)
        elseif kind == "boolean" then
            one.kind, one.v.b = 3, value
        elseif value % 1 == 0 then
            one.kind, one.v.i = 1, value
        else
            one.kind, one.v.d = 2, value
        end
        core.evrt_attributes_put(out, one)
    end
    return c.string(out)
end

local function all(bytes)
    local copy, at, a, list = c.exact(bytes), ffi.new "size_t[1]", ffi.new "struct evrt_attribute", {}
    local s = ffi.new("struct evrt_slice", copy, #bytes)
    while core.evrt_attributes_next(s, at, a) do
        local kind = tonumber(a.kind)
        local value = kind == 0 and c.string(a.text) or kind == 1 and tonumber(a.v.i) or kind == 2 and a.v.d
        if kind == 3 then value = a.v.b end
        list[#list + 1] = { c.string(a.name), value }
    end
    return list
end

describe("attributes", function()
    local sample = {
        { "text", "x\0y" }, { "empty", "" }, { "whole", -5 }, { "part", 1.25 }, { "yes", true }, { "no", false },
    }

    it("come back as they were put", function()
        assert.same(sample, all(put(sample)))
        assert.same({}, all "")
    end)

    it("are cut at a character's start when they are too long", function()
        local list = all(put { { ("n"):rep(300), ("\195\164"):rep(5000) } })
        assert.equal(255, #list[1][1])
        assert.equal(8192, #list[1][2])
        list = all(put { { "n", "x" .. ("\195\164"):rep(5000) } })
        assert.equal(8191, #list[1][2])
    end)

    it("end where they are spoilt", function()
        local bytes = put(sample)
        for n = 0, #bytes - 1 do assert.is_true(#all(bytes:sub(1, n)) < #sample) end
        assert.same({}, all("\9" .. bytes:sub(2)))
        assert.same({}, all "\1\0\3\0\0\0abc")
        assert.same({}, all "\0\0\255\255\255\255")
    end)
end)
