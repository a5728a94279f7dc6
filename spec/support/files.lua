-- Files and folders that specs of C units need: in memory where that is to be had, as they make thousands
-- of stores and none cuts the power; gone after clean().
local lfs = require "lfs"

local files = {}

local root = lfs.attributes("/dev/shm", "mode") == "directory" and "/dev/shm" or "/tmp"
local folders = {}

--- A new empty folder that clean() removes.
function files.folder()
    local name = os.tmpname()
    os.remove(name)
    local path = root .. "/" .. name:match "[^/]+$"
    assert(lfs.mkdir(path))
    folders[#folders + 1] = path
    return path
end

local function remove(path)
    if lfs.symlinkattributes(path, "mode") == "directory" then
        for name in lfs.dir(path) do
            if name ~= "." and name ~= ".." then remove(path .. "/" .. name) end
        end
        lfs.rmdir(path)
    else
        os.remove(path)
    end
end

function files.clean()
    for _, path in ipairs(folders) do remove(path) end
    folders = {}
end

--- The bytes, or nil and why not.
function files.read(path)
    local file, why = io.open(path, "rb")
    if not file then return nil, why end
    local bytes = file:read "*a"
    file:close()
    return bytes
end

function files.write(path, bytes)
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
end

--- Writes the bytes over what stands at an offset of a file.
function files.overwrite(path, offset, bytes)
    local file = assert(io.open(path, "r+b"))
    assert(file:seek("set", offset))
    file:write(bytes)
    file:close()
end

return files
