local ffi = require "ffi"
local lfs = require "lfs"
local c = require "spec.support.c"
local evrt = require "spec.support.evrt"
local lib = c.load("worker", { "worker/embedded.h" })

-- { ["evrt.json"] = "lua/evrt/json.lua", ... } for all files under the folder.
local function modules(folder, prefix, found)
    for name in lfs.dir(folder) do
        local path = folder .. "/" .. name
        if name:sub(1, 1) ~= "." then
            if lfs.attributes(path, "mode") == "directory" then
                modules(path, prefix .. name .. ".", found)
            elseif name:find "%.lua$" then
                found[((prefix .. name:sub(1, -5)):gsub("%.init$", ""))] = path
            end
        end
    end
    return found
end

describe("worker/embedded", function()
    it("holds every file under lua/, byte for byte, sorted by module", function()
        local expected, last, count = modules("lua", "", {}), "", 0
        for i = 0, tonumber(lib.evrt_embedded_count) - 1 do
            local file = lib.evrt_embedded_files[i]
            local module = ffi.string(file.module)
            assert.is_true(module > last)
            assert.equal(expected[module], ffi.string(file.path))
            assert.equal(evrt.read(expected[module]), ffi.string(file.bytes, file.n))
            last, count = module, count + 1
        end
        for _ in pairs(expected) do count = count - 1 end
        assert.equal(0, count)
        assert.is_true(expected["evrt"] ~= nil)
    end)
end)
