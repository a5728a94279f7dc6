-- Dead letters of a node that is ended again and again: while they are made, and while they are given once more.
-- Each acknowledged event is done or a letter, never both and never neither, and a letter has what was sent. Their
-- handler is told of each once at most, and only of what is one for good; its count in the store is what it was told
-- and did not fail at.
--
-- EVRT_LETTER_STOPS sets how many times.
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"
local pages = require "spec.support.pages"

local STOPS = tonumber(os.getenv "EVRT_LETTER_STOPS" or "") or (faults.soak and 40 or 4)
local BATCHES, BATCH = 10, 50

-- Fails with every third event until it is repaired: with some at once, with others at their second attempt. Writes
-- down what it did; a kill may leave a piece of a line. Told of a letter, it does so too, and then may raise, come too
-- late or take its worker down.
local SCRIPT = [[
local evrt = require "evrt"
local function write(name, n)
    local file = assert(io.open("%s/" .. name, "a"))
    file:write(("\n%%d .\n"):format(n))
    file:close()
end
return { name = "A", events = "a.*", timeout = "10s", on_dead_letter = function(event, letter, ctx)
    local n = event.data.n
    write("told", n)
    ctx.kv.incr "told"
    if n %% 9 == 0 then error "not even that" end
    if n %% 100 == 51 and %s then os.exit(1) end
end, handle = function(event, ctx)
    local repaired = io.open("%s/repaired")
    if repaired then
        repaired:close()
    elseif event.data.n %% 3 == 0 then
        if event.data.n %% 2 == 0 then evrt.reject "even" end
        error("odd, attempt " .. ctx.attempt)
    end
    write("given", event.data.n)
end }]]

local function letters(node)
    local list = {}
    pages(node, "/api/v1/dead-letters?full=true", function(l) list[#list + 1] = l end)
    return list
end

-- Times that each was handled ("given"), or told of ("told").
local function count(dir, what)
    local times = {}
    for line in io.lines(dir .. "/" .. what) do
        local n = tonumber(line:match "^(%d+) %.$")
        if n then times[n] = (times[n] or 0) + 1 end
    end
    return times
end

describe("dead letters", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function lives(signal)
        local dir = evrt.folder()
        local function start()
            return evrt.start {
                dir = dir, handlers = { ["a.lua"] = SCRIPT:format(dir, signal == "sigkill", dir) },
                config = { workers = { count = 2 }, retry = { max_retries = 1, initial_delay = "5ms", jitter = 0 },
                    logging = { level = "info", sampling = { first = 1, then_every = 0 } } },
            }
        end
        local repaired = false
        local function again(node)
            node:stop(signal)
            node = start()
            oracle.balance(node)
            local told, there = count(dir, "told"), {}
            for _, l in ipairs(letters(node)) do there[l.event.data.n] = true end
            for n, times in pairs(told) do
                assert.equal(1, times, "told of letter " .. n)
                assert.is_true(repaired or there[n], "told of what is no letter: " .. n)
            end
            return node
        end
        local node, sent = start(), 0
        for stop = 1, STOPS do
            for _ = 1, BATCHES do
                local batch = {}
                for i = 1, BATCH do
                    sent = sent + 1
                    batch[i] = { specversion = "1.0", id = "e" .. sent, source = "spec", type = "a.b",
                        data = { n = sent, pad = ("x"):rep(sent % 300) } }
                end
                assert.equal(202, node:post_batch(batch).status)
            end
            -- Somewhere in the middle of all that, another place in each life.
            if stop % 2 == 0 then
                node:await("some to be dead", function() return oracle.balance(node).dead > sent / 6 end)
            end
            node = again(node)
        end
        node:await_end(60)
        local books, dead = oracle.balance(node), {}
        for _, l in ipairs(letters(node)) do
            local n = l.event.data.n
            assert.is_nil(dead[n], "a letter twice")
            dead[n] = true
            assert.same({ "e" .. n, "a.b", ("x"):rep(n % 300) }, { l.event.id, l.event.type, l.event.data.pad })
            assert.same({ n % 2 == 0 and "rejected" or "exhausted", n % 2 == 0 and 1 or 2 }, { l.reason, l.attempts })
            assert.equal(l.attempts, #l.history)
        end
        for n = 1, sent do assert.equal(n % 3 == 0, dead[n] or false, "letter of " .. n) end
        assert.same({ sent, math.floor(sent / 3), sent - math.floor(sent / 3), 0 },
            { books.events, books.dead, books.done, books.discarded })

        -- What it wrote to the store counts where it returned, and was not killed before that was durable.
        node:await("what was told to count", function()
            local counted = node:get("/api/v1/kv?namespace=A&key=told").json.value or 0
            local returned, exits = 0, 0
            for n in pairs(count(dir, "told")) do
                if signal == "sigkill" and n % 100 == 51 then
                    exits = exits + 1
                elseif n % 9 ~= 0 then
                    returned = returned + 1
                end
            end
            assert(counted <= returned, ("%d of %d"):format(counted, returned))
            return signal == "sigkill" and exits > 0 and counted > 0 or counted == returned
        end)

        repaired = true
        evrt.write(dir .. "/repaired", "")
        local id = node:post_admin("/api/v1/dead-letters/reprocess",
            ('{"all":true,"rate":%d}'):format(books.dead / (STOPS * 0.3))).json.id
        for _ = 1, STOPS do
            local before = oracle.balance(node).dead
            node:await("some to be handled", function()
                return oracle.balance(node).dead < before or node:get("/api/v1/jobs/" .. id).json.state == "done"
            end)
            node = again(node)
        end
        node:await("the job to end", function() return node:get("/api/v1/jobs/" .. id).json.state == "done" end, 60)
        books = oracle.balance(node)
        assert.same({ sent, 0, 0 }, { books.done, books.dead, books.discarded })
        assert.same({}, letters(node))
        local more, times = 0, count(dir, "given")
        for n = 1, sent do
            assert.is_truthy(times[n], "not handled: " .. n)
            more = more + times[n] - 1
        end
        assert.equal(0, node:stop())
        return more
    end

    it("hold what was sent, and lose nothing, killed in between", function()
        local more = lives "sigkill"
        faults.say("dead letters: %d kills while they were made, %d while given once more, %d given again",
            STOPS, STOPS, more)
    end)

    it("are given once more exactly once over orderly ends", function()
        assert.equal(0, lives "sigterm")
    end)
end)
