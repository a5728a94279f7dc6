-- What a script file returns is data: a table with named fields, or a list of such. A form is the table of
-- fields that one kind of them may have; every error names file and line, the field, and what was expected.
local nearest = require "evrt.worker.nearest"

local M = {}

local NAME_MAX = 128

--- The check of a field `name`.
function M.check_name(value)
    if type(value) ~= "string" or #value > NAME_MAX or not value:find "^[%w_%.:%-]+$" then
        return nil, ("a name of at most %d letters, digits and any of _ - . :"):format(NAME_MAX)
    end
    return value
end

--- A value, for a message.
---@return string
function M.show(value)
    local kind = type(value)
    if kind == "string" then return ("%q"):format(#value > 60 and value:sub(1, 57) .. "..." or value) end
    if kind == "number" or kind == "boolean" then return tostring(value) end
    return "a " .. kind
end
local show = M.show

--- '(did you mean "x"?)' with a space before it, or nothing.
---@return string
function M.meant(name, names)
    local near = nearest(name, names)
    return near and (" (did you mean %q?)"):format(near) or ""
end

-- The line on which a field is set: tables do not know it, so it is looked for in the text, nearest to the
-- declaration's function.
local function field_line(text, name, near)
    local best, line = nil, 0
    for row in (text .. "\n"):gmatch "(.-)\n" do
        line = line + 1
        local code = row:gsub("%-%-.*$", "")
        if code:find("%f[%w_]" .. name .. "%f[^%w_]%s*=%f[^=]") then
            if best == nil or math.abs(line - near) < math.abs(best - near) then best = line end
        end
    end
    return best
end

---@class evrt.Check  The checking of one declaration.
local Check = {}
Check.__index = Check

--- "path:line" of a field, or of the declaration.
---@return string
function Check:at(field)
    local line = field and field_line(self.text, field, self.line) or self.line
    return ("%s:%d"):format(self.path, line)
end

function Check:complain(field, message)
    self.errors[#self.errors + 1] = self:at(field) .. ": " .. message
end

local function unknown(check, form, declared)
    local names = {}
    for key in pairs(declared) do names[#names + 1] = key end
    table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
    for _, key in ipairs(names) do
        if type(key) ~= "string" then
            check:complain(nil, ("a %s has named fields; %s is not one"):format(form.what, show(key)))
        elseif form.is_later[key] then
            check:complain(key, ("field %q is not supported by this version"):format(key))
        elseif not form.checks[key] then
            check:complain(key, ("unknown field %q%s; a %s has %s"):format(key, M.meant(key, form.fields), form.what,
                table.concat(form.fields, ", ")))
        end
    end
end

local function is_required(needs, declared)
    if type(needs) == "function" then return needs(declared) end
    return needs
end

local function known(check, form, declared)
    local kept = {}
    for _, name in ipairs(form.fields) do
        local value = declared[name]
        if value ~= nil then
            local good, expected = form.checks[name](value)
            if good == nil then
                check:complain(name, ("field %q: expected %s, got %s"):format(name, expected, show(value)))
            end
            kept[name] = good
        elseif is_required(form.required[name], declared) then
            local _, expected = form.checks[name](nil)
            check:complain(nil, ("field %q is missing: expected %s"):format(name, expected))
        end
    end
    return kept
end

---@class evrt.Form
local Form = {}
Form.__index = Form

--- `fields` in the order in which they are checked; `checks[name](value)` gives the value to keep, or nil and
--- what was expected; `required[name]` is true, or a function of what is declared; those in `later` are reserved.
function M.form(form)
    form.is_later = {}
    for _, name in ipairs(form.later or {}) do form.is_later[name] = true end
    return setmetatable(form, Form)
end

--- What a file returned, as a list.
function Form:list(returned, place, errors)
    if returned == nil then
        errors[#errors + 1] = ("%s:1: the file returns nothing: expected a %s (table) or a list of %s")
            :format(place.path, self.what, self.plural)
        return {}
    end
    if type(returned) == "table" and (returned[1] ~= nil and returned.name == nil or next(returned) == nil) then
        return returned
    end
    return { returned }
end

--- The checked copy of a declaration, with `file`, `line` and `position`; nil when it has errors. The
--- function in the field `near` tells where in the file it stands.
---@return table?
---@return evrt.Check
function Form:check(declared, place, errors, near)
    local check = setmetatable({ errors = errors, path = place.path, text = place.text, line = 1 }, Check)
    if type(declared) ~= "table" then
        check:complain(nil, ("expected a %s (table) or a list of %s, got %s"):format(self.what, self.plural,
            show(declared)))
        return nil, check
    end
    local before = #errors
    local near_function = rawget(declared, near)
    if type(near_function) == "function" then
        local info = debug.getinfo(near_function, "S")
        if info.source == "@" .. place.path then check.line = info.linedefined end
    end
    unknown(check, self, declared)
    local kept = known(check, self, declared)
    if #errors > before then return nil, check end
    kept.file, kept.line = place.path, check.line
    kept.position = kept.file .. ":" .. kept.line
    return kept, check
end

return M
