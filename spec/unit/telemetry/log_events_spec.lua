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

    it("describes a failure by an error and a success by information", function()
        assert.equal(3, tonumber(lib.evrt_log_message(lib.EVRT_MSG_EVENT_HANDLE_FAILED).level))
        assert.equal(1, tonumber(lib.evrt_log_message(lib.EVRT_MSG_EVENT_HANDLED).level))
    end)
end)
