-- Disks of all sizes that are too small, and limits on the size of files: a node starts on them or says why not;
-- what it takes in it keeps, what it cannot keep it refuses; and it takes events again when there is space.
local uv = require "luv"
local disk = require "spec.support.disk"
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local oracle = require "spec.support.oracle"

describe("a node without space #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, books, client, cycles, began, sum

    before_each(function() cycles, began, sum = 0, uv.hrtime(), oracle.sum() end)

    local function new_store()
        dir = evrt.folder()
        books = oracle.new(dir)
        faults.handlers(books)
        books.page = 2
        client = faults.client()
        books.clients[1] = client
    end

    -- Until it is refused, or has enough.
    local function fill(node, most)
        for _ = 1, most do
            local r = faults.publish(node, client, "load.big", ("x"):rep(1000000))
            assert(r, "it does not answer: " .. node:said())
            if r.status ~= 202 then
                assert.equal(503, r.status)
                assert.equal("store_full", r.json.error.code)
                return true
            end
        end
    end

    -- One store: starts where there is little space, fills it, is given more, goes on, and starts again. Raises
    -- unless a start that fails says why.
    local function live(options, more)
        local node = evrt.start(options)
        local started = pcall(node.await_ready, node)
        if not started then
            node:wait()
            assert.same({ 1, 0 }, { node.code, node.signal }, node:said())
            local said = node:said()
            assert.truthy(said:find "No space left" or said:find "too large" or said:find "disk is full", said)
            more(nil)
            options.wrap = options.wrap_after or options.wrap
            node = evrt.start(options)
            node:await_ready()
        end
        local refused = started and fill(node, 120)
        oracle.balance(node)
        assert.equal(200, node:get "/livez".status)
        if started then more(node) end
        node:await("it to take events again", function()
            local r = faults.publish(node, client, "load.a")
            return r and r.status == 202
        end)
        books:settle(node)
        assert.equal(0, (node:stop()))
        options.wrap = options.wrap_after or options.wrap
        node = evrt.start(options)
        node:await_ready()
        books:settle(node)
        local r = faults.sound(books, node)
        assert.equal(0, r.duplicates)
        assert.equal(0, (node:stop()))
        cycles = cycles + 1
        oracle.add(sum, r)
        return started, refused
    end

    local function options_for(data)
        return {
            dir = dir, handlers = books.scripts, wait = false,
            config = { store = { path = data }, logging = { level = "info" } },
        }
    end

    local SIZES = faults.soak and { 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 20, 40, 60, 70, 75, 80, 90, 100, 130, 160 }
        or { 2, 5, 9, 14, 40, 80, 100 }

    local missing = select(2, disk.small(evrt.folder(), 1))
    evrt.cleanup()
    if missing then
        faults.say("NOT RUN, small disks: %s", missing)
    else
        it("on a small disk takes in what it can keep, and more when the disk grows", function()
            local refused_some
            for _, mib in ipairs(SIZES) do
                new_store()
                local store = assert(disk.small(dir, mib))
                local options = options_for(store.path .. "/data")
                options.wrap = store:wrap()
                local ok, started, refused = pcall(live, options, function() store:resize(600) end)
                assert(ok, ("a disk of %d MiB: %s"):format(mib, tostring(started)))
                refused_some = refused_some or refused
                assert.equal(0, (store:run { "store", "verify", store.path .. "/data" }))
                store:unmount()
            end
            assert.is_true(refused_some)
            faults.say("small disks: %d cycles in %.1f s; %s", cycles, (uv.hrtime() - began) / 1e9, oracle.line(sum))
        end)
    end

    it("for its files, by RLIMIT_FSIZE, does so too", function()
        local refused_some
        for _, mib in ipairs(SIZES) do
            if mib <= 60 then
                new_store()
                local options = options_for(dir .. "/data")
                options.wrap = { "prlimit", ("--fsize=%d:"):format(mib * 2 ^ 20) }
                options.wrap_after = {}
                local ok, started, refused = pcall(live, options, function(node)
                    if node then os.execute(("prlimit --pid %d --fsize=unlimited:"):format(node.pid)) end
                end)
                assert(ok, ("files of %d MiB: %s"):format(mib, tostring(started)))
                refused_some = refused_some or refused
                faults.verify(dir .. "/data")
            end
        end
        assert.is_true(refused_some)
        faults.say("small files: %d cycles in %.1f s; %s", cycles, (uv.hrtime() - began) / 1e9, oracle.line(sum))
    end)
end)
