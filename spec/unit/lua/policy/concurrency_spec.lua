local support = require "spec.unit.lua.policy.support"

local body = [[
    inside = (inside or 0) + 1
    most = math.max(most or 0, inside)
    evrt.sleep(0.02)
    inside = inside - 1
    print(event.id, most)
    if event.subject == "fail" then error "boom" end
]]

local function run(policies, events, with)
    local w = support.start(policies, body)
    for _, event in ipairs(events) do w:deliver(event, with) end
    local outcomes = {}
    for i = 1, #events do outcomes[i] = w:settle(i) end
    local printed = w:printed()
    w:stop()
    return outcomes, printed
end

local function events(count, more)
    local list = {}
    for i = 1, count do
        list[i] = { type = "a", id = tostring(i) }
        for k, v in pairs(more and more(i) or {}) do list[i][k] = v end
    end
    return list
end

local function most(printed)
    local n = 0
    for _, line in ipairs(printed) do n = math.max(n, tonumber(line:match "\t(%d+)")) end
    return n
end

describe("policy concurrency", function()
    it("lets at most so many in, the others in the order in which they came", function()
        local outcomes, printed = run("evrt.policy.concurrency { max = 2 }", events(9))
        for i = 1, 9 do
            assert.equal("done", outcomes[i])
            assert.equal(tostring(i), printed[i]:match "^%d+")
        end
        assert.equal(2, most(printed))
    end)

    it("counts per key", function()
        local by_key = "evrt.policy.concurrency { max = 1, key = 'subject' }"
        assert.equal(3, most((select(2, run(by_key, events(9, function(i) return { subject = "k" .. i % 3 } end))))))
        assert.equal(1, most((select(2, run(by_key, events(5))))))
    end)

    it("counts uses of one name together", function()
        local policies = "evrt.policy.concurrency { max = 1, name = 'db' }"
        local w = require "spec.support.worker".start { ["h.lua"] = support.text(policies, body)
            :gsub('return { name = "H"', 'local function add(n) %0'):gsub('name = "H"', "name = n") .. " end\n"
            .. "return { add 'A', add 'B' }" }
        w:expect "READY"
        for i = 1, 6 do w:deliver({ type = "a", id = tostring(i) }, { handler = i % 2 }) end
        for i = 1, 6 do assert.equal("done", w:settle(i)) end
        assert.equal(1, most(w:printed()))
        w:stop()
    end)

    it("frees the place of what fails", function()
        local outcomes = run("evrt.policy.concurrency { max = 1 }", events(4, function()
            return { subject = "fail" }
        end))
        for i = 1, 4 do assert.equal("h.lua:8: boom", outcomes[i].message) end
    end)

    it("keeps no place for those who came too late to wait", function()
        local patient = [[local evrt = require "evrt"
            return { name = "patient", wrap = function(next)
                return function(event, ctx)
                    if not pcall(next, event, ctx) then evrt.sleep(0.05) end
                end
            end }]]
        local w = support.start([["patient", evrt.policy.timeout { after = "5ms" },
            evrt.policy.concurrency { max = 1, key = function(event)
                local began = evrt.time.monotonic()
                while event.id == "late" and evrt.time.monotonic() < began + 0.01 do end
                return "key"
            end }]], "evrt.sleep(tonumber(event.subject)) print(event.id)",
            { files = { ["policies/patient.lua"] = patient } })
        local first = w:deliver { type = "a", id = "first", subject = "0.004" }
        local late = w:deliver { type = "a", id = "late", subject = "0" }
        assert.equal("done", w:settle(first))
        local third = w:deliver { type = "a", id = "third", subject = "0" }
        assert.equal("done", w:settle(third))
        assert.equal("done", w:settle(late))
        assert.same({ "first", "third" }, w:printed())
        w:stop()
    end)

    it("lets those go who cannot wait any longer", function()
        local w = support.start("evrt.policy.concurrency { max = 1 }",
            "evrt.sleep(tonumber(event.subject)) print(event.id)")
        local long = w:deliver { type = "a", id = "long", subject = "0.06" }
        local short = w:deliver({ type = "a", id = "short", subject = "0" }, { timeout_ms = 10 })
        local last = w:deliver { type = "a", id = "last", subject = "0" }
        local failed = w:settle(short)
        assert.equal("timeout", failed.error_type)
        assert.equal('policy "concurrency" (h.lua:2): timeout: the handler\'s deadline has passed', failed.message)
        assert.equal("done", w:settle(long))
        assert.equal("done", w:settle(last))
        assert.same({ "long", "last" }, w:printed())
        w:stop()
    end)

    it("checks its options", function()
        assert.matches('option "max" is missing: expected a whole number from 1', support.refused "'concurrency'")
    end)
end)
