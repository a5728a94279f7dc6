-- The key-value store's projection: whatever falls where between commits, restarts and snapshots, rows are
-- what a plain model says; and a reader beside the state thread sees one commit's rows.
local ffi = require "ffi"
local c = require "spec.support.c"
local s = require "spec.unit.state.support"
local sqlite = require "spec.support.sqlite"

local lib = c.load("state", { "state/reader.h", "state/kv.h", "core/kv.h", "core/record.h" })

local SET, DELETE, INCR = 1, 2, 3

local function integer(n)
    return c.collect(lib, function(b) lib.evrt_kv_put_integer(b, n) end)
end

local function kv(at_ms, ops)
    local list = c.collect(lib, function(b)
        for _, op in ipairs(ops) do
            lib.evrt_kv_put(b, ffi.new("struct evrt_kv_op", { op[1], op.number or 0, c.slice(op[2]), c.slice(op[3]),
                c.slice(op[4] or ""), c.slice "" }))
        end
    end)
    return { kind = ffi.C.EVRT_RECORD_KV, bytes = c.collect(lib, function(b)
        lib.evrt_record_put_kv(b, ffi.new("struct evrt_record_kv", { at_ms, c.slice(list) }))
    end) }
end

local function sweep(at_ms)
    return { kind = ffi.C.EVRT_RECORD_SWEEP, bytes = c.collect(lib, function(b)
        lib.evrt_record_put_sweep(b, ffi.new("struct evrt_record_sweep", { at_ms }))
    end) }
end

-- ---- The reader ----

local function reader(path)
    local out, err = ffi.new "struct evrt_state_reader *[1]", ffi.new "struct evrt_error"
    local rc = lib.evrt_state_reader_open(out, path, err)
    if rc < 0 then return nil, rc end
    return ffi.gc(out[0], lib.evrt_state_reader_close)
end

local function begin(r)
    local applied, err = ffi.new "uint64_t[1]", ffi.new "struct evrt_error"
    assert.equal(0, lib.evrt_state_reader_begin(r, applied, err))
    return tonumber(applied[0])
end

local function get(r, ns, key)
    local row, err = ffi.new "struct evrt_kv_row", ffi.new "struct evrt_error"
    local rc = lib.evrt_state_reader_get(r, c.slice(ns), c.slice(key), row, err)
    if rc < 0 then return nil, rc end
    return row.value.n > 0 and c.string(row.value) or nil, tonumber(row.expires_ms)
end

local function scan(r, ns, prefix, after, limit)
    local seen = {}
    local cb = ffi.cast("evrt_state_row_fn", function(_, key, row)
        seen[#seen + 1] = c.string(key[0]) .. "=" .. c.string(row.value)
        return true
    end)
    local range = ffi.new("struct evrt_state_range", { c.slice(ns), c.slice(prefix), c.slice(after or ""),
        limit or 1000 })
    local rc = lib.evrt_state_reader_scan(r, range, cb, nil, ffi.new "struct evrt_error")
    cb:free()
    assert.equal(0, rc)
    return seen
end

local function namespaces(r)
    local seen, last = {}, ""
    local cb = ffi.cast("evrt_state_row_fn", function(_, ns)
        last = c.string(ns[0])
        seen[#seen + 1] = last
        return true
    end)
    local before
    repeat
        before = #seen
        assert.equal(0, lib.evrt_state_reader_namespace(r, c.slice(last), cb, nil, ffi.new "struct evrt_error"))
    until #seen == before
    cb:free()
    return seen
end

-- ---- A model, and random records ----

local function apply(model, record)
    for _, op in ipairs(record.ops or {}) do
        local name = op[2] .. "/" .. op[3]
        local row = model[name]
        if op[1] == SET then
            model[name] = { value = op[4], expires = op.number or 0 }
        elseif op[1] == DELETE then
            model[name] = nil
        else
            if row and row.expires ~= 0 and row.expires <= record.at then row = nil end
            if row == nil then
                model[name] = { n = op.number, expires = 0 }
            elseif row.n or row.value:sub(1, 1) == "i" then
                model[name] = { n = (row.n or row.start) + op.number, expires = row.expires }
            end
        end
        if op[1] == SET and op.n then model[name].n, model[name].value = op.n, nil end
    end
    if record.sweep then
        for name, row in pairs(model) do
            if row.expires ~= 0 and row.expires <= record.at then model[name] = nil end
        end
    end
end

local function random_record(random, at)
    if random(1, 8) == 1 then return { sweep = true, at = at, sent = sweep(at) } end
    local ops = {}
    for i = 1, random(1, 6) do
        local ns, key = ("n%d"):format(random(1, 2)), ("key %d"):format(random(1, 12))
        local kind = random(1, 4)
        local expires = random(1, 3) == 1 and at + random(-5, 40) or 0
        if kind == 1 then
            ops[i] = { SET, ns, key, "s" .. ("x"):rep(random(0, 30)), number = expires }
        elseif kind == 2 then
            local n = random(-50, 50)
            ops[i] = { SET, ns, key, integer(n), number = expires, n = n }
        elseif kind == 3 then
            ops[i] = { DELETE, ns, key }
        else
            ops[i] = { INCR, ns, key, number = random(-9, 9) }
        end
    end
    return { ops = ops, at = at, sent = kv(at, ops) }
end

local function rows_of(model)
    local out = {}
    for name, row in pairs(model) do
        out[#out + 1] = ("%s=%s@%d"):format(name, row.n and integer(row.n) or row.value, row.expires)
    end
    table.sort(out)
    return out
end

local function rows_in(r)
    local out = {}
    for _, ns in ipairs(namespaces(r)) do
        for _, pair in ipairs(scan(r, ns, "")) do
            local key, value = pair:match "^(.-)=(.*)$"
            local _, expires = get(r, ns, key)
            out[#out + 1] = ("%s/%s=%s@%d"):format(ns, key, value, expires)
        end
    end
    table.sort(out)
    return out
end

describe("state/kv", function()
    after_each(s.clean)

    it("keeps what a plain model keeps, wherever commits and restarts fall", function()
        for seed = 1, 12 do
            local random, path = s.random(seed), s.folder()
            local often, seldom = assert(s.open(path)), assert(s.open(nil))
            local model, at = {}, 1000
            for group = 1, 60 do
                at = at + random(-3, 10) -- clocks are set back, too
                local record = random_record(random, at)
                apply(model, record)
                often:group(group, { record.sent })
                seldom:group(group, { record.sent })
                if random(1, 3) == 1 then often:flush() end
                if random(1, 15) == 1 then
                    often:close()
                    often = assert(s.open(path))
                end
            end
            often:flush()
            assert.equal(seldom:dump(), often:dump(), "seed " .. seed)
            local r = assert(reader(path))
            assert.equal(60, begin(r))
            assert.same(rows_of(model), rows_in(r), "seed " .. seed)
            lib.evrt_state_reader_end(r)
            seldom:close()
            often:close()
        end
    end)

    it("refuses records that say what cannot be", function()
        local good = { SET, "n", "k", "s" }
        for _, bad in ipairs { { SET, "", "k", "s" }, { SET, "n", "", "s" }, { SET, "n", "k", "" },
            { SET, "n", "k", "q" }, { 4, "n", "k", "s" }, { 5, "n", "k", "s" } } do
            local state = ffi.gc(ffi.new "struct evrt_state_kv", lib.evrt_state_kv_finish)
            lib.evrt_state_kv_init(state)
            assert.equal(-74, lib.evrt_state_kv_apply(state, c.slice(kv(1, { good, bad }).bytes)))
            assert.is_false(state.keys.count > 0)
            assert.equal(0, lib.evrt_state_kv_apply(state, c.slice(kv(1, { good }).bytes)))
        end
    end)

    it("reads one commit's rows while more are written, by page and prefix", function()
        local path = s.folder()
        local state = assert(s.open(path))
        state:group(1, { kv(1, { { SET, "b", "x:1", "s1" }, { SET, "b", "x:2", "s2" }, { SET, "b", "x:21", "s21" },
            { SET, "b", "y", "sy" }, { SET, "a", "x:1", "sa" } }) }):flush()
        local r = assert(reader(path))
        assert.equal(1, begin(r))
        state:group(2, { kv(1, { { SET, "b", "x:2", "snew" }, { DELETE, "b", "x:1" } }) }):flush()
        assert.same({ "x:1=s1", "x:2=s2" }, scan(r, "b", "x:", "", 2))
        assert.same({ "x:21=s21" }, scan(r, "b", "x:", "x:2", 2))
        assert.same({}, scan(r, "b", "x:", "x:21", 2))
        assert.same({ "a", "b" }, namespaces(r))
        lib.evrt_state_reader_end(r)
        assert.equal(2, begin(r))
        assert.equal("snew", get(r, "b", "x:2"))
        assert.is_nil(get(r, "b", "x:1"))
        lib.evrt_state_reader_end(r)
        state:close()
    end)

    it("tells how far expired keys can be swept at a time", function()
        local path = s.folder()
        local state = assert(s.open(path))
        local ops = {}
        for i = 1, 10 do ops[i] = { SET, "n", "k" .. i, "s", number = 100 + i } end
        state:group(1, { kv(1, ops) }):flush()
        local r, out = assert(reader(path)), ffi.new "int64_t[1]"
        local function expired(at, most)
            begin(r)
            assert.equal(0, lib.evrt_state_reader_expired(r, at, most, out, ffi.new "struct evrt_error"))
            lib.evrt_state_reader_end(r)
            return tonumber(out[0])
        end
        assert.same({ 0, 103, 110, 104 }, { expired(100, 5), expired(103, 5), expired(500, 50), expired(500, 4) })
        state:close()
    end)

    it("finds a row that is not as it was written", function()
        local path = s.folder()
        local state = assert(s.open(path))
        state:group(1, { kv(1, { { SET, "n", "k", "smark of a value" } }) }):flush()
        state:close()
        local bytes = assert(s.read(path .. "/state.db"))
        local at = assert(bytes:find("mark of a value", 1, true))
        s.write(path .. "/state.db", bytes:sub(1, at - 1) .. "M" .. bytes:sub(at + 1))
        local r = assert(reader(path))
        begin(r)
        local _, rc = get(r, "n", "k")
        assert.equal(-74, rc)
        local nobody, why = reader(s.folder())
        assert.same({ nil, -2 }, { nobody, why })
    end)

    it("finds a page that is not as it was written", function()
        local path = s.folder()
        local state = assert(s.open(path))
        state:group(1, { kv(1, { { SET, "n", "k", "s", number = 100 } }) }):flush()
        state:close()
        sqlite.spoil(path .. "/state.db", "kv_expires")
        local r, err = assert(reader(path)), ffi.new "struct evrt_error"
        begin(r)
        assert.equal(-74, lib.evrt_state_reader_expired(r, 500, 5, ffi.new "int64_t[1]", err))
        assert.truthy(ffi.string(err.message):find("is damaged", 1, true))
    end)
end)
