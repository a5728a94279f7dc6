local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("http", { "http/token.h" })

describe("http/token", function()
    local name

    before_each(function() name = os.tmpname() end)
    after_each(function() os.remove(name) end)

    local function load(text, mode)
        local file = assert(io.open(name, "wb"))
        file:write(text)
        file:close()
        os.execute(("chmod %s '%s'"):format(mode or "600", name))
        local out, exposed, err = ffi.new "struct evrt_buf", ffi.new "bool[1]", ffi.new "struct evrt_error"
        local code = lib.evrt_token_load(name, out, exposed, err)
        local token = c.string(out)
        lib.evrt_buf_finish(out)
        if code < 0 then return nil, ffi.string(err.message) end
        return token, exposed[0]
    end

    it("reads the first line", function()
        assert.are.same({ "s3cret", false }, { load "s3cret\n" })
        assert.are.same({ "s3cret", false }, { load "s3cret\r\nsecond line\n" })
        assert.are.same({ "s3cret", true }, { load("s3cret", "644") })
        assert.are.same({ "s3cret", true }, { load("s3cret", "640") })
    end)

    it("refuses a file that holds no token", function()
        for text, why in pairs { [""] = "empty", ["\nx"] = "empty", ["a b"] = "byte 2", ["a\1"] = "byte 2",
            [("x"):rep(5000)] = "at most 4096" } do
            local token, message = load(text)
            assert.is_nil(token)
            assert.truthy(message:find(why, 1, true), message)
        end
        os.remove(name)
        local err = ffi.new "struct evrt_error"
        local code = lib.evrt_token_load(name, ffi.new "struct evrt_buf", ffi.new "bool[1]", err)
        assert.are.equal(-2, code)
        assert.truthy(ffi.string(err.message):find("No such file", 1, true))
    end)

    it("is equal to itself alone", function()
        local function equal(a, b) return lib.evrt_token_equal(c.slice(a), c.slice(b)) end
        assert.is_true(equal("abc", "abc"))
        for _, other in ipairs { "abd", "ab", "abcabc", "", "Abc", "abc\0" } do
            assert.is_false(equal("abc", other))
        end
        assert.is_false(equal("", ""))
    end)

    it("is found in a bearer header", function()
        local function bearer(text) return c.string(lib.evrt_token_bearer(c.slice(text))) end
        assert.are.equal("xyz", bearer "Bearer xyz")
        assert.are.equal("xyz", bearer "bearer   xyz")
        for _, text in ipairs { "", "Bearer", "Bearer ", "Basic xyz", "Bearerxyz", "xyz", "Bearers xyz" } do
            assert.are.equal("", bearer(text))
        end
    end)
end)
