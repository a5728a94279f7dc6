-- A command at a terminal of its own: a pseudo terminal (script, of util-linux) is its standard input, output and
-- error; what is typed is written to it, what it shows comes as it was written, escape sequences too.
--
--     local t = terminal.run({ "kv", "delete", "k", "-N", "A" }, { typed = "n\n" })
--     assert.equal(1, t.code)
--     assert.truthy(t.text:find "Go on?")
local evrt = require "spec.support.evrt"

local terminal = {}

local function quoted(word) return "'" .. word:gsub("'", "'\\''") .. "'" end

--- Starts the binary with arguments; a node, whose `out` has the lines of the terminal.
---@param args string[]
---@param options? {typed?: string, env?: table<string, string>}
---@return Node
function terminal.spawn(args, options)
    options = options or {}
    local words = { quoted(evrt.binary()) }
    for _, word in ipairs(args) do words[#words + 1] = quoted(word) end
    local env = { TERM = "xterm", NO_COLOR = "" }
    for name, value in pairs(options.env or {}) do env[name] = value end
    return evrt.spawn {
        program = "script", args = { "-q", "-e", "-c", table.concat(words, " "), "/dev/null" },
        stdin = options.typed, env = env,
    }
end

--- The same to its end.
---@return {code: integer, text: string}
function terminal.run(args, options)
    local node = terminal.spawn(args, options)
    node:wait()
    return { code = node.code, text = ((table.concat(node.out, "\n") .. "\n"):gsub("\r\n", "\n")) }
end

return terminal
