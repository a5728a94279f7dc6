-- What cannot be taken back, by command and what of it as in the table of commands (runtime/cli/commands.c), with
-- arguments that would do it.
local losses = {}

local NOBODY = "127.0.0.1:1" -- where no node listens

losses.lines = {
    ["events --cancel"] = { "events", "--cancel", "1", "--url", NOBODY },
    ["retries delete"] = { "retries", "delete", "1-1", "--url", NOBODY },
    ["dead-letters delete"] = { "dead-letters", "delete", "1-1", "--url", NOBODY },
    ["kv delete"] = { "kv", "delete", "key", "--namespace", "A", "--url", NOBODY },
}

--- Those that show first what they would do: spec/integration/cleanup_spec.lua, cli_store_spec.lua.
losses.show_first = { ["cleanup "] = true, ["store repair"] = true }

return losses
