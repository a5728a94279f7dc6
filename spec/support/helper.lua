-- Runs once, before any spec: loads what must exist once per process. busted gives every spec file
-- fresh modules, but a second `require "ffi"` would start a second, empty world of C types, and luv a
-- second loop.
local ffi = require "ffi"
require "luv"
require "cjson"
require "lfs"
require "spec.support.c"
require "spec.support.evrt"
require "spec.support.leak"

-- libuv writes to sockets whose other side may be gone. (Children that it starts get the default back.)
ffi.cdef "void (*signal(int, void (*)(int)))(int);"
local SIGPIPE, SIG_IGN = 13, 1
ffi.C.signal(SIGPIPE, ffi.cast("void (*)(int)", SIG_IGN))
