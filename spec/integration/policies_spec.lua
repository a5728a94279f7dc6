-- Policies in the real binary: from the configuration and of handlers, around publishing, broken ones, shared
-- ones across workers and reloads, and how they are listed.
local uv = require "luv"
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

local noting = [[
local evrt = require "evrt"
return { name = "%s", wrap = function(next)
    return function(event, ctx)
        evrt.log.info("%s")
        return next(event, ctx)
    end
end }]]

local function noted(node, names)
    local list = {}
    for _, line in ipairs(node.lines) do
        if names:find("|" .. tostring(line.msg) .. "|", 1, true) then list[#list + 1] = line.msg end
    end
    return list
end

describe("policies", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("of the configuration come first, in order, by event type; then the handler's own", function()
        local node = evrt.start {
            config = { apply = { { events = "**", policies = { "outer" } }, { events = { "order.*" },
                policies = { "orders" } } } },
            files = { ["policies/outer.lua"] = noting:format("outer", "outer"),
                ["policies/orders.lua"] = noting:format("orders", "orders"),
                ["policies/own.lua"] = noting:format("own", "own") },
            handlers = { ["h.lua"] = [[local evrt = require "evrt"
                return { name = "H", events = "**", policies = { "own", evrt.policy.retry { max_retries = 5 } },
                    handle = function() evrt.log.info "handle" end }]] },
        }
        node:publish { type = "order.made" }
        node:await_log { msg = "handle" }
        node:publish { type = "user.made" }
        node:await_log({ msg = "handle" }, nil, 2)
        assert.same({ "outer", "orders", "own", "handle", "outer", "own", "handle" },
            noted(node, "|outer|orders|own|handle|"))

        local listed = cjson.decode(node:get("/api/v1/handlers").body).items[1].policies
        assert.same({ "outer", "orders", "own", "retry" }, { listed[1].name, listed[2].name, listed[3].name,
            listed[4].name })
        assert.matches("evrt.yaml:1$", listed[1].from)
        assert.same({ "order.*" }, listed[2].events)
        assert.same({ max_retries = 5 }, listed[4].options)
        local url = ("--url=http://127.0.0.1:%d"):format(node.admin)
        local code, out = evrt.run { "handlers", "H", url }
        assert.equal(0, code)
        assert.matches("POLICY +SCOPE +EVENTS +OPTIONS +FROM +FILE", out)
        assert.matches('retry +handler +%- +{"max_retries":5} +[^\n]*handlers/h.lua:2 +built in', out)
        code, out = evrt.run { "handlers", "H", "--json", url }
        assert.equal(0, code)
        assert.equal(4, #cjson.decode(out).policies)
        local err
        code, out, err = evrt.run { "handlers", "None", url }
        assert.same({ 1, "", 'evrt: no handler named "None"; evrt handlers lists them' }, { code, out, err })
        assert.equal(0, node:stop())
    end)

    it("wrap what scripts publish", function()
        local node = evrt.start {
            files = { ["policies/stamp.lua"] = [[return { name = "stamp", scope = "publish", wrap = function(next)
                return function(event, ctx)
                    return next({ type = event.type, subject = "by " .. ctx.handler }, ctx)
                end
            end }]] },
            handlers = { ["h.lua"] = [[local evrt = require "evrt"
                return {
                    { name = "From", events = "a", policies = { "stamp" }, handle = function()
                        assert(evrt.publish { type = "b" }) end },
                    { name = "To", events = "b", handle = function(event) evrt.log.info(event.subject) end },
                }]] },
        }
        node:publish { type = "a" }
        node:await_log { msg = "by From" }
        assert.equal(0, node:stop())
    end)

    it("that fail are the delivery's failure, by name", function()
        local node = evrt.start {
            files = { ["policies/bad.lua"] = [[return { name = "bad", wrap = function(next)
    return function(event, ctx)
        error "no good"
    end
end }]] },
            handlers = { ["h.lua"] = [[return { name = "H", events = "**", policies = { "bad" },
                handle = function() end }]] },
        }
        node:publish { type = "a" }
        local line = node:await_log { msg = "Event handle failed" }
        assert.matches('^policy "bad" %(.*/policies/bad.lua:3%): no good$', line.error)
        assert.equal(0, node:stop())
    end)

    it("that do not load are named with file and line, and nothing starts", function()
        local function check(options)
            options.handlers = options.handlers or { ["h.lua"] = [[return { name = "H", events = "**",
                policies = { "mine" }, handle = function() end }]] }
            local dir = evrt.lay(options)
            local code, out, err = evrt.run { "check", dir .. "/evrt.yaml" }
            assert.equal(78, code)
            return out .. err
        end
        assert.matches('handlers/h.lua:2: policy "mine" is not known', check {})
        assert.matches('policies/m.lua:1: policy "mine": wrap must return a function', check {
            files = { ["policies/m.lua"] = 'return { name = "mine", wrap = function() end }' } })
        assert.matches('policies/m.lua:1: field "name" is missing', check {
            files = { ["policies/m.lua"] = "return { wrap = function() end }" } })
        assert.matches('evrt.yaml:3: policy "retyr" is not known %(did you mean "retry"%?%)', check {
            config = 'handlers: handlers/\napply:\n  - {events: "**", policies: [retyr]}\n', handlers = {} })
        assert.matches('evrt.yaml:2: apply: "a..b" is no pattern', check {
            config = 'apply:\n  - {events: "a..b", policies: [audit]}\n', handlers = {} })
        assert.matches("evrt.yaml:1: policies: .*/none cannot be read: No such file", check {
            config = "policies: none/\n", handlers = {} })
    end)

    it("share a breaker across workers, and keep it over a reload", function()
        local node = evrt.start {
            config = { workers = { count = 2 } },
            handlers = { ["h.lua"] = [[local evrt = require "evrt"
                return { name = "H", events = "**", concurrency = 8,
                    policies = { evrt.policy.circuit_breaker { failures = 4, cooldown = "10m" } },
                    handle = function(event) evrt.log.info "called" error "boom" end }]] },
        }
        -- Eight at once reach both workers; those after the fourth failure may have begun already.
        for _ = 1, 8 do node:publish { type = "a" } end
        node:await_log({ msg = "Event handle failed" }, nil, 8)
        node:await_log { msg = "Circuit opened" }
        local called = #node:logged { msg = "called" }
        for _ = 1, 8 do node:publish { type = "a" } end
        node:await_log({ msg = "Event handle failed" }, nil, 16)
        assert.equal(called, #node:logged { msg = "called" })
        for i = 9, 16 do
            assert.matches('^policy "circuit_breaker" .*: open: what is inside failed 4 times in a row',
                node:logged({ msg = "Event handle failed" })[i].error)
        end

        local shared = cjson.decode(node:get("/api/v1/stats").body).shared
        assert.equal(1, shared.entries)
        local code = evrt.run { "reload", ("--url=http://127.0.0.1:%d"):format(node.admin) }
        assert.equal(0, code)
        for _ = 1, 4 do node:publish { type = "a" } end
        node:await_log({ msg = "Event handle failed" }, nil, 20)
        assert.equal(called, #node:logged { msg = "called" })
        assert.equal(0, node:stop())
    end)

    it("share a throttle across workers", function()
        local node = evrt.start {
            config = { workers = { count = 2 } },
            handlers = { ["h.lua"] = [[local evrt = require "evrt"
                return { name = "H", events = "**",
                    policies = { evrt.policy.throttle { rate = 50, burst = 1 } },
                    handle = function(event) evrt.log.info("called", { at = evrt.time.monotonic() }) end }]] },
        }
        local started = uv.hrtime() / 1e9
        for _ = 1, 12 do node:publish { type = "a" } end
        node:await_log({ msg = "called" }, nil, 12)
        local at = {}
        for i, line in ipairs(node:logged { msg = "called" }) do at[i] = line.at - started end
        table.sort(at)
        for i = 1, 12 do assert.is_true(at[i] >= (i - 1) * 0.02, at[i]) end
        assert.equal(0, node:stop())
    end)

    it("change with a reload", function()
        local node = evrt.start {
            config = { reload = { watch = false } },
            files = { ["policies/p.lua"] = noting:format("p", "first") },
            handlers = { ["h.lua"] = [[return { name = "H", events = "**", policies = { "p" },
                handle = function() end }]] },
        }
        local url = ("--url=http://127.0.0.1:%d"):format(node.admin)
        node:publish { type = "a" }
        node:await_log { msg = "first" }
        evrt.write(node.dir .. "/policies/p.lua", "return { name = 'p', wrap = function() end }")
        local code, out, err = evrt.run { "reload", url }
        assert.equal(78, code)
        assert.matches('policies/p.lua:1: policy "p": wrap must return a function', out .. err)
        node:publish { type = "a" }
        node:await_log({ msg = "first" }, nil, 2)
        evrt.write(node.dir .. "/policies/p.lua", (noting:format("p", "second")))
        assert.equal(0, (evrt.run { "reload", url }))
        node:publish { type = "a" }
        node:await_log { msg = "second" }
        assert.equal(0, node:stop())
    end)

    it("that are others are told by a reload, and not those that stand a line lower", function()
        local policies = 'policies = { evrt.policy.retry { max_retries = %d, initial_delay = "1s", jitter = 0.5, '
            .. 'multiplier = 2 }, evrt.policy.filter { where = function(e) return e.type ~= "x" end } },'
        local patience = 'return { name = "patience", policy = require("evrt").policy.timeout { after = %q } }'
        local base = "handlers: handlers/\npolicies: policies/\nreload: {watch: false}\nworkers: {count: 2}\n"
            .. "http: {listen: '127.0.0.1:0'}\nadmin: {listen: '127.0.0.1:0'}\n"
        local apply = "apply: [{events: '**', policies: [patience]}]\n"
        local function handler(name, more)
            return ('local evrt = require "evrt"\nreturn { name = %q, events = "a", %s handle = function() end }')
                :format(name, more or "")
        end
        local node = evrt.start {
            config = base .. apply, files = { ["policies/p.lua"] = patience:format "9s" }, handlers = {
                ["a.lua"] = handler("A", policies:format(3)),
                ["b.lua"] = handler("B"),
            },
        }
        local function write(name, text) evrt.write(node.dir .. "/handlers/" .. name, text) end
        local function changed()
            local list = {}
            local answer = node:post_admin "/api/v1/reload"
            assert.equal(200, answer.status)
            for _, one in ipairs(answer.json.handlers.changed) do
                list[#list + 1] = one.handler .. ": " .. one.changes
            end
            return table.concat(list, "; ")
        end
        write("a.lua", "\n" .. handler("A", policies:format(3)))
        assert.equal("A: file", changed())
        write("a.lua", handler("A", policies:format(4)))
        assert.equal("A: policies, file", changed())
        write("a.lua", handler("A", policies:format(4) .. 'on_retry = "skip",'))
        assert.equal("A: on_retry, file", changed())
        write("../evrt.yaml", base .. "\n\n" .. apply)
        assert.equal("", changed())
        write("../policies/p.lua", patience:format "8s")
        assert.equal("A: policies; B: policies", changed())
        assert.equal(0, node:stop())
    end)
end)
