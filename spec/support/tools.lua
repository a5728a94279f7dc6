-- Programs of others that specs run: on the PATH, or unpacked beside the build by spec/run.sh.
local uv = require "luv"

local tools = {}

--- The value of PATH with which all of them are found.
function tools.path() return ("%s:%s/build/spec/tools/usr/bin:/usr/sbin"):format(os.getenv "PATH", uv.cwd()) end

return tools
