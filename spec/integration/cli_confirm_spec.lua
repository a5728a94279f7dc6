-- What cannot be taken back: every command that the table says does such asks at a terminal, does it with --yes, and
-- refuses where there is nobody to ask.
local evrt = require "spec.support.evrt"
local losses = require "spec.support.losses"
local terminal = require "spec.support.terminal"

local function with(list, word)
    local out = { unpack(list) }
    out[#out + 1] = word
    return out
end

describe("a command that cannot be taken back", function()
    require("spec.support.leak").guard(before_each, after_each)

    for name, line in pairs(losses.lines) do
        it("is refused without --yes where nobody can be asked: " .. name, function()
            local code, out, err = evrt.run(line)
            assert.same({ 64, "" }, { code, out })
            assert.truthy(err:find("^evrt " .. line[1]:gsub("%-", "%%-") .. ": .+; say %-%-yes\n"), err)
            local code_yes, _, why = evrt.run(with(line, "--yes"))
            assert.equal(69, code_yes, why) -- it went to ask the node
        end)

        it("is asked for at a terminal: " .. name, function()
            local no = terminal.run(line, { typed = "n\n" })
            assert.equal(1, no.code, no.text)
            assert.truthy(no.text:find(". Go on? [y/N] ", 1, true), no.text)
            assert.truthy(no.text:find("nothing was changed", 1, true), no.text)
            assert.equal(1, terminal.run(line, { typed = "\n" }).code)
            local yes = terminal.run(line, { typed = "y\n" })
            assert.equal(69, yes.code, yes.text)
            local unasked = terminal.run(with(line, "--yes"))
            assert.equal(69, unasked.code)
            assert.is_nil(unasked.text:find("Go on?", 1, true))
        end)
    end
end)
