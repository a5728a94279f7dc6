-- A segment goes only when what ended with its events is durable: a node that is killed in between hands them
-- out again, and has to find them. strace makes the disk slow, so that there is a between.
local uv = require "luv"
local evrt = require "spec.support.evrt"
local tamper = require "spec.support.tamper"

-- Each ends with its event when its gate is there.
local HANDLERS = [[
local evrt = require "evrt"
local function held(name)
    return { name = name, events = { "first" }, handle = function()
        while true do
            local file = io.open("FOLDER/" .. name)
            if file then return file:close() end
            evrt.sleep(0.01)
        end
    end }
end
return { held "One", held "Two" }
]]

local function publish(node, kind, bytes)
    return node:post("/events", ("x"):rep(bytes), { ["ce-type"] = kind, ["Content-Type"] = "text/plain" }).status
end

local function files(folder)
    local names = {}
    local found = uv.fs_scandir(folder)
    while found do
        local name = uv.fs_scandir_next(found)
        if not name then break end
        names[#names + 1] = name
    end
    table.sort(names)
    return names
end

local function segments(node)
    local names = {}
    for _, name in ipairs(files(node.dir .. "/data/journal")) do
        if name:find "%.seg$" then names[#names + 1] = node.dir .. "/data/journal/" .. name end
    end
    return names
end

describe("a segment that is dropped #plain", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("holds no event whose end could be forgotten", function()
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir, handlers = { ["a.lua"] = (HANDLERS:gsub("FOLDER", dir)) },
            config = { http = { max_event_size = "8MiB" }, store = { max_size = "192MiB", max_backlog = "64MiB" } },
        }
        -- Only the first of them is in the first segment.
        assert.equal(202, publish(node, "first", 1))
        while publish(node, "big", 7 * 2 ^ 20) == 202 do end
        node:await("two snapshots", function() return #files(dir .. "/data/snapshots") >= 2 end)
        local all = segments(node)
        tamper(node, all[#all], "pwritev2:delay_enter=1500000")
        -- The loop's thread writes this, and learns that the disk is slow; another thread the next.
        evrt.write(dir .. "/One", "")
        node:await("One to be done", function() return node:handler("One").done == 1 end)
        evrt.write(dir .. "/Two", "")
        node:await_log { msg = "Segment dropped" }
        node:await("the file to go", function() return not uv.fs_stat(all[1]) end)
        node:stop "sigkill"

        node = node:restart()
        node:await("Two to be done", function()
            local two = node:handler("Two")
            return two.pending == 0 and two.running == 0
        end)
        assert.equal(1, node:handler("Two").done)
        assert.equal(0, (node:stop()))
    end)
end)
