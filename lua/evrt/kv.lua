-- The key-value store: `ctx.kv`, whose writes take effect with the delivery's completion or not at all, and
-- `evrt.kv`, whose writes are durable one by one, whatever becomes of the delivery.
--
--     own writes of the delivery ─▶ what others wrote, in the order in which it was accepted ─▶ the value
--
-- Values are what JSON can hold, and strings of any bytes. A namespace is its handler's, unless kv.writers says
-- otherwise; everyone may read all of them.
local c = require "evrt.c.kv"
local duration = require "evrt.worker.options".duration
local handlers = require "evrt.worker.handlers".loaded
local running = require "evrt.c.policy".handler
local wait = require "evrt.worker.wait"

local M = {}

local type = type

local PAGE = 200 -- keys that a scan asks for at a time

-- ---- What is asked for ----

local problems = { outside = true, blocked = true, timeout = true }

local function fail(problem, name)
    if problems[problem] then wait.check(problem, name) end
    wait.misuse("%s: %s", name, problem)
end

local permitted -- handler -> namespace -> whether kv.writers says so

local function read_writers()
    permitted = {}
    for who, ns in c.writers():gmatch "([^ =]+)=([^ ]+)" do
        permitted[who] = permitted[who] or {}
        permitted[who][ns] = true
    end
end

local function may_write(handler, ns)
    if permitted == nil then read_writers() end
    for _, list in ipairs { permitted[handler] or {}, permitted["*"] or {} } do
        if list[ns] or list["*"] then return true end
    end
    return false
end

local function check_key(name, key)
    if type(key) ~= "string" then wait.misuse("%s: key: a string expected, got %s", name, type(key)) end
end

local function check_namespace(name, ns)
    if type(ns) ~= "string" or ns == "" then
        wait.misuse("%s: namespace: a name (string) expected, got %s", name, ns == "" and '""' or type(ns))
    end
    return ns
end

-- The namespace to write and the seconds to live. `with_ttl`: whether there is that option.
local function options_of(name, handler, options, with_ttl)
    if options == nil then return handler, 0 end
    if type(options) ~= "table" then
        wait.misuse("%s: options: a table expected, got %s", name, type(options))
    end
    for field in pairs(options) do
        if field ~= "namespace" and not (with_ttl and field == "ttl") then
            wait.misuse("%s: unknown option %q; there %s", name, tostring(field),
                with_ttl and "are ttl and namespace" or "is namespace")
        end
    end
    local ns, ttl = handler, 0
    if options.namespace ~= nil then ns = check_namespace(name, options.namespace) end
    if ns ~= handler and not may_write(handler, ns) then
        wait.misuse("%s: %s may not write namespace %q; kv.writers in the configuration permits it with %q",
            name, handler, ns, handler .. "=" .. ns)
    end
    if options.ttl ~= nil then
        ttl = duration(options.ttl)
        if ttl == nil or ttl <= 0 then
            wait.misuse('%s: ttl: a duration above 0 expected, as "5m" or a number of seconds', name)
        end
    end
    return ns, ttl
end

local function check_by(name, by)
    if by == nil then return 1 end
    if type(by) ~= "number" or by % 1 ~= 0 or by > 2 ^ 53 or by < -2 ^ 53 then
        wait.misuse("%s: by: a whole number expected, got %s; for others there is cas", name, tostring(by))
    end
    return by
end

local function check_value(name, value)
    if value == nil then wait.misuse("%s: value: nil is none; delete removes a key", name) end
end

-- ---- Same ----

local function same(a, b)
    if a == b then return true end
    if type(a) ~= "table" or type(b) ~= "table" then return false end
    for k, v in pairs(a) do
        if not same(v, b[k]) then return false end
    end
    for k in pairs(b) do
        if a[k] == nil then return false end
    end
    return true
end

-- ---- Reading ----

-- What was read: raw or nil, `extra`; raises when state.db could not be.
local function read(name, problem, raw, extra, code)
    if problem then fail(problem, name) end
    if raw == false then error(("%s: %s (%s)"):format(name, extra, code), 0) end
    return raw, extra
end

-- The value as the delivery sees it, then whether its own writes alone tell, and (want_raw) the raw value if not.
local function get(name, ns, key, want_raw)
    local problem, value, how, code = c.get(ns, key, want_raw)
    if problem then fail(problem, name) end
    if how == "own" or how == "simple" then return value, how == "own" end
    if value == false then error(("%s: %s (%s)"):format(name, how, code), 0) end
    return c.now(ns, key, value), false, value
end

local function range_of(name, handler, prefix, options)
    if prefix ~= nil and type(prefix) ~= "string" then
        wait.misuse("%s: prefix: a string expected, got %s", name, type(prefix))
    end
    if options == nil then return handler end
    if type(options) == "string" then return check_namespace(name, options) end
    if type(options) ~= "table" then
        wait.misuse("%s: options: a table expected, got %s", name, type(options))
    end
    for field in pairs(options) do
        if field ~= "namespace" then
            wait.misuse("%s: unknown option %q; there is namespace", name, tostring(field))
        end
    end
    return options.namespace == nil and handler or check_namespace(name, options.namespace)
end

-- Keys of a page and those that the delivery wrote itself, in order. `last`: as far as the page goes; nil: to the
-- end.
local function merge(ns, keys, raws, mine, after, last)
    local raw_of, all = {}, {}
    for i, key in ipairs(keys) do raw_of[key], all[i] = raws[i], key end
    for key in pairs(mine or {}) do
        if not raw_of[key] and key > after and (last == nil or key <= last) then all[#all + 1] = key end
    end
    table.sort(all)
    local kept, values = {}, {}
    for _, key in ipairs(all) do
        local value
        if mine and mine[key] then value = c.now(ns, key, raw_of[key]) else value = c.decode(raw_of[key]) end
        if value ~= nil then
            kept[#kept + 1] = key
            values[#kept] = value
        end
    end
    return kept, values
end

-- An iterator of key and value.
local function scan(name, ns, prefix, sees_own)
    local keys, values, at, after, over = {}, nil, 0, "", false
    return function()
        at = at + 1
        while keys[at] == nil do
            if over then return nil end
            local rows = read(name, c.scan(ns, prefix, after, PAGE))
            local page, raws, last = c.rows(rows)
            keys, values = merge(ns, page, raws, sees_own and c.touched(ns, prefix), after, last)
            at, after, over = 1, last, last == nil
        end
        return keys[at], values[at]
    end
end

-- ---- ctx.kv ----

--- The store as deliveries of a handler see it.
---@param handler string
---@return evrt.kv
function M.of(handler)
    local kv = {}

    function kv.get(key, namespace)
        check_key("ctx.kv.get", key)
        local ns = namespace == nil and handler or check_namespace("ctx.kv.get", namespace)
        return (get("ctx.kv.get", ns, key))
    end

    function kv.set(key, value, options)
        check_key("ctx.kv.set", key)
        check_value("ctx.kv.set", value)
        local ns, ttl = options_of("ctx.kv.set", handler, options, true)
        local problem = c.set(ns, key, value, ttl)
        if problem then fail(problem, "ctx.kv.set") end
    end

    function kv.delete(key, options)
        check_key("ctx.kv.delete", key)
        local problem = c.delete(options_of("ctx.kv.delete", handler, options), key)
        if problem then fail(problem, "ctx.kv.delete") end
    end

    function kv.incr(key, by, options)
        check_key("ctx.kv.incr", key)
        by = check_by("ctx.kv.incr", by)
        local problem = c.incr(options == nil and handler or options_of("ctx.kv.incr", handler, options), key, by)
        if problem then fail(problem, "ctx.kv.incr") end
    end

    function kv.cas(key, expected, value, options)
        check_key("ctx.kv.cas", key)
        local ns, ttl = options_of("ctx.kv.cas", handler, options, true)
        local current, own, raw = get("ctx.kv.cas", ns, key, true)
        if not same(current, expected) then return false end
        local problem
        if not own then
            problem = c.cas(ns, key, value, ttl, raw)
        elseif value == nil then
            problem = c.delete(ns, key)
        else
            problem = c.set(ns, key, value, ttl)
        end
        if problem then fail(problem, "ctx.kv.cas") end
        return true
    end

    function kv.scan(prefix, options)
        local ns = range_of("ctx.kv.scan", handler, prefix, options)
        return scan("ctx.kv.scan", ns, prefix or "", true)
    end

    return kv
end

-- ---- evrt.kv ----

local direct = {}

local function handler_of(name)
    local handler = handlers[running()]
    if handler == nil then fail("outside", name) end
    return handler.name
end

-- true; nil, message, code; or false when a compare-and-set came too late.
local function written(name, problem, done, message, code)
    if problem then fail(problem, name) end
    if done ~= false then return true end
    if code == "ESTALE" then return false end
    if code == "EINVAL" then fail(message, name) end
    return nil, message, code
end

function direct.get(key, namespace)
    check_key("evrt.kv.get", key)
    local ns = namespace == nil and handler_of "evrt.kv.get" or check_namespace("evrt.kv.get", namespace)
    return c.decode((read("evrt.kv.get", c.read(ns, key))))
end

function direct.set(key, value, options)
    check_key("evrt.kv.set", key)
    check_value("evrt.kv.set", value)
    local ns, ttl = options_of("evrt.kv.set", handler_of "evrt.kv.set", options, true)
    return written("evrt.kv.set", c.write("set", ns, key, value, ttl))
end

function direct.delete(key, options)
    check_key("evrt.kv.delete", key)
    local ns = options_of("evrt.kv.delete", handler_of "evrt.kv.delete", options)
    return written("evrt.kv.delete", c.write("delete", ns, key))
end

function direct.incr(key, by, options)
    check_key("evrt.kv.incr", key)
    local ns = options_of("evrt.kv.incr", handler_of "evrt.kv.incr", options)
    by = check_by("evrt.kv.incr", by)
    read("evrt.kv.incr", c.read(ns, key)) -- so that the host knows whether it is a number
    return written("evrt.kv.incr", c.write("incr", ns, key, by))
end

function direct.cas(key, expected, value, options)
    check_key("evrt.kv.cas", key)
    local ns, ttl = options_of("evrt.kv.cas", handler_of "evrt.kv.cas", options, true)
    local raw = read("evrt.kv.cas", c.read(ns, key))
    if not same(c.decode(raw), expected) then return false end
    return written("evrt.kv.cas", c.write("cas", ns, key, value, ttl, raw))
end

function direct.scan(prefix, options)
    local ns = range_of("evrt.kv.scan", handler_of "evrt.kv.scan", prefix, options)
    return scan("evrt.kv.scan", ns, prefix or "", false)
end

---@type evrt.kv
M.direct = direct

-- For what else is kept there.
M.read, M.written, M.fail = read, written, fail

return M
