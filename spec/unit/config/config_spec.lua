local ffi = require "ffi"
local config = require "spec.support.config"
local lib = config.lib

local function write(path, text)
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
end

describe("loading", function()
    it("starts from the table's defaults", function()
        local values = config.load(nil)
        assert.are.equal(0, values["workers.count"])
        assert.are.equal(256 * 2 ^ 20, values["workers.memory_limit"])
        assert.are.equal(30000, values["workers.stall_timeout"])
        assert.are.equal(16384, values["bus.window"])
        assert.are.equal(32 * 2 ^ 20, values["bus.memory_limit"])
        assert.are.equal(8192, values["http.max_header_size"])
        assert.are.equal(30 * 86400000, values["store.retention"])
        assert.are.equal(64 * 2 ^ 30, values["store.max_size"])
        assert.are.same({ "stdout" }, values["logging.outputs"])
    end)

    it("lets the environment beat the file and overrides beat both", function()
        local values = config.load("service: {name: file}\nbus: {max_hops: 1, window: 1}\nworkers: {count: 1}", {
            environment = { "EVRT_SET_BUS__MAX_HOPS=2", "EVRT_SET_WORKERS__COUNT=2", "EVRT_SETX=1",
                "EVRT_SET_LOGGING__SAMPLING__THEN_EVERY=7", "HOME=/" },
            overrides = { "workers.count=3", "service.version=9", "service.version=10" },
        })
        assert.are.equal("file", values["service.name"])
        assert.are.equal(1, values["bus.window"])
        assert.are.equal(2, values["bus.max_hops"])
        assert.are.equal(3, values["workers.count"])
        assert.are.equal("10", values["service.version"])
        assert.are.equal(7, values["logging.sampling.then_every"])
    end)

    it("names the override that is wrong", function()
        assert.are.equal(table.concat({
            '"EVRT_SET_HTTP__LISEN=x": unknown key "http.lisen"; the nearest valid key is http.listen',
            '"EVRT_SET_WORKERS=x": workers is a section; give one of its keys a value',
            '--set "storepath=x": unknown key "storepath"; the nearest valid key is store.path',
            '--set "http.listen": expected key=value',
            '--set "=x": unknown key ""; the nearest valid key is kv',
        }, "\n"), config.refused("{}", {
            environment = { "EVRT_SET_HTTP__LISEN=x", "EVRT_SET_WORKERS=x" },
            overrides = { "storepath=x", "http.listen", "=x" },
        }))
    end)

    it("reads a file, its environment, and tells where it cannot", function()
        local cfg, err = ffi.new "struct evrt_config", ffi.new "struct evrt_error"
        local path = os.tmpname()
        write(path, "handlers: /\nstore: {path: x}\n")
        assert.are.equal(0, lib.evrt_config_load(cfg, path, nil, err))
        assert.are.equal(path, ffi.string(cfg.file))
        assert.are.equal(path:match "^(.*)/" .. "/x", ffi.string(cfg.store.path))
        assert.are.equal("/", ffi.string(cfg.handlers.v[0]))
        lib.evrt_config_finish(cfg)
        write(path, "handlers: /\nnope: 1\n")
        assert.are.equal(-22, lib.evrt_config_load(cfg, path, nil, err))
        assert.are.equal(2, err.line)
        assert.are.equal(path, ffi.string(err.file))
        os.remove(path)
        assert.are.equal(-2, lib.evrt_config_load(cfg, path, nil, err))
        assert.are.equal("cannot be read: No such file or directory", ffi.string(err.message))
        assert.are.equal(-21, lib.evrt_config_load(cfg, "/", nil, err))
        assert.are.equal("cannot be read: Is a directory", ffi.string(err.message))
    end)

    it("refuses a file far too large, wherever its bytes come from", function()
        local path = os.tmpname()
        write(path, ("# x\n"):rep(2 ^ 18 + 1))
        local _, errors = config.load(nil, { file = path })
        os.remove(path)
        assert.is_truthy(errors[1]:find "larger than 1048576 bytes")
    end)

    it("shows long and hostile text short and tame", function()
        local told = config.refused(nil, { overrides = { ("k\27[2J\255"):rep(200) .. "=1" } })
        assert.is_true(#told < 400)
        assert.is_nil(told:find "[%c\128-\255]")
    end)
end)
