local ffi = require "ffi"
local c = require "spec.support.c"
local known = require "spec.support.losses"
local lib = c.load("cli", { "cli/cli.h" })

local function options(o)
    local out, i = {}, 0
    while o[i].name ~= nil do
        out[#out + 1] = o[i]
        i = i + 1
    end
    return out
end

local function commands()
    local out, i = {}, 0
    while lib.evrt_commands[i].name ~= nil do
        out[#out + 1] = lib.evrt_commands[i]
        i = i + 1
    end
    return out
end

describe("command table", function()
    it("says everything of every command, once", function()
        local seen = {}
        for _, command in ipairs(commands()) do
            local name = ffi.string(command.name)
            assert.is_nil(seen[name])
            seen[name] = true
            assert.is_truthy(ffi.string(command.brief):match "^%u.*%.$", name)
            assert.is_true(command.run ~= nil)
            assert.is_true(command.args ~= nil)
            assert.is_true(command.min_args <= command.max_args)
            assert.is_true(command.max_args < c.define.EVRT_CLI_ARGS_MAX)
        end
    end)

    it("has options that do not clash and fit", function()
        for _, command in ipairs(commands()) do
            local seen = {}
            local all = options(command.options)
            assert.is_true(#all <= c.define.EVRT_CLI_OPTIONS_MAX)
            for _, o in ipairs(options(lib.evrt_cli_common)) do all[#all + 1] = o end
            for _, o in ipairs(all) do
                local name = ffi.string(o.name)
                assert.is_nil(seen[name], name)
                assert.is_nil(o.letter ~= 0 and seen[o.letter] or nil, name)
                seen[name], seen[o.letter] = true, true
                assert.is_truthy(ffi.string(o.help):match "^%u", name)
            end
        end
    end)

    it("asks before what cannot be taken back, and nowhere else", function()
        local DESTROYS = { delete = true, repair = true, forget = true, drop = true, purge = true }
        local listed = {}
        for _, command in ipairs(commands()) do
            local name, losses, has_yes, i = ffi.string(command.name), {}, false, 0
            while command.losses ~= nil and command.losses[i].what ~= nil do
                losses[ffi.string(command.losses[i].what)] = ffi.string(command.losses[i].loss)
                i = i + 1
            end
            for what, loss in pairs(losses) do
                local full = name .. " " .. what
                -- A new one gets a line in spec/support/losses.lua, by which it is tested.
                assert.is_true(known.lines[full] ~= nil or known.show_first[full] == true, full)
                assert.is_truthy(loss:match "^%l.*[^.]$", full)
                listed[full] = true
            end
            for _, o in ipairs(options(command.options)) do
                has_yes = has_yes or ffi.string(o.name) == "yes"
            end
            assert.equal(next(losses) ~= nil, has_yes, name)
            for word in (command.words ~= nil and ffi.string(command.words) or ""):gmatch "%S+" do
                assert.is_true(not DESTROYS[word] or losses[word] ~= nil, name .. " " .. word)
            end
        end
        for full in pairs(known.lines) do assert.is_true(listed[full], full) end
    end)

    it("finds commands and the nearest one", function()
        assert.are.equal("run", ffi.string(lib.evrt_command_find("run").name))
        assert.is_true(lib.evrt_command_find("rn") == nil)
        assert.are.equal("publish", ffi.string(lib.evrt_command_nearest "pubish"))
        assert.are.equal("events", ffi.string(lib.evrt_command_nearest "event"))
        assert.are.equal("version", ffi.string(lib.evrt_command_nearest "vresion"))
    end)
end)
