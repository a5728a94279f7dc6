-- Whatever a handler raises, what is told is "script:line: text" and the script's own frames.
local worker = require "spec.support.worker"

describe("errors", function()
    for code, text in pairs {
        ["error 'plain'"] = "h.lua:3: plain",
        ["error('bare', 0)"] = "h.lua:3: bare",
        ["error()"] = "h.lua:3: raised nil",
        ["error(nil)"] = "h.lua:3: raised nil",
        ["error {}"] = "h.lua:3: raised a table {}",
        ["error { code = 5, why = 'x', f = print }"] = 'h.lua:3: raised a table {code = 5, why = "x"}',
        ["error { message = 'in a field' }"] = "h.lua:3: in a field",
        ["error(setmetatable({}, { __tostring = function() return 'as text' end }))"] = "h.lua:3: as text",
        ["error(setmetatable({}, { __tostring = function() error 'x' end }))"] =
            "h.lua:3: raised a table whose __tostring fails",
        ["error(42)"] = "h.lua:3: 42",
        ["error(true)"] = "h.lua:3: true",
        ["error(print)"] = "h.lua:3: raised a function",
        ["error(5LL)"] = "h.lua:3: 5LL",
        ["local x = nil .. 'a'"] = "h.lua:3: attempt to concatenate a nil value",
        ["string.rep()"] = "h.lua:3: bad argument #1 to 'rep' (string expected, got no value)",
        ["return nil, 'returned'"] = "h.lua:2: returned",
        ["return nil, { message = 'in a table' }"] = "h.lua:2: in a table",
        ["return nil, false"] = "h.lua:2: false",
        ["error(('x'):rep(5000))"] = "h.lua:3: " .. ("x"):rep(5000),
    } do
        it("tells " .. code:sub(1, 70), function()
            local failed = worker.run(code)
            assert.equal("error", failed.error_type)
            assert.equal(text, failed.message)
        end)
    end

    it("succeeds on whatever else is returned", function()
        for _, code in ipairs { "return", "return nil", "return nil, nil", "return false, 'x'", "return 1, 'x'" } do
            assert.equal("done", (worker.run(code)))
        end
    end)

    it("shows the script's frames only, also those of its modules", function()
        local failed = worker.run([[
            local function inner() require("m").fail() end
            local ok = pcall(inner)
            table.sort({ 1, 2 }, function() inner() end)]], nil, {
            files = { ["lib/m.lua"] = "local m = {}\nfunction m.fail()\n error 'deep'\nend\nreturn m" },
        })
        assert.equal("lib/m.lua:3: deep", failed.message)
        assert.equal("lib/m.lua:3: in function 'fail'\nh.lua:3: in function 'inner'\n"
            .. "h.lua:5: in function <h.lua:5>\nh.lua:5: in function <h.lua:2>", failed.traceback)
    end)

    it("survives a stack overflow", function()
        local failed = worker.run "local function f() return 1 + f() end f()"
        assert.equal("error", failed.error_type)
        assert.matches("stack overflow", failed.message)
    end)

    it("takes a rejection for final", function()
        local failed = worker.run "evrt.reject 'no such user'"
        assert.equal("rejected", failed.error_type)
        assert.equal("h.lua:3: no such user", failed.message)
        assert.equal("rejected", worker.run("evrt.reject()").error_type)
        assert.equal("done", (worker.run "pcall(evrt.reject, 'caught')"))
    end)

    it("goes on with the next event", function()
        local w = worker.start { ["h.lua"] =
            "return { name = 'H', events = '**', handle = function(e) if e.seq % 2 == 0 then error 'even' end end }" }
        w:expect "READY"
        for i = 1, 100 do w:deliver { type = "a", seq = i } end
        for i = 1, 100 do
            local outcome = w:settle(i)
            assert.equal(i % 2 == 0 and "h.lua:1: even" or "done", outcome.message or outcome)
        end
        w:stop()
    end)
end)
