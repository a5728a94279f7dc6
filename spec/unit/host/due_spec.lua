-- What is due next, against a sorted list.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("host", { "host/due.h" })

describe("host/due", function()
    it("is what a sorted list would be", function()
        local seed = tonumber(os.getenv "EVRT_SEED") or os.time()
        math.randomseed(seed)
        local heap, plain, out = ffi.new "struct host_due_heap", {}, ffi.new "struct host_due"
        for step = 1, 5000 do
            local act = math.random(4)
            if act <= 2 then
                local due = { when = math.random(500), number = step }
                lib.host_due_push(heap, ffi.new("struct host_due", due.when, 1, step))
                plain[#plain + 1] = due
                table.sort(plain, function(a, b)
                    if a.when ~= b.when then return a.when < b.when end
                    return a.number < b.number
                end)
            elseif act == 3 then
                local by = math.random(500)
                local due = plain[1] and plain[1].when <= by and table.remove(plain, 1) or nil
                assert.equal(due ~= nil, lib.host_due_pop(heap, by, out), "EVRT_SEED=" .. seed)
                if due then assert.equal(due.number, tonumber(out.number), "EVRT_SEED=" .. seed) end
            elseif #plain > 0 then
                local due = table.remove(plain, math.random(#plain))
                assert.is_true(lib.host_due_take(heap, due.number, out), "EVRT_SEED=" .. seed)
                assert.equal(due.when, tonumber(out.when))
                assert.is_false(lib.host_due_take(heap, due.number, out))
            end
            assert.equal(#plain, tonumber(heap.n))
        end
        lib.host_due_finish(heap)
    end)
end)
