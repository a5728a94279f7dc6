-- evrt.metrics, as the host is told of it.
local worker = require "spec.support.worker"

local ADD, SET, BUCKET = 0, 1, 2

-- Runs handler code below definitions; what the host was told: metrics by number, series by number, sums.
local function run(top, body, options)
    options = options or {}
    local w = worker.start({ ["h.lua"] = 'local evrt = require "evrt"\n' .. top
        .. '\nreturn { name = "H", events = "**", handle = function(event, ctx)\n' .. (body or "") .. "\nend }" },
        options.hello)
    w:expect "READY"
    local outcomes = {}
    for i = 1, options.times or 1 do outcomes[i] = w:handle { type = "a" } end
    w:text("DRAIN", "") -- counts may follow the settlement
    w:expect "DRAINED"
    local told = { metrics = {}, series = {}, counts = {} }
    for _, f in ipairs(w.metrics) do
        if f.frame == "METRIC" then told.metrics[f.metric] = f end
        if f.frame == "METRIC_SERIES" then told.series[f.series] = f end
        if f.frame == "METRIC_COUNTS" then
            for _, item in ipairs(f) do told.counts[#told.counts + 1] = item end
        end
    end
    local printed = w:printed()
    w:stop()
    return told, outcomes, printed
end

local function sum(told, series, what)
    local total = 0
    for _, item in ipairs(told.counts) do
        if item.series == series and item.what == what then total = total + item.v end
    end
    return total
end

local function refused(top)
    local w = worker.start { ["h.lua"] = 'local evrt = require "evrt"\n' .. top
        .. '\nreturn { name = "H", events = "**", handle = function() end }' }
    local text = w:expect "REFUSED".text
    w:stop()
    return text
end

local function failure(top, body)
    local _, outcomes = run(top, body)
    return outcomes[1].message
end

describe("evrt.metrics", function()
    it("tells of metrics and their series", function()
        local told = run([[
            evrt.metrics.counter("a_total", { help = "An a.", labels = { "x", "y" } })
            evrt.metrics.gauge "b"
            evrt.metrics.histogram("c", { buckets = { 1, 2.5 } })]])
        assert.same({ "a_total", 0, "An a.", "x,y", "" },
            { told.metrics[0].name, told.metrics[0].type, told.metrics[0].help, told.metrics[0].labels,
                told.metrics[0].bounds })
        assert.same({ "b", 1 }, { told.metrics[1].name, told.metrics[1].type })
        assert.same({ "c", 2, 16 }, { told.metrics[2].name, told.metrics[2].type, #told.metrics[2].bounds })
        -- Those without labels are there at once.
        assert.same({ 1, 2 }, { told.series[0].metric, told.series[1].metric })
        assert.is_nil(told.series[2])
    end)

    it("counts, in one frame a turn", function()
        local told = run('local a = evrt.metrics.counter("a_total", { labels = { "x", "y" } })', [[
            a:inc { x = "1", y = "2" }
            a:inc(2.5, { x = "1", y = "2" })
            a:inc(1, { x = 1, y = true })
            a:inc(0, { x = "n\0l", y = "" })]])
        local by = {}
        for number, s in pairs(told.series) do by[s.values] = number end
        assert.equal(3.5, sum(told, by["1\0002"], ADD))
        assert.equal(1, sum(told, by["1\0true"], ADD))
        assert.is_truthy(by["n\239\191\189l\0"])
    end)

    it("sets gauges and adds to them", function()
        local told = run('local g = evrt.metrics.gauge "g"', "g:add(1) g:set(5) g:add(-1.5)")
        for i, item in ipairs(told.counts) do
            assert.same(i % 2 == 1 and { SET, 5 } or { ADD, -1.5 }, { item.what, item.v })
        end
        assert.equal(2, #told.counts)
    end)

    it("puts values into buckets", function()
        local told = run('local h = evrt.metrics.histogram("h", { buckets = { 1, 2.5 } })',
            "for _, v in ipairs { 0, 1, 1.1, 2.5, 2.6, 1e9, -3 } do h:observe(v) end")
        assert.same({ 3, 2, 2 }, { sum(told, 0, BUCKET), sum(told, 0, BUCKET + 1), sum(told, 0, BUCKET + 2) })
        assert.equal(1 + 1.1 + 2.5 + 2.6 + 1e9 - 3, sum(told, 0, ADD))
    end)

    it("is one for the same definition", function()
        local told = run([[
            local a = evrt.metrics.counter("a_total", { labels = { "x" } })
            assert(a == evrt.metrics.counter("a_total", { labels = { "x" } }))]])
        assert.is_nil(told.metrics[1])
    end)

    it("counts together what has no room", function()
        local told = run('local a = evrt.metrics.counter("a_total", { labels = { "x" } })',
            "for i = 1, 8 do a:inc { x = tostring(i) } end", { hello = { max_series = 5 } })
        assert.same({ 1, "" }, { told.series[5].overflow, told.series[5].values })
        assert.is_nil(told.series[6])
        assert.equal(3, sum(told, 5, ADD))
        assert.equal(1, sum(told, 4, ADD))
    end)

    it("says nothing when metrics are off, and checks all the same", function()
        local told, outcomes = run('local a = evrt.metrics.counter "a_total" local h = evrt.metrics.histogram "h"',
            "a:inc() h:observe(1)", { hello = { max_series = 0 } })
        assert.same({ "done", {}, {}, {} }, { outcomes[1], told.metrics, told.series, told.counts })
    end)

    it("refuses bad definitions, with the place", function()
        assert.truthy(refused 'evrt.metrics.counter "a"':find "h.lua:2: evrt.metrics.counter: a: a counter's name ends")
        assert.truthy(refused 'evrt.metrics.gauge "evrt_x"':find "the runtime's own")
        assert.truthy(refused "evrt.metrics.gauge(7)":find "name: a string expected, got number")
        assert.truthy(refused 'evrt.metrics.gauge("g", { lables = {} })':find 'unknown option "lables"')
        assert.truthy(refused 'evrt.metrics.gauge("g", { labels = "x" })':find "labels: a list of names expected")
        assert.truthy(refused 'evrt.metrics.gauge("g", { labels = { "a,b" } })':find "no name of a label")
        assert.truthy(refused 'evrt.metrics.gauge("g", { buckets = { 1 } })':find "only a histogram has buckets")
        assert.truthy(refused 'evrt.metrics.histogram("h", { buckets = { 2, 1 } })':find "ascending")
        assert.truthy(refused 'evrt.metrics.histogram("h", { buckets = { "x" } })':find "ascending")
        assert.truthy(refused [[evrt.metrics.gauge("g", { labels = { "x" } })
            evrt.metrics.gauge("g", { labels = { "y" } })]]:find "is defined elsewhere in these scripts")
    end)

    it("refuses bad counts, with the place", function()
        local counter = 'local a = evrt.metrics.counter("a_total", { labels = { "x" } })'
        assert.truthy(failure(counter, "a:inc()"):find "h.lua:%d+: metric a_total: a table with its labels %(x%)")
        assert.truthy(failure(counter, "a:inc { y = 1 }"):find "label x: a string expected, got nil")
        assert.truthy(failure(counter, "a:inc { x = {} }"):find "label x: a string expected, got table")
        assert.truthy(failure(counter, "a:inc { x = 1, y = 2 }"):find 'has no label "y"')
        assert.truthy(failure(counter, "a:inc(-1, { x = 1 })"):find "a number from 0 expected, got %-1")
        assert.truthy(failure(counter, "a:inc(0/0, { x = 1 })"):find "a number from 0 expected")
        assert.truthy(failure('local g = evrt.metrics.gauge "g"', "g:set()"):find "a number expected, got nil")
        assert.truthy(failure('local g = evrt.metrics.gauge "g"', "g:set(1, { x = 1 })"):find 'has no label "x"')
    end)
end)
