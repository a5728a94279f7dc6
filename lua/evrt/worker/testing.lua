-- The handler that `evrt test` has in its node besides those of the scripts: it runs busted, so that specs are
-- scripts like any other here, and what they publish is handled. It is there in workers that are told by
-- EVRT_TEST of the file with busted's arguments; what became of the specs is put in their place.
local PATH = assert(os.getenv "EVRT_TEST")

local Exit = { __tostring = function(exit) return ("os.exit(%s) was called"):format(tostring(exit.code)) end }

local function words()
    local file = assert(io.open(PATH, "rb"))
    local list = { [0] = "evrt test" }
    for word in file:read "*a":gmatch "([^%z]*)%z" do list[#list + 1] = word end
    file:close()
    return list
end

local function tell(result)
    local file = assert(io.open(PATH, "wb"))
    file:write(result)
    file:close()
end

-- What a command line has, and a worker has otherwise.
local function prepare()
    rawset(_G, "arg", words())
    rawset(_G, "print", function(...)
        local texts = {}
        for i = 1, select("#", ...) do texts[i] = tostring((select(i, ...))) end
        io.write(table.concat(texts, "\t"), "\n")
    end)
    rawset(os, "exit", function(code) error(setmetatable({ code = code }, Exit), 0) end)
    package.path = "./?.lua;./?/init.lua;" .. package.path
    -- It patches ffi, which is there only if workers.allow_ffi says so.
    package.loaded["busted.luajit"] = function() end
end

local function traced(why)
    return getmetatable(why) == Exit and why or debug.traceback(tostring(why), 2)
end

local function run()
    prepare()
    local found, runner = pcall(require, "busted.runner")
    if not found then
        io.stderr:write("evrt test: busted is needed (on Debian: apt install lua-busted): ",
            tostring(runner):match "^[^\n]*", "\n")
        return false
    end
    local ok, why = xpcall(function() runner { standalone = false } end, traced)
    if ok then return true end
    if getmetatable(why) == Exit then return why.code == 0 or why.code == true end
    io.stderr:write("evrt test: ", why, "\n")
    return false
end

return {
    name = "evrt.test",
    events = "evrt.test",
    policies = { require "evrt.policy".retry { max_retries = 0 } },
    handle = function()
        tell(run() and "passed" or "failed")
        io.stdout:flush()
    end,
}
