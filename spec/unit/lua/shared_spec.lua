-- evrt.shared, against a host that is played.
local worker = require "spec.support.worker"

local function start(body, store)
    local w = worker.start { ["h.lua"] = 'local evrt = require "evrt"\nreturn { name = "H", events = "**", '
        .. "handle = function(event, ctx)\n" .. body .. "\nend }" }
    w:expect "READY"
    return w:share_with(store or worker.store())
end

local function run(body, store, with)
    local w = start(body, store)
    local outcome = w:handle({ type = "a" }, with)
    local printed = w:printed()
    w:stop()
    return outcome, printed
end

describe("evrt.shared", function()
    it("sets, changes and removes a value", function()
        local _, printed = run [[
            print(evrt.shared.get "k")
            print(evrt.shared.cas("k", 0, "one"))
            print(evrt.shared.get "k")
            print(evrt.shared.cas("k", 0, "two"))
            print(evrt.shared.cas("k", 1, "two", { ttl = 5 }))
            print(evrt.shared.cas("k", 2, nil))
            print(evrt.shared.get "k")]]
        assert.same({ "nil\t0", "true\t1\tnil", "one\t1", "false\tone\t1", "true\t2\tnil", "true\t0\tnil",
            "nil\t0" }, printed)
    end)

    it("sees what other workers change", function()
        local store = worker.store()
        local adds = "evrt.shared.update('k', function(v) return (v or '') .. '%s' end) print(evrt.shared.get 'k')"
        local one = start(adds:format 'x', store)
        local two = start(adds:format 'y', store)
        for _ = 1, 2 do
            assert.equal("done", one:handle { type = "a" })
            assert.equal("done", two:handle { type = "a" })
        end
        assert.same({ "x\t1", "xyx\t3" }, one:printed())
        assert.same({ "xy\t2", "xyxy\t4" }, two:printed())
        one:stop()
        two:stop()
    end)

    it("loses no change of many at once", function()
        local store = worker.store()
        local w = start("evrt.shared.update('n', function(v) return tostring((tonumber(v) or 0) + 1) end)", store)
        for _ = 1, 30 do w:deliver { type = "a" } end
        for i = 1, 30 do assert.equal("done", w:settle(i)) end
        assert.equal("30", store.values.n.value)
        w:stop()
    end)

    it("says when there is no room", function()
        local store = worker.store()
        store.full = true
        local _, printed = run("print(evrt.shared.cas('k', 0, 'v'))", store)
        assert.same({ "nil\tno room for another key (shared.max_entries)\tENOSPC" }, printed)
    end)

    it("does not wait after the deadline", function()
        local failed = run("pcall(evrt.sleep, 1) evrt.shared.cas('k', 0, 'v')", nil, { timeout_ms = 10 })
        assert.equal("timeout", failed.error_type)
    end)

    it("refuses misuse", function()
        assert.matches("evrt.shared.get: key: a string expected, got nil", run("evrt.shared.get()").message)
        assert.matches("evrt.shared.cas: value: a string expected, got number",
            run("evrt.shared.cas('k', 0, 5)").message)
        assert.matches("evrt.shared.cas: version: a number expected", run("evrt.shared.cas('k', nil, 'v')").message)
    end)
end)
