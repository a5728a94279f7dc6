-- The log of a running node: one JSON object a line in the final format, whatever scripts and events hold;
-- files, reopening, levels, sampling, the console.
local cjson = require "cjson"
local evrt = require "spec.support.evrt"

-- The table of messages, read from its header, by text: level, and fields by when they are there.
local messages = {}
do
    local header = evrt.read("runtime/telemetry/log_events.h"):gsub('"%s*\\?\n%s*"', "")
    for level, text, names in header:gmatch 'X%([A-Z_]+, (%u+), "([^"]*)",[%s\\]*"([^"]*)"' do
        local fields = {}
        for name, optional in names:gmatch "([%w_]+)(%??)" do
            fields[name] = optional == "?" and "optional" or "always"
        end
        messages[text] = { level = level:lower(), fields = fields }
    end
end

local own = { level = true, timestamp = true, caller = true, msg = true }

local SCRIPT = [[
local evrt = require "evrt"
return { name = "A", events = { "x.*" }, handle = function(event, ctx)
    if event.type == "x.fail" then error("boom\nand \"more\" \255") end
    ctx.log.info("counting", { target = 7, msg = "mine", list = { 1, 2 } })
    print("printed", 1, nil)
    io.stdout:write("raw line\n")
    evrt.log.warn(event.data.text, { text = event.data.text })
end }
]]

describe("the log", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("says what its table of messages says, one object a line", function()
        local node = evrt.start {
            config = { logging = { level = "debug", caller = true, sampling = { first = 0 } } },
            handlers = { ["a.lua"] = SCRIPT },
        }
        local text = "line one\nline two \27[31m \\ \" \226\128\168 end"
        assert.equal(202, node:publish({ type = "x.good", data = { text = text } }).status)
        node:await_log { msg = "Event handled successfully", handler = "A" }
        assert.equal(202, node:publish({ type = "x.fail" }).status)
        local batch = [=[[{"specversion":"1.0","id":"1","source":"/s","type":"y"},{}]]=]
        assert.equal(207, node:post_batch(batch).status)
        node:await_log { msg = "Batch processing started", events = 2 }
        node:await_log { msg = "Batch processing completed", events = 2, accepted = 1, refused = 1 }
        local failed = node:await_log { msg = "Event handle failed", handler = "A" }
        assert.truthy(failed.error:find "a.lua:3: boom")
        assert.equal("error", failed.error_type)
        assert.equal(0, (node:stop()))

        assert.equal("info", node:logged({ msg = "counting" })[1].level)
        assert.equal(7, node:logged({ msg = "counting" })[1].target)
        assert.equal("mine", node:logged({ msg = "counting" })[1].msg_)
        assert.same({ 1, 2 }, node:logged({ msg = "counting" })[1].list)
        assert.truthy(node:logged({ msg = "counting" })[1].caller:find "a.lua:4")
        assert.same({ "x.*" }, node:logged({ msg = "Handler added" })[1].events)
        assert.equal(1, #node:logged { msg = "printed\t1\tnil" })
        assert.equal(text, node:logged({ msg = text })[1].text)
        local known = 0
        for i, line in ipairs(node.lines) do
            if not line.raw then
                assert.truthy(line.timestamp:match "^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ$")
                assert.truthy(({ debug = 1, info = 1, warn = 1, error = 1 })[line.level])
                assert.truthy(line.caller and line.caller:match ":%d+$", node.out[i])
                local m = messages[line.msg]
                if m then
                    known = known + 1
                    assert.equal(m.level, line.level, node.out[i])
                    for name in pairs(line) do
                        assert.is_truthy(own[name] or m.fields[name], name .. " is not in the table: " .. node.out[i])
                    end
                    for name, when in pairs(m.fields) do
                        assert.is_truthy(when == "optional" or line[name] ~= nil,
                            name .. " is missing: " .. node.out[i])
                    end
                end
                -- Keys once: what is decoded and encoded again has as many members as the text.
                local keys = {}
                for name in pairs(line) do keys[#keys + 1] = name end
                local _, colons = node.out[i]:gsub('[{,]"[^"\\]*":', "")
                assert.is_true(colons >= #keys)
            else
                assert.equal("raw line", line.raw)
            end
        end
        assert.is_true(known >= 8)
        for _, msg in ipairs { "Store opened", "Listening", "evrt ready", "Event published", "Draining", "Drained" } do
            assert.is_true(#node:logged { msg = msg } >= 1, msg)
        end
        local handled = node:logged({ msg = "Event handled successfully" })[1]
        assert.equal("x.good", handled.event_type)
        assert.equal("success", handled.status)
        assert.equal(1, handled.attempt)
        assert.truthy(handled.duration:match "^%d+%.%d+s$")
        assert.equal(#node:logged { msg = "Event published" }, 3)
    end)

    it("goes to files that SIGUSR1 opens anew", function()
        local dir = evrt.folder()
        local node = evrt.start {
            dir = dir,
            config = {
                logging = { outputs = { "stdout", dir .. "/evrt.log" }, level = "info", sampling = { first = 0 } },
            },
            handlers = { ["a.lua"] = [[return { name = "A", events = { "**" }, handle = function() end }]] },
        }
        node:publish { type = "x.one" }
        node:await_log { msg = "Event handled successfully", event_type = "x.one" }
        assert(os.rename(dir .. "/evrt.log", dir .. "/evrt.log.1"))
        node:kill "sigusr1"
        node:await_log { msg = "Log file reopened" }
        node:publish { type = "x.two" }
        node:await_log { msg = "Event handled successfully", event_type = "x.two" }
        assert.equal(0, (node:stop()))
        local old, new = evrt.read(dir .. "/evrt.log.1"), evrt.read(dir .. "/evrt.log")
        assert.truthy(old:find("x.one", 1, true) and not old:find("x.two", 1, true))
        assert.truthy(new:find("x.two", 1, true) and not new:find("x.one", 1, true))
        assert.equal(#node.lines, select(2, (old .. new):gsub("\n", "")))
        for line in (old .. new):gmatch "[^\n]+" do assert.is_table(cjson.decode(line)) end
    end)

    it("samples floods of one message, not what is rare", function()
        local node = evrt.start {
            config = { logging = { level = "info", sampling = { first = 5, then_every = 1000000 } } },
            handlers = { ["a.lua"] = [[return { name = "A", events = { "**" }, handle = function() end }]] },
        }
        local event = '{"specversion":"1.0","source":"s","type":"x.y"}'
        local answer = node:post_batch("[" .. (event .. ","):rep(299) .. event .. "]")
        assert.equal(202, answer.status)
        node:await("all to be handled", function()
            return node:get("/api/v1/handlers").json.items[1].done == 300
        end)
        assert.equal(0, (node:stop()))
        local published = #node:logged { msg = "Event published" }
        assert.is_true(published >= 5 and published <= 15)
        assert.equal(1, #node:logged { msg = "Drained" })
    end)

    it("can be read by people", function()
        local node = evrt.start {
            config = { logging = { encoding = "console", level = "info" } }, wait = false,
        }
        node:await("a line that says ready", function()
            for _, line in ipairs(node.out) do
                if line:find " INFO  evrt ready " then return true end
            end
        end)
        for _, line in ipairs(node.out) do
            assert.truthy(line:match "^%d%d%d%d%-%d%d%-%d%dT[%d:.]+Z %u+ +%w", line)
        end
        assert.equal(0, (node:stop()))
    end)

    it("takes another level from an operator, for the host and for scripts in every worker", function()
        local node = evrt.start {
            config = { logging = { level = "info" } },
            handlers = { ["a.lua"] = [[return { name = "A", events = { "x" }, handle = function(event, ctx)
                ctx.log.debug("fine", { id = event.id })
                ctx.log.error("coarse", { id = event.id })
            end }]] },
        }
        local function level(wanted)
            local r = node:put_admin("/api/v1/log-level", cjson.encode { level = wanted })
            return r.status, r.json
        end
        local function handled(id)
            assert.equal(202, node:publish({ type = "x", id = id }).status)
            node:await_log { msg = "coarse", id = id }
        end
        assert.same({ level = "info" }, node:get "/api/v1/log-level".json)
        handled "1"
        assert.same({ 200, { level = "debug" } }, { level "debug" })
        handled "2"
        node:await_log { msg = "fine", id = "2" }
        node:await_log { msg = "Event stored successfully", event_id = "2" }
        assert.equal(200, (level "error"))
        node:await_log { msg = "Operator action", action = "set log level", outcome = "debug to error" }
        handled "3"
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        assert.same({ level = "error" }, node:get "/api/v1/log-level".json)

        local status, said = level "loud"
        assert.equal(400, status)
        assert.equal("level: expected debug, info, warn or error", said.error.message)
        assert.equal(0, (node:stop()))
        assert.same({ "2" }, { (node:logged { msg = "fine" }[1] or {}).id })
        assert.equal(1, #node:logged { msg = "fine" })
        assert.equal(0, #node:logged { msg = "Event handled successfully", event_id = "3" })
    end)

    it("takes caller and sampling over with a reload", function()
        local dir = evrt.folder()
        local options = { dir = dir, config = { logging = { caller = true, sampling = { first = 0 } } }, handlers = {
            ["a.lua"] = [[return { name = "A", events = { "**" }, handle = function() end }]],
        } }
        local node = evrt.start(options)
        assert.truthy(node:logged({ msg = "evrt ready" })[1].caller)
        options.config.logging = { caller = false, sampling = { first = 1, then_every = 0 } }
        options.config.http, options.config.admin = { listen = "127.0.0.1:" .. node.ingest },
            { listen = "127.0.0.1:" .. node.admin }
        evrt.lay(options)
        assert.equal(200, node:post_admin("/api/v1/reload").status)
        for _ = 1, 20 do assert.equal(202, node:publish({ type = "x" }).status) end
        assert.equal(0, (node:stop()))
        local published = node:logged { msg = "Event published" }
        assert.is_true(#published >= 1 and #published < 20, #published)
        assert.is_nil(published[1].caller)
    end)

    it("shows no secret, whatever is asked", function()
        local dir = evrt.folder()
        evrt.write(dir .. "/token", "s3cr3t-t0ken\n")
        local node = evrt.start {
            dir = dir, handlers = { ["a.lua"] = SCRIPT },
            config = {
                logging = { level = "debug", sampling = { first = 0 } }, admin = { token_file = dir .. "/token" },
            },
        }
        for _, secret in ipairs { "s3cr3t-t0ken", "s3cr3t-wr0ng" } do
            node:get("/api/v1/stats?access_token=" .. secret)
            node:get("/api/v1/stats", { Authorization = "Bearer " .. secret })
            node:get("/api/v1/nothing?access_token=" .. secret, { Authorization = "Bearer " .. secret })
            node:post("/events?access_token=" .. secret, "{", { ["Content-Type"] = "application/json" })
        end
        node:await_log { msg = "Request refused" }
        assert.equal(0, (node:stop()))
        for _, line in ipairs(node.out) do assert.is_nil(line:find("s3cr3t", 1, true), line) end
    end)

    it("names a file that cannot be opened", function()
        local dir = evrt.lay { config = { logging = { outputs = { "/no/such/folder/evrt.log" } } } }
        local code, out, err = evrt.run { "run", dir .. "/evrt.yaml" }
        assert.is_true(code ~= 0)
        assert.truthy((out .. err):find("/no/such/folder/evrt.log", 1, true))
    end)
end)
