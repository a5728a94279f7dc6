-- A wall clock for a node that a spec sets, by libfaketime; the monotonic one goes on as it does.
--
--     local clock = faketime.clock(dir)
--     clock.set(3600)                         -- an hour ahead
--     evrt.start { dir = dir, env = clock.env }
local evrt = require "spec.support.evrt"
local faults = require "spec.support.faults"
local preload = require "spec.support.preload"

local faketime = {}

--- Its path; nil where it is not installed.
faketime.library = preload.find "faketime/libfaketimeMT.so.1"

--- Whether it is installed; else says what is not tested then.
function faketime.is_here(what)
    if not faketime.library then faults.say("NOT RUN, %s: faketime is not installed", what) end
    return faketime.library ~= nil
end

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
