-- Values that host and workers share, against a model: what a worker finds is what the host put there last, and what is
-- hidden, dropped or too large is not found; the memory is sealed, and no other is taken for it.
local ffi = require "ffi"
local c = require "spec.support.c"
local generator = require "spec.support.random"

local lib = c.load("frame", { "frame/values.h" })

ffi.cdef [[
int memfd_create(const char *name, unsigned flags);
int ftruncate(int fd, long size);
long write(int fd, const void *p, size_t n);
int close(int fd);
]]

local EINVAL, ROOM = -22, 120

local function close(v) lib.evrt_values_close(v) end

-- The host's side, and a worker's.
local function create(bytes)
    local out, fd = ffi.new "struct evrt_values *[1]", ffi.new "int[1]"
    local rc = lib.evrt_values_create(out, bytes, fd)
    if rc ~= 0 then return nil, rc end
    local worker = lib.evrt_values_open(fd[0])
    assert(worker ~= nil)
    return ffi.gc(out[0], close), ffi.gc(worker, close), fd[0]
end

-- The texts are kept with it.
local function name(ns, key)
    local slices = { c.slice(ns), c.slice(key) }
    local n = ffi.new "struct evrt_values_name[1]"
    n[0] = lib.evrt_values_name(slices[1], slices[2])
    return n, slices
end

local function call(host, what, ns, key, value)
    local n, keep = name(ns, key)
    if value then
        lib["evrt_values_" .. what](host, n, c.slice(value))
    else
        lib["evrt_values_" .. what](host, n)
    end
    return keep
end

-- nil: not known.
local function get(worker, ns, key)
    local n, keep = name(ns, key)
    local room, value = ffi.new("char[?]", ROOM), ffi.new "struct evrt_slice[1]"
    if not lib.evrt_values_get(worker, n, room, value) then return nil, keep end
    return c.string(value[0])
end

describe("frame/values", function()
    it("gives a worker what the host put", function()
        local host, worker, fd = create(64 * 1024)
        assert.is_nil((get(worker, "A", "k")))
        call(host, "put", "A", "k", "one")
        assert.equal("one", get(worker, "A", "k"))
        assert.is_nil((get(worker, "Ak", ""))) -- the same bytes, another name
        assert.is_nil((get(worker, "B", "k")))
        call(host, "put", "A", "k", "")
        assert.equal("", get(worker, "A", "k"))
        ffi.C.close(fd)
    end)

    it("updates only what has a place, hides until then, and drops", function()
        local host, worker, fd = create(64 * 1024)
        call(host, "update", "A", "k", "one")
        assert.is_nil((get(worker, "A", "k")))
        call(host, "put", "A", "k", "one")
        call(host, "hide", "A", "k")
        assert.is_nil((get(worker, "A", "k")))
        call(host, "update", "A", "k", "two")
        assert.equal("two", get(worker, "A", "k"))
        call(host, "drop", "A", "k")
        assert.is_nil((get(worker, "A", "k")))
        call(host, "update", "A", "k", "three")
        assert.is_nil((get(worker, "A", "k")))
        ffi.C.close(fd)
    end)

    it("holds what fits, and forgets a value that grew too large", function()
        local host, worker, fd = create(64 * 1024)
        local most = ("v"):rep(ROOM - 2)
        call(host, "put", "A", "k", most)
        assert.equal(most, get(worker, "A", "k"))
        call(host, "update", "A", "k", most .. "v")
        assert.is_nil((get(worker, "A", "k")))
        call(host, "put", "A", "k", "one")
        call(host, "put", "A", "k", most .. "v")
        assert.is_nil((get(worker, "A", "k")))
        for _, n in ipairs { ROOM, ROOM + 1, 255, 256, 257, 4096 } do
            local key = ("k"):rep(n)
            call(host, "put", "A", key, "v")
            call(host, "update", "A", key, "v")
            call(host, "hide", "A", key)
            call(host, "drop", "A", key)
            assert.is_nil((get(worker, "A", key)))
        end
        ffi.C.close(fd)
    end)

    it("is right or silent, whatever keys push each other out", function()
        local found = 0
        for seed = 1, 30 do
            local random = generator(seed)
            local host, worker, fd = create(random(1, 2) == 1 and 512 or 4096)
            local model, hidden = {}, {}
            for _ = 1, 2000 do
                local ns, key = "n" .. random(1, 2), "key:" .. random(1, 40)
                local id, value = ns .. " " .. key, ("x"):rep(random(0, 80)) .. random(1, 9)
                local what = random(1, 10)
                if what <= 3 then
                    call(host, "put", ns, key, value)
                    model[id], hidden[id] = value, nil
                elseif what <= 6 then
                    call(host, "update", ns, key, value)
                    model[id], hidden[id] = value, nil
                elseif what == 7 then
                    call(host, "hide", ns, key)
                    hidden[id] = true
                elseif what == 8 then
                    call(host, "drop", ns, key)
                    hidden[id] = true
                else
                    local got = get(worker, ns, key)
                    if got then
                        assert.is_nil(hidden[id], id)
                        assert.equal(model[id], got)
                        found = found + 1
                    end
                end
            end
            ffi.C.close(fd)
        end
        assert.is_true(found > 100)
    end)

    it("cannot be written or resized by who inherits it, and takes no other memory", function()
        local _, _, fd = create(4096)
        assert.equal(-1, tonumber(ffi.C.write(fd, "x", 1)))
        assert.equal(-1, ffi.C.ftruncate(fd, 0))
        assert.equal(-1, ffi.C.ftruncate(fd, 8192))
        ffi.C.close(fd)
        local other = ffi.C.memfd_create("other", 2)
        assert.equal(0, ffi.C.ftruncate(other, 4096))
        assert.is_true(lib.evrt_values_open(other) == nil)
        ffi.C.close(other)
        assert.is_true(lib.evrt_values_open(-1) == nil)
        assert.same({ nil, EINVAL }, { create(511) })
    end)
end)
