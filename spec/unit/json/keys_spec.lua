local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("json", { "json/json.h", "json/keys.h" })

describe("json/keys", function()
    local err = ffi.new "struct evrt_error"

    local function check(text)
        if lib.evrt_json_check(c.slice(text), nil, err) == 0 then return nil end
        return ffi.string(err.message)
    end

    -- An object of n names, and more members behind them.
    local function object(n, more, name)
        local members = {}
        for i = 1, n do members[i] = ('"%s":%d'):format((name or "k%d"):format(i), i) end
        for _, member in ipairs(more or {}) do members[#members + 1] = member end
        return "{" .. table.concat(members, ",") .. "}"
    end

    it("finds a name that comes twice, in objects of every size", function()
        for _, n in ipairs { 1, 2, 63, 64, 65, 127, 128, 129, 130, 1000 } do
            assert.is_nil(check(object(n)))
            for _, twice in ipairs { 1, math.ceil(n / 2), n } do
                local text = object(n, { ('"k%d":0'):format(twice) })
                local message = check(text)
                assert.truthy(message, n)
                assert.truthy(message:find(('name "k%d" that stands twice'):format(twice), 1, true), message)
                assert.equal(text:find(('"k%d":0'):format(twice), 1, true), tonumber(message:match "byte (%d+)"))
            end
        end
    end)

    it("finds it after an object within the object, and when escaped", function()
        local inner = object(300)
        assert.is_nil(check(object(200, { '"inner":' .. inner, '"more":' .. inner })))
        assert.truthy(check(object(100, { '"inner":' .. inner, '"k7":0' })):find('"k7"', 1, true))
        assert.truthy(check(object(200, { '"inner":' .. inner, '"\\u006b7":0' })):find('stands twice', 1, true))
    end)

    it("does not take names of different objects for each other", function()
        local list = {}
        for i = 1, 200 do list[i] = object(20) end
        assert.is_nil(check("[" .. table.concat(list, ",") .. "]"))
    end)

    it("tells names apart that agree at both ends", function()
        assert.is_nil(check(object(128, nil, ("a"):rep(20) .. "%03d" .. ("b"):rep(20))))
        assert.is_nil(check(object(2000, nil, ("a"):rep(20) .. "%04d" .. ("b"):rep(20))))
    end)

    it("leaves a long name out of the message", function()
        local name = ("n"):rep(100)
        local text = ('{"%s":1,"%s":2}'):format(name, name)
        assert.equal("name that stands twice in one object at byte 107 (line 1, column 107)", check(text))
    end)

    it("keeps a hundred thousand names within bounds", function()
        local text = object(100000)
        assert.is_nil(check(text))
        assert.truthy(check(object(100000, { '"k50000":0' })))
    end)
end)
