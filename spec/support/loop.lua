-- Waiting in specs: turns the luv loop until something holds, never longer than told. What is awaited is
-- looked at again after every event of the loop, so no spec sleeps; and every 10 ms, for what makes no event
-- here (a file, what a node answers when asked).
local uv = require "luv"

local loop = {}

--- Slow builds (sanitizers) and busy machines get more time; a spec never waits for time itself.
local USUAL = 20
loop.patience = tonumber(os.getenv "EVRT_SPEC_PATIENCE" or "") or USUAL
--- By how much more than usual: for what a spec says in seconds.
loop.stretch = math.max(1, loop.patience / USUAL)

--- Turns the loop until `holds()` is true and returns what it returned; raises after `seconds`, which are as much
--- longer as the patience is longer than usual.
---@generic T
---@param what string|fun():string for the message
---@param holds fun(): T
---@param seconds? number
---@return T
function loop.await(what, holds, seconds)
    local result = holds()
    if result then return result end
    local expired, ok = false
    local deadline = uv.hrtime() + (seconds and seconds * loop.stretch or loop.patience) * 1e9
    local timer = uv.new_timer()
    timer:start(10, 10, function() expired = uv.hrtime() > deadline end)
    repeat
        uv.run "once"
        ok, result = pcall(holds)
    until result or expired or not ok
    timer:close()
    loop.settle()
    if not ok then error(result, 0) end
    if result then return result end
    error("timed out waiting for " .. (type(what) == "function" and what() or what), 2)
end

--- Lets handles that were closed finish closing.
function loop.settle()
    uv.run "nowait"
end

--- Lets the loop turn for a while: only to show that something does not happen.
function loop.idle(seconds)
    local over = false
    local timer = uv.new_timer()
    -- Again and again: one that is due at once fires before the loop waits, and would not end that wait.
    timer:start(math.floor(seconds * 1000), 10, function() over = true end)
    repeat uv.run "once" until over
    timer:close()
    loop.settle()
end

return loop
