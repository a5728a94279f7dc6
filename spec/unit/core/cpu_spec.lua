local c = require "spec.support.c"
local lib = c.load("core", { "core/cpu.h" })

local function read(path)
    local file = io.open(path)
    if not file then return "" end
    local text = file:read "*a"
    file:close()
    return text
end

-- Numbers 19 and 41: nice and the policy.
local function share()
    local list = {}
    for word in read "/proc/thread-self/stat":match "%) (.*)":gmatch "%S+" do list[#list + 1] = word end
    return { nice = list[17], policy = list[39] }
end

local function slice()
    return tonumber(read "/proc/thread-self/sched":match "se%.slice%s*:%s*(%d+)" or 0)
end

describe("core/cpu", function()
    it("asks for other turns, and for no other share", function()
        local before, own = share(), slice()
        lib.evrt_cpu_turns(lib.EVRT_CPU_SHORT)
        assert.same(before, share())
        assert.is_true(slice() <= own) -- a kernel may keep to its own
        lib.evrt_cpu_turns(lib.EVRT_CPU_NORMAL)
        assert.same(before, share())
        assert.equal(own, slice())
    end)
end)
