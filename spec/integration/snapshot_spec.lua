-- Snapshots of aggregates, and folds from the newest one on.
local evrt = require "spec.support.evrt"

local function start(body, config)
    return evrt.start { config = config, handlers = { ["a.lua"] = ([[
        local evrt = require "evrt"
        local function sum(state, event)
            return { total = state.total + (event.data.n or 0), last = event.type, from = state.from or event.seq,
                tenant = event.extensions.tenant }
        end
        return { name = "A", events = "go", handle = function(event, ctx)
            local function say(name, fields) ctx.log.info(name, fields) end
            %s
        end }]]):format(body) } }
end

local function order(node, id, n, type)
    local event = { type = type or "order.paid", subject = id, data = { n = n }, tenant = "t" }
    assert.equal(202, node:publish(event).status)
end

local function go(node, data)
    local answer = node:publish({ type = "go", data = data or {} }, "?wait=handled")
    assert.equal("success", answer.json.handlers[1].outcome, answer.body)
end

describe("a snapshot", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is the newest one, or that of a version, and survives a kill", function()
        local node = start [[
            if event.data.save then
                for version, total in pairs { [10] = 1, [7] = 2, [25] = 3 } do
                    assert(evrt.snapshot.save("order", "a/b%", version, { total = total }))
                end
                assert(evrt.snapshot.save("order", "a", 99, { total = 99 }))
            end
            local function told(version)
                local s = evrt.snapshot.get("order", "a/b%", version)
                return s and s.version .. ":" .. s.state.total or "none"
            end
            say("told", { newest = told(), of20 = told(20), of10 = told(10), of9 = told(9), of6 = told(6),
                other = evrt.snapshot.get("order", "b") == nil })]]
        go(node, { save = true })
        local want = { msg = "told", newest = "25:3", of20 = "10:1", of10 = "10:1", of9 = "7:2", of6 = "none",
            other = true }
        node:await_log(want)
        node:stop "sigkill"
        node = node:restart()
        go(node)
        node:await_log(want)
        assert.equal(0, node:stop())
    end)

    it("goes when there are newer ones", function()
        local node = start [[
            for version = 1, 10 do assert(evrt.snapshot.save("order", "a", version, version, { keep = 2 })) end
            say("kept", { eighth = evrt.snapshot.get("order", "a", 8) == nil,
                ninth = evrt.snapshot.get("order", "a", 9).state, tenth = evrt.snapshot.get("order", "a").state })]]
        go(node)
        node:await_log { msg = "kept", eighth = true, ninth = 9, tenth = 10 }
        assert.equal(0, node:stop())
    end)

    it("is where a fold begins", function()
        local node = start [[
            local state, version = evrt.fold("order", event.data.id or "a", sum, { initial = { total = 0 },
                snapshot_every = event.data.every })
            local kept = evrt.snapshot.get("order", "a")
            say("folded", { total = state.total, version = version, last = state.last, from = state.from,
                tenant = state.tenant, kept = kept and kept.version or 0 })]]
        order(node, "a", 1)
        order(node, "b", 100)
        order(node, "a", 2, "order.item.added")
        order(node, "a", 4, "other.paid")
        go(node)
        node:await_log { msg = "folded", total = 3, version = 3, last = "order.item.added", from = 1, tenant = "t",
            kept = 0 }
        go(node, { every = 2 })
        node:await_log { msg = "folded", total = 3, version = 3, kept = 3 }
        order(node, "a", 8)
        go(node, { every = 2 })
        node:await_log { msg = "folded", total = 11, version = 7, from = 1, kept = 3 }
        go(node, { id = "nobody" })
        node:await_log { msg = "folded", total = 0, version = 0 }
        assert.equal(0, node:stop())
    end)

    it("is of as many events as there are", function()
        local node = start([[
            local state, version = evrt.fold("order", "a", sum, { initial = { total = 0 } })
            say("folded", { total = state.total, version = version })]], { http = { max_batch = 2000 } })
        local items = {}
        for i = 1, 1300 do
            items[i] = ('{"specversion":"1.0","type":"order.x","source":"s","id":"%d","subject":"%s","data":{"n":%d}}')
                :format(i, i % 100 == 0 and "b" or "a", i)
        end
        local answer = node:post_batch("[" .. table.concat(items, ",") .. "]")
        assert.equal(202, answer.status)
        go(node)
        local others = 0
        for i = 100, 1300, 100 do others = others + i end
        node:await_log { msg = "folded", total = 1300 * 1301 / 2 - others, version = 1299 }
        assert.equal(0, node:stop())
    end)

    it("says what is wrong with what it is given", function()
        local node = start [[
            local function why(f, ...)
                local ok, err = pcall(f, ...)
                return ok and "ok" or tostring(err)
            end
            say("why", {
                type = why(evrt.snapshot.save, "", "a", 1, {}),
                version = why(evrt.snapshot.save, "t", "a", 1.5, {}),
                state = why(evrt.snapshot.save, "t", "a", 1, nil),
                keep = why(evrt.snapshot.save, "t", "a", 1, {}, { keep = 0 }),
                option = why(evrt.snapshot.save, "t", "a", 1, {}, { kep = 1 }),
                large = why(evrt.snapshot.save, "t", "a", 1, ("x"):rep(300 * 1024)),
                get = why(evrt.snapshot.get, "t", 5),
                reducer = why(evrt.fold, "t", "a", 5),
                raised = why(evrt.fold, "go", "s", function() error "mine" end),
                pattern = why(evrt.fold, "a..b", "s", function() end),
            })]]
        local answer = node:publish({ type = "go", subject = "s", data = {} }, "?wait=handled")
        assert.equal("success", answer.json.handlers[1].outcome, answer.body)
        local line = node:await_log { msg = "why" }
        for field, want in pairs {
            type = "type: a string expected", version = "version: a whole number from 0", state = "state: nil is none",
            keep = "keep: a whole number from 1 to 1000", option = 'unknown option "kep"',
            large = "at most 262144 bytes|more than 262144 bytes", get = "id: a string expected, got number",
            reducer = "reducer: a function expected", raised = "mine", pattern = "type: expected a pattern",
        } do
            local found = false
            for text in (want .. "|"):gmatch "(.-)|" do found = found or line[field]:find(text, 1, true) ~= nil end
            assert.is_true(found, field .. ": " .. line[field])
        end
        assert.equal(0, node:stop())
    end)

    it("is folded by many at once", function()
        local node = start([[
            local state = evrt.fold("order", "a", sum, { initial = { total = 0 } })
            say("folded", { total = state.total })]],
            { snapshots = { max_folds = 1 }, workers = { count = 2 }, logging = { sampling = { first = 0 } } })
        for i = 1, 20 do order(node, "a", i) end
        for _ = 1, 30 do node:publish { type = "go", data = {} } end
        node:await_log({ msg = "folded", total = 210 }, 60, 30)
        assert.equal(0, node:stop())
    end)
end)
