-- gzip, read back by the system's own.
local c = require "spec.support.c"
local files = require "spec.support.files"
local lib = c.load("telemetry", { "telemetry/gzip.h", "core/buf.h" })

describe("telemetry/gzip", function()
    it("is what gunzip reads", function()
        for _, text in ipairs { "", "a", ("some text, again\n"):rep(10000) } do
            local packed = c.collect(lib, function(b) lib.evrt_gzip(c.slice(text), b) end)
            local name = os.tmpname()
            files.write(name, packed)
            local pipe = assert(io.popen("gunzip -c < " .. name))
            assert.equal(text, pipe:read "*a")
            pipe:close()
            os.remove(name)
            if #text > 1000 then assert.is_true(#packed < #text / 20) end
        end
    end)
end)
