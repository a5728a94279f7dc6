-- Loads the policy and handler files of the snapshot, in order, puts policies around handlers, and says what
-- they declare.
local chain = require "evrt.worker.chain"
local context = require "evrt.worker.context"
local errors = require "evrt.worker.errors"
local handlers = require "evrt.worker.handlers"
local json = require "evrt.c.json"
local policies = require "evrt.worker.policies"
local publish = require "evrt.publish"
local script = require "evrt.c.script"
local scripts = require "evrt.worker.scripts"

local loader = {
    handlers = handlers.loaded,
}

-- While scripts are loaded the place of who calls it can still be told.
local loading = false
rawset(os, "exit", function(code)
    if loading then error("os.exit: a script must not end its worker while it is loaded", 2) end
    script.exit(code)
end)

-- A syntax error is "path:line: text" already, but for a shortened path.
local function syntax_error(message, path)
    if message:find "wrong mode$" then message = "bytecode is not accepted, only source text" end
    local position, text = scripts.split(message)
    return position and (position .. ": " .. text) or (path .. ":1: " .. message)
end

-- What a file returned, given to check(returned, place); or what is wrong with it.
local function load_file(number, file, problems, check)
    local chunk, message = script.load(number)
    if not chunk then
        problems[#problems + 1] = syntax_error(message, file.path)
        return
    end
    local ok, returned = xpcall(chunk, errors.explain)
    if not ok then
        local failure = errors.failure(returned, file.path .. ":1")
        problems[#problems + 1] = failure.message
        return
    end
    check(returned, { path = file.path, text = script.text(number) })
end

-- `apply` of the configuration: the snapshot has it as JSON.
local function load_apply(number, file, problems)
    local applied = assert(json.decode(script.text(number)))
    for _, one in ipairs(applied) do
        local position = one.line > 0 and ("%s:%d"):format(file.path, one.line) or file.path .. ": apply"
        one.instances = {}
        for _, name in ipairs(one.policies) do
            one.instances[#one.instances + 1] = policies.resolve(name, position, problems)
        end
    end
    return applied
end

local function load_all(role, problems, check)
    for number, file in ipairs(scripts.files) do
        if file.role == role then load_file(number, file, problems, check) end
    end
end

-- Policies first, since handlers and `apply` name them.
local function load_scripts(problems)
    local applied = {}
    load_all("p", problems, function(returned, place) policies.check(returned, place, problems) end)
    for number, file in ipairs(scripts.files) do
        if file.role == "a" then applied = load_apply(number, file, problems) end
    end
    load_all("h", problems, function(returned, place)
        handlers.check(returned, place, loader.handlers, problems)
    end)
    if os.getenv "EVRT_TEST" then -- see there
        handlers.check(require "evrt.worker.testing", { path = "evrt test", text = "" }, loader.handlers, problems)
    end
    return applied
end

local function array(list)
    return setmetatable(list, json.array_mt)
end

-- An option as it can be shown: functions by where they stand.
local function shown(value, with_line)
    if type(value) ~= "function" then return value end
    local info = debug.getinfo(value, "S")
    local path = scripts.path(info.source)
    if not path then return "function" end
    return with_line and ("function (%s:%d)"):format(path, info.linedefined) or ("function (%s)"):format(path)
end

-- For people, with the lines where things stand; without, for comparing: a line above does not change a policy.
local function describe_policy(entry, with_lines)
    local opts = {}
    for name, value in pairs(entry.shown) do opts[name] = shown(value, with_lines) end
    local text = json.encode(opts)
    return {
        name = entry.name, scope = entry.definition.scope, from = with_lines and entry.position or nil,
        file = entry.definition.file or "built in", events = entry.events and array(entry.events) or nil,
        options = text and opts or {},
    }
end

local function describe_policies(handler, with_lines)
    local listed = {}
    for i, entry in ipairs(handler.entries) do listed[i] = describe_policy(entry, with_lines) end
    return array(listed)
end

-- What the host must know when no Lua is alive, outermost first.
local function declarations(handler)
    local list = {}
    for _, entry in ipairs(handler.entries) do
        local declare = entry.definition.declare
        if declare then
            local data = declare(entry.opts)
            data.events = entry.events and array(entry.events) or nil
            list[#list + 1] = data
        end
    end
    return array(list)
end

local function describe_timer(handler)
    if not (handler.schedule or handler.every) then return nil end
    return {
        schedule = handler.schedule, every_ms = handler.every and math.floor(handler.every * 1000 + 0.5),
        timezone = handler.timezone, catch_up = handler.catch_up or "skip",
    }
end

local function describe(handler)
    return {
        name = handler.name,
        file = handler.file,
        line = handler.line,
        events = array(handler.events),
        timeout_ms = math.ceil((handler.timeout or 0) * 1000), -- 0: none
        concurrency = handler.concurrency or 0, -- 0: the configured one
        ordered_by = handler.ordered_by or json.null,
        priority = handler.priority or 0,
        on_retry = handler.on_retry or "hold",
        start = handler.start or "new",
        on_dead_letter = handler.on_dead_letter ~= nil,
        timer = describe_timer(handler),
        policies = describe_policies(handler, true),
        chain = assert(json.encode(describe_policies(handler, false), true)),
        retries = declarations(handler),
    }
end

-- A line each: Lua's own message of a module that is not found has many.
local function told(problems)
    for i, problem in ipairs(problems) do
        problems[i] = problem:gsub("%s+$", ""):gsub(":\n%s*", ": "):gsub("\n%s*", "; ")
    end
    return table.concat(problems, "\n")
end

local function load_all_scripts()
    local problems, list = {}, {}
    if not scripts.files then return nil, "the snapshot of scripts is malformed" end
    local applied = load_scripts(problems)
    if #problems > 0 then return nil, told(problems) end
    for i, handler in ipairs(loader.handlers) do
        handler.ctx = context.class(handler)
        chain.build(handler, applied, publish.send, problems)
        if #problems == 0 then list[i] = describe(handler) end
    end
    if #problems > 0 then return nil, told(problems) end
    collectgarbage()
    return #list, assert(json.encode({ handlers = array(list), memory = script.memory() }, true))
end

--- Returns the number of handlers and the READY text; or nil and the REFUSED text.
---@return integer?
---@return string
function loader.load()
    loading = true
    local count, text = load_all_scripts()
    loading = false
    return count, text
end

return loader
