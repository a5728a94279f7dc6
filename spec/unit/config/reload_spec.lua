-- A configuration read beside the one in force.
local ffi = require "ffi"
local config = require "spec.support.config"
local lib = config.lib

local keep = {}

local function load(text, running)
    local source = ffi.new "struct evrt_config_source"
    local cfg, err = ffi.new "struct evrt_config", ffi.new "struct evrt_error"
    local copy = ffi.new("char[?]", #text + 1, text)
    keep[#keep + 1] = { cfg, copy }
    source.file, source.text.p, source.text.n, source.trust_files = "test.yaml", copy, #text, true
    local changes = {}
    local changed = ffi.cast("evrt_config_change_cb", function(_, change)
        changes[#changes + 1] = ("%s: %s -> %s%s"):format(ffi.string(change.key), ffi.string(change.from),
            ffi.string(change.to), change.reloadable and "" or " (restart)")
    end)
    source.running, source.changed = running, changed
    local rc = lib.evrt_config_load_from(cfg, source, err)
    changed:free()
    assert(rc == 0, ffi.string(err.message))
    return cfg, changes
end

describe("a configuration read anew", function()
    after_each(function()
        for _, one in ipairs(keep) do lib.evrt_config_finish(one[1]) end
        keep = {}
    end)

    it("tells each key that differs, and keeps what only a restart changes", function()
        local running = load "{}"
        local fresh, changes = load([[
service: {name: other}
handlers: [a/*.lua, b.lua]
policies: p/
apply: [{events: "x.*", policies: [one, two]}]
workers: {count: 3, stall_timeout: 1m, allow_ffi: true}
reload: {watch: false}
http: {max_event_size: 2MiB, max_batch: 7}
logging: {level: debug, outputs: [stderr]}
]], running)
        local cwd = require "luv".cwd()
        assert.same({
            "service.name: my-app -> other (restart)",
            ("handlers: [%s/handlers] -> [%s/a/*.lua, %s/b.lua]"):format(cwd, cwd, cwd),
            ("policies: %s/policies -> %s/p"):format(cwd, cwd),
            "apply: [] -> [{events: [x.*], policies: [one, two]}]",
            "workers.count: auto -> 3 (restart)",
            "workers.stall_timeout: 30s -> 1m",
            "workers.allow_ffi: false -> true",
            "reload.watch: true -> false",
            "http.max_event_size: 1MiB -> 2MiB",
            "http.max_batch: 1000 -> 7",
            "logging.level: info -> debug",
            "logging.outputs: [stdout] -> [stderr] (restart)",
        }, changes)
        local values = config.values(fresh)
        assert.same({ "my-app", 0, { "stdout" } },
            { values["service.name"], values["workers.count"], values["logging.outputs"] })
        assert.same({ 60000, true, "debug" },
            { values["workers.stall_timeout"], values["workers.allow_ffi"], values["logging.level"] })
    end)

    it("is compared by value, not by how it is written", function()
        local running = load "http: {max_event_size: 2MiB}\nworkers: {stall_timeout: 60s}"
        local _, changes = load("http: {max_event_size: 2048KiB}\nworkers: {stall_timeout: 1m}", running)
        assert.same({}, changes)
    end)

    it("is exchanged for the one in force, as far as that may change", function()
        local running = load "service: {name: one}\nlogging: {level: warn}"
        local fresh = load("service: {name: two}\nlogging: {level: error}\nbus: {max_hops: 3}", running)
        lib.evrt_config_exchange(running, fresh)
        local now, before = config.values(running), config.values(fresh)
        assert.same({ "one", "error", 3 }, { now["service.name"], now["logging.level"], now["bus.max_hops"] })
        assert.same({ "one", "warn", 16 },
            { before["service.name"], before["logging.level"], before["bus.max_hops"] })
    end)

    it("is checked as it would be in force", function()
        local running = load "{}"
        local source = ffi.new "struct evrt_config_source"
        local cfg, err = ffi.new "struct evrt_config", ffi.new "struct evrt_error"
        -- The backlog stays as it is, and is too small for such events then.
        local text = "store: {max_backlog: 64MiB}\nhttp: {max_event_size: 16MiB}"
        local copy = ffi.new("char[?]", #text + 1, text)
        source.file, source.text.p, source.text.n, source.trust_files = "test.yaml", copy, #text, true
        assert.equal(0, lib.evrt_config_load_from(cfg, source, err))
        lib.evrt_config_finish(cfg)
        source.running = running
        assert.equal(-22, lib.evrt_config_load_from(cfg, source, err))
        assert.truthy(ffi.string(err.message):find("store.max_backlog", 1, true))
    end)
end)
