-- What a delivery wrote itself, by key, against a walk through all of it.
local ffi = require "ffi"
local c = require "spec.support.c"
local generator = require "spec.support.random"
local lib = c.load("worker", { "worker/own.h", "core/kv.h", "core/buf.h" })

local SET, DELETE, INCR, CAS, EMIT = 1, 2, 3, 4, 5

local function put(effects, kind, ns, key, value, number)
    lib.evrt_kv_put(effects, ffi.new("struct evrt_kv_op", {
        kind = kind, number = number or 0, ns = c.slice(ns), key = c.slice(key), value = c.slice(value or "") }))
end

describe("worker/own", function()
    it("knows of each key what all writes of it come to, whenever it is asked", function()
        for seed = 1, 20 do
            local random = generator(seed)
            local effects, own = ffi.new "struct evrt_buf", ffi.new "struct evrt_own"
            local model, keys, last = {}, random(1, 2) == 1 and 5 or 300, nil
            for step = 1, 1500 do
                local ns, key = "n" .. random(1, 2), "k" .. random(1, keys)
                local name = ns .. "/" .. key
                local m = model[name] or { known = false, adds = false, sum = 0 }
                local act = random(1, 12)
                if act <= 3 then
                    put(effects, act == 1 and CAS or SET, ns, key, "s" .. step)
                    model[name] = { known = true, value = "s" .. step, adds = false, sum = 0 }
                elseif act == 4 then
                    put(effects, DELETE, ns, key)
                    model[name] = { known = true, value = "", adds = false, sum = 0 }
                elseif act <= 7 then
                    put(effects, INCR, ns, key, nil, act)
                    m.adds, m.sum, model[name] = true, m.sum + act, m
                elseif act == 8 then
                    put(effects, EMIT, "", "", "event")
                elseif act == 9 and last then
                    -- The increment that stands last grows.
                    effects.n = last.at
                    put(effects, INCR, last.ns, last.key, nil, last.by + 1)
                    local by_one = ffi.new("struct evrt_kv_op", {
                        kind = INCR, number = 1, ns = c.slice(last.ns), key = c.slice(last.key) })
                    lib.evrt_own_merged(own, ffi.new("struct evrt_slice", effects.p, effects.n), by_one)
                    last.m.sum, last.by = last.m.sum + 1, last.by + 1
                end
                if act >= 5 and act <= 7 then
                    last = { at = effects.n - 24 - #ns - #key, ns = ns, key = key, by = act, m = m }
                elseif act <= 8 then
                    last = nil
                end
                if random(1, 3) == 1 then
                    name = "n" .. random(1, 2) .. "/k" .. random(1, keys)
                    local want = model[name] or { known = false, adds = false, sum = 0 }
                    local got = ffi.new "struct evrt_own_value"
                    lib.evrt_own_find(own, ffi.new("struct evrt_slice", effects.p, effects.n),
                        c.slice(name:sub(1, 2)), c.slice(name:sub(4)), got)
                    assert.same({ want.known, want.adds, want.sum, want.value or "" },
                        { got.known, got.adds, tonumber(got.sum), got.known and c.string(got.value) or "" },
                        "seed " .. seed)
                end
            end
            lib.evrt_own_finish(own)
            lib.evrt_buf_finish(effects)
        end
    end)
end)
