-- The books of effects must tell what is wrong: each kind of fault is made up here.
local cjson = require "cjson"
local effects = require "spec.support.effects"
local files = require "spec.support.files"
local oracle = require "spec.support.oracle"

describe("spec.support.effects", function()
    local books, has

    before_each(function()
        books = oracle.new(files.folder())
        effects.handler(books, { events = { "load.*" }, ordered_by = "source", key = "event.source" })
        has = { first = 1, done = 0, scheduled = 0, dead = {}, jobs = {}, kv = {}, events = {} }
    end)
    after_each(files.clean)

    local function event(kind, id)
        local seq = has.first + #has.events
        has.events[#has.events + 1] = { id = id, type = kind, seq = seq }
        return seq
    end

    local function add(key, by) has.kv[key] = (has.kv[key] or 0) + by end

    -- An event that was handled, with what the handler does.
    local function handled(id)
        has.kv["seq/" .. id] = event("load.a", id)
        has.done = has.done + 1
        add("count", 1)
        add("sum/s", 1)
        event("made.now", "made-" .. id .. "~1")
        event("made.later", "made-" .. id .. "~1-later")
    end

    local node = {
        await = function(_, what, holds) assert(holds(), what) end,
        handler = function() return { done = has.done } end,
        get = function(_, path)
            local items = {}
            if path:find "stats" then
                return { status = 200, json = { matched = 0, pending = 0, running = 0, retrying = 0, done = 0, dead = 0,
                    discarded = 0, scheduled = { pending = has.scheduled }, store = { first_seq = has.first } } }
            elseif path:find "jobs" then
                items = has.jobs
            elseif path:find "kv" then
                for key, value in pairs(has.kv) do items[#items + 1] = { key = key, value = value } end
            elseif path:find "letters" then
                for _, id in ipairs(has.dead) do items[#items + 1] = { event_id = id } end
            else
                local start = path:match "type=(%a+)"
                for _, e in ipairs(has.events) do
                    if e.type:match "^%a+" == start then items[#items + 1] = e end
                end
            end
            return { status = 200, json = { items = items, next = cjson.null } }
        end,
    }

    local function wrong(why)
        local ok, said = pcall(effects.sound, books, node)
        assert.is_false(ok)
        assert.truthy(tostring(said):find(why, 1, true), said)
    end

    before_each(function()
        handled "a"
        handled "b"
    end)

    it("finds nothing where nothing is wrong", function()
        assert.equal(2, effects.sound(books, node))
        event("load.a", "dead")
        has.dead[1] = "dead"
        has.jobs[1] = { state = "done", failed_count = 0, replayed_count = 3 }
        has.kv.replayed = 3
        assert.equal(2, effects.sound(books, node))
        -- What went before the oldest event there is.
        has.first, has.kv["seq/a"] = 4, 1
        has.events = { unpack(has.events, 4) }
        assert.equal(2, effects.sound(books, node))
    end)

    for why, break_it in pairs {
        ["2 events are done, 1 were written down"] = function() has.kv["seq/a"] = nil end,
        ["3 events are done, 2 were written down"] = function() has.done = 3 end,
        ["2 events, counted as 3"] = function() add("count", 1) end,
        ["2 events, summed up to 1"] = function() add("sum/s", -1) end,
        ["0 were delivered again, counted as 1"] = function() add("replayed", 1) end,
        ["1 were delivered again, counted as 0"] = function()
            has.jobs[1] = { state = "done", failed_count = 0, replayed_count = 1 }
        end,
        ["jobs to end"] = function() has.jobs[1] = { state = "running" } end,
        ["a failed attempt wrote failed/a"] = function() has.kv["failed/a"] = true end,
        ["1 events wait for their time"] = function() has.scheduled = 1 end,
        ["event 1, a, handled, was written down as 9"] = function() has.kv["seq/a"] = 9 end,
        ["event 1, a, which is dead, was written down as 1"] = function() has.dead[1] = "a" end,
        ["a was written down as 1, and is not stored"] = function() has.events[1].type = "other.a" end,
        ["event 7, c, handled, was written down as nil"] = function() event("load.c", "c") end,
        ["made.now of a was published 0 times"] = function() has.events[2].type = "other" end,
        ["made.now of a was published 2 times"] = function() event("made.now", "made-a~2") end,
        ["made.later of a was published 2 times"] = function() event("made.later", "made-a~2-later") end,
        ["made.later of b was published 0 times"] = function() has.events[6].type = "other" end,
        ["made.now of c, which took no effect"] = function() event("made.now", "made-c~1") end,
        ["a failed attempt of a published"] = function() event("made.never", "made-a~1-never") end,
    } do
        it("finds " .. why, function()
            break_it()
            wrong(why)
        end)
    end
end)
