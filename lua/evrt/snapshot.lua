-- Snapshots of aggregates, and folding an aggregate's events from the newest one on.
--
-- An aggregate is what events are about: `type` is the first part of its events' types ("order" for order.created
-- and order.item.added, or a pattern of one's own), `id` their subject. A snapshot's version is the sequence of
-- the last event in it (a fold goes on behind it), or where nothing is folded any other number that grows.
--
-- Kept in the key-value store, as TYPE/ID/VERSION in a namespace that every handler may write. Versions count down
-- there, so that the newest comes first.
local c = require "evrt.c.kv"
local json = require "evrt.json"
local kv = require "evrt.kv"
local sleep = require "evrt.c.delivery".sleep
local time = require "evrt.time"
local wait = require "evrt.worker.wait"

local M = {}

local NAMESPACE = "evrt.snapshots"
local VERSION_MAX = 2 ^ 53 - 1
local KEEP, KEEP_MAX, PAGE = 3, 1000, 500

-- ---- Arguments ----

local function check_text(name, what, value)
    if type(value) ~= "string" or value == "" then
        wait.misuse("%s: %s: a string expected, got %s", name, what, value == "" and '""' or type(value))
    end
end

local function check_whole(name, what, value, low, high)
    if type(value) ~= "number" or value % 1 ~= 0 or value < low or value > high then
        wait.misuse("%s: %s: a whole number from %d to %.0f expected, got %s", name, what, low, high, tostring(value))
    end
end

local function check_options(name, options, known)
    if options == nil then return {} end
    if type(options) ~= "table" then wait.misuse("%s: options: a table expected, got %s", name, type(options)) end
    for field in pairs(options) do
        if not known[field] then wait.misuse("%s: unknown option %q", name, tostring(field)) end
    end
    return options
end

-- ---- Keys ----

local function escape(text)
    return (text:gsub("[%%/%c]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local function prefix_of(kind, id)
    return escape(kind) .. "/" .. escape(id) .. "/"
end

local function version_text(version)
    return ("%016.0f"):format(VERSION_MAX - version)
end

-- Keys and raw values from one on, newest first.
local function rows(name, prefix, after, limit)
    local keys, raws = c.rows(kv.read(name, c.scan(NAMESPACE, prefix, after, limit)))
    return keys, raws
end

-- ---- Save, get ----

-- Those beyond the newest `keep` go.
local function prune(name, prefix, keep)
    local keys = rows(name, prefix, "", keep + 100)
    for i = keep + 1, #keys do
        local done, why, code = kv.written(name, c.write("delete", NAMESPACE, keys[i]))
        if not done then return nil, why, code end
    end
    return true
end

local function save(name, kind, id, version, state, keep)
    local prefix = prefix_of(kind, id)
    local value = { state = state, saved = time.iso() }
    local done, why, code = kv.written(name, c.write("set", NAMESPACE, prefix .. version_text(version), value, 0))
    if not done then return nil, why, code end
    return prune(name, prefix, keep)
end

--- Saves the state of an aggregate as of a version; durable when it returns. Older versions go but for the newest
--- `keep` (3 unless given).
---@param kind string
---@param id string
---@param version integer
---@param state any  What JSON can hold, up to `kv.max_value`
---@param options? { keep?: integer }
---@return true? saved
---@return string? message
---@return string? code
function M.save(kind, id, version, state, options)
    local name = "evrt.snapshot.save"
    check_text(name, "type", kind)
    check_text(name, "id", id)
    check_whole(name, "version", version, 0, VERSION_MAX)
    if state == nil then wait.misuse("%s: state: nil is none", name) end
    local keep = check_options(name, options, { keep = true }).keep or KEEP
    check_whole(name, "keep", keep, 1, KEEP_MAX)
    return save(name, kind, id, version, state, keep)
end

local function get(name, kind, id, version)
    local prefix = prefix_of(kind, id)
    local after = version and version < VERSION_MAX and prefix .. version_text(version + 1) or ""
    local keys, raws = rows(name, prefix, after, 1)
    if keys[1] == nil then return nil end
    local value = c.decode(raws[1])
    return { version = VERSION_MAX - tonumber(keys[1]:sub(-16)), state = value.state, saved = value.saved }
end

--- The newest snapshot, or the newest one of at most that version; nil when there is none.
---@param kind string
---@param id string
---@param version? integer
---@return evrt.Snapshot?
function M.get(kind, id, version)
    local name = "evrt.snapshot.get"
    check_text(name, "type", kind)
    check_text(name, "id", id)
    if version ~= nil then check_whole(name, "version", version, 0, VERSION_MAX) end
    return get(name, kind, id, version)
end

-- ---- Fold ----

local is_attribute = { specversion = true, id = true, type = true, source = true, time = true, subject = true,
    datacontenttype = true, dataschema = true, data = true, data_base64 = true, seq = true, stored = true }

-- The event as handlers know it: extensions apart.
local function as_event(item)
    local event = { extensions = {} }
    for field, value in pairs(item) do
        if is_attribute[field] then event[field] = value else event.extensions[field] = value end
    end
    return event
end

local BUSY_SECONDS = 0.02

-- A page of events after a sequence, and where to go on.
local function page_of(name, pattern, id, after)
    while true do
        local problem, raw, why, code = c.events(pattern, id, after, PAGE)
        if problem then kv.fail(problem, name) end
        if raw ~= false then
            local page = json.decode(raw)
            return page.items, page.next ~= json.null and tonumber(page.next) or nil
        end
        if code ~= "EAGAIN" then error(("%s: %s (%s)"):format(name, why, code), 0) end
        wait.check(sleep(BUSY_SECONDS), name)
    end
end

--- What an aggregate's events come to: begins with the newest snapshot (or `initial`), and calls
--- `reducer(state, event)` for each stored event after it, in sequence, for the next state.
---
---     local order = evrt.fold("order", id, function(state, event)
---         state.total = state.total + (event.data.amount or 0)
---         return state
---     end, { initial = { total = 0 }, snapshot_every = 100 })
---
---@param kind string  The first part of the events' types, or a pattern
---@param id string  Their subject
---@param reducer fun(state: any, event: evrt.Event): any
---@param options? evrt.FoldOptions
---@return any state
---@return integer version  The last event's sequence; 0: there is none
function M.fold(kind, id, reducer, options)
    local name = "evrt.fold"
    check_text(name, "type", kind)
    check_text(name, "id", id)
    if type(reducer) ~= "function" then wait.misuse("%s: reducer: a function expected, got %s", name, type(reducer)) end
    options = check_options(name, options, { initial = true, snapshot_every = true, keep = true, name = true })
    local keep, every = options.keep or KEEP, options.snapshot_every
    check_whole(name, "keep", keep, 1, KEEP_MAX)
    if every ~= nil then check_whole(name, "snapshot_every", every, 1, VERSION_MAX) end
    local kept_as = options.name or kind
    check_text(name, "name", kept_as)

    local pattern = kind:find("*", 1, true) and kind or kind .. ".**"
    local snapshot = get(name, kept_as, id)
    local state, version = options.initial, 0
    if snapshot then state, version = snapshot.state, snapshot.version end
    local count, after = 0, version
    while after ~= nil do
        local items
        items, after = page_of(name, pattern, id, after)
        for _, item in ipairs(items) do
            state = reducer(state, as_event(item))
            count, version = count + 1, item.seq
        end
    end
    if every and count >= every and state ~= nil then save(name, kept_as, id, version, state, keep) end
    return state, version
end

return M
