-- Clocks that jump a year ahead and back, while a node runs and between its lives: nothing is lost or held up,
-- and what was stored says when that was, by the clock of then. libfaketime moves the wall clock.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"
local seconds = require "spec.support.time".seconds

local YEAR = 365 * 86400

local function library()
    for _, arch in ipairs { "x86_64-linux-gnu", "aarch64-linux-gnu" } do
        local path = "/usr/lib/" .. arch .. "/faketime/libfaketimeMT.so.1"
        if uv.fs_stat(path) then return path end
    end
end

local faketime = library()
if not faketime then
    faults.say "NOT RUN, clocks that jump: faketime is not installed"
    return
end

describe("a clock #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, books, client, clock

    before_each(function()
        dir = evrt.folder()
        books = oracle.new(dir)
        faults.handlers(books)
        client = faults.client()
        books.clients[1] = client
        clock = dir .. "/clock"
    end)

    local function set(offset)
        evrt.write(clock .. ".new", ("%+d\n"):format(offset))
        assert(os.rename(clock .. ".new", clock))
    end

    local function start()
        return evrt.start {
            dir = dir, handlers = books.scripts, env = {
                LD_PRELOAD = faketime, FAKETIME_TIMESTAMP_FILE = clock, FAKETIME_NO_CACHE = "1",
                FAKETIME_DONT_FAKE_MONOTONIC = "1",
            },
        }
    end

    -- Publishes by a clock that is wrong by so much; all is handled at once, and says when.
    local function publish_at(node, offset)
        set(offset)
        local first = oracle.balance(node).events + 1
        local before = os.time() + offset
        faults.work(node, client, 0)
        books:settle(node, 5)
        local stats = oracle.balance(node)
        local after = os.time() + offset
        assert.is_true(stats.events >= first + 6, "not all was published")
        for seq = first, stats.events do
            local at = seconds(node:get("/api/v1/events/" .. seq).json.stored)
            local sane = at >= before - 1 and at <= after + 1
            assert.is_true(sane, ("event %d: %d s from its clock"):format(seq, at - before))
        end
        local line = node.lines[#node.lines]
        assert.is_true(math.abs(seconds(line.timestamp) - after) < 5, line.timestamp)
    end

    it("that jumps while the node runs holds up and loses nothing", function()
        set(0)
        local node = start()
        for _, offset in ipairs { 0, YEAR, 0, -YEAR, YEAR, -1, 0 } do publish_at(node, offset) end
        oracle.sound(books:compare(node))
        assert.equal(0, (node:stop()))
        faults.verify(dir .. "/data")
        node = start()
        books:settle(node)
        local r = faults.sound(books, node)
        assert.equal(0, r.duplicates)
        assert.equal(0, (node:stop()))
        faults.say("clock that jumps in a life: %s", oracle.line(r))
    end)

    it("that jumps between two lives, and after a kill, does so neither", function()
        local node, r
        for i, offset in ipairs { 0, YEAR, -YEAR, 0, YEAR, 0 } do
            set(offset)
            node = start()
            publish_at(node, offset)
            r = faults.sound(books, node)
            node:stop(i % 2 == 0 and "sigkill" or "sigterm")
        end
        faults.verify(dir .. "/data")
        faults.say("clock that jumps between lives: %s", oracle.line(r))
    end)
end)
