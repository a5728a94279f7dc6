-- Freezing scripts, and reading what a worker says of them.
local ffi = require "ffi"
local c = require "spec.support.c"
local evrt = require "spec.support.evrt"
local lib = c.load("host", { "host/scripts.h", "config/config.h", "frame/snapshot.h", "frame/frame.h" })

ffi.cdef "long pread(int fd, void *buf, size_t n, long at);"

local function read(handlers, policies)
    local config, err = ffi.new "struct evrt_config", ffi.new "struct evrt_error"
    local list = {}
    for i, text in ipairs(handlers) do list[i] = ffi.new("char[?]", #text + 1, text) end
    local v = ffi.new("char *[?]", #list + 1)
    for i, text in ipairs(list) do v[i - 1] = text end
    config.handlers.v, config.handlers.n = v, #list
    local folder = policies and ffi.new("char[?]", #policies + 1, policies)
    config.policies = folder
    local s = ffi.new "struct evrt_scripts"
    local rc = lib.evrt_scripts_read(s, config, err)
    if rc < 0 then return nil, ffi.string(err.message), ffi.string(err.file) end
    local bytes = ffi.new("char[?]", 1048576)
    local n = tonumber(ffi.C.pread(s.snapshot, bytes, 1048576, 0))
    local files, at = {}, ffi.new "size_t[1]"
    local f = ffi.new "struct evrt_snapshot_file"
    while lib.evrt_snapshot_next(ffi.new("struct evrt_slice", bytes, n), at, f) == 1 do
        files[#files + 1] = { role = string.char(f.role), path = c.string(f.path), name = c.string(f.name),
            bytes = c.string(f.bytes) }
    end
    lib.evrt_scripts_finish(s)
    return files
end

local function names(files, role)
    local list = {}
    for _, f in ipairs(files) do
        if f.role == role then list[#list + 1] = role == "m" and f.name or f.path:match "[^/]+$" end
    end
    return list
end

describe("a folder of scripts", function()
    teardown(evrt.cleanup)

    local function lay(files)
        local dir = evrt.folder()
        for name, text in pairs(files) do
            os.execute(("mkdir -p '%s/%s'"):format(dir, name:match "^(.*)/" or "."))
            evrt.write(dir .. "/" .. name, text)
        end
        return dir
    end

    it("gives handlers by name and everything as modules", function()
        local dir = lay { ["b.lua"] = "b", ["a.lua"] = "a", ["_shared.lua"] = "s", ["lib/deep/x.lua"] = "x",
            ["notes.txt"] = "no", [".hidden.lua"] = "no" }
        local files = read { dir }
        assert.same({ "a.lua", "b.lua" }, names(files, "h"))
        assert.same({ "_shared", "a", "b", "lib.deep.x" }, names(files, "m"))
    end)

    it("takes handlers by globs, and what is beside them as modules", function()
        local dir = lay { ["x_one.lua"] = "1", ["x_two.lua"] = "2", ["other.lua"] = "3" }
        local files = read { dir .. "/x_*.lua", dir .. "/none*.lua" }
        assert.same({ "x_one.lua", "x_two.lua" }, names(files, "h"))
        assert.same({ "other", "x_one", "x_two" }, names(files, "m"))
    end)

    it("takes what several globs name once", function()
        local dir = lay { ["a/x.lua"] = "1", ["a/y.lua"] = "2", ["b/z.lua"] = "3" }
        local files = read { dir .. "/a/x*.lua", dir .. "/b/*.lua", dir .. "/a/*.lua" }
        assert.same({ "x.lua", "z.lua", "y.lua" }, names(files, "h"))
        assert.same({ "x", "y", "z" }, names(files, "m"))
    end)

    it("takes policies from their folder, which need not be there", function()
        local dir = lay { ["h/a.lua"] = "a", ["p/wrap.lua"] = "w", ["p/_help.lua"] = "h", ["p/deep/x.lua"] = "x" }
        local files = read({ dir .. "/h" }, dir .. "/p")
        assert.same({ "a.lua" }, names(files, "h"))
        assert.same({ "wrap.lua" }, names(files, "p"))
        assert.same({ "a", "_help", "deep.x", "wrap" }, names(files, "m"))
        assert.same({}, names(read({ dir .. "/h" }, dir .. "/none"), "p"))
    end)

    it("freezes the bytes as they are", function()
        local dir = lay { ["a.lua"] = "\0\255\r\n" }
        assert.equal("\0\255\r\n", read({ dir })[1].bytes)
    end)
end)

describe("what a worker answers", function()
    it("is a list of handlers", function()
        local s, err = ffi.new "struct evrt_scripts", ffi.new "struct evrt_error"
        s.snapshot = -1
        local json = [[{"handlers":[{"name":"A \"q\"","file":"a.lua","line":7,"events":["x.*","y"],
            "timeout_ms":30000,"concurrency":64,"ordered_by":"data.a","priority":-7,
            "start":"beginning",
            "policies":[{"name":"retry"}],"chain":"[1]","retries":[{"policy":"linear",
            "max_retries":5,"increment_ms":1500,"jitter":0.5,
            "retry_if":true,"events":["a.*","b"]},{}]},
            {"name":"B","file":"b.lua","line":1,"events":["z"],"timeout_ms":0,"concurrency":0,"start":"new"}],
            "memory":1}]]
        assert.equal(0, lib.evrt_scripts_declared(s, c.slice(json), err), ffi.string(err.message))
        assert.equal(2, tonumber(s.count))
        local a, b = s.handlers[0], s.handlers[1]
        assert.same({ 'A "q"', "a.lua", 7, "x.*\ny", 30000, 64, true }, { ffi.string(a.name), ffi.string(a.file),
            a.line, ffi.string(a.patterns), tonumber(a.timeout_ms), a.concurrency, a.from_beginning })
        assert.same({ "data.a", -7, "", 0 }, { ffi.string(a.ordered_by), a.priority, ffi.string(b.ordered_by),
            b.priority })
        assert.same({ "B", "z", false }, { ffi.string(b.name), ffi.string(b.patterns), b.from_beginning })
        assert.same({ '[{"name":"retry"}]', "[]", 2, 0 }, { ffi.string(a.policies), ffi.string(b.policies),
            tonumber(a.retry_count), tonumber(b.retry_count) })
        local r, none = a.retries[0], a.retries[1]
        assert.same({ lib.EVRT_RETRY_LINEAR, 5, 1500, -1, 0.5, -1, true, "a.*\nb" }, { tonumber(r.kind),
            tonumber(r.max_retries), tonumber(r.increment_ms), tonumber(r.initial_delay_ms), r.jitter, r.multiplier,
            r.retry_if, ffi.string(r.events) })
        assert.same({ lib.EVRT_RETRY_DEFAULT, -1, false, "" }, { tonumber(none.kind), tonumber(none.max_retries),
            none.retry_if, ffi.string(none.events) })
        assert.same({ "[1]", "" }, { ffi.string(a.chain), ffi.string(b.chain) })
        assert.is_true(lib.evrt_handler_same(a, a))
        assert.is_false(lib.evrt_handler_same(a, b))
        local again = ffi.new("struct evrt_scripts", { snapshot = -1 })
        lib.evrt_scripts_declare_same(again, s)
        assert.equal(2, tonumber(again.count))
        assert.is_true(lib.evrt_handler_same(again.handlers[0], a))
        lib.evrt_scripts_finish(s)
        assert.same({ 'A "q"', "a.lua", "a.*\nb", "[1]" }, { ffi.string(again.handlers[0].name),
            ffi.string(again.handlers[0].file), ffi.string(again.handlers[0].retries[0].events),
            ffi.string(again.handlers[0].chain) })
        lib.evrt_scripts_finish(again)
    end)

    it("or why the scripts do not load, each with its place", function()
        local seen = {}
        local each = ffi.cast("void (*)(void *, const struct evrt_error *)", function(_, e)
            seen[#seen + 1] = { ffi.string(e.file), e.line, ffi.string(e.message) }
        end)
        local first = ffi.new "struct evrt_error"
        lib.evrt_scripts_refused(c.slice("h/a.lua:12: 'end' expected\nh/b:c.lua:3: name: missing: a string\nno place"),
            each, nil, first)
        each:free()
        assert.same({ { "h/a.lua", 12, "'end' expected" }, { "h/b:c.lua", 3, "name: missing: a string" },
            { "", 0, "no place" } }, seen)
        assert.equal("h/a.lua", ffi.string(first.file))
    end)
end)
