-- kill -9 at each system call that changes the store: in the first life of one, while it goes over into a second
-- segment, and in later lives that begin after such a death. Then the books are compared.
--
-- Random moments under load are in spec/integration/crash_spec.lua.
local faults = require "spec.support.faults"

describe("a host killed -9 #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    local function kills(name, options)
        local sweep = faults.sweep(options)
        local targets = faults.thin(sweep:targets())
        for _, target in ipairs(targets) do
            local node, hit = sweep:cycle(target, "signal=KILL")
            assert(hit or node.code == 0, node:said())
        end
        faults.say("kill -9 %s: %s", name, sweep:line())
        -- Threads share the work differently each time: some calls are not come to.
        assert.is_true(sweep.hit > 0.7 * #targets, "too few of the calls were come to")
    end

    it("at each call of the first life of a store leaves nothing lost and nothing made up", function()
        kills("in the first life of a store", { first = true })
    end)

    it("at calls that make snapshots and drop segments does so too", function()
        faults.seed "kill -9 while a segment is dropped"
        local sweep = faults.sweep { first = true, drop = true }
        local groups, targets = {}, {}
        for _, target in ipairs(sweep:targets()) do
            local kind, name = target.kind.name, target.kind.name .. target.call
            -- The next segment is made beside it, which is nothing of it.
            if kind ~= "spare" and kind ~= "folder" then
                groups[name] = groups[name] or {}
                table.insert(groups[name], target)
            end
        end
        -- The folder of the snapshots is durable itself before anything relies on them.
        assert.truthy(groups.droppedunlinkat and groups.snapshotrename and groups.storefsync)
        -- Where time is short, one of each.
        for _, group in pairs(groups) do
            for _ = 1, faults.soak and #group or 1 do
                targets[#targets + 1] = table.remove(group, math.random(#group))
            end
        end
        for _, target in ipairs(targets) do sweep:cycle(target, "signal=KILL") end
        faults.say("kill -9 while a segment is dropped: %s", sweep:line())
        assert.is_true(sweep.hit > #targets / 2, "too few of the calls were come to")
    end)

    it("at each call of a later life does so too, again and again in one store", function()
        kills("in later lives", {})
    end)
end)
