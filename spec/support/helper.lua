-- Runs once, before any spec: loads what must exist once per process. busted gives every spec file
-- fresh modules, but a second `require "ffi"` would start a second, empty world of C types, and luv a
-- second loop.
require "ffi"
require "luv"
require "cjson"
require "lfs"
require "spec.support.c"
require "spec.support.evrt"
require "spec.support.leak"
