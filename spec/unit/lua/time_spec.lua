-- evrt.time, evrt.uuid, and that scripts do not all draw the same random numbers.
local worker = require "spec.support.worker"

local function check(code)
    local outcome = worker.run(code)
    assert.equal("done", outcome.message or outcome)
end

describe("time", function()
    it("tells the time of the wall", function()
        check [[
            local now = evrt.time.now()
            assert(math.abs(now - os.time()) < 5)
            assert(math.abs(evrt.time.parse(evrt.time.iso()) - now) < 5)]]
    end)

    it("has a clock that only goes forward", function()
        check [[
            local a = evrt.time.monotonic()
            local b = evrt.time.monotonic()
            assert(b >= a and b - a < 5)]]
    end)

    it("writes and reads RFC 3339", function()
        check [[
            assert(evrt.time.iso(0) == "1970-01-01T00:00:00.000Z")
            assert(evrt.time.iso(1736245845.123) == "2025-01-07T10:30:45.123Z")
            assert(evrt.time.iso(-0.001) == "1969-12-31T23:59:59.999Z")
            assert(evrt.time.parse "2025-01-07T10:30:45.123Z" == 1736245845.123)
            assert(evrt.time.parse "2025-01-07T12:30:45+02:00" == 1736245845)]]
    end)

    it("says what is wrong with a text", function()
        check [[
            local seconds, message, code = evrt.time.parse "2025-13-07T10:30:45Z"
            assert(seconds == nil and code == "EINVAL")
            assert(message:find "^byte %d+: expected RFC 3339", message)]]
    end)

    it("is misused with other types", function()
        assert.equal("h.lua:3: evrt.time.parse: a string expected, got nil", worker.run("evrt.time.parse()").message)
        assert.equal("h.lua:3: evrt.time.iso: seconds (number) expected, got string",
            worker.run("evrt.time.iso 'x'").message)
        assert.equal("h.lua:3: evrt.time.iso: the year must have four digits",
            worker.run("evrt.time.iso(1e15)").message)
        for _, bad in ipairs { "'1'", "-1", "0/0", "" } do
            assert.equal("h.lua:3: evrt.sleep: seconds (a number from 0) expected",
                worker.run("evrt.sleep(" .. bad .. ")").message)
        end
    end)
end)

describe("uuid", function()
    it("is version 7, sorted, never twice", function()
        check [[
            local last = ""
            for _ = 1, 1000 do
                local id = evrt.uuid()
                assert(id:find "^%x+%-%x+%-7%x+%-[89ab]%x+%-%x+$" and #id == 36, id)
                assert(id > last)
                last = id
            end]]
    end)
end)

describe("math.random", function()
    it("differs between workers", function()
        local _, a = worker.run "print(math.random(1e9), math.random(1e9))"
        local _, b = worker.run "print(math.random(1e9), math.random(1e9))"
        assert.not_same(a, b)
    end)
end)
