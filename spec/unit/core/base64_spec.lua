local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/base64.h" })

describe("core/base64", function()
    local out, bad = ffi.new "struct evrt_buf", ffi.new "size_t[1]"

    local function decode(text)
        out.n = 0
        local copy = c.exact(text)
        local code = lib.evrt_base64_decode(ffi.new("struct evrt_slice", copy, #text), out, bad)
        if code < 0 then return nil, tonumber(bad[0]) end
        return c.string(out)
    end

    it("decodes the vectors of RFC 4648", function()
        for text, want in pairs { [""] = "", ["Zg=="] = "f", ["Zm8="] = "fo", ["Zm9v"] = "foo",
            ["Zm9vYg=="] = "foob", ["Zm9vYmE="] = "fooba", ["Zm9vYmFy"] = "foobar",
            ["AAECAwT/+/8="] = "\0\1\2\3\4\255\251\255" } do
            assert.are.equal(want, decode(text))
        end
    end)

    it("refuses what is not base64 and says where", function()
        for text, at in pairs { ["Zg"] = 2, ["Zg="] = 3, ["Z"] = 1, ["Zm9vZ"] = 5, ["Zh=="] = 1, ["Zm9="] = 2,
            ["===="] = 0, ["Zg==Zg=="] = 2, ["Zm9-"] = 3, ["Zm 9v"] = 2, ["Zm9v\n"] = 5, ["Z==="] = 1 } do
            assert.are.same({ text, nil, at }, { text, decode(text) })
        end
    end)

    it("encodes what it decodes", function()
        local bytes = {}
        for i = 1, 256 do
            bytes[i] = string.char((i * 37) % 256)
            local text = table.concat(bytes)
            local to = ffi.new("char[?]", 400)
            lib.evrt_base64_encode(ffi.new("struct evrt_slice", text, #text), to)
            assert.are.equal(text, (decode(ffi.string(to, math.ceil(#text / 3) * 4))))
        end
    end)
end)
