-- C units from Lua: declares our own headers to LuaJIT's FFI and loads the layer's unit library.
--
--     local c = require "spec.support.c"
--     local map = c.load("core", { "core/map.h" })
--     map.evrt_map_init(m)
--
-- The preprocessor does the reading; of its output only what stands in files under runtime/ and
-- include/ is kept. State (what was declared) is per process: the busted helper loads this module once,
-- before busted begins to give each spec file fresh modules.
local ffi = require "ffi"

local c = {}

--- Integer macros of the headers loaded so far, by name: `c.define.EVRT_UUID_SIZE`.
c.define = {}

local declared, libraries = {}, {}

-- Types of system headers that our own headers use; the system's text is not kept.
ffi.cdef [[
typedef int pid_t;
typedef long off_t;
typedef unsigned mode_t;
typedef long time_t;
struct iovec { void *iov_base; size_t iov_len; };
void *malloc(size_t n);
void free(void *p);
]]

-- libuv's handles by value in our structs: opaque, of the size that this libuv says.
do
    local uv = ffi.load "uv.so.1"
    ffi.cdef "size_t uv_handle_size(int type); struct uv_loop_s; typedef struct uv_loop_s uv_loop_t;"
    local handles = { async = 1, check = 2, fs_event = 3, handle = 5, idle = 6, pipe = 7, poll = 8,
        prepare = 9, process = 10, stream = 11, tcp = 12, timer = 13, signal = 16 }
    for name, number in pairs(handles) do
        ffi.cdef(("typedef struct uv_%s_s { uint64_t opaque[%d]; } uv_%s_t;")
            :format(name, tonumber(uv.uv_handle_size(number)) / 8, name))
    end
end

--- The build to test: $EVRT_BUILD, or build/dev.
function c.build_dir()
    local dir = os.getenv "EVRT_BUILD"
    return (dir ~= nil and dir ~= "") and dir or "build/dev"
end

-- The headers' text after preprocessing, as a list of lines from our own files, `#define`s included.
local function preprocess(headers)
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    for _, header in ipairs(headers) do
        file:write(('#include "%s"\n'):format(header))
    end
    file:close()
    -- Not under a sanitizer's LD_PRELOAD: the compiler is not what is being tested.
    local pipe = assert(io.popen("env -u LD_PRELOAD ${CC:-cc} -E -dD -x c -std=gnu11 -D_GNU_SOURCE "
        .. "-Iruntime -Iinclude -I'" .. c.build_dir() .. "/generated' " .. name .. " 2>&1; echo \"exit $?\""))
    local kept, all, ours = {}, {}, false
    for line in pipe:lines() do
        local from = line:match '^# %d+ "(.-)"'
        if from then
            ours = from:find "^runtime/" or from:find "^include/"
        elseif ours then
            kept[#kept + 1] = line
        end
        all[#all + 1] = line
    end
    pipe:close()
    os.remove(name)
    if all[#all] ~= "exit 0" then
        error("cannot preprocess " .. table.concat(headers, ", ") .. ":\n" .. table.concat(all, "\n"), 0)
    end
    return kept
end

local function take_defines(lines)
    local text = {}
    for _, line in ipairs(lines) do
        local name, value = line:match "^#define ([%w_]+)%s+%(?(%w+)%)?$"
        if name then
            c.define[name] = c.define[name] or tonumber((value:gsub("[uUlL]+$", "")))
        elseif line:sub(1, 1) ~= "#" then
            text[#text + 1] = line
        end
    end
    return table.concat(text, "\n")
end

local function strip_attribute(s)
    return (s:find "packed" or s:find "aligned") and "__attribute__" .. s or ""
end

-- What GNU C has and LuaJIT's parser has not.
local function simplify(text)
    text = text:gsub("__attribute__%s*(%b())", strip_attribute)
    text = text:gsub("_Alignas%s*(%b())", "__attribute__((aligned%1))")
    text = text:gsub("_Atomic%s*(%b())", function(s) return s:sub(2, -2) end)
    text = text:gsub("_Static_assert%s*%b()%s*;", "")
    for _, word in ipairs { "_Atomic", "__extension__", "_Noreturn", "_Thread_local" } do
        text = text:gsub("%f[%w_]" .. word .. "%f[^%w_]", " ")
    end
    return text
end

-- Calls each(declaration) for every top-level declaration; a function's body ends one too.
local function declarations(text, each)
    local from, at = 1, 1
    while true do
        local i = text:find("[;{\"']", at)
        if not i then return end
        local mark = text:sub(i, i)
        if mark == "{" then
            local _, close = text:find("^%b{}", i)
            assert(close, "unbalanced braces in a header")
            at = close + 1
            if text:sub(from, i - 1):find "%)%s*$" then
                from = at -- a function with its body: static inline, nothing to declare
            end
        elseif mark == ";" then
            each((text:sub(from, i):gsub("%s+", " "):gsub("^ ", "")))
            from, at = i + 1, i + 1
        else
            at = assert(text:find(mark, i + 1, true), "unbalanced quotes in a header") + 1
        end
    end
end

local function declare(headers)
    local fresh = {}
    declarations(simplify(take_defines(preprocess(headers))), function(d)
        if not declared[d] and not d:find "^static " and d ~= ";" then
            declared[d] = true
            fresh[#fresh + 1] = d
        end
    end)
    for _, d in ipairs(fresh) do
        local ok, why = pcall(ffi.cdef, d)
        if not ok then error(("FFI cannot declare: %s\n%s"):format(why, d), 0) end
    end
end

--- Declares the headers (paths as in #include) and loads the unit library of the layer.
---@param layer string a folder under runtime/
---@param headers string[]
---@return ffi.namespace*
function c.load(layer, headers)
    local key = table.concat(headers, "\n")
    if not declared[key] then
        declare(headers)
        declared[key] = true
    end
    if not libraries[layer] then
        local path = ("%s/unit/libevrt_unit_%s.so"):format(c.build_dir(), layer)
        local ok, lib = pcall(ffi.load, path)
        if not ok then
            error(("cannot load %s (set EVRT_BUILD to a build directory, or build it): %s")
                :format(path, lib), 0)
        end
        libraries[layer] = lib
        -- Compiled code cannot be called back from C, and LuaJIT 2.1.0-beta3 compiles some of what works on our structs
        -- so that a pointer loses its upper half.
        jit.off()
    end
    return libraries[layer]
end

--- A struct evrt_slice over a Lua string. The slice borrows: keep the string alive.
function c.slice(s)
    if s == nil then return ffi.new("struct evrt_slice") end
    return ffi.new("struct evrt_slice", ffi.cast("const char *", s), #s)
end

--- The bytes of a slice or buffer (anything with p and n) as a Lua string.
function c.string(s)
    if s.p == nil then return "" end
    return ffi.string(s.p, s.n)
end

--- What fn(buf) appends to an evrt_buf, as a Lua string.
function c.collect(lib, fn)
    local out = ffi.new "struct evrt_buf"
    lib.evrt_buf_init(out)
    fn(out)
    local s = c.string(out)
    lib.evrt_buf_finish(out)
    return s
end

--- A copy of s from malloc, of exactly that size: a sanitizer sees a read past its end, as it would not
--- in LuaJIT's own memory. Keep the result as long as it is used.
---@return ffi.cdata* char pointer
function c.exact(s)
    local copy = ffi.gc(ffi.cast("char *", ffi.C.malloc(#s)), ffi.C.free)
    ffi.copy(copy, s, #s)
    return copy
end

return c
