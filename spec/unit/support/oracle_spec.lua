-- The books that fault specs rely on must tell what is wrong: each kind of fault is made up here.
local files = require "spec.support.files"
local oracle = require "spec.support.oracle"

describe("spec.support.oracle", function()
    local books, client, events

    before_each(function()
        books = oracle.new(files.folder())
        books:handler { name = "A", events = { "load.*" }, key = "event.data.key" }
        books:handler { name = "B", events = { "load.b" } }
        client = { sent = {}, acked = {}, sent_count = 0, acked_count = 0 }
        books.clients[1] = client
        events = {}
    end)
    after_each(files.clean)

    -- An event that was published, acknowledged, stored and handled, but for what `wrong` says.
    local function event(kind, wrong)
        wrong = wrong or {}
        local seq = #events + 1
        local id = wrong.id or "e" .. seq
        events[seq] = not wrong.unstored and { id = id, type = kind, seq = seq } or nil
        if not wrong.unsent then client.sent[id] = kind end
        if not wrong.unsent then client.acked[id], client.acked_count = seq, client.acked_count + 1 end
        local line = ("%s %d %s"):format(id, seq, wrong.key or "-")
        for _, name in ipairs(wrong.by or (kind == "load.b" and { "A", "B" } or { "A" })) do
            files.write(books.side, (files.read(books.side) or "") .. name .. " " .. line .. "\n")
        end
    end

    -- A node that answers as one with these events would.
    local function node(done)
        local count = { A = 0, B = 0 }
        for _, e in ipairs(events) do
            count.A = count.A + 1
            if e.type == "load.b" then count.B = count.B + 1 end
        end
        local function item(name)
            return { name = name, pending = 0, running = 0, retrying = 0, done = done or count[name], dead = 0,
                discarded = 0 }
        end
        return { get = function(_, path)
            local after = tonumber(path:match "after=(%d+)")
            if path:find "stats" then return { json = { store = { first_seq = 1 } } } end
            if path:find "handlers" then return { json = { items = { item "A", item "B" } } } end
            return { json = { items = { unpack(events, after + 1) } } }
        end }
    end

    local function compared(done)
        local r = books:compare(node(done))
        return r, { #r.lost, #r.phantom, #r.twice, #r.unbalanced, r.order, r.duplicates }
    end

    it("finds nothing where nothing is wrong", function()
        event "load.a"
        event "load.b"
        local r, figures = compared()
        assert.same({ 0, 0, 0, 0, 0, 0 }, figures)
        assert.same({ 2, 2 }, { r.stored, r.acked })
        oracle.sound(r)
    end)

    it("finds what was acknowledged and is not stored", function()
        event "load.a"
        event("load.a", { unstored = true, by = {} })
        local r = compared()
        assert.same({ "e2 acknowledged as 2 stored as nil", "e2 seq 2 for A" }, r.lost)
        assert.has_error(function() oracle.sound(r) end)
    end)

    it("finds what one of its handlers did not see", function()
        event("load.b", { by = { "A" } })
        local r = compared()
        assert.same({ "e1 seq 1 for B" }, r.lost)
    end)

    it("finds what nobody sent, and what a handler has no business with", function()
        event("load.a", { unsent = true })
        event("load.a", { by = { "A", "B" } })
        local r = compared()
        table.sort(r.phantom)
        assert.same({ "A e1", "B e2", "stored e1" }, r.phantom)
    end)

    it("finds an id stored twice, and events handled twice", function()
        event "load.a"
        event("load.a", { id = "e1", by = { "A" } })
        local r = compared()
        assert.same({ "e1" }, r.twice)
        assert.same({ 1, 1 }, { r.duplicates, r.again.e1 })
    end)

    it("finds an event handled before an earlier one of its key, but not after it once more", function()
        event("load.a", { key = "k", by = {} })
        event("load.a", { key = "k" })
        books:read()
        books:handled "A e1 1 k"
        books:handled "A e2 2 k"
        event("load.a", { key = "other" })
        assert.equal(1, compared().order)
        books:handled "A e1 1 k"
        assert.equal(1, compared().order)
    end)

    it("finds figures that do not add up", function()
        event "load.a"
        local r = compared(5)
        assert.same({ "A ended 5 of 1", "B ended 5 of 0" }, r.unbalanced)
        local s = { matched = 3, pending = 1, running = 1, retrying = 0, done = 1, dead = 0, discarded = 1 }
        assert.has_error(function() oracle.balance { get = function() return { json = s } end } end,
            "of 3 deliveries 1 are pending, 1 running, 1 done, 0 dead, 1 discarded")
    end)
end)
