-- evrt.shared: small values that the scripts of all workers share. Reading is from this worker's copy and
-- waits for nothing; changing is a compare-and-set that the host decides and tells all workers.
--
-- Values outlive workers and reloads; they are in memory only and do not outlive the host. They are for
-- what may be lost: counters, breakers, hints. Keys that begin with "evrt/" are evrt's own policies'.
local c = require "evrt.c.shared"
local wait = require "evrt.worker.wait"

---@class evrt.shared
local shared = {}

local function check(name, key, value)
    if type(key) ~= "string" then wait.misuse("%s: key: a string expected, got %s", name, type(key)) end
    if value ~= nil and type(value) ~= "string" then
        wait.misuse("%s: value: a string expected, got %s", name, type(value))
    end
end

--- What this worker knows of a key. Another worker's change arrives a moment later.
---@param key string
---@return string? value nil when there is none
---@return integer version 0 when there is none
function shared.get(key)
    check("evrt.shared.get", key)
    return c.get(key)
end

local function cas(key, version, value, ttl, sure)
    local problem, done, a, b = c.cas(key, version, value, ttl or 0, sure)
    wait.check(problem, "evrt.shared.cas")
    return done, a, b
end

--- Sets a key's value if it still has the version that was seen (0: there was none); nil removes it. Waits
--- for the host's answer.
---@param key string
---@param version integer
---@param value string?
---@param options? { ttl?: number } ttl: seconds without a change, after which it may go when room is needed
---@return boolean? done nil on failure: a limit of the configuration's section `shared`
---@return any version_or_value the new version; when not done, the value there is (nil: none); or a message
---@return any version_or_code when not done, the version there is; or "ENOSPC", "EMSGSIZE"
function shared.cas(key, version, value, options)
    check("evrt.shared.cas", key, value)
    if type(version) ~= "number" then
        wait.misuse("evrt.shared.cas: version: a number expected, got %s", type(version))
    end
    return cas(key, version, value, options and options.ttl)
end

--- Changes a key by a function of its value, again when another was quicker. The function is called with the
--- value (nil: none) and returns the new one; returning the same leaves it.
---@param key string
---@param change fun(value: string?): string?
---@param options? { ttl?: number, sure?: boolean } sure: also after the deadline; for policies that keep account
---@return string? value as it is afterwards
---@return string? message nil, or why it could not be changed
function shared.update(key, change, options)
    check("evrt.shared.update", key)
    local value, version = c.get(key)
    while true do
        local wanted = change(value)
        if wanted == value then return value end
        check("evrt.shared.update", key, wanted)
        local done, now, other = cas(key, version, wanted, options and options.ttl, options and options.sure)
        if done then return wanted end
        if done == nil then return value, now end
        value, version = now, other
    end
end

return shared
