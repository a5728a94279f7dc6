-- A script's own coroutines may wait too: when what a coroutine yields is a wait, resume() passes it on
-- to the coroutine around it, up to the runner, and the answer comes back the same way.
--
--     runner ── resume ──▶ script's coroutine ── evrt.sleep yields mark ──▶ resume() yields mark ──▶ C
local mark = require "evrt.c.delivery".mark

local create, resume, running, status, yield =
    coroutine.create, coroutine.resume, coroutine.running, coroutine.status, coroutine.yield

local runners = setmetatable({}, { __mode = "k" })

local function pass(co, ok, first, ...)
    if ok and first == mark and status(co) == "suspended" then
        return pass(co, resume(co, yield(mark)))
    end
    return ok, first, ...
end

rawset(coroutine, "resume", function(co, ...)
    return pass(co, resume(co, ...))
end)

local function raise(ok, first, ...)
    if not ok then error(first, 0) end
    return first, ...
end

rawset(coroutine, "wrap", function(f)
    local co = create(f)
    return function(...)
        return raise(pass(co, resume(co, ...)))
    end
end)

rawset(coroutine, "yield", function(...)
    if runners[running()] then
        error("coroutine.yield: not in a coroutine that the script made", 2)
    end
    return yield(...)
end)

local M = {}

--- Marks the running coroutine as one that the worker resumes.
function M.is_runner()
    runners[running()] = true
end

return M
