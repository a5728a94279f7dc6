-- state.db is a projection: deleted, cut short, with bits flipped or replaced, in itself or in its log, it is
-- noticed and built again from the journal, and tells the same: of handlers, events, retries, dead letters, events for
-- later, jobs and keys.
--
-- EVRT_FLIPS sets how many times bits are flipped.
local uv = require "luv"
local content = require "spec.support.content"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local files = require "spec.support.files"
local oracle = require "spec.support.oracle"

local FLIPS = tonumber(os.getenv "EVRT_FLIPS" or "") or (faults.soak and 500 or 25)
local NAMES = { "state.db", "state.db-wal", "state.db-shm" }

describe("a state.db #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, books, client, expected, saved, cases, noticed

    local function start() return evrt.start { dir = dir, handlers = books.scripts } end

    local function save()
        saved = {}
        for _, name in ipairs(NAMES) do saved[name] = files.read(dir .. "/data/" .. name) end
    end

    -- Starts with what was saved, but for what `change` makes of one file, and compares. A state.db that is older
    -- than the journal is in order: it is brought up to it.
    local function with(name, what, change)
        for _, each in ipairs(NAMES) do
            local bytes = saved[each]
            if each == name and bytes then bytes = change(bytes) end
            if bytes then
                files.write(dir .. "/data/" .. each, bytes)
            else
                os.remove(dir .. "/data/" .. each)
            end
        end
        local ok, node = pcall(start)
        assert(ok, ("%s %s: %s"):format(name, what, tostring(node)))
        local same, why = pcall(content.same, expected, node, ("%s %s"):format(name, what))
        -- What is looked at when it is read ends the node, which does not go on with it: it says so or says nothing.
        if not same and not why:find(what, 1, true) then
            assert.equal(1, (node:wait()), why)
            assert.truthy(node:await_log({ msg = "Store failed" }).error:find "damaged")
            node, same = start(), true
            content.same(expected, node, ("%s %s"):format(name, what))
        end
        assert.is_true(same, why)
        local told = #node:logged { msg = "State restored" } > 0
        oracle.balance(node)
        assert.equal(0, (node:stop()))
        os.execute("rm -f '" .. dir .. "'/data/state.db.damaged-*")
        cases = cases + 1
        if told then noticed = noticed + 1 end
        return told
    end

    before_each(function()
        cases, noticed = 0, 0
        dir = evrt.folder()
        books = oracle.new(dir)
        faults.handlers(books)
        books.scripts["content.lua"] = content.handlers["content.lua"]
        client = faults.client()
        books.clients[1] = client
        local node = start()
        for _ = 1, 4 do faults.work(node, client, 0) end
        books:settle(node)
        content.make(node)
        expected = content.of(node)
        node:stop()
        node = start()
        content.same(expected, node)
        -- As it stands when a node dies: with a log.
        node:stop "sigkill"
        save()
        assert(saved["state.db-wal"])
    end)

    local function without_log()
        start():stop()
        save()
        assert.is_nil(saved["state.db-wal"])
    end

    local function cut_short(name)
        local size = #saved[name]
        for _, bytes in ipairs { 0, 1, 99, 4096, math.floor(size / 2), size - 1 } do
            local told = with(name, "cut to " .. bytes, function(whole) return whole:sub(1, bytes) end)
            -- What is missing of the last page reads as zeros: if it was that, nothing is.
            local lost = saved[name]:find("%Z", bytes + 1) ~= nil
            if name == "state.db" and lost then assert.is_true(told, "cut to " .. bytes) end
        end
    end

    local function flipped(name)
        for _ = 1, FLIPS do
            local at, bit = math.random(#saved[name]), 2 ^ math.random(0, 7)
            -- Most of a small database is empty, where a bit changes nothing: three of four are not there.
            while saved[name]:byte(at) == 0 and math.random() < 0.75 do at = math.random(#saved[name]) end
            with(name, ("with bit %d of byte %d flipped"):format(bit, at), function(whole)
                local byte = whole:byte(at)
                byte = byte % (2 * bit) >= bit and byte - bit or byte + bit
                return whole:sub(1, at - 1) .. string.char(byte) .. whole:sub(at + 1)
            end)
        end
    end

    local function replaced(name)
        with(name, "filled with noise", function(whole)
            local noise = {}
            for i = 1, #whole do noise[i] = string.char(math.random(0, 255)) end
            return table.concat(noise)
        end)
        with(name, "filled with zeros", function(whole) return ("\0"):rep(#whole) end)
    end

    faults.seed "state.db"

    it("that is deleted, cut short, flipped or replaced is built again, with the same content", function()
        local began = uv.hrtime()
        without_log()
        assert.is_true(with("state.db", "deleted", function() return nil end))
        cut_short "state.db"
        flipped "state.db"
        replaced "state.db"
        faults.say("state.db damaged: %d times, %d noticed, in %.1f s; the same content", cases, noticed,
            (uv.hrtime() - began) / 1e9)
    end)

    it("whose log is deleted, cut short, flipped or replaced tells the same", function()
        local began = uv.hrtime()
        for _, name in ipairs { "state.db-wal", "state.db-shm" } do
            with(name, "deleted", function() return nil end)
            cut_short(name)
            replaced(name)
        end
        flipped "state.db-wal"
        -- The database alone is gone: its log must not meet another.
        assert.is_true(with("state.db", "deleted beside its log", function() return nil end))
        faults.say("state.db-wal damaged: %d times, %d noticed, in %.1f s; the same content", cases, noticed,
            (uv.hrtime() - began) / 1e9)
    end)
end)
