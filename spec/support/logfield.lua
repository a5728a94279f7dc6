-- Fields of a log line for FFI calls: `field.list { {"str", "key", "value"}, {"u64", "n", 7} }` gives the
-- array and its length. The values live until the next list is made.
local ffi = require "ffi"
local c = require "spec.support.c"

local field = {}

-- What the last list's slices point into.
local kept

local kinds = { str = 0, u64 = 1, i64 = 2, double = 3, bool = 4, duration = 5, time = 6, json = 7, members = 8 }

function field.list(specs)
    kept = specs
    local fields = ffi.new("struct evrt_log_field[?]", math.max(1, #specs))
    for i, s in ipairs(specs) do
        local kind, key, value = s[1], s[2], s[3]
        local f = fields[i - 1]
        if kind == "members" then key, value = "", s[2] end
        f.key = key
        f.kind = kinds[kind]
        if kind == "u64" then f.v.u = value
        elseif kind == "bool" then f.v.u = value and 1 or 0
        elseif kind == "double" then f.v.d = value
        elseif kind == "str" or kind == "json" or kind == "members" then f.v.s = c.slice(value)
        else f.v.i = value
        end
    end
    return fields, #kept
end

return field
