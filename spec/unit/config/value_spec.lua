local lfs = require "lfs"
local config = require "spec.support.config"

local function with(key, text)
    return config.load(nil, { overrides = { key .. "=" .. text } })
end

describe("values", function()
    local good = {
        { "workers.count", "auto", 0 }, { "workers.count", "1", 1 }, { "workers.count", "256", 256 },
        { "workers.allow_ffi", "true", true }, { "workers.allow_ffi", "false", false },
        { "workers.stall_timeout", "50ms", 50 }, { "store.retention", "1.5h", 5400000 },
        { "workers.drain_timeout", "0", 0 },
        { "http.max_event_size", "64KiB", 65536 }, { "http.max_event_size", "2000", 2000 },
        { "http.max_event_size", "1MB", 1000000 },
        { "store.durability", "memory", "memory" }, { "http.listen", "[::1]:1", "[::1]:1" },
        { "service.name", "a b=c", "a b=c" }, { "service.version", "", "" },
        { "store.path", "/var/lib/evrt/", "/var/lib/evrt" }, { "store.path", "/", "/" },
        { "logging.outputs", "stderr", { "stderr" } },
        { "logging.outputs", "[stdout, /var/log/evrt.log]", { "stdout", "/var/log/evrt.log" } },
        { "http.token_file", "", "" },
    }
    for _, case in ipairs(good) do
        it(case[1] .. "=" .. case[2], function()
            local values, errors = with(case[1], case[2])
            assert.is_nil(errors and errors[1])
            assert.are.same(case[3], values[case[1]])
        end)
    end

    local bad = {
        { "workers.count", "0" }, { "workers.count", "257" }, { "workers.count", "" },
        { "workers.count", "4 " }, { "workers.count", "-1" }, { "workers.count", "0x10" },
        { "workers.count", "18446744073709551617" }, { "workers.count", "many" },
        { "workers.allow_ffi", "yes" }, { "workers.allow_ffi", "True" }, { "workers.allow_ffi", "" },
        { "workers.stall_timeout", "49ms" }, { "workers.stall_timeout", "30" },
        { "workers.stall_timeout", "-1s" }, { "workers.stall_timeout", "1e3s" },
        { "workers.stall_timeout", "25h" },
        { "http.max_event_size", "1" }, { "http.max_event_size", "17MiB" },
        { "http.max_event_size", "1 MiB" }, { "http.max_event_size", "99999999999999999999TiB" },
        { "store.durability", "sync" }, { "store.durability", "" }, { "store.durability", "fsync|os" },
        { "http.listen", "8080" }, { "service.name", "" }, { "service.name", ("x"):rep(257) },
        { "store.path", "" }, { "handlers", "" }, { "handlers", "[]" }, { "handlers", "[a, [b]]" },
        { "handlers", "[a" }, { "handlers", "[a] [b]" }, { "handlers", "[{a: b}]" },
        { "handlers", "[&a a, *a]" }, { "handlers", "[a]\n---\n[b]" },
        { "logging.outputs", "[" .. ("x, "):rep(16) .. "x]" },
    }
    for _, case in ipairs(bad) do
        it(("refuses %s=%s"):format(case[1], case[2]:sub(1, 30)), function()
            local told = config.refused(nil, { overrides = { case[1] .. "=" .. case[2] } })
            assert.are.equal("--set \"", told:sub(1, 7))
            assert.is_truthy(told:find(case[1], 1, true))
        end)
    end

    it("tells the range and what was given", function()
        assert.are.equal('--set "workers.count=0": workers.count: expected auto or a whole number from 1 to '
            .. '256; got "0"', config.refused(nil, { overrides = { "workers.count=0" } }))
    end)

    it("makes relative paths absolute against the file's folder", function()
        local values = config.load("{handlers: [./a, 'b/*.lua', /c/], store: {path: ./x/y//}}",
            { file = "conf/nothing-here.yaml" })
        local conf = lfs.currentdir() .. "/conf/"
        assert.are.same({ conf .. "a", conf .. "b/*.lua", "/c" }, values.handlers)
        assert.are.equal(conf .. "x/y", values["store.path"])
    end)

    it("makes them absolute against the current folder when there is no file", function()
        assert.are.equal(lfs.currentdir() .. "/data", config.load(nil)["store.path"])
    end)
end)
