-- evrt store verify|repair: what they say of a sound, a torn and a damaged store, and that repair mends it.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"
local terminal = require "spec.support.terminal"
local uv = require "luv"

local HANDLER = "return { name = 'A', events = { 'a' }, handle = function() end }"

local function has(text, part)
    assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
end

-- The journal's first segment: its path and its bytes.
local function segment(dir)
    local found = io.popen("ls " .. dir .. "/data/journal/*.seg | head -1")
    local path = found:read "*l"
    found:close()
    return path, evrt.read(path)
end

describe("evrt store", function()
    require("spec.support.leak").guard(before_each, after_each)

    local dir, data
    before_each(function()
        local node = evrt.start { handlers = { ["a.lua"] = HANDLER } }
        for i = 1, 20 do assert.equal(202, node:publish({ type = "a", data = "payload " .. i }).status) end
        node:await_log({ msg = "Event handled successfully" }, nil, 20)
        dir, data = node.dir, node.dir .. "/data"
        assert.equal(0, (node:stop()))
    end)

    local function damage()
        local path, bytes = segment(dir)
        local at = assert(bytes:find("payload 7", 1, true))
        evrt.write(path, bytes:sub(1, at - 1) .. "PAYLOAD" .. bytes:sub(at + 7))
    end

    it("finds a sound store sound", function()
        local code, out, err = evrt.run { "store", "verify", data }
        assert.same({ 0, "" }, { code, err })
        has(out, "20 events (seq 1 to 20)")
        assert.truthy(out:find "\nsound$")
        local json = cjson.decode((select(2, evrt.run { "store", "verify", "--json", data })))
        assert.same({}, json.findings)
        assert.same({ 20, 0, 0 }, { json.events, json.damaged, json.torn })
        assert.equal(0, (evrt.run { "store", "repair", "--yes", data }))
    end)

    it("names damage, shows what repair would do, and repairs", function()
        damage()
        local code, out = evrt.run { "store", "verify", data }
        assert.equal(1, code)
        assert.truthy(out:find "DAMAGE: %S+%.seg at offset %d+, %d+ bytes: ", out)
        has(out, "to set them aside: evrt store repair --yes " .. data)
        local code_json, json = evrt.run { "store", "verify", "--json", data }
        assert.equal(1, code_json)
        assert.equal("damage", cjson.decode(json).findings[1].kind)

        local _, before = segment(dir)
        local code_ask, shown, refusal = evrt.run { "store", "repair", data }
        assert.equal(64, code_ask)
        has(shown, "DAMAGE: ")
        has(refusal, "and its events are lost; say --yes")
        local no = terminal.run({ "store", "repair", data }, { typed = "n\n" })
        assert.equal(1, no.code)
        assert.truthy(no.text:find "DAMAGE: .*Go on%? %[y/N%].*nothing was changed", no.text)
        assert.equal(before, select(2, segment(dir)))
        local code_run, _, err = evrt.run { "run", dir .. "/evrt.yaml" }
        assert.equal(1, code_run)
        has(err, "evrt store repair")

        local copy = dir .. "/copy"
        assert.equal(0, os.execute(("cp -r '%s' '%s'"):format(data, copy)))
        code, out = evrt.run { "store", "repair", "--yes", "--json", copy }
        assert.same({ 0, "damage" }, { code, cjson.decode(out).findings[1].kind })
        assert.same({}, cjson.decode((select(2, evrt.run { "store", "verify", "--json", copy }))).findings)

        code, out = evrt.run { "store", "repair", "--yes", data }
        assert.equal(0, code, out)
        has(out, "repaired: 1 range set aside, ")
        assert.truthy(uv.fs_stat(data .. "/damaged"))
        assert.equal(0, (evrt.run { "store", "verify", data }))
        local node = evrt.start { dir = dir, handlers = { ["a.lua"] = HANDLER } }
        assert.equal(202, node:publish({ type = "a", data = "after" }).status)
        node:await_log { msg = "Event handled successfully" }
        assert.equal(0, (node:stop()))
    end)

    it("says why it cannot look", function()
        local code, _, err = evrt.run { "store", "verify", dir .. "/none" }
        assert.equal(1, code)
        has(err, dir .. "/none")
        local node = evrt.start { dir = dir, handlers = { ["a.lua"] = HANDLER } }
        code, _, err = evrt.run { "store", "verify", data }
        assert.equal(1, code)
        has(err, tostring(node:logged({ msg = "evrt starting" })[1].pid))
        assert.equal(0, (node:stop()))
    end)
end)
