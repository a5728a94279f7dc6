-- evrt check, and what run says of the same mistakes: exit 78 with file:line, the key and the nearest one.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local uv = require "luv"

local function has(text, part)
    assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

describe("a configuration", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("of the reference file is sound", function()
        local code, out, err = evrt.run { "check", "conf/evrt.yaml" }
        assert.same({ 0, "ok: 1 handler", "" }, { code, out, err })
        assert.same({ 0, "ok: 1 handler", "" }, { evrt.run { "check" } })
    end)

    local wrong = {
        { "http: {lisen: ':1'}", ':1: unknown key "http.lisen"; the nearest valid key is http.listen' },
        { "\nworkers:\n  count: many\n", ':3: workers.count: expected auto or a whole number from 1 to ' },
        { "workers: [1]", ":1: workers is a section" },
        { "store: {durability: no}", ':1: store.durability: expected one of fsync, os, memory; got "no"' },
        { "service: {name: a}\nhandlers: nowhere/", "/nowhere cannot be read: No such file or directory" },
        { "http:\n\tlisten: x", ":2: not YAML: a tab in the indentation" },
        { "", ":1: the file is empty" },
        { "admin: {listen: '0.0.0.0:0'}", ":1: admin.listen: 0.0.0.0:0 can be reached from outside" },
        { "http: {token_file: none}", "/none cannot be read" },
        { "service: {name: a}\nlogging:\n  outputs: [stdout, logs/evrt.log]", ":3: logging.outputs: " },
        { "logging: {outputs: logs/evrt.log}", "/logs/evrt.log cannot be written: No such file or directory" },
        { "logging: {outputs: .}", "cannot be written: Is a directory" },
    }
    for _, case in ipairs(wrong) do
        it("is refused: " .. cjson.encode(case[1]), function()
            local dir = evrt.lay { config = case[1] }
            for _, command in ipairs { "check", "run" } do
                local code, out, err = evrt.run { command, dir .. "/evrt.yaml" }
                assert.equal(78, code)
                assert.equal("", out)
                has(err, dir .. "/evrt.yaml:")
                has(err, case[2])
            end
        end)
    end

    it("is checked as a whole: every error is told", function()
        local dir = evrt.lay { config = "foo: 1\nworkers: {count: x}\n" }
        local code, _, err = evrt.run({ "check", dir .. "/evrt.yaml", "--set", "bus.max_hops=0" },
            { env = { EVRT_SET_STORE__PAHT = "x" } })
        assert.equal(78, code)
        has(err, "/evrt.yaml:1: unknown key")
        has(err, "/evrt.yaml:2: workers.count")
        has(err, '"EVRT_SET_STORE__PAHT=x": unknown key "store.paht"; the nearest valid key is store.path')
        has(err, '--set "bus.max_hops=0": bus.max_hops: expected a whole number')
        local json = cjson.decode((select(2, evrt.run { "check", "--json", dir .. "/evrt.yaml" })))
        assert.equal(false, json.ok)
        assert.equal(dir .. "/evrt.yaml", json.errors[1].file)
        assert.equal(2, json.errors[2].line)
    end)

    it("that is not there is named", function()
        for _, args in ipairs { { "check", "/nowhere.yaml" }, { "run", "-c", "/nowhere.yaml" } } do
            local code, _, err = evrt.run(args)
            assert.equal(78, code)
            has(err, "/nowhere.yaml: cannot be read: No such file or directory")
        end
    end)
end)

describe("a handler", function()
    require("spec.support.leak").guard(before_each, after_each)

    local wrong = {
        { "syntax", "return {\n  name = 'A',\n  events = { 'a' },\n  handle = function( end\n}\n", 4 },
        { "no events", "return { name = 'A', handle = function() end }\n" },
        { "no handle", "return { name = 'A', events = { 'a' } }\n" },
        { "a wrong pattern", "return { name = 'A', events = { 'a..b' }, handle = function() end }\n" },
        { "an error while loading", "local x = nil\nreturn x.y\n", 2 },
        { "no table", "return 5\n" },
    }
    for _, case in ipairs(wrong) do
        it("with " .. case[1] .. " is refused", function()
            local dir = evrt.lay { handlers = { ["a.lua"] = case[2] } }
            for _, command in ipairs { "check", "run" } do
                local code, _, err = evrt.run { command, dir .. "/evrt.yaml" }
                assert.equal(78, code, command)
                local line = err:match "handlers/a.lua:(%d+): "
                assert.truthy(err:find "handlers/a.lua:", err)
                if case[3] then assert.equal(case[3], tonumber(line), err) end
            end
        end)
    end

    it("that requires what is not there is one error, of one line", function()
        local dir = evrt.lay { handlers = { ["a.lua"] = 'require "no.such"' } }
        local code, out, err = evrt.run { "check", dir .. "/evrt.yaml" }
        assert.same({ 78, "" }, { code, out })
        assert.matches("^[^\n]+handlers/a.lua:1: module 'no.such' not found: no module of that name beside the scripts"
            .. "; no file '[^\n]+$", err)
        code, out = evrt.run { "check", "--json", dir .. "/evrt.yaml" }
        assert.equal(78, code)
        assert.equal(1, #cjson.decode(out).errors)
    end)

    it("that is sound is counted, and nothing else is touched", function()
        local sound = "return { name = %q, events = { 'a' }, handle = function() end }"
        local dir = evrt.lay { handlers = { ["a.lua"] = sound:format "A", ["b.lua"] = sound:format "B",
            ["_module.lua"] = "syntax error" } }
        local code, out = evrt.run { "check", dir .. "/evrt.yaml" }
        assert.same({ 0, "ok: 2 handlers" }, { code, out })
        assert.same({ errors = {}, handlers = 2, ok = true },
            cjson.decode((select(2, evrt.run { "check", "--json", dir .. "/evrt.yaml" }))))
        assert.is_nil(require "luv".fs_stat(dir .. "/data"))
    end)
end)

describe("a start", function()
    require("spec.support.leak").guard(before_each, after_each)

    local SOUND = "return { name = 'A', events = 'a', handle = function() end }"

    it("with bad scripts leaves no store behind and opens no port", function()
        local dir = evrt.lay { handlers = { ["a.lua"] = "return {" } }
        local code, out, err = evrt.run { "run", dir .. "/evrt.yaml" }
        assert.equal(78, code)
        assert.truthy(err:find(dir .. "/handlers/a.lua:1: ", 1, true), err)
        assert.is_nil(out:find("Listening", 1, true))
        assert.is_nil(uv.fs_stat(dir .. "/data"))
        -- One that is there stays as it was.
        evrt.write(dir .. "/handlers/a.lua", SOUND)
        local node = evrt.start { dir = dir }
        node:accept { type = "a" }
        node:await_end()
        assert.equal(0, node:stop())
        evrt.write(dir .. "/handlers/a.lua", "return {")
        assert.equal(78, (evrt.run { "run", dir .. "/evrt.yaml" }))
        assert.equal(0, (evrt.run { "store", "verify", dir .. "/data" }))
        evrt.write(dir .. "/handlers/a.lua", SOUND)
        node = evrt.start { dir = dir }
        assert.equal(1, node:handler("A").done)
        assert.equal(0, node:stop())
    end)
end)
