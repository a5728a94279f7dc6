-- A metric as scripts define it: what is a name, a label, a list of buckets.
local ffi = require "ffi"
local c = require "spec.support.c"
local lib = c.load("core", { "core/metric.h" })

local types = { counter = 0, gauge = 1, histogram = 2 }

-- Why a definition is refused; nil: it is good.
local function why(d)
    local bounds = ffi.new("double[?]", #(d.bounds or {}) + 1, d.bounds or {})
    local def = ffi.new("struct evrt_metric_definition", {
        type = types[d.type or "counter"], name = c.slice(d.name), labels = c.slice(d.labels or ""), bounds = bounds,
        bound_count = #(d.bounds or {}),
    })
    local err = ffi.new "struct evrt_error"
    return lib.evrt_metric_check(def, err) ~= 0 and ffi.string(err.message) or nil
end

describe("core/metric", function()
    it("takes good names and says what is wrong with others", function()
        assert.is_nil(why { name = "orders_total", labels = "country,kind" })
        assert.is_nil(why { type = "gauge", name = "pool_size" })
        assert.is_nil(why { type = "histogram", name = "wait_seconds", bounds = { 0.1, 1 } })
        assert.truthy(why { name = "orders" }:find "ends in _total")
        assert.truthy(why { name = "1st_total" }:find "no name of a metric")
        assert.truthy(why { name = "a b_total" }:find "no name of a metric")
        assert.truthy(why { name = "events_mine_total" }:find "the runtime's own")
        assert.truthy(why { name = "evrt_mine_total" }:find "the runtime's own")
        assert.truthy(why { type = "gauge", name = "a_total" }:find "end in _total")
        assert.truthy(why { type = "histogram", name = "a_bucket", bounds = { 1 } }:find "end in _bucket")
        assert.truthy(why { name = "a_total", labels = "le" }:find "no name of a label")
        assert.truthy(why { name = "a_total", labels = "a,,b" }:find "no name of a label")
        assert.truthy(why { name = "a_total", labels = "__a" }:find "no name of a label")
        assert.truthy(why { name = "a_total", labels = "a,b,a" }:find "given twice")
        assert.truthy(why { name = "a_total", labels = "a,b,c,d,e,f,g,h,i,j,k" }:find "more than 10")
        assert.truthy(why { type = "histogram", name = "a" }:find "1 to 64 buckets")
        assert.truthy(why { type = "histogram", name = "a", bounds = { 2, 1 } }:find "ascending")
    end)
end)
