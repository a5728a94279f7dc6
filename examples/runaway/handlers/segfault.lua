-- Writes where no memory is, through LuaJIT's FFI.
local ffi = require "ffi"

return {
  name = "Segfault",
  events = { "bad.segfault" },
  handle = function()
    ffi.cast("int *", 8)[0] = 1
  end,
}
