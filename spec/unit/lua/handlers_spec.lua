-- What a handler file may return, and what is said when it does not.
local worker = require "spec.support.worker"

local function check(text, path)
    return worker.check { [path or "h.lua"] = text }
end

local function handler(fields)
    return ("return {\n    name = 'H',\n    events = 'a.*',\n    %s\n    handle = function() end,\n}")
        :format(fields or "")
end

describe("handlers", function()
    it("accepts every field", function()
        assert.is_nil(check(handler "timeout = '30s', concurrency = 64, start = 'beginning', policies = {},"))
        assert.is_nil(check(handler "timeout = 0.5,"))
        assert.is_nil(check "return {}")
    end)

    it("accepts every form of pattern", function()
        for _, pattern in ipairs { "a", "a.b-c_D9", "*", "**", "a.*", "*.a", "**.a", "a.**.b", "evrt.**" } do
            assert.is_nil(check(("return { name = 'H', events = %q, handle = function() end }"):format(pattern)))
        end
    end)

    it("refuses what is no pattern", function()
        for _, pattern in ipairs { "a..b", ".a", "a.", "a*", "a b", "a.***", "ä" } do
            assert.matches("^h.lua:1: field \"events\": expected segments of letters.* is no such pattern",
                check(("return { name = 'H', events = %q, handle = function() end }"):format(pattern)))
        end
        assert.matches("a pattern of 1 to 256 bytes", check "return { name = 'H', events = '', handle = print }")
    end)

    for what, case in pairs {
        ["no name"] = { "return { events = 'a', handle = function() end }",
            'h.lua:1: field "name" is missing: expected a name of at most 128 letters, digits and any of _ - . :' },
        ["a bad name"] = { "return {\n name = 'a b',\n events = 'a', handle = function() end }",
            'h.lua:2: field "name": expected a name of at most 128 letters, digits and any of _ - . :, got "a b"' },
        ["no events"] = { "return { name = 'H',\n handle = function() end }",
            'h.lua:2: field "events" is missing: expected an event type or pattern, or a list of them, as in '
            .. '{ "like.added", "comment.*" }' },
        ["an empty list of events"] = { "return { name = 'H', handle = function() end,\n\n events = {} }",
            'h.lua:3: field "events": expected an event type or pattern, or a list of them, as in '
            .. '{ "like.added", "comment.*" }, got a table' },
        ["no handle"] = { "return { name = 'H', events = 'a' }",
            'h.lua:1: field "handle" is missing: expected a function(event, ctx)' },
        ["a handle that is none"] = { "return { name = 'H', events = 'a',\n handle = 'f' }",
            'h.lua:2: field "handle": expected a function(event, ctx), got "f"' },
        ["a bad timeout"] = { handler "timeout = '30',",
            'h.lua:4: field "timeout": expected a duration above 0, as "250ms", "30s", "5m" or a number of '
            .. 'seconds, got "30"' },
        ["a timeout of nothing"] = { handler "timeout = 0,",
            'h.lua:4: field "timeout": expected a duration above 0, as "250ms", "30s", "5m" or a number of '
            .. 'seconds, got 0' },
        ["a bad concurrency"] = { handler "concurrency = 1.5,",
            'h.lua:4: field "concurrency": expected a whole number from 1, got 1.5' },
        ["a bad start"] = { handler "start = 'now',",
            'h.lua:4: field "start": expected "new" or "beginning", got "now"' },
        ["a policy nobody knows"] = { handler "policies = { 'audti' },",
            'h.lua:4: policy "audti" is not known (did you mean "audit"?); there are audit, circuit_breaker, '
            .. 'concurrency, filter, retry, sample, throttle, timeout, transform' },
        ["policies that are no list"] = { handler "policies = 'audit',",
            'h.lua:4: field "policies": expected a list of policies: names, or built with options as '
            .. 'evrt.policy.retry { max_retries = 5 }, got "audit"' },
        ["a policy that was not called"] = { handler "policies = { 'audit', require 'evrt'.policy.retry },",
            'h.lua:4: field "policies": expected a list of policies: names, or built with options as '
            .. 'evrt.policy.retry { max_retries = 5 }; item 2 is a function: call it with its options, got a table' },
        ["a typo"] = { handler "timeuot = '30s',",
            'h.lua:4: unknown field "timeuot" (did you mean "timeout"?); a handler has name, events, handle, '
            .. 'policies, timeout, concurrency, ordered_by, priority, on_retry, on_dead_letter, start, '
            .. 'schedule, every, timezone, '
            .. 'catch_up' },
        ["a field that is nothing like any"] = { handler "colour = 'red',",
            'h.lua:4: unknown field "colour"; a handler has name, events, handle, policies, timeout, concurrency, '
            .. 'ordered_by, priority, on_retry, on_dead_letter, start, schedule, every, timezone, catch_up' },
        ["an order by all of the data"] = { handler "ordered_by = 'data',",
            'h.lua:4: field "ordered_by": expected an attribute as "partitionkey", or a place in the data as '
            .. '"data.order_id", got "data"' },
        ["an order by a path with a hole"] = { handler "ordered_by = 'data.a..b',",
            'h.lua:4: field "ordered_by": expected an attribute as "partitionkey", or a place in the data as '
            .. '"data.order_id", got "data.a..b"' },
        ["a priority out of bounds"] = { handler "priority = 101,",
            'h.lua:4: field "priority": expected a whole number from -100 to 100; higher goes first, got 101' },
        ["a number for a return"] = { "return 1",
            'h.lua:1: expected a handler (table) or a list of handlers, got 1' },
        ["no return"] = { "local x = 1",
            'h.lua:1: the file returns nothing: expected a handler (table) or a list of handlers' },
        ["a list with something else"] = { "return { 'x' }",
            'h.lua:1: expected a handler (table) or a list of handlers, got "x"' },
    } do
        it("refuses " .. what, function()
            assert.equal(case[2], check(case[1]))
        end)
    end

    for _, field in ipairs { "batch",
        "retry_if" } do
        it("does not quietly ignore " .. field, function()
            assert.equal(('h.lua:4: field "%s" is not supported by this version'):format(field),
                check(handler(field .. " = 'x',")))
        end)
    end

    it("tells all errors of a handler", function()
        local lines = check "return { nam = 'x', handle = 1 }"
        assert.matches('unknown field "nam" %(did you mean "name"%?%)', lines)
        assert.matches('field "name" is missing', lines)
        assert.matches('field "events" is missing', lines)
        assert.matches('field "handle": expected a function', lines)
    end)

    it("finds the line in the right handler of a list", function()
        assert.equal('h.lua:6: field "timeout": expected a duration above 0, as "250ms", "30s", "5m" or a number '
            .. 'of seconds, got "x"', check [[return {
    { name = "A", events = "a", handle = function() end,
      timeout = "1s" },

    { name = "B", events = "b", handle = function() end,
      timeout = "x" },
}]])
    end)

    it("refuses a name that is taken, naming both places", function()
        local lines = worker.check {
            ["a.lua"] = "return { name = 'H', events = 'a', handle = function() end }",
            ["b.lua"] = "return {\n { name = 'H', events = 'a', handle = function() end } }",
        }
        assert.equal('b.lua:2: handler "H" is declared twice, first at a.lua:1', lines)
    end)

    it("takes source text only", function()
        assert.matches("^h.lua:1: .*bytecode", check(string.dump(function() return {} end)))
    end)

    it("passes over a byte-order mark and a first line for the shell", function()
        assert.is_nil(check "\239\187\191return {}")
        assert.is_nil(check "#!/usr/bin/env lua\nreturn {}")
        assert.matches("^h.lua:2: ", check "#!/usr/bin/env lua\nreturn 1 +")
    end)

    it("names long paths in full", function()
        local path = ("folder/"):rep(15) .. "h.lua"
        assert.equal(path .. ":1: unexpected symbol near '<eof>'", check("return 1 +", path))
        assert.equal(path .. ":2: no", check("\nerror 'no'", path))
    end)
end)
