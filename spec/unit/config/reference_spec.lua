local c = require "spec.support.c"
local config = require "spec.support.config"

local function reference()
    return c.collect(config.lib, config.lib.evrt_config_reference)
end

local function committed()
    local file = assert(io.open "conf/evrt.yaml")
    local text = file:read "*a"
    file:close()
    return text
end

describe("reference file", function()
    it("is conf/evrt.yaml (write it anew with: evrt help config > conf/evrt.yaml)", function()
        assert.are.equal(reference(), committed())
    end)

    it("loads to exactly the defaults", function()
        local options = { file = "conf/evrt.yaml", check_files = true }
        assert.are.same(config.load("{}", options), config.load(nil, options))
    end)

    it("names every key, each with a comment above it", function()
        local path, seen, last = {}, 0, ""
        local known = {}
        for _, o in ipairs(config.options()) do known[o.key] = o end
        for line in reference():gmatch "[^\n]+" do
            assert.is_true(#line <= 100, line)
            local indent, key, value = line:match "^( *)([%w_]+):(.*)$"
            if key then
                path[#indent / 2 + 1] = key
                local full = table.concat(path, ".", 1, #indent / 2 + 1)
                if value ~= "" then
                    assert.is_truthy(known[full], full)
                    assert.is_truthy(last:match "^ *#", full)
                    assert.are.equal(known[full].def, (value:gsub('[ "]', "")))
                    seen = seen + 1
                end
            end
            last = line
        end
        assert.are.equal(c.define.EVRT_OPTION_COUNT, seen)
    end)
end)
