-- Limits of this process, for specs of what happens at them.
local ffi = require "ffi"

ffi.cdef [[
struct evrt_spec_rlimit { unsigned long soft, hard; };
int getrlimit(int what, struct evrt_spec_rlimit *r);
int setrlimit(int what, const struct evrt_spec_rlimit *r);
void (*signal(int number, void (*handler)(int)))(int);
]]
local C = ffi.C

local limits = {}

local RLIMIT_FSIZE, SIGXFSZ = 1, 25
local IGNORE = ffi.cast("void (*)(int)", 1)

--- Runs f while no file of this process can be written at or beyond that many bytes: it stands for a full
--- disk. The signal that comes with it is ignored.
function limits.with_file_size(bytes, f)
    local before, limited = ffi.new "struct evrt_spec_rlimit", ffi.new "struct evrt_spec_rlimit"
    local handler = C.signal(SIGXFSZ, IGNORE)
    assert(C.getrlimit(RLIMIT_FSIZE, before) == 0)
    limited.soft, limited.hard = bytes, before.hard
    assert(C.setrlimit(RLIMIT_FSIZE, limited) == 0)
    local ok, why = pcall(f)
    assert(C.setrlimit(RLIMIT_FSIZE, before) == 0)
    C.signal(SIGXFSZ, handler)
    if not ok then error(why, 0) end
end

return limits
