-- What editors are told (lua/evrt/types.lua and the annotations beside the code) against what there is, both ways:
-- modules as a worker has them, fields and options as the loader checks them.
local worker = require "spec.support.worker"
local files = require "spec.support.files"

-- ---- What is annotated ----

local classes = {} -- class -> { name -> { optional?, params? } }
local placed = {}  -- "lua/evrt/time.lua:9" -> the annotation of what stands in that line

-- "a: string, b?: fun(x: T): U" -> { "a", "b" } and the set of those that are optional.
local function names_of(text)
    local names, optional, depth, item = {}, {}, 0, ""
    for ch in (text .. ","):gmatch "." do
        if ch:find "[%(<{]" then depth = depth + 1 elseif ch:find "[%)>}]" then depth = depth - 1 end
        if ch == "," and depth == 0 then
            local name, mark = item:match "^%s*([%w_]+)(%??)%s*:"
            if name then names[#names + 1], optional[name] = name, mark == "?" end
            item = ""
        else
            item = item .. ch
        end
    end
    return names, optional
end

local function params_of(signature)
    local inside = signature:match "^fun(%b())"
    return inside and names_of(inside:sub(2, -2))
end

local function read_annotations(path)
    local class, class_of, number = nil, {}, 0
    local block = { params = {} }
    for line in (files.read(path) .. "\n"):gmatch "(.-)\n" do
        number = number + 1
        local param, signature = line:match "^%-%-%-@param ([%w_]+)", line:match "^%-%-%-@type (fun.*)"
        local name, mark, kind = line:match "^%-%-%-@field ([%w_]+)(%??) (.*)"
        local new_class = line:match "^%-%-%-@class ([%w_.]+)"
        if new_class then
            class = new_class
            classes[class] = classes[class] or {}
        end
        if name then
            classes[class][name] = { optional = mark == "?", params = params_of(kind), text = kind }
        elseif param then
            block.params[#block.params + 1] = param
        elseif signature then
            block.params = params_of(signature)
        end
        if line:find "^%s*%-%-%-" then
            block.there = true
        else
            local variable = class and line:match "^local ([%w_]+) = "
            if variable then class_of[variable], class = class, nil end
            local owner, key = line:match "^function ([%w_]+)[.:]([%w_]+)%("
            if not owner then owner, key = line:match "^([%w_]+)%.([%w_]+) = " end
            if owner and block.there then
                placed[path .. ":" .. number] = block
                if class_of[owner] then classes[class_of[owner]][key] = block end
            end
            block = { params = {} }
        end
    end
end

for path in assert(io.popen "find lua -name '*.lua' | sort"):lines() do read_annotations(path) end

local function fields_of(class)
    local names = {}
    for name in pairs(assert(classes[class], class)) do names[#names + 1] = name end
    table.sort(names)
    return names
end

local function sorted(list)
    table.sort(list)
    return list
end

-- ---- What there is ----

-- "class key type source line param ...", of every value that a script reaches; of policies "opts policy name
-- required".
local probe = [[
local function tell(class, key, value)
    local words = { class, key, type(value) }
    if type(value) == "function" then
        local info = debug.getinfo(value, "S")
        words[4], words[5] = info.source:gsub("^[@=]", ""), info.linedefined
        for i = 1, 20 do words[#words + 1] = debug.getlocal(value, i) end
    end
    print(table.concat(words, " "))
end
local function tell_all(class, t)
    for key, value in pairs(t) do
        if not tostring(key):find "^__" then tell(class, key, value) end
    end
end
for name, value in pairs(evrt) do
    tell("evrt", name, value)
    if type(value) == "table" and name ~= "policy" then tell_all("evrt." .. name, value) end
end
tell_all("evrt.metrics.Counter", getmetatable(evrt.metrics.counter "a_total"))
tell_all("evrt.metrics.Gauge", getmetatable(evrt.metrics.gauge "b"))
tell_all("evrt.metrics.Histogram", getmetatable(evrt.metrics.histogram "c"))
tell_all("ctx.kv", ctx.kv)
local _, shared = debug.getupvalue(getmetatable(ctx).__index, 1)
for key, value in pairs(shared) do tell("ctx", key, value) end
for key in pairs(ctx) do if key ~= 0 then print("ctx " .. key .. " own") end end
for _, key in ipairs { "deadline", "idempotency_key", "trace_id", "span_id" } do
    local ok, why = pcall(function() return ctx[key] end)
    print("ctx " .. key .. " " .. (ok and "own" or why))
end
for name in ("%s"):gmatch "%%S+" do
    for option, spec in pairs(require("evrt.policy." .. name).opts) do
        print("opts", name, option, tostring(spec.required == true))
    end
end]]

local function policies()
    local names = {}
    for path in assert(io.popen "ls lua/evrt/policy"):lines() do names[#names + 1] = path:match "^(.*)%.lua$" end
    return sorted(names)
end

local there -- class -> key -> { type, source, line, params }
local opts  -- policy -> option -> whether it is required

local function look()
    if there then return end
    there, opts = {}, {}
    local outcome, printed = worker.run(probe:format(table.concat(policies(), " ")))
    assert(outcome == "done", outcome.message)
    for _, line in ipairs(printed) do
        local words = {}
        for word in line:gmatch "%S+" do words[#words + 1] = word end
        if words[1] == "opts" then
            opts[words[2]] = opts[words[2]] or {}
            opts[words[2]][words[3]] = words[4] == "true"
        else
            there[words[1]] = there[words[1]] or {}
            there[words[1]][words[2]] = { kind = words[3], place = words[4] and words[4] .. ":" .. words[5],
                params = { unpack(words, 6) } }
        end
    end
end

-- The names in `local NAME = { "a", "b", ... }`, or of the member NAME.
local function list_in(path, name)
    local text = assert(files.read(path):match("%f[%w_]" .. name .. " = (%b{})"), path .. ": " .. name)
    local names = {}
    for word in text:gmatch '"([%w_]+)"' do names[#names + 1] = word end
    return names
end

local function without_self(params)
    local kept = {}
    for _, name in ipairs(params) do
        if name ~= "self" then kept[#kept + 1] = name end
    end
    return kept
end

-- A class, or what stands where the function is.
local function same(class, module)
    for key, value in pairs(there[module]) do
        local said = classes[class] and classes[class][key] or placed[value.place]
        local name = module .. "." .. key
        if value.kind == "function" then
            assert(said, name .. " is not annotated (" .. tostring(value.place) .. ")")
            if not value.place:find "^%[C%]" then -- C has no names
                assert.same(without_self(value.params), said.params, name)
            end
        elseif not classes["evrt." .. key] and name ~= "evrt.snapshot" then
            assert(said or name == "evrt.version" or name == "evrt.policy", name .. " is not annotated")
        end
    end
    for _, key in ipairs(classes[class] and fields_of(class) or {}) do
        assert(there[module][key], class .. "." .. key .. " is annotated, and there is none")
    end
end

describe("the annotations", function()
    setup(look)

    for module, class in pairs {
        evrt = "evrt", ["evrt.json"] = "evrt.json", ["evrt.kv"] = "evrt.kv", ["ctx.kv"] = "evrt.kv",
        ["evrt.log"] = "evrt.log", ["evrt.metrics"] = "evrt.metrics", ["evrt.shared"] = "evrt.shared",
        ["evrt.snapshot"] = "none", ["evrt.time"] = "evrt.time", ["evrt.metrics.Counter"] = "evrt.metrics.Counter",
        ["evrt.metrics.Gauge"] = "evrt.metrics.Gauge", ["evrt.metrics.Histogram"] = "evrt.metrics.Histogram",
    } do
        it("of " .. module .. " are all of it, with its parameters", function() same(class, module) end)
    end

    it("know every module", function()
        for key, value in pairs(there.evrt) do
            if value.kind == "table" and key ~= "policy" then assert.is_table(there["evrt." .. key], key) end
        end
    end)

    it("of ctx are its fields", function()
        local names = {}
        for key in pairs(there.ctx) do
            assert.truthy(there.ctx[key].kind ~= "own" or classes["evrt.Context"][key], key)
            names[#names + 1] = key
        end
        assert.same(fields_of "evrt.Context", sorted(names))
    end)

    it("of events are their fields", function()
        local text = files.read "lua/evrt/worker/event.lua":match "getters = {}\nfor _, name in ipairs (%b{})"
        local names = {}
        for name in text:gmatch '"([%w_]+)"' do names[#names + 1] = name end
        assert.same(fields_of "evrt.Event", sorted(names))
    end)

    it("of events to publish are what may be published", function()
        local names = list_in("lua/evrt/publish.lua", "attributes")
        for name in files.read "lua/evrt/publish.lua":match "is_other = (%b{})":gmatch "([%w_]+) =" do
            names[#names + 1] = name
        end
        assert.same(fields_of "evrt.NewEvent", sorted(names))
    end)

    it("of handlers and policies are the fields that a file may return", function()
        assert.same(fields_of "evrt.Handler", sorted(list_in("lua/evrt/worker/handlers.lua", "fields")))
        assert.same(fields_of "evrt.Policy", sorted(list_in("lua/evrt/worker/policies.lua", "fields")))
    end)

    it("of the policies are all of them, with their options", function()
        assert.same(policies(), fields_of "evrt.policies")
        for _, name in ipairs(policies()) do
            local text = classes["evrt.policies"][name].text
            local inline, class = text:match "opts%??: (%b{})", text:match "opts%??: (evrt%.[%w_]+)"
            local said = {}
            if inline then
                for option, optional in pairs(select(2, names_of(inline:sub(2, -2)))) do said[option] = not optional end
            else
                for option, field in pairs(classes[class]) do said[option] = not field.optional end
            end
            assert.same(opts[name], said, name)
        end
    end)
end)
