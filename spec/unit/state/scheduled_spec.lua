-- Events for later as rows: added, ended, the same after a start and from the journal alone.
local ffi = require "ffi"
local c = require "spec.support.c"
local support = require "spec.unit.state.support"
local lib = support.lib

local function event_bytes(id)
    local event = ffi.new "struct evrt_event"
    event.id, event.type = c.slice(id), c.slice "t"
    local n = tonumber(lib.evrt_event_size(event))
    local bytes = ffi.new("char[?]", n)
    lib.evrt_event_encode(event, bytes)
    return ffi.string(bytes, n)
end

local function schedule(number, due)
    local b, r = support.buf(), ffi.new "struct evrt_record_schedule"
    local event = event_bytes("e" .. number)
    r.number, r.due_ms, r.kind, r.event = number, due, lib.EVRT_SCHEDULE_AT, c.slice(event)
    lib.evrt_record_put_schedule(b, r)
    return { kind = ffi.C.EVRT_RECORD_SCHEDULE, bytes = c.string(b) }
end

local function unschedule(number, due)
    local b, r = support.buf(), ffi.new "struct evrt_record_unschedule"
    r.number, r.due_ms = number, due
    lib.evrt_record_put_unschedule(b, r)
    return { kind = ffi.C.EVRT_RECORD_UNSCHEDULE, bytes = c.string(b) }
end

local function rows(state)
    local list = {}
    for row in state:dump():gmatch "scheduled %[([^\n]*)%]\n" do
        local due, number = row:match "^(%d+),(%d+),"
        list[#list + 1] = due .. "/" .. number
    end
    return list
end

describe("state/scheduled", function()
    after_each(support.clean)

    local journal = {
        { schedule(1, 500), schedule(2, 100) },
        { schedule(3, 300), unschedule(1, 500) },
        { unschedule(9, 9), schedule(4, 300), unschedule(2, 100), schedule(2, 100) },
    }

    it("has a row for each that is not ended, soonest first", function()
        local path = support.folder()
        local state = assert(support.open(path)):feed(journal, 1)
        assert.same({ "100/2", "500/1" }, rows(state))
        state:feed(journal, 3, 2)
        local want = { "100/2", "300/3", "300/4" }
        assert.same(want, rows(state))
        local dump = state:dump()
        state:close()
        state = assert(support.open(path))
        assert.equal("", state.restored)
        assert.equal(dump, state:dump())
        state:close()
    end)

    it("is the same from the journal alone, however it is cut into commits", function()
        local one, other = assert(support.open(nil)):feed(journal), assert(support.open(nil))
        for i = 1, #journal do other:feed(journal, i, i):flush() end
        assert.equal(one:dump(), other:dump())
        one:close()
        other:close()
    end)
end)
