local ffi = require "ffi"
local uv = require "luv"
local c = require "spec.support.c"
local loop = require "spec.support.loop"
local lib = c.load("core", { "core/cpu.h" })

local function read(path)
    local file = io.open(path)
    if not file then return "" end
    local text = file:read "*a"
    file:close()
    return text
end

-- Numbers 19 and 41: nice and the policy.
local function share(path)
    local list = {}
    for word in read(path or "/proc/thread-self/stat"):match "%) (.*)":gmatch "%S+" do list[#list + 1] = word end
    return { nice = list[17], policy = list[39] }
end

local function slice()
    return tonumber(read "/proc/thread-self/sched":match "se%.slice%s*:%s*(%d+)" or 0)
end

-- The share of a thread that has called this.
local function in_thread(name, steps)
    local path = os.tmpname()
    local thread = assert(uv.new_thread(function(address, n, to)
        local own = require "ffi"
        own.cast("void (*)(unsigned)", own.cast("uintptr_t", address))(n)
        local from, out = assert(io.open("/proc/thread-self/stat")), assert(io.open(to, "w"))
        out:write(from:read "*a")
        from:close()
        out:close()
    end, tonumber(ffi.cast("uintptr_t", lib[name])), steps or 0, path))
    thread:join()
    local after = share(path)
    os.remove(path)
    return after
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

    it("rests: the thread leaves its CPU", function()
        local function left()
            return tonumber(read "/proc/thread-self/status":match "\nvoluntary_ctxt_switches:%s*(%d+)")
        end
        -- Not each time: one who is interrupted while it sets the timer finds it over.
        local before, times = left(), 0
        repeat
            lib.evrt_cpu_rest()
            times = times + 1
        until left() > before or times == 100
        assert.is_true(left() > before)
    end)

    it("takes a smaller share, in a thread that ends with it", function()
        local after = in_thread("evrt_cpu_nice", 3)
        assert.same({ nice = tostring(math.min(tonumber(share().nice) + 3, 19)), policy = share().policy }, after)
    end)

    it("gives way to others, in a thread that ends with it, as there is no way back", function()
        local before, after = share(), in_thread "evrt_cpu_give_way"
        assert.same({ math.min(tonumber(before.nice) + 10, 19), "3" }, { tonumber(after.nice), after.policy })
    end)

    -- Another process: this one might not be let back.
    it("makes a thread stand aside, and calls it back where that is allowed", function()
        local ended, handle, pid
        handle, pid = uv.spawn("sleep", { args = { "60" } }, function()
            handle:close(function() ended = true end)
        end)
        local stat = ("/proc/%d/stat"):format(pid)
        local before = share(stat)
        assert.equal("0", before.policy)
        assert.equal(0, lib.evrt_cpu_aside(pid))
        assert.same({ nice = before.nice, policy = "5" }, share(stat))
        assert.equal(0, lib.evrt_cpu_aside(pid))
        local allowed = os.execute "chrt -i 0 chrt -o 0 true 2>/dev/null" == 0
        assert.equal(allowed, lib.evrt_cpu_back(pid, lib.EVRT_CPU_SHORT) == 0)
        assert.same({ nice = before.nice, policy = allowed and "0" or "5" }, share(stat))
        handle:kill "sigkill"
        loop.await("its end", function() return ended end)
        assert.is_true(lib.evrt_cpu_aside(pid) < 0)
    end)
end)
