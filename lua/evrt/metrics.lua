-- evrt.metrics: counters, gauges and histograms of scripts, which /metrics shows beside the runtime's own.
--
--     local orders = evrt.metrics.counter("orders_total", { help = "Orders taken.", labels = { "country" } })
--     orders:inc { country = event.data.country }
--
-- Define them where a file is loaded, count in handlers and policies. All workers count into one, and it goes
-- on over reloads (not over a restart of the node). A count that a failed delivery made stays.
local c = require "evrt.c.metrics"
local wait = require "evrt.worker.wait"

---@class evrt.metrics
local metrics = {}

local TYPES = { counter = 0, gauge = 1, histogram = 2 }
-- From 1 ms to 10 s, for durations in seconds.
local BUCKETS = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }

local defined = {} -- by name

-- ---- Defining ----

local function check_options(what, options)
    if options == nil then return {} end
    if type(options) ~= "table" then wait.misuse("%s: options: a table expected, got %s", what, type(options)) end
    for key in pairs(options) do
        if key ~= "help" and key ~= "labels" and key ~= "buckets" then
            wait.misuse("%s: unknown option \"%s\"; there are help, labels and buckets", what, tostring(key))
        end
    end
    return options
end

local function names_of(what, labels)
    local names = {}
    if labels ~= nil and type(labels) ~= "table" then
        wait.misuse("%s: labels: a list of names expected, got %s", what, type(labels))
    end
    for i, name in ipairs(labels or {}) do
        if type(name) ~= "string" or name == "" or name:find(",", 1, true) then
            wait.misuse("%s: labels: \"%s\" is no name of a label", what, tostring(name))
        end
        names[i] = name
    end
    return names
end

local function same(a, kind, names, bounds)
    local function list(t) return table.concat(t or {}, ",") end
    return a.kind == kind and list(a.names) == list(names) and list(a.bounds) == list(bounds)
end

local function define(class, kind, name, options)
    local what = "evrt.metrics." .. kind
    if type(name) ~= "string" then wait.misuse("%s: name: a string expected, got %s", what, type(name)) end
    what = what .. " " .. name
    options = check_options(what, options)
    local bounds
    if kind == "histogram" then
        bounds = options.buckets or BUCKETS
        if type(bounds) ~= "table" then wait.misuse("%s: buckets: a list of numbers expected", what) end
    elseif options.buckets ~= nil then
        wait.misuse("%s: only a histogram has buckets", what)
    end
    if options.help ~= nil and type(options.help) ~= "string" then
        wait.misuse("%s: help: a string expected, got %s", what, type(options.help))
    end
    local names = names_of(what, options.labels)
    local known = defined[name]
    if known then
        if same(known, kind, names, bounds) then return known end
        wait.misuse("%s: is defined elsewhere in these scripts, with another type, labels or buckets", what)
    end
    local number, why = c.define(TYPES[kind], name, options.help or "", table.concat(names, ","), bounds)
    if not number then wait.misuse("%s", what:match "^%S+" .. ": " .. why) end
    local metric = setmetatable({ name = name, kind = kind, names = names, bounds = bounds, number = number,
        cells = {} }, class)
    if #names == 0 then metric.cell = c.series(number, "") end -- is shown from now on, as 0
    defined[name] = metric
    return metric
end

-- ---- Finding the cell of a label set ----

local function text(metric, name, value)
    local kind = type(value)
    if kind == "string" then
        return value:find("%z") and value:gsub("%z", "\239\191\189") or value
    elseif kind == "number" or kind == "boolean" then
        return tostring(value)
    end
    return wait.misuse("metric %s: label %s: a string expected, got %s", metric.name, name, kind)
end

local function refuse_others(metric, labels)
    for key in pairs(labels) do
        local is
        for _, name in ipairs(metric.names) do is = is or name == key end
        if not is then wait.misuse("metric %s has no label \"%s\"", metric.name, tostring(key)) end
    end
end

local function cell_of(metric, labels)
    local names = metric.names
    if labels == nil and metric.cell then return metric.cell end
    if type(labels) ~= "table" then
        wait.misuse("metric %s: a table with its labels (%s) expected, got %s", metric.name,
            table.concat(names, ", "), type(labels))
    end
    if metric.cell then
        refuse_others(metric, labels)
        return metric.cell
    end
    local key = text(metric, names[1], labels[names[1]])
    for i = 2, #names do key = key .. "\0" .. text(metric, names[i], labels[names[i]]) end
    local cell = metric.cells[key]
    if cell then return cell end
    refuse_others(metric, labels)
    local room
    cell, room = c.series(metric.number, key)
    if room then metric.cells[key] = cell end -- what has none would only fill this table
    return cell
end

local function number(metric, v, least)
    if type(v) ~= "number" or v ~= v or v < least or v == math.huge then
        wait.misuse("metric %s: a number%s expected, got %s", metric.name, least == 0 and " from 0" or "",
            tostring(v))
    end
    return v
end

-- ---- Counting ----

---@class evrt.metrics.Counter only goes up
local Counter = {}
Counter.__index = Counter

--- Adds; `counter:inc()`, `counter:inc(3)`, `counter:inc { country = "de" }`, `counter:inc(3, { country = "de" })`.
---@param by? number|table<string, string|number|boolean> from 0; 1 unless given
---@param labels? table<string, string|number|boolean> a value for each of its labels
function Counter:inc(by, labels)
    if type(by) == "table" then by, labels = 1, by end
    c.add(cell_of(self, labels), number(self, by or 1, 0))
end

---@class evrt.metrics.Gauge goes up and down
local Gauge = {}
Gauge.__index = Gauge

--- Sets it. When several workers do, the value that came last holds.
---@param value number
---@param labels? table<string, string|number|boolean>
function Gauge:set(value, labels)
    c.set(cell_of(self, labels), number(self, value, -math.huge))
end

--- Adds to what it is, whichever worker set it.
---@param by number
---@param labels? table<string, string|number|boolean>
function Gauge:add(by, labels)
    c.add(cell_of(self, labels), number(self, by, -math.huge))
end

---@class evrt.metrics.Histogram
local Histogram = {}
Histogram.__index = Histogram

--- Counts a value in its bucket.
---@param value number
---@param labels? table<string, string|number|boolean>
function Histogram:observe(value, labels)
    c.observe(cell_of(self, labels), number(self, value, -math.huge))
end

---@class evrt.metrics.Options
---@field help? string one line
---@field labels? string[] names; each label set there is costs memory, at most metrics.max_series are kept apart

--- A counter. Its name ends in _total; the same definition in several files is one counter.
---@param name string
---@param options? evrt.metrics.Options
---@return evrt.metrics.Counter
function metrics.counter(name, options) return define(Counter, "counter", name, options) end

--- A gauge.
---@param name string
---@param options? evrt.metrics.Options
---@return evrt.metrics.Gauge
function metrics.gauge(name, options) return define(Gauge, "gauge", name, options) end

---@class evrt.metrics.HistogramOptions: evrt.metrics.Options
---@field buckets? number[] upper bounds, ascending; 1 ms to 10 s unless given

--- A histogram.
---@param name string
---@param options? evrt.metrics.HistogramOptions
---@return evrt.metrics.Histogram
function metrics.histogram(name, options) return define(Histogram, "histogram", name, options) end

return metrics
