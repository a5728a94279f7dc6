local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("config", { "config/config.h" })

local function parse(text)
    local out, err = ffi.new "struct evrt_address", ffi.new "struct evrt_error"
    if lib.evrt_address_parse(c.slice(text), out, err) < 0 then return nil, ffi.string(err.message) end
    return ffi.string(out.host), out.port, lib.evrt_address_is_loopback(out)
end

describe("addresses", function()
    local good = {
        { "127.0.0.1:8080", "127.0.0.1", 8080, true },
        { "127.9.9.9:1", "127.9.9.9", 1, true },
        { "localhost:0", "127.0.0.1", 0, true },
        { "[::1]:65535", "::1", 65535, true },
        { "[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, true },
        { "[::]:80", "::", 80, false },
        { ":9090", "0.0.0.0", 9090, false },
        { "10.0.0.1:80", "10.0.0.1", 80, false },
    }
    for _, case in ipairs(good) do
        it("takes " .. case[1], function()
            local host, port, loopback = parse(case[1])
            assert.are.same({ case[2], case[3], case[4] }, { host, port, loopback })
        end)
    end

    local bad = { "", ":", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1",
        "127.0.0.1:8080x", "127.0.0.1: 80", "127.0.0.256:80", "::1:80", "[::1]", "[]:80", "[::g]:80",
        "example.org:80", "[127.0.0.1]:80", "127.0.0.1\0:80", ("1"):rep(200) .. ":80" }
    for _, text in ipairs(bad) do
        it(("refuses %q"):format(text:sub(1, 30)), function()
            local host, why = parse(text)
            assert.is_nil(host)
            assert.is_truthy(why:find("expected 127.0.0.1:8080", 1, true))
        end)
    end
end)
