local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("cli", { "cli/cli.h" })

-- Wrong command lines are told on standard error: spec/integration/cli_usage_spec.lua reads it.
local function parse(command, args)
    local cli, help = ffi.new "struct evrt_cli", ffi.new "bool[1]"
    local argv = ffi.new("char *[?]", #args + 1)
    local keep = {}
    for i, word in ipairs(args) do
        keep[i] = ffi.new("char[?]", #word + 1, word)
        argv[i - 1] = keep[i]
    end
    local rc = lib.evrt_cli_parse(cli, lib.evrt_command_find(command), #args, argv, help)
    assert.are.equal(0, rc)
    local out = { help = help[0], args = {}, sets = {} }
    for i = 1, cli.nargs do out.args[i] = ffi.string(cli.args[i - 1]) end
    for i = 1, tonumber(cli.noverrides) do out.sets[i] = ffi.string(cli.overrides[i - 1]) end
    assert(cli.overrides == nil or cli.overrides[cli.noverrides] == nil)
    for _, name in ipairs(command == "publish" and { "data", "source", "id", "wait", "url", "json" } or {}) do
        local value = lib.evrt_cli_get(cli, name)
        if value ~= nil then out[name] = ffi.string(value) end
    end
    lib.evrt_cli_finish(cli)
    return out
end

describe("command line", function()
    it("takes options in every form, anywhere", function()
        local got = parse("publish", { "-d", "{}", "--source=a=b", "user.registered", "--id", "--wait", "-w",
            "--json", "-s", "last" })
        assert.are.same({ "user.registered" }, got.args)
        assert.are.equal("{}", got.data)
        assert.are.equal("--wait", got.id) -- a value is whatever follows
        assert.are.equal("last", got.source)
        assert.are.equal("", got.wait)
        assert.are.equal("", got.json)
        assert.is_nil(got.url)
    end)

    it("takes a short option's value in the same word, and switches together", function()
        assert.are.equal("{}", parse("publish", { "-d{}", "x" }).data)
        local got = parse("publish", { "-wd-", "x" })
        assert.are.equal("", got.wait)
        assert.are.equal("-", got.data)
    end)

    it("gathers --set", function()
        assert.are.same({ "a=1", "b=2" }, parse("run", { "--set", "a=1", "--set=b=2" }).sets)
    end)

    it("ends options at --, and takes - as a word", function()
        assert.are.same({ "--json" }, parse("publish", { "--", "--json" }).args)
        assert.are.same({ "-" }, parse("publish", { "-" }).args)
    end)

    it("asks for help without minding the rest", function()
        assert.is_true(parse("publish", { "--help" }).help)
        assert.is_true(parse("store", { "-h", "x" }).help)
    end)
end)
