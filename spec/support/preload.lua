-- Libraries of Debian's that a spec puts in front of libc by LD_PRELOAD.
local uv = require "luv"

local preload = {}

--- The path of one in the system's library folder; nil where it is not installed.
---@param name string such as "libeatmydata.so"
---@return string?
function preload.find(name)
    for _, arch in ipairs { "x86_64-linux-gnu", "aarch64-linux-gnu" } do
        local path = ("/usr/lib/%s/%s"):format(arch, name)
        if uv.fs_stat(path) then return path end
    end
end

return preload
