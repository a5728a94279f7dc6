-- A wall clock for a node that a spec sets, by libfaketime; the monotonic one goes on as it does.
--
--     local clock = faketime.clock(dir)
--     clock.set(3600)                         -- an hour ahead
--     evrt.start { dir = dir, env = clock.env }
local uv = require "luv"
local evrt = require "spec.support.evrt"

local faketime = {}

local function library()
    for _, arch in ipairs { "x86_64-linux-gnu", "aarch64-linux-gnu" } do
        local path = "/usr/lib/" .. arch .. "/faketime/libfaketimeMT.so.1"
        if uv.fs_stat(path) then return path end
    end
end

--- Its path; nil where it is not installed.
faketime.library = library()

--- A clock that is right until it is set; a file in `dir` says by how much it is not.
function faketime.clock(dir)
    local path = dir .. "/clock"
    local clock = {
        env = {
            LD_PRELOAD = faketime.library, FAKETIME_TIMESTAMP_FILE = path, FAKETIME_NO_CACHE = "1",
            FAKETIME_DONT_FAKE_MONOTONIC = "1",
        },
    }
    --- Seconds ahead of the real one.
    function clock.set(offset)
        evrt.write(path .. ".new", ("%+d\n"):format(offset))
        assert(os.rename(path .. ".new", path))
    end
    clock.set(0)
    return clock
end

return faketime
