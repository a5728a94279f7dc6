-- Programs of others that specs run: on the PATH, or unpacked beside the build by spec/run.sh.
local uv = require "luv"
local evrt = require "spec.support.evrt"

local tools = {}

--- The value of PATH with which all of them are found.
function tools.path() return ("%s:%s/build/spec/tools/usr/bin:/usr/sbin"):format(os.getenv "PATH", uv.cwd()) end

--- Runs a shell script with all of them to be found: exit code, and what it said.
---@param options? {stdin?: string, cwd?: string, seconds?: number} seconds: how long it may take, default 60
function tools.sh(script, options)
    options = options or {}
    local node = evrt.spawn { program = "/bin/sh", args = { "-ec", script }, env = { PATH = tools.path() },
        stdin = options.stdin, cwd = options.cwd }
    node:wait(options.seconds or 60)
    return node.code, table.concat(node.out, "\n") .. table.concat(node.err, "\n")
end

return tools
