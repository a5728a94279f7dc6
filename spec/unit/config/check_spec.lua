local lfs = require "lfs"
local config = require "spec.support.config"

describe("checks across values and files", function()
    local dir
    before_each(function()
        dir = os.tmpname()
        os.remove(dir)
        lfs.mkdir(dir)
        lfs.mkdir(dir .. "/handlers")
    end)
    after_each(function()
        for _, name in ipairs { "/token", "/handlers/a.lua", "/handlers", "" } do os.remove(dir .. name) end
    end)

    local function write(name, text)
        local file = assert(io.open(dir .. name, "w"))
        file:write(text)
        file:close()
    end
    local function load(text)
        return config.load(text, { file = dir .. "/evrt.yaml", check_files = true })
    end
    local function told(text)
        return table.concat(select(2, load(text)), "\n")
    end

    it("finds the handlers: a folder, a file, globs", function()
        write("/handlers/a.lua", "")
        assert.are.same({ dir .. "/handlers" }, load("{}").handlers)
        assert.are.same({ dir .. "/handlers/a.lua" }, load("handlers: handlers/a.lua").handlers)
        assert.is_truthy(load "handlers: ['handlers/*.lua', 'hand*/x/*.lua', '*']")
    end)

    it("names a folder that is missing, with the line", function()
        assert.is_truthy(told("service: {name: a}\nhandlers: handlrs/\n"):find(
            dir .. "/evrt.yaml:2: handlers: " .. dir .. "/handlrs cannot be read: No such file", 1, true))
        assert.is_truthy(told("handlers:\n - handlers\n - 'nope/*.lua'\n"):find(dir .. "/nope/ cannot", 1, true))
        os.remove(dir .. "/handlers")
        assert.is_truthy(told("{}"):find(dir .. "/evrt.yaml: handlers: ", 1, true))
    end)

    it("looks at token files", function()
        write("/token", "secret\n")
        assert.is_truthy(load "http: {token_file: token}")
        assert.is_truthy(told("http: {token_file: tokn}"):find "evrt.yaml:1: http.token_file: .*No such file")
        assert.is_truthy(told("admin: {token_file: handlers}"):find "admin.token_file: .*Is a directory")
        write("/token", "")
        assert.is_truthy(told("admin: {token_file: token}"):find "is empty: put the token in it")
    end)

    it("looks at log outputs", function()
        assert.is_truthy(load "logging: {outputs: [stdout, node.log]}")
        write("/node.log", "")
        assert.is_truthy(load "logging: {outputs: [stderr, node.log, handlers/../new.log]}")
        assert.is_truthy(told("logging:\n  outputs: [stdout, nowhere/node.log]"):find(
            "evrt.yaml:2: logging.outputs: " .. dir .. "/nowhere/node.log cannot be written: No such file", 1, true))
        assert.is_truthy(told("logging: {outputs: [node.log/x]}"):find "/node.log/x cannot be written: Not a directory")
        assert.is_truthy(told("logging: {outputs: [/dev]}"):find "/dev cannot be written: Is a directory")
    end)

    it("wants a token where the admin listener can be reached from outside", function()
        write("/token", "secret\n")
        assert.is_truthy(told("admin:\n  listen: ':9090'\n"):find "evrt.yaml:2: admin.listen: .*set admin.token_file")
        assert.is_truthy(load "admin: {listen: ':9090', token_file: token}")
    end)

    it("wants delays that can be, and the collector's URL", function()
        assert.is_truthy(told("retry:\n  initial_delay: 5m\n"):find(
            "evrt.yaml:2: retry.initial_delay: 5m is longer than retry.max_delay 1m, which no delay exceeds", 1, true))
        assert.is_truthy(load "retry: {initial_delay: 5m, max_delay: 5m}")
        for _, url in ipairs { "collector:4318", "ftp://collector", "http://", "https:///v1" } do
            assert.is_truthy(told("tracing: {endpoint: '" .. url .. "'}"):find(
                "evrt.yaml:1: tracing.endpoint: expected a URL such as http://localhost:4318; got \"" .. url, 1, true))
        end
        assert.is_truthy(load "tracing: {endpoint: 'https://collector.example/otlp'}")
    end)

    it("wants room for the largest event, and three segments", function()
        assert.is_truthy(told("http: {max_event_size: 1MiB}\nstore: {max_backlog: 1MiB}"):find(
            "evrt.yaml:2: store.max_backlog: 1MiB is not twice http.max_event_size 1MiB", 1, true))
        assert.is_truthy(load "{http: {max_event_size: 32KiB}, store: {max_backlog: 64KiB}}")
        assert.is_truthy(told("store: {max_size: 191MiB}"):find(
            "evrt.yaml:1: store.max_size: .*expected a size from 192MiB to 1024TiB"))
    end)

    it("refuses one port for both listeners, but not two free ones", function()
        assert.is_truthy(told("http: {listen: 'localhost:90'}\nadmin: {listen: '127.0.0.1:90'}"):find
            "evrt.yaml:2: admin.listen: 127.0.0.1:90 is http.listen too")
        assert.is_truthy(load "{http: {listen: 'localhost:0'}, admin: {listen: 'localhost:0'}}")
    end)
end)
