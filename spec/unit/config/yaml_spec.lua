local config = require "spec.support.config"
local refused = config.refused

local function told(text, expected)
    assert.are.equal(expected, refused(text))
end

describe("configuration file", function()
    it("takes block and flow style, comments and nested sections", function()
        local values = config.load [[
service: {name: shop, version: 1.0}   # a number is fine as a text
workers:
  count: 3
logging:
  outputs:
    - stdout
    - "stderr"
  sampling: {first: 0}
http:
]]
        assert.are.equal("shop", values["service.name"])
        assert.are.equal("1.0", values["service.version"])
        assert.are.equal(3, values["workers.count"])
        assert.are.same({ "stdout", "stderr" }, values["logging.outputs"])
        assert.are.equal(0, values["logging.sampling.first"])
        assert.are.equal(100, values["logging.sampling.then_every"])
    end)

    it("takes {} and a byte-order mark", function()
        assert.are.equal("my-app", config.load("{}")["service.name"])
        assert.are.equal("x", config.load("\239\187\191service: {name: x}")["service.name"])
    end)

    it("names an unknown key with its line and the nearest", function()
        told("service:\n  name: a\nhttp:\n  lisen: ':1'\n",
            'test.yaml:4: unknown key "http.lisen"; the nearest valid key is http.listen')
        told("htpt: {listen: x}", 'test.yaml:1: unknown key "htpt"; the nearest valid key is http')
        told("listen: x", 'test.yaml:1: unknown key "listen"; the nearest valid key is http.listen')
    end)

    it("tells every error, in order, and goes on after what it does not know", function()
        told("foo: {a: [1, {b: c}], d: e}\nworkers: {count: x}\nstore: {durability: y}\nbus: {maxhops: 1}\n",
            table.concat({
                'test.yaml:1: unknown key "foo"; the nearest valid key is bus',
                'test.yaml:2: workers.count: expected auto or a whole number from 1 to 256; got "x"',
                'test.yaml:3: store.durability: expected one of fsync, os, memory; got "y"',
                'test.yaml:4: unknown key "bus.maxhops"; the nearest valid key is bus.max_hops',
            }, "\n"))
    end)

    it("refuses a key or section given twice", function()
        told("http:\n  listen: ':1'\n  listen: ':2'\n",
            "test.yaml:3: http.listen is given twice, first on line 2")
        told("http: {max_batch: 1}\nhttp: {max_batch: 2}\n",
            "test.yaml:2: section http is given twice, first on line 1: join them")
    end)

    it("refuses wrong types", function()
        told("http: 8080", "test.yaml:1: http is a section: expected its keys, indented below it; got a value")
        told("http: [a]", "test.yaml:1: http is a section: expected its keys, indented below it; got a list")
        told("workers:\n  count: {a: 1}", "test.yaml:2: workers.count: expected auto or a whole number from 1 "
            .. "to 256; got a section")
        told("workers: {count: [1]}", "test.yaml:1: workers.count: expected auto or a whole number from 1 to "
            .. "256; got a list")
        told("workers: {count: '1'}", "test.yaml:1: workers.count: expected auto or a whole number from 1 to "
            .. "256; got a text (leave the quotes out)")
        told("workers: {allow_ffi: 'true'}", "test.yaml:1: workers.allow_ffi: expected true or false; got a "
            .. "text (leave the quotes out)")
        told("workers: {count: }", "test.yaml:1: workers.count: expected auto or a whole number from 1 to 256; "
            .. "got nothing")
        told("service: {name: true}", "test.yaml:1: service.name: expected a text, not empty; got true or "
            .. "false (put it in quotes to mean the word)")
        assert.are.equal("true", config.load("service: {name: 'true'}")["service.name"])
        told("handlers:\n - a\n - {b: c}\n - ~\n", "test.yaml:3: handlers: expected a path or list of paths; "
            .. "got a section\ntest.yaml:4: handlers: expected a path or list of paths; got nothing")
        told("handlers: []", "test.yaml:1: handlers: expected a path or list of paths; got an empty list")
    end)

    it("refuses keys with dots and keys that are not text", function()
        told("http.listen: ':1'", 'test.yaml:1: "http.listen": a key has no dot; write each section on its '
            .. "own line")
        assert.is_truthy(refused("? [a]\n: b\n"):find("test.yaml:1: expected a key, got a list", 1, true))
        assert.is_truthy(refused("'': b"):find('test.yaml:1: unknown key ""', 1, true))
    end)

    it("refuses anchors, aliases and tags: nothing can grow", function()
        for text, what in pairs {
            ["a: &x [1]\n"] = "an anchor (&name)", ["service: &x {name: a}\n"] = "an anchor (&name)",
            ["service: {name: &x a}\n"] = "an anchor (&name)", ["service: *x\n"] = "an alias (*name)",
            ["service: {name: !!str a}\n"] = "a tag (!name)", ["service: !x {name: a}\n"] = "a tag (!name)",
            ["<<: *x\n"] = "an alias (*name)",
        } do
            assert.is_truthy(refused(text):find(what .. " is not used in a configuration", 1, true), text)
        end
    end)

    it("refuses what is not one mapping", function()
        local empty = "test.yaml:%d: the file is empty: write {} to run on the defaults"
        told("", empty:format(1))
        told("# only\n# comments\n", empty:format(3))
        assert.is_truthy(refused("- a\n- b\n"):find("^test.yaml:1: expected sections .* got a list$"))
        assert.is_truthy(refused("hello\n"):find("^test.yaml:1: expected sections .* got a value$"))
        assert.is_truthy(refused("---\n...\n"):find "got nothing$")
        told("service: {name: a}\n---\nservice: {name: b}\n",
            "test.yaml:2: a second document begins; one file holds one configuration")
    end)

    it("says where the text is not YAML", function()
        told("http:\n\tlisten: ':1'\n", "test.yaml:2: not YAML: a tab in the indentation; use spaces")
        assert.is_truthy(refused("http:\n  listen: 'a\n"):find("^test.yaml:%d: not YAML: .*quoted scalar"))
        assert.is_truthy(refused("service: {name: a\n"):find "^test.yaml:%d: not YAML: ")
        told("service:\n  name: a: b\n",
            "test.yaml:2: not YAML: mapping values are not allowed in this context at column 10")
        assert.is_truthy(refused("service:\n  name: a\1b\n"):find "^test.yaml:2: not YAML: control characters")
        assert.is_truthy(refused(("["):rep(100000)):find "^test.yaml:1: ")
        assert.is_truthy(refused(("a: {"):rep(20000)):find "^test.yaml:1: ")
    end)

    it("says where the text is not UTF-8", function()
        told("service:\n  name: caf\233\n", "test.yaml:2: not UTF-8: byte 0xe9 at offset 20")
        assert.is_truthy(refused("\255\254h\0t\0"):find "^test.yaml:1: not UTF%-8: byte 0xff at offset 0$")
    end)

    it("refuses a NUL smuggled in by an escape, and shows no control bytes", function()
        told([[service: {name: "a\0b\e[31m"}]],
            'test.yaml:1: service.name: expected a text, not empty; got "a?b?[31m"')
        assert.is_truthy(refused([["http\0": 1]]):find('unknown key "http?"', 1, true))
    end)

    it("takes policies to apply, as texts or lists, each with its line", function()
        local values = config.load [[
apply:
  - {events: "**", policies: audit}
  - events: [order.*, "user.**"]
    policies:
      - slow
      - "b"
]]
        assert.are.same({ { line = 2, events = { "**" }, policies = { "audit" } },
            { line = 3, events = { "order.*", "user.**" }, policies = { "slow", "b" } } }, values.apply)
        assert.are.same({}, config.load("apply: []").apply)
        assert.are.same({ { line = 0, events = { "a" }, policies = { "b" } } },
            config.load("{}", { overrides = { "apply=[{events: a, policies: [b]}]" } }).apply)
    end)

    for text, expected in pairs {
        ["apply: audit"] = 'test.yaml:1: apply: expected a list of {events, policies}; got "audit"',
        ["apply:\n  - audit"] = "test.yaml:2: apply: expected a list of {events, policies}; got a value",
        ["apply:\n  - {events: a, policy: b}"] =
            'test.yaml:2: apply: unknown key "policy"; an entry has events and policies',
        ["apply:\n  - {events: a}"] =
            "test.yaml:2: apply: an entry needs events and policies; policies is missing or empty",
        ["apply:\n  - {policies: [b], events: []}"] =
            "test.yaml:2: apply: an entry needs events and policies; events is missing or empty",
        ["apply:\n  - {events: a..b, policies: [b]}"] = 'test.yaml:2: apply: "a..b" is no pattern of event types: '
            .. "segments between single dots, * for one segment, ** for any number",
        ["apply:\n  - {events: {a: b}, policies: b}"] =
            "test.yaml:2: apply: events: expected a text or a list of texts; got a section",
        ["apply:\n  - {events: a, events: b, policies: [b]}"] = "test.yaml:2: apply: events is given twice",
    } do
        it("refuses " .. text, function() told(text, expected) end)
    end
end)
