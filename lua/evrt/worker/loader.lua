-- Loads the handler files of the snapshot, in order, and says what they declare.
local context = require "evrt.worker.context"
local errors = require "evrt.worker.errors"
local handlers = require "evrt.worker.handlers"
local json = require "evrt.c.json"
local script = require "evrt.c.script"
local scripts = require "evrt.worker.scripts"

local loader = {
    handlers = {}, -- by index, as in the READY text, and by name
}

-- A syntax error is "path:line: text" already, but for a shortened path.
local function syntax_error(message, path)
    if message:find "wrong mode$" then message = "bytecode is not accepted, only source text" end
    local position, text = scripts.split(message)
    return position and (position .. ": " .. text) or (path .. ":1: " .. message)
end

local function load_file(number, file, problems)
    local chunk, message = script.load(number)
    if not chunk then
        problems[#problems + 1] = syntax_error(message, file.path)
        return
    end
    local ok, declared = xpcall(chunk, errors.explain)
    if not ok then
        local failure = errors.failure(declared, file.path .. ":1")
        problems[#problems + 1] = failure.message
        return
    end
    handlers.check(declared, { path = file.path, text = script.text(number) }, loader.handlers, problems)
end

local function array(list)
    return setmetatable(list, json.array_mt)
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
        start = handler.start or "new",
        policies = array {},
    }
end

--- Returns the number of handlers and the READY text; or nil and the REFUSED text.
---@return integer?
---@return string
function loader.load()
    local problems, list = {}, {}
    if not scripts.files then return nil, "the snapshot of scripts is malformed" end
    for number, file in ipairs(scripts.files) do
        if file.role == "h" then load_file(number, file, problems) end
    end
    if #problems > 0 then return nil, table.concat(problems, "\n") end
    for i, handler in ipairs(loader.handlers) do
        handler.ctx = context.class(handler)
        list[i] = describe(handler)
    end
    collectgarbage()
    return #list, assert(json.encode { handlers = array(list), memory = script.memory() })
end

return loader
