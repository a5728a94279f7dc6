-- Policies: their files, their use by name or with options, chains, publishing, and what is said of mistakes.
local cjson = require "cjson"
local worker = require "spec.support.worker"

local function handler(fields)
    return ("local evrt = require 'evrt'\nreturn {\n    name = 'H',\n    events = { 'a.*', 'b.c' },\n    %s\n"
        .. "    handle = function(event, ctx) print('handle ' .. event.type) end,\n}"):format(fields or "")
end

-- A policy that says when it is passed.
local function passing(name, more)
    return ([[return { name = %q, %s wrap = function(next)
    return function(event, ctx)
        print("%s in")
        local a, b = next(event, ctx)
        print("%s out")
        return a, b
    end
end }]]):format(name, more or "", name, name)
end

local function start(files)
    local w = worker.start(files)
    local ready = cjson.decode(w:expect("READY").text)
    return w, ready.handlers[1]
end

local function printed(files, event)
    local w = start(files)
    assert.equal("done", w:handle(event or { type = "a.b" }))
    local lines = w:printed()
    w:stop()
    return lines
end

local function fails(files, event)
    local w = start(files)
    local failed = w:handle(event or { type = "a.b" })
    w:stop()
    return failed
end

describe("chains of policies", function()
    local files = {
        ["policies/one.lua"] = passing "one", ["policies/two.lua"] = passing "two",
        ["policies/three.lua"] = passing "three",
        ["h.lua"] = handler "policies = { 'three' },",
        ["evrt.yaml"] = [[[{"line":3,"events":["**"],"policies":["one"]},{"line":4,"events":["a.*"],"policies":["two"]}]
]],
    }

    it("go from the configuration's, in order, to the handler's own", function()
        assert.same({ "one in", "two in", "three in", "handle a.b", "three out", "two out", "one out" },
            printed(files))
    end)

    it("are chosen by the type of the event", function()
        assert.same({ "one in", "three in", "handle b.c", "three out", "one out" }, printed(files, { type = "b.c" }))
    end)

    it("leave out what cannot be, and need no choice where there is none", function()
        local w, h = start { ["policies/one.lua"] = passing "one", ["h.lua"] = handler(),
            ["evrt.yaml"] = '[{"line":3,"events":["z.**","b.d"],"policies":["one"]}]' }
        assert.same({}, h.policies)
        w:stop()
    end)

    it("are declared in order, with options and where they come from", function()
        local w, h = start {
            ["policies/one.lua"] = passing "one",
            ["h.lua"] = handler "policies = { 'one', evrt.policy.filter { where = function() return true end } },",
            ["evrt.yaml"] = '[{"line":3,"events":["a.*"],"policies":["audit"]}]',
        }
        w:stop()
        assert.same({
            { name = "audit", scope = "handler", from = "evrt.yaml:3", file = "built in", events = { "a.*" },
                options = { level = "info", message = "Audit" } },
            { name = "one", scope = "handler", from = "h.lua:5", file = "policies/one.lua", options = {} },
            { name = "filter", scope = "handler", from = "h.lua:5", file = "built in",
                options = { where = "function (h.lua:5)" } },
        }, h.policies)
    end)

    it("remember a bounded number of types", function()
        local w = start { ["policies/one.lua"] = passing "one", ["h.lua"] = handler():gsub("'b.c'", "'**'"),
            ["evrt.yaml"] = '[{"line":3,"events":["a.*"],"policies":["one"]}]' }
        for i = 1, 1100 do w:deliver { type = "t" .. i } end
        for i = 1, 1100 do assert.equal("done", w:settle(i)) end
        assert.equal("done", w:handle { type = "t1" })
        w:stop()
    end)

    it("let a policy answer for the handler", function()
        local skip = 'return { name = "skip", wrap = function() return function() return %s end end }'
        local with = { ["h.lua"] = handler "policies = { 'skip' },", ["policies/s.lua"] = skip:format "" }
        assert.same({}, printed(with))
        with["policies/s.lua"] = skip:format 'nil, "not today"'
        assert.equal("h.lua:6: not today", fails(with).message)
    end)
end)

describe("a user's policy", function()
    it("gets its options, and says what it takes", function()
        local limit = [[return { name = "limit",
            opts = { most = { "integer", min = 1, required = true }, per = { "duration", default = "2s" } },
            wrap = function(next, opts)
                return function(event, ctx)
                    print(opts.most, opts.per)
                    return next(event, ctx)
                end
            end }]]
        assert.same({ "5\t2", "handle a.b" }, printed { ["policies/l.lua"] = limit,
            ["h.lua"] = handler "policies = { evrt.policy.limit { most = 5 } }," })
        local function check(use)
            return worker.check { ["policies/l.lua"] = limit, ["h.lua"] = handler("policies = { " .. use .. " },") }
        end
        assert.equal('h.lua:5: policy "limit": option "most" is missing: expected a whole number from 1',
            check "'limit'")
        assert.equal('h.lua:5: policy "limit": option "most": expected a whole number from 1, got 0.5',
            check "evrt.policy.limit { most = 0.5 }")
        assert.equal('h.lua:5: policy "limit": unknown option "mots" (did you mean "most"?); there are most, per\n'
            .. 'h.lua:5: policy "limit": option "most" is missing: expected a whole number from 1',
            check "evrt.policy.limit { mots = 1 }")
        assert.equal('h.lua:5: evrt.policy.limit: options (a table) expected, got 5', check "evrt.policy.limit(5)")
    end)

    it("may check its options itself", function()
        local own = [[return { name = "own", opts = function(opts)
                if not opts.a then return nil, "a is what it takes" end
                return { a = opts.a * 2 }
            end,
            wrap = function(next, opts) return function(e, c) print(opts.a) return next(e, c) end end }]]
        assert.same({ "4", "handle a.b" }, printed { ["policies/o.lua"] = own,
            ["h.lua"] = handler "policies = { evrt.policy.own { a = 2 } }," })
        assert.equal('h.lua:5: policy "own": a is what it takes', worker.check { ["policies/o.lua"] = own,
            ["h.lua"] = handler "policies = { 'own' }," })
    end)

    it("may be another one with options, under a name of its own", function()
        local files = { ["policies/p.lua"] = [[local evrt = require "evrt"
            return { { name = "small", policy = evrt.policy.filter { where = function(e) return e.type == "b.c" end } },
                { name = "tiny", policy = evrt.policy.small() } }]], ["h.lua"] = handler "policies = { 'tiny' }," }
        assert.same({}, printed(files))
        assert.same({ "handle b.c" }, printed(files, { type = "b.c" }))
    end)

    it("stands in the place of evrt's own of that name", function()
        assert.same({ "audit in", "handle a.b", "audit out" }, printed { ["policies/p.lua"] = passing "audit",
            ["h.lua"] = handler "policies = { 'audit' }," })
    end)

    it("has a state per handler and use, which ctx.state is inside of it alone", function()
        local counting = [[return { name = "counting", wrap = function(next, opts, place)
            return function(event, ctx)
                ctx.state.n = (ctx.state.n or 0) + 1
                assert(ctx.state == place.state)
                print(place.handler, place.id, ctx.state.n, ctx.handler, ctx.attempt)
                ctx.note = "from the policy"
                return next(event, ctx)
            end
        end }]]
        local w = start { ["policies/c.lua"] = counting, ["h.lua"] = [[
            local function handle(event, ctx)
                ctx.state.mine = (ctx.state.mine or 0) + 1
                print(ctx.state.n, ctx.state.mine, ctx.note)
            end
            return {
                { name = "A", events = "**", policies = { "counting", "counting" }, handle = handle },
                { name = "B", events = "**", policies = { "counting" }, handle = handle },
            }]] }
        w:handle({ type = "a" }, { handler = 0 })
        w:handle({ type = "a" }, { handler = 0 })
        w:handle({ type = "a" }, { handler = 1 })
        assert.same({
            "A\tA/counting\t1\tA\t1", "A\tA/counting#2\t1\tA\t1", "nil\t1\tfrom the policy",
            "A\tA/counting\t2\tA\t1", "A\tA/counting#2\t2\tA\t1", "nil\t2\tfrom the policy",
            "B\tB/counting\t1\tB\t1", "nil\t1\tfrom the policy",
        }, w:printed())
        w:stop()
    end)

    it("fails the delivery by name and place", function()
        local failed = fails { ["h.lua"] = handler "policies = { 'bad' },", ["policies/bad.lua"] = [[
            return { name = "bad", wrap = function(next)
                return function(event, ctx)
                    local x = nil
                    return x.y
                end
            end }]] }
        assert.equal("error", failed.error_type)
        assert.equal('policy "bad" (policies/bad.lua:4): attempt to index local \'x\' (a nil value)', failed.message)
        assert.matches("^policies/bad.lua:4: in function", failed.traceback)
    end)

    it("is not blamed for the handler's failure, also when it raises that again", function()
        for _, body in ipairs {
            "return next(event, ctx)", "local a, b = next(event, ctx) return a, b",
            "local ok, e = pcall(next, event, ctx) if not ok then error(e, 0) end",
        } do
            local failed = fails {
                ["policies/p.lua"] = 'return { name = "p", wrap = function(next) return function(event, ctx) ' .. body
                    .. " end end }",
                ["h.lua"] = [[return { name = "H", events = "**", policies = { "p" }, handle = function()
                    error "boom"
                end }]],
            }
            assert.equal("h.lua:2: boom", failed.message)
        end
    end)

    it("may reject and wait as handlers do", function()
        local failed = fails { ["h.lua"] = handler "policies = { 'p' },", ["policies/p.lua"] = [[
            local evrt = require "evrt"
            return { name = "p", wrap = function() return function() evrt.sleep(0) evrt.reject "no" end end }]] }
        assert.equal("rejected", failed.error_type)
        assert.equal('policy "p" (policies/p.lua:2): no', failed.message)
    end)

    it("is told when it forgets what to pass on", function()
        assert.matches('policy "p" calls next without event and ctx', fails { ["h.lua"] = handler "policies = { 'p' },",
            ["policies/p.lua"] = [[return { name = "p", wrap = function(next)
                return function(e) return next(e) end end }]]
        }.message)
    end)
end)

describe("policies around publishing", function()
    it("wrap what a handler publishes, by the type of what is published", function()
        local w = start {
            ["policies/stamp.lua"] = [[return { name = "stamp", scope = "publish", wrap = function(next)
                return function(event, ctx)
                    print(ctx.handler, event.type)
                    return next({ type = event.type, subject = "stamped" }, ctx)
                end
            end }]],
            ["evrt.yaml"] = '[{"line":3,"events":["x.*"],"policies":["stamp"]}]',
            ["h.lua"] = [[local evrt = require "evrt"
                return { name = "H", events = "a.*", handle = function(event)
                    local sent, why = evrt.publish { type = event.subject }
                    print(sent and sent.seq or why)
                end }]],
        }
        for _, type in ipairs { "x.y", "y" } do
            local d = w:deliver { type = "a.b", subject = type }
            local f = w:expect "PUBLISH"
            assert.equal(type == "x.y", f.event:find("stamped", 1, true) ~= nil)
            w:send("published", { token = f.token, status = 0, seq = 7, id = "i", message = "", outcomes = "" })
            assert.equal("done", w:settle(d))
        end
        assert.same({ "H\tx.y", "7", "7" }, w:printed())
        w:stop()
    end)

    it("may keep an event back", function()
        local failed = fails {
            ["policies/no.lua"] = [[return { name = "no", scope = "publish", wrap = function()
                return function() return nil, "not allowed", "EPERM" end end }]],
            ["h.lua"] = [[local evrt = require "evrt"
                return { name = "H", events = "a.*", policies = { "no" }, handle = function()
                    return nil, table.concat({ select(2, evrt.publish { type = "x" }) }, " ")
                end }]],
        }
        assert.equal("h.lua:2: not allowed EPERM", failed.message)
    end)
end)

describe("a policy file that is wrong", function()
    for text, expected in pairs {
        ["local x = 1"] = "policies/p.lua:1: the file returns nothing: expected a policy (table) or a list of policies",
        ["return 1 +"] = "policies/p.lua:1: unexpected symbol near '<eof>'",
        ["\nerror 'no'"] = "policies/p.lua:2: no",
        ["return { wrap = function() end }"] =
            'policies/p.lua:1: field "name" is missing: expected a name of at most 128 letters, digits and any of '
            .. '_ - . :',
        ["return { name = 'p' }"] = 'policies/p.lua:1: field "wrap" is missing: expected a function(next, opts) that '
            .. 'returns a function(event, ctx) (or "policy", a policy built with options, as evrt.policy.throttle '
            .. '{ rate = 10 })',
        ["return { name = 'p',\n scope = 'publsh', wrap = function() end }"] =
            'policies/p.lua:2: field "scope": expected "handler" or "publish", got "publsh"',
        ["return { name = 'p', warp = function() end }"] =
            'policies/p.lua:1: unknown field "warp" (did you mean "wrap"?); a policy has name, wrap, scope, opts, '
            .. 'policy',
        ["return { name = 'p',\n opts = { a = { 'nubmer' } }, wrap = function() end }"] =
            'policies/p.lua:2: field "opts": expected a: one of the kinds any, boolean, choice, duration, function, '
            .. 'integer, key, number, string, table, not "nubmer" (did you mean "number"?), got a table',
        ["return { name = 'p', wrap = function() end,\n policy = require 'evrt'.policy.audit() }"] =
            'policies/p.lua:1: field "wrap" does not go with "policy", which has its own',
        ["return { name = 'p',\n wrap = function() return 1 end }"] =
            'policies/p.lua:2: policy "p": wrap must return a function(event, ctx), got a number',
        ["return { name = 'p',\n wrap = function() end }"] =
            'policies/p.lua:2: policy "p": wrap must return a function(event, ctx), got nothing',
        ["return { name = 'p',\n wrap = function() local x; x() end }"] =
            "policies/p.lua:2: policy \"p\": attempt to call local 'x' (a nil value)",
    } do
        it("is told: " .. text:gsub("\n", " "), function()
            local lines = worker.check { ["policies/p.lua"] = text, ["h.lua"] = handler "policies = { 'p' }," }
            assert.equal(expected, (lines or "nothing"):match "^[^\n]*")
        end)
    end

    it("is told when its name is taken", function()
        assert.equal('policies/b.lua:1: policy "p" is declared twice, first at policies/a.lua:1',
            worker.check { ["policies/a.lua"] = passing "p", ["policies/b.lua"] = passing "p" })
    end)

    it("is told when it is made of itself", function()
        assert.matches('policy "p": it is made of itself %(policies/p.lua:1%)', worker.check {
            ["policies/p.lua"] = "return { name = 'p', policy = require 'evrt'.policy.p() }",
            ["h.lua"] = handler "policies = { 'p' }," })
    end)

    it("is named by the line of `apply` that uses what there is not", function()
        assert.equal('evrt.yaml:7: policy "adit" is not known (did you mean "audit"?); there are audit, '
            .. "circuit_breaker, concurrency, filter, retry, sample, throttle, timeout, transform",
            worker.check { ["h.lua"] = handler(), ["evrt.yaml"] = '[{"line":7,"events":["a"],"policies":["adit"]}]' })
    end)

    it("may not share a module's name with the handlers", function()
        local files = { ["lib/_x.lua"] = "return 1", ["policies/_x.lua"] = "return 2",
            ["policies/_y.lua"] = "return 3" }
        files["h.lua"] = "require '_y' return {}"
        assert.is_nil(worker.check(files))
        files["h.lua"] = "require '_x' return {}"
        assert.equal("h.lua:1: module '_x' is both lib/_x.lua and policies/_x.lua: rename one of them",
            worker.check(files))
    end)
end)
