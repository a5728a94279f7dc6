-- worker/inbox.c, and the turns that handlers take in a worker.
local c = require "spec.support.c"
local ffi = require "ffi"
local worker = require "spec.support.worker"

local lib = c.load("worker", { "core/buf.h", "worker/inbox.h" })

local function inbox(handlers)
    local in_ = ffi.gc(ffi.new "struct evrt_inbox", lib.evrt_inbox_finish)
    lib.evrt_inbox_init(in_, handlers)
    return in_
end

local function push(in_, handler, text) lib.evrt_inbox_push(in_, handler, c.slice(text)) end
local function take(in_) return in_.first ~= 0 and c.string(lib.evrt_inbox_take(in_)) or nil end

describe("worker/inbox", function()
    it("is first in, first out for one handler", function()
        local in_ = inbox(1)
        for i = 1, 5 do push(in_, 0, "a" .. i) end
        for i = 1, 5 do assert.equal("a" .. i, take(in_)) end
        assert.is_nil(take(in_))
    end)

    it("takes handlers in turn, whatever each has", function()
        local in_ = inbox(3)
        for i = 1, 4 do push(in_, 2, "c" .. i) end
        push(in_, 0, "a1")
        local taken = { take(in_), take(in_) }
        push(in_, 1, "b1")
        push(in_, 0, "a2")
        for _ = 1, 5 do taken[#taken + 1] = take(in_) end
        assert.same({ "c1", "a1", "c2", "b1", "a2", "c3", "c4" }, taken)
        assert.is_nil(take(in_))
    end)

    it("knows how many there are, and who has none", function()
        local in_ = inbox(2)
        push(in_, 1, "b1")
        push(in_, 1, "b2")
        assert.equal(2, tonumber(in_.count))
        assert.is_true(lib.evrt_inbox_lacks(in_, 0))
        assert.is_true(lib.evrt_inbox_has_more(in_))
        take(in_)
        assert.is_false(lib.evrt_inbox_has_more(in_))
        assert.is_false(lib.evrt_inbox_lacks(in_, 1))
        take(in_)
        assert.is_true(lib.evrt_inbox_lacks(in_, 1))
        assert.equal(0, tonumber(in_.count))
    end)

    it("keeps order and bytes through growth and compaction, as a model does", function()
        local handlers = 5
        local in_, model, count = inbox(handlers), {}, 0
        for i = 1, handlers do model[i] = {} end
        math.randomseed(7)
        for n = 1, 20000 do
            if count == 0 or math.random() < (n < 10000 and 0.6 or 0.4) then
                local h = math.random(handlers)
                local text = h .. ":" .. n .. ("x"):rep(math.random(0, 200))
                push(in_, h - 1, text)
                table.insert(model[h], text)
                count = count + 1
            else
                local text = take(in_)
                local h = tonumber(text:match "^(%d):")
                assert.equal(table.remove(model[h], 1), text)
                count = count - 1
            end
        end
        while count > 0 do
            local text = take(in_)
            assert.equal(table.remove(model[tonumber(text:match "^(%d):")], 1), text)
            count = count - 1
        end
        assert.is_nil(take(in_))
    end)

    it("lets an event pass a flood to another handler", function()
        local w = worker.start({ ["h.lua"] = [[
            local evrt = require "evrt"
            local flooded = 0
            return {
                { name = "Gate", events = "gate", handle = function() evrt.publish { type = "x" } end },
                { name = "Flood", events = "flood", handle = function() flooded = flooded + 1 end },
                { name = "Other", events = "other", handle = function() print(flooded) end },
            }]] }, { concurrency = 1 })
        w:expect "READY"
        -- The gate holds up everything until all has arrived.
        w:deliver({ type = "gate" }, { handler = 0 })
        local token = w:expect("PUBLISH").token
        for _ = 1, 200 do w:deliver({ type = "flood" }, { handler = 1 }) end
        local other = w:deliver({ type = "other" }, { handler = 2 })
        w:send("published", { token = token, status = 0, seq = 1, id = "x", message = "", outcomes = "" })
        assert.equal("done", w:settle(other))
        assert.same({ "1" }, w:printed())
        w:stop()
    end)

    -- The flood's second delivery waits for what only the answer to the other handler's brings about.
    it("does not keep its answer until the flood's turn ends", function()
        local path = os.tmpname()
        os.remove(path)
        local w = worker.start({ ["h.lua"] = ([[
            local evrt = require "evrt"
            local flooded = 0
            local function exists()
                local file = io.open %q
                return file and file:close()
            end
            return {
                { name = "Gate", events = "gate", handle = function()
                    flooded = 0
                    evrt.publish { type = "x" }
                end },
                { name = "Flood", events = "flood", handle = function()
                    flooded = flooded + 1
                    if flooded == 2 then repeat until exists() end
                end },
                { name = "Other", events = "other", handle = function(event) if event.data then error "no" end end },
            }]]):format(path) }, { concurrency = 1 })
        w:expect "READY"
        for _, outcome in ipairs { "done", "failed" } do
            os.remove(path)
            w:deliver({ type = "gate" }, { handler = 0 })
            local token = w:expect("PUBLISH").token
            local last
            for _ = 1, 100 do last = w:deliver({ type = "flood" }, { handler = 1 }) end
            local other = w:deliver({ type = "other", data = outcome == "failed" and "1" or nil }, { handler = 2 })
            w:send("published", { token = token, status = 0, seq = 1, id = "x", message = "", outcomes = "" })
            local settled = w:settle(other)
            assert.equal(outcome == "done", settled == "done")
            assert(io.open(path, "w")):close()
            w:settle(last)
        end
        os.remove(path)
        w:stop()
    end)
end)
