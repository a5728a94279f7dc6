-- Random programs of reads, writes and publishes, some of whose attempts fail, against a plain model: what each
-- delivery reads, what is there in the end, and that it is the same after kill -9, after state.db is built anew,
-- and over many workers. EVRT_SEED replays one.
local evrt = require "spec.support.evrt"
local pages = require "spec.support.pages"

-- Runs the program of the event and compares what it reads with what the model expects.
local HANDLER = [[
    local evrt = require "evrt"
    local function show(value) return value == nil and "none" or evrt.json.encode(value) end
    return { name = "R", events = "program", ordered_by = "subject", handle = function(event, ctx)
        local program = event.data
        for i, op in ipairs(program.ops) do
            local seen
            if op.op == "get" then
                seen = show(ctx.kv.get(op.key))
            elseif op.op == "set" then
                ctx.kv.set(op.key, op.value)
            elseif op.op == "delete" then
                ctx.kv.delete(op.key)
            elseif op.op == "incr" then
                ctx.kv.incr(op.key, op.by)
            elseif op.op == "cas" then
                local is = ctx.kv.get(op.key)
                if op.wrong then is = "something else" end
                seen = show(ctx.kv.cas(op.key, is, op.value))
            elseif op.op == "scan" then
                local all = {}
                for key, value in ctx.kv.scan(op.key) do all[#all + 1] = key .. "=" .. show(value) end
                seen = table.concat(all, " ")
            elseif op.op == "publish" then
                ctx.publish { type = "out", subject = op.key, data = op.value }
            end
            if seen ~= op.sees then
                evrt.reject(("%d: %s %s: saw %s, not %s"):format(i, op.op, op.key, tostring(seen), tostring(op.sees)))
            end
            if ctx.attempt == 1 and program.fails == i then error "this attempt fails" end
        end
    end }
]]

local KINDS = { "get", "set", "delete", "incr", "incr", "cas", "scan", "publish" }

local function program(random, rows, emitted)
    local ops = {}
    local function show(key) return rows[key] == nil and "none" or tostring(rows[key]) end
    for i = 1, random(1, 8) do
        local key = ("k%d:%d"):format(random(1, 3), random(1, 4))
        local op = { op = KINDS[random(1, #KINDS)], key = key }
        if op.op == "get" then
            op.sees = show(key)
        elseif op.op == "set" then
            op.value = random(-99, 99)
            rows[key] = op.value
        elseif op.op == "delete" then
            rows[key] = nil
        elseif op.op == "incr" then
            op.by = random(-9, 9)
            rows[key] = (rows[key] or 0) + op.by
        elseif op.op == "cas" then
            op.value, op.wrong = random(100, 199), random(1, 3) == 1
            op.sees = tostring(not op.wrong)
            if not op.wrong then rows[key] = op.value end
        elseif op.op == "scan" then
            op.key = key:sub(1, 3)
            local keys, all = {}, {}
            for k in pairs(rows) do
                if k:sub(1, 3) == op.key then keys[#keys + 1] = k end
            end
            table.sort(keys)
            for n, k in ipairs(keys) do all[n] = k .. "=" .. rows[k] end
            op.sees = table.concat(all, " ")
        else
            op.value = random(1, 1e6)
            emitted[#emitted + 1] = op.value
        end
        ops[i] = op
    end
    return { ops = ops, fails = random(1, 4) == 1 and random(1, #ops) or nil }
end

local function check(node, rows, emitted)
    local seen, out = {}, {}
    pages(node, "/api/v1/kv?namespace=R&limit=5", function(item) seen[item.key] = item.value end)
    assert.same(rows, seen)
    pages(node, "/api/v1/events?type=out&limit=1000", function(item) out[#out + 1] = item.data end)
    assert.same(emitted, out)
end

describe("random programs of effects", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("do what a plain model does, over failures, kills and a new state.db", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        print(("effects: EVRT_SEED=%d"):format(seed))
        math.randomseed(seed)
        local rows, emitted = {}, {}
        local node = evrt.start { handlers = { ["r.lua"] = HANDLER }, config = { workers = { count = 2 },
            retry = { max_retries = 1, initial_delay = "1ms", policy = "fixed" } } }
        for round = 1, 4 do
            local list = {}
            for i = 1, 60 do
                list[i] = { specversion = "1.0", type = "program", source = "/r", id = round .. "-" .. i,
                    subject = "one", data = program(math.random, rows, emitted) }
            end
            assert.equal(202, node:post_batch(list).status)
            if round == 2 then -- in the middle: nothing is half done
                node:kill "sigkill"
                node:wait()
                node = node:restart()
            end
            node:await_end()
            assert.equal(0, node:get("/api/v1/stats").json.dead, node:said())
            node:await("the last events", function()
                return pcall(check, node, rows, emitted)
            end)
            check(node, rows, emitted)
        end
        assert.equal(0, node:stop())
        for _, name in ipairs { "state.db", "state.db-wal", "state.db-shm", "snapshots" } do
            os.execute(("rm -rf '%s/data/%s'"):format(node.dir, name))
        end
        node = node:restart()
        check(node, rows, emitted)
        assert.equal(0, node:stop())
    end)
end)
