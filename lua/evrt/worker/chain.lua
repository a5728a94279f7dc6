-- Chains: the policies around one handler, or around what it publishes, composed into one function.
--
--     apply (configuration, outermost first) ─▶ the handler's own ─▶ handle(event, ctx)
--
-- `apply` chooses by event type. What is the same for every type that a handler can get is composed when
-- scripts load; else there is a chain for each set of policies that a type selects, found by type.
local errors = require "evrt.worker.errors"
local event_fields = require "evrt.c.event"
local matches = require "evrt.c.policy".matches
local scripts = require "evrt.worker.scripts"

local M = {}

local TYPES_MAX = 1024 -- types remembered per handler; types come from outside, so there is an end to it

local getmetatable, setmetatable = getmetatable, setmetatable

-- ---- One layer ----

-- A frame of its own for each policy and for the handler: by it a failure is known to be whose. Without it
-- `return next(event, ctx)` would leave none.
local function guard(run, layer)
    local function guarded(event, ctx)
        local a, b, c = run(event, ctx)
        return a, b, c
    end
    errors.layers[guarded] = layer
    return guarded
end

-- A user's policy sees ctx with its own `state`; all else is the handler's.
local function own_ctx(state)
    return {
        __index = function(own, name)
            if name == "state" then return state end
            return own[0][name]
        end,
        __newindex = function(own, name, value) own[0][name] = value end,
        __tostring = function(own) return tostring(own[0]) end,
    }
end

local function guard_user(run, layer, class)
    local function guarded(event, ctx)
        local a, b, c = run(event, setmetatable({ [0] = ctx }, class))
        return a, b, c
    end
    errors.layers[guarded] = layer
    return guarded
end

local function next_user(inner, class, name)
    return function(event, ctx)
        if ctx == nil or event == nil then
            error(("policy %q calls next without event and ctx"):format(name), 0)
        end
        return inner(event, getmetatable(ctx) == class and ctx[0] or ctx)
    end
end

local function where(f, definition)
    local line = debug.getinfo(f, "S").linedefined
    return ("%s:%d"):format(definition.file, line)
end

-- Calls wrap. On failure nil and "file:line: message".
local function call_wrap(entry, inner)
    local definition = entry.definition
    local ok, run = xpcall(function() return definition.wrap(inner, entry.opts, entry.place) end, errors.explain)
    if not ok then
        local message = errors.failure(run, entry.position).message
        local position, text = scripts.split(message)
        return nil, ("%s: policy %q: %s"):format(position or entry.position, entry.name, text or message)
    end
    if type(run) ~= "function" then
        return nil, ("%s: policy %q: wrap must return a function(event, ctx), got %s"):format(
            definition.file and where(definition.wrap, definition) or entry.position, entry.name,
            run == nil and "nothing" or "a " .. type(run))
    end
    return run
end

local function add_layer(entry, inner)
    local layer = { name = entry.name, position = entry.position, file = entry.definition.file }
    if not layer.file then
        local run, problem = call_wrap(entry, inner)
        if run == inner then return inner end
        return run and guard(run, layer), problem
    end
    local class = own_ctx(entry.place.state)
    local following = next_user(inner, class, entry.name)
    local run, problem = call_wrap(entry, following)
    if run == following then return inner end
    return run and guard_user(run, layer, class), problem
end

-- `entries` around `last`. nil and what is wrong.
local function compose(entries, last)
    local base = guard(last, false)
    local run = base
    for i = #entries, 1, -1 do
        local layer, problem = add_layer(entries[i], run)
        if not layer then return nil, problem end
        run = layer
    end
    return run == base and last or run
end

-- ---- Which policies ----

local function is_literal(pattern) return not pattern:find("*", 1, true) end

-- Whether no type can match both: their segments differ before a '**'.
local function disjoint(a, b)
    local rest = b:gmatch "[^%.]+"
    for one in a:gmatch "[^%.]+" do
        local other = rest()
        if one == "**" or other == "**" then return false end
        if other == nil or one ~= "*" and other ~= "*" and one ~= other then return true end
    end
    local left = rest()
    return left ~= nil and left ~= "**"
end

-- Whether the patterns of an `apply` cover a handler's pattern: true, false, or nil for "it depends".
local function covers(patterns, pattern)
    if is_literal(pattern) then
        for _, one in ipairs(patterns) do
            if matches(one, pattern) then return true end
        end
        return false
    end
    local apart = true
    for _, one in ipairs(patterns) do
        if one == pattern or one == "**" and pattern:sub(1, 5) ~= "evrt." then return true end
        apart = apart and disjoint(one, pattern)
    end
    if apart then return false end
    return nil
end

-- Whether an `apply` is around everything the handler gets: true, false, or nil.
local function applies(entry, handler)
    local all, none = true, true
    for _, pattern in ipairs(handler.events) do
        local covered = covers(entry.events, pattern)
        all, none = all and covered == true, none and covered == false
    end
    if none then return false end
    if all then return true end
    return nil
end

local function selected(entry, type)
    if entry.events == nil then return true end
    for _, pattern in ipairs(entry.events) do
        if matches(pattern, type) then return true end
    end
    return false
end

-- A chain per type: types that select the same policies share it.
local function by_type(entries, last)
    local chains, types, count = {}, {}, 0
    return function(type)
        local run = types[type]
        if run then return run end
        local list, signature = {}, {}
        for i, entry in ipairs(entries) do
            if selected(entry, type) then list[#list + 1], signature[#signature + 1] = entry, i end
        end
        local name = table.concat(signature, " ")
        if not chains[name] then
            local problem
            chains[name], problem = compose(list, last)
            if not chains[name] then error(problem, 0) end
        end
        if count == TYPES_MAX then types, count = {}, 0 end
        types[type], count = chains[name], count + 1
        return chains[name]
    end
end

-- ---- For a handler ----

-- The instances as entries of this handler: each has a place of its own, whose state all chains share.
local function entries_of(handler, applied)
    local list, count = {}, {}
    local function add(instance, events)
        local name = instance.name
        count[name] = (count[name] or 0) + 1
        list[#list + 1] = setmetatable({
            events = events,
            place = {
                handler = handler.name, policy = name, position = instance.position, state = {},
                id = ("%s/%s%s"):format(handler.name, name, count[name] == 1 and "" or "#" .. count[name]),
            },
        }, { __index = instance })
    end
    for _, one in ipairs(applied) do
        for _, instance in ipairs(one.instances) do add(instance, one.events) end
    end
    for _, instance in ipairs(handler.chain) do add(instance, nil) end
    return list
end

-- Composing everything once finds what is wrong while scripts load.
local function around_handle(handler, entries, problems)
    local all, depends = {}, false
    for _, entry in ipairs(entries) do
        local always = entry.events == nil or applies(entry, handler)
        if always ~= false then all[#all + 1] = entry end
        depends = depends or always == nil
    end
    local run, problem = compose(all, handler.handle)
    if not run then
        problems[#problems + 1] = problem
    elseif depends then
        handler.run_of = by_type(all, handler.handle)
    else
        handler.run = run
    end
    return all
end

local function around_publish(handler, entries, send, problems)
    if #entries == 0 then return end
    local run, problem = compose(entries, send)
    if not run then problems[#problems + 1] = problem end
    handler.publish_of = by_type(entries, send)
end

local function split(entries)
    local handle, publish = {}, {}
    for _, entry in ipairs(entries) do
        local list = entry.definition.scope == "publish" and publish or handle
        list[#list + 1] = entry
    end
    return handle, publish
end

--- Puts policies around a handler: `run`, or `run_of(type)` where they depend on the type; `publish_of(type)`
--- when there are any around what it publishes. `entries` are those that can apply, outermost first.
---@param handler table
---@param applied { events: string[], instances: evrt.Instance[] }[]
---@param send fun(event: table, ctx: table) publishes
---@param problems string[]
function M.build(handler, applied, send, problems)
    local handle, publish = split(entries_of(handler, applied))
    handler.entries = around_handle(handler, handle, problems)
    around_publish(handler, publish, send, problems)
    for _, entry in ipairs(publish) do handler.entries[#handler.entries + 1] = entry end
end

--- The chain of a handler that has one per type.
function M.run_of(handler, record)
    return handler.run_of(event_fields.type(record))
end

return M
