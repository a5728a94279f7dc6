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
    for word in read "/proc/self/stat":match "%) (.*)":gmatch "%S+" do list[#list + 1] = word end
    return { nice = list[17], policy = list[39] }
end

describe("core/cpu", function()
    it("asks for short turns and for no other share", function()
        local before, slice = share(), read "/proc/self/sched":match "se%.slice%s*:%s*(%d+)"
        lib.evrt_cpu_short_turns()
        assert.same(before, share())
        local now = tonumber(read "/proc/self/sched":match "se%.slice%s*:%s*(%d+)")
        if slice then assert.is_true(now <= tonumber(slice)) end -- a kernel may keep its own
    end)
end)
