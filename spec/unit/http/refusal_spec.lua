-- Codes of refusals: one meaning and one status each, and README names them all.
local ffi = require "ffi"
local c = require "spec.support.c"
local files = require "spec.support.files"
local lib = c.load("http", { "http/refusal.h" })

describe("http/refusal", function()
    local function all()
        local list = {}
        for i = 0, tonumber(ffi.C.EVRT_REFUSAL_COUNT) - 1 do list[#list + 1] = lib.evrt_refusal_answer(i) end
        return list
    end

    it("has a status of errors, a code and a meaning for each", function()
        for _, answer in ipairs(all()) do
            assert.is_true(answer.status >= 400 and answer.status < 600)
            assert.matches("^[a-z_]+$", ffi.string(answer.code))
            assert.is_true(#ffi.string(answer.help) > 0)
            local later = answer.status == 429 or answer.status == 503
            assert.equal(later, answer.retry_after > 0)
        end
    end)

    it("knows what the host's errors are", function()
        local function code(rc) return ffi.string(lib.evrt_refusal_answer(lib.evrt_refusal_of(rc)).code) end
        for rc, expected in pairs { [-22] = "bad_parameter", [-2] = "not_found", [-16] = "in_use", [-11] = "busy",
            [-28] = "store_full", [-108] = "shutting_down", [-125] = "shutting_down", [-90] = "too_large",
            [-17] = "refused", [-95] = "refused", [-5] = "internal", [0] = "internal" } do
            assert.equal(expected, code(rc), tostring(rc))
        end
    end)

    it("is what README lists", function()
        local readme = assert(files.read "README.md")
        for _, answer in ipairs(all()) do
            local code = ffi.string(answer.code)
            assert.truthy(readme:find("`" .. code .. "`", 1, true), code)
        end
    end)
end)
