-- The table of messages is whole: names, levels and texts that docs and dashboards rely on.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("telemetry", { "telemetry/log_events.h" })

describe("telemetry/log_events", function()
    it("has every message complete and its text once", function()
        local ids, texts, n = {}, {}, 0
        while lib.evrt_log_message(n) ~= nil do
            local m = lib.evrt_log_message(n)
            local id, text = ffi.string(m.id), ffi.string(m.text)
            assert.truthy(id:match "^[A-Z][A-Z_]+$")
            assert.truthy(text:match "^[%w][%w .]+[%w]$")
            assert.is_nil(ids[id] or texts[text])
            ids[id], texts[text] = true, m
            assert.is_true(#ffi.string(m.meaning) > 10)
            for name in ffi.string(m.fields):gmatch "[^,]+" do assert.truthy(name:match "^[a-z_]+%??$") end
            n = n + 1
        end
        assert.equal(tonumber(lib.EVRT_MSG_COUNT), n)
        for _, text in ipairs { "Event published", "Event handled successfully", "Event handle failed",
            "Event stored successfully", "Event storage failed" } do
            assert.is_truthy(texts[text], text)
        end
        assert.is_true(lib.evrt_log_message(-1) == nil)
    end)

    -- Reads the sources: what is logged is in the table, with the fields that the code gives it.
    it("says of every message what the code says", function()
        local used = {}
        local find = assert(io.popen "find runtime -name '*.c' | sort")
        for path in find:lines() do
            local file = assert(io.open(path))
            local text = file:read "*a"
            file:close()
            for call in text:gmatch "evrt_log_event(%b())" do
                local id = call:match "^%([^,]+,%s*([A-Z_]+)%s*[,)]"
                if id then
                    local fields = {}
                    for name in call:gmatch 'EVRT_F_%u+%d*%(%s*"([%w_]+)"' do
                        assert.is_nil(fields[name], ("%s in %s: %s comes twice"):format(id, path, name))
                        fields[name] = true
                    end
                    used[id] = used[id] or {}
                    table.insert(used[id], { path = path, fields = fields })
                end
            end
        end
        find:close()
        for i = 0, tonumber(lib.EVRT_MSG_COUNT) - 1 do
            local m = lib.evrt_log_message(i)
            local id, table_of = ffi.string(m.id), {}
            for name, optional in ffi.string(m.fields):gmatch "([%w_]+)(%??)" do
                table_of[name] = optional == "?" and "optional" or "always"
            end
            for _, call in ipairs(used[id] or {}) do
                for name in pairs(call.fields) do
                    assert.is_truthy(table_of[name],
                        ("%s in %s: the table has no field %s"):format(id, call.path, name))
                end
                for name, when in pairs(table_of) do
                    assert.is_true(when == "optional" or call.fields[name] == true,
                        ("%s in %s: the field %s of the table is missing"):format(id, call.path, name))
                end
            end
            used[id] = nil
        end
        assert.is_nil(next(used))
    end)

    it("describes a failure by an error and a success by information", function()
        assert.equal(3, tonumber(lib.evrt_log_message(lib.EVRT_MSG_EVENT_HANDLE_FAILED).level))
        assert.equal(1, tonumber(lib.evrt_log_message(lib.EVRT_MSG_EVENT_HANDLED).level))
    end)
end)
