-- Loading configurations from text, for the specs of runtime/config.
local ffi = require "ffi"
local c = require "spec.support.c"

local config = {}

config.lib = c.load("config", { "config/options.h", "config/config.h" })
local lib = config.lib

local readers = {
    [tonumber(lib.EVRT_OPTION_BOOL)] = function(at) return ffi.cast("bool *", at)[0] end,
    [tonumber(lib.EVRT_OPTION_NUMBER)] = function(at) return tonumber(ffi.cast("uint64_t *", at)[0]) end,
    [tonumber(lib.EVRT_OPTION_DECIMAL)] = function(at) return tonumber(ffi.cast("uint64_t *", at)[0]) / 1000 end,
    [tonumber(lib.EVRT_OPTION_SIZE)] = function(at) return tonumber(ffi.cast("uint64_t *", at)[0]) end,
    [tonumber(lib.EVRT_OPTION_DURATION)] = function(at) return tonumber(ffi.cast("int64_t *", at)[0]) end,
    [tonumber(lib.EVRT_OPTION_PATHS)] = function(at)
        local strings, out = ffi.cast("struct evrt_strings *", at), {}
        for i = 0, tonumber(strings.n) - 1 do out[#out + 1] = ffi.string(strings.v[i]) end
        assert(strings.n == 0 or strings.v[strings.n] == nil, "the array ends with NULL")
        return out
    end,
}
readers[tonumber(lib.EVRT_OPTION_APPLIES)] = function(at)
    local list, out = ffi.cast("struct evrt_applies *", at), {}
    for i = 0, tonumber(list.n) - 1 do
        local paths = readers[tonumber(lib.EVRT_OPTION_PATHS)]
        out[i + 1] = { line = list.v[i].line, events = paths(list.v[i].events),
            policies = paths(list.v[i].policies) }
    end
    return out
end
local function read_text(at) return ffi.string(ffi.cast("char **", at)[0]) end

--- The options of the table, in order, as Lua tables.
function config.options()
    local out = {}
    for i = 0, c.define.EVRT_OPTION_COUNT - 1 do
        local o = lib.evrt_options[i]
        out[#out + 1] = {
            key = ffi.string(o.key), def = ffi.string(o.def), help = ffi.string(o.help),
            type = tonumber(o.type), min = o.min, max = o.max, reloadable = o.reloadable,
            secret = o.secret, offset = tonumber(o.offset),
            choices = o.choices ~= nil and ffi.string(o.choices) or nil,
        }
    end
    return out
end

--- All values of a loaded struct evrt_config, by key.
function config.values(cfg)
    local out = {}
    for _, o in ipairs(config.options()) do
        out[o.key] = (readers[o.type] or read_text)(ffi.cast("char *", cfg) + o.offset)
    end
    return out
end

-- A NULL-terminated array of strings; the second result keeps them alive.
local function strings(list)
    if not list then return nil end
    local array, keep = ffi.new("const char *[?]", #list + 1), {}
    for i, s in ipairs(list) do
        keep[i] = s
        array[i - 1] = keep[i]
    end
    array[#list] = nil
    return array, keep
end

local function told(err)
    local where = ""
    if err.file[0] ~= 0 then
        where = ffi.string(err.file) .. ":" .. (err.line > 0 and err.line .. ":" or "") .. " "
    end
    return where .. ffi.string(err.message)
end

--- Loads; returns the values by key, or nil, the list of errors as "file:line: message" and the code.
--- options: file, environment, overrides, check_files.
function config.load(text, options)
    options = options or {}
    local source = ffi.new "struct evrt_config_source"
    local cfg, err = ffi.new "struct evrt_config", ffi.new "struct evrt_error"
    local file = options.file or (text and "test.yaml" or nil)
    local environment, keep_e = strings(options.environment)
    local overrides, keep_o = strings(options.overrides)
    local errors = {}
    local each = ffi.cast("evrt_config_error_cb", function(_, e) errors[#errors + 1] = told(e) end)
    if file then source.file = file end
    local copy = text and ffi.new("char[?]", #text + 1)
    if text then
        ffi.copy(copy, text, #text)
        source.text.p, source.text.n = copy, #text
    end
    source.environment, source.overrides, source.each = environment, overrides, each
    source.trust_files = not options.check_files
    local rc = lib.evrt_config_load_from(cfg, source, err)
    each:free()
    assert(keep_e ~= false and keep_o ~= false) -- alive until here
    if rc < 0 then
        assert(errors[1] == told(err), "the first error told is the one returned")
        return nil, errors, rc
    end
    assert(#errors == 0, errors[1])
    local values = config.values(cfg)
    lib.evrt_config_finish(cfg)
    return values
end

--- The text must be refused; returns the errors joined by newlines.
function config.refused(text, options)
    local values, errors, rc = config.load(text, options)
    assert(values == nil, "expected to be refused")
    assert(rc == -22, rc)
    return table.concat(errors, "\n")
end

return config
