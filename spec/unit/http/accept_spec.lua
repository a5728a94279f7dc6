-- Weights of Accept and Accept-Encoding.
local c = require "spec.support.c"
local lib = c.load("http", { "http/accept.h" })

local OPEN, TEXT = "application/openmetrics-text", "text/plain"

describe("http/accept", function()
    local function weight(header, what, version)
        return lib.evrt_accept_weight(c.slice(header), what, version)
    end

    it("takes the most specific range", function()
        assert.equal(-1, weight(nil, TEXT, "0.0.4"))
        assert.equal(-1, weight("", TEXT, "0.0.4"))
        assert.equal(1000, weight("text/plain", TEXT, "0.0.4"))
        assert.equal(200, weight("text/*;q=0.2, */*;q=0.9", TEXT, "0.0.4"))
        assert.equal(900, weight("text/html;q=0.2, */*;q=0.9", TEXT, "0.0.4"))
        assert.equal(0, weight("text/plain;q=0, */*", TEXT, "0.0.4"))
        assert.equal(-1, weight("text/html, application/json", TEXT, "0.0.4"))
    end)

    it("reads what Prometheus sends", function()
        local header = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            .. "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        assert.equal(1000, weight(header, OPEN, "1.0.0"))
        assert.equal(500, weight(header, TEXT, "0.0.4"))
        assert.equal(100, weight("application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1", OPEN, "1.0.0"))
        assert.equal(750, weight("application/openmetrics-text; q=0.75", OPEN, "1.0.0"))
    end)

    it("reads codings", function()
        assert.equal(1000, weight("gzip, deflate", "gzip"))
        assert.equal(0, weight("gzip;q=0", "gzip"))
        assert.equal(500, weight("br, *;q=0.5", "gzip"))
        assert.equal(-1, weight("deflate", "gzip"))
        assert.equal(1000, weight("GZIP ; q=1.0", "gzip"))
    end)

    it("is not upset by nonsense", function()
        for _, header in ipairs { ";;;", ",,,", "=;q=,;", "text/plain;q=zz", "text/plain;q",
            "\t", "text/plain;;q=1" } do
            assert.is_true(weight(header, TEXT, "0.0.4") >= -1)
        end
    end)
end)
