-- Each system call that changes the store fails once, with EIO or ENOSPC, and those after it succeed, as a disk
-- does that loses a write and forgets it. Whatever the node makes of it: it ends in order, with a reason, or goes
-- on; nothing that was acknowledged is lost, nothing is damaged. Where a commit fails it ends (D9), and does not
-- take the success of the next sync for its own.
local faults = require "spec.support.faults"

local function failed_commit(target)
    return target.kind.name == "segment" and (target.call == "pwritev2" or target.call == "fdatasync")
end

-- It ended by itself, saying why, or in order.
local function ended_well(target, node, hit, ready)
    assert(node.signal == 0 and (node.code == 0 or node.code == 1), node:said())
    if not hit then return end
    if not ready then
        assert(node.code == 0 or #node.err > 0 or #node:logged { level = "error" } > 0, "it does not say why it ended")
    elseif failed_commit(target) then
        assert(node.code == 1, node:said())
        assert(#node:logged { msg = "Store failed" } == 1, node:said())
    end
end

describe("a store whose disk fails at one call #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    -- EIO at each call; ENOSPC at each second one, by the seed, and with time at each.
    local function fails(name, options)
        local sweep = faults.sweep(options)
        for i, target in ipairs(faults.thin(sweep:targets())) do
            ended_well(target, sweep:cycle(target, "error=EIO"))
            if faults.soak or (i + options.seed) % 2 == 0 then
                ended_well(target, sweep:cycle(target, "error=ENOSPC"))
            end
        end
        faults.say("EIO and ENOSPC %s: %s", name, sweep:line())
        assert.is_true(sweep.hit > 0.7 * sweep.cycles, "too few of the calls were come to")
    end

    local seed = faults.seed "errors"

    it("in the first life of a store loses and damages nothing", function()
        fails("in the first life of a store", { first = true, seed = seed })
    end)

    it("in later lives does so neither", function() fails("in later lives", { seed = seed }) end)

    it("whose writes are short ends, and loses nothing", function()
        local sweep = faults.sweep { first = true }
        for _, target in ipairs(faults.thin(sweep:targets())) do
            if target.call == "pwritev2" and target.kind.name ~= "snapshot" then
                ended_well(target, sweep:cycle(target, "retval=9"))
            end
        end
        faults.say("short writes: %s", sweep:line())
    end)

    it("when it syncs, and succeeds after, ends at the first", function()
        local sweep = faults.sweep {}
        sweep:targets()
        for when = 1, 8 do
            local target = { kind = faults.kinds.segment, call = "fdatasync", when = when }
            -- Without a write that syncs, there is one call more to fail.
            ended_well(target, sweep:cycle(target, "error=EIO", "pwritev2:error=EOPNOTSUPP"))
        end
        faults.say("EIO of fdatasync, then success: %s", sweep:line())
        assert.is_true(sweep.hit >= 4)
    end)
end)
