-- What the scripts of spec/bench share: where they run, the binary's own `bench`, the peer beside it, and
-- one form of a line:
--
--     WHAT: FIGURE UNIT (limit LIMIT, ok|MISSED|undecided)        WHAT: FIGURE UNIT (PEER FIGURE UNIT, ratio R)
--
-- They measure a release build (EVRT_BUILD, build/release) and always exit 0: figures depend on the machine.
local uv = require "luv"
local cjson = require "cjson"

local bench = {}

if not os.getenv "EVRT_BUILD" then uv.os_setenv("EVRT_BUILD", "build/release") end
bench.build = os.getenv "EVRT_BUILD"

local evrt = require "spec.support.evrt"
local loop = require "spec.support.loop"
local ports = require "spec.support.ports"

io.stdout:setvbuf "line"

local function number(v)
    return v >= 1000 and ("%.0f"):format(v) or v >= 10 and ("%.1f"):format(v) or ("%.3g"):format(v)
end

--- A figure and its limit. `most`: the figure may be that high; `least`: it must be that high. `from`, `to`: what it is
--- sure to lie between; a limit in there is neither met nor missed.
---@param figure { most?: number, least?: number, unit: string, why?: string, from?: number, to?: number }
function bench.limit(what, value, figure)
    local limit, from, to = figure.most or figure.least, figure.from or value, figure.to or value
    local met = figure.most and to <= limit or figure.least and from >= limit
    local missed = figure.most and from > limit or figure.least and to < limit
    print(("%s: %s %s (limit %s%s %s, ratio %.2f, %s)"):format(what, number(value), figure.unit,
        figure.most and "< " or "> ", number(limit), figure.unit, value / limit,
        met and "ok" or missed and "MISSED" or "undecided"))
    return met
end

--- A figure beside a peer's.
function bench.peer(what, value, unit, name, other)
    print(("%s: %s %s (%s %s %s, ratio %.2f)"):format(what, number(value), unit, name, number(other), unit,
        value / other))
end

function bench.note(text) print("# " .. text) end

--- Runs `evrt bench --json` with arguments, in a folder that is removed afterwards.
function bench.evrt(args)
    local all = { "bench", "--json", "--dir", evrt.folder() }
    for _, a in ipairs(args) do all[#all + 1] = tostring(a) end
    local node = evrt.spawn { args = all }
    node:wait(600)
    if node.code ~= 0 then error("evrt bench failed:\n" .. node:said(), 0) end
    return cjson.decode(table.concat(node.out, "\n"))
end

--- A program of the build's bench folder or of the system, run to its end; standard output, or nil and why.
function bench.run(program, args)
    local node = evrt.spawn { program = program, args = args }
    node:wait(600)
    if node.code ~= 0 then return nil, node:said() end
    return table.concat(node.out, "\n")
end

local function found(program)
    for dir in (os.getenv "PATH" or ""):gmatch "[^:]+" do
        if uv.fs_access(dir .. "/" .. program, "X") then return dir .. "/" .. program end
    end
end

--- Redis Streams under the same load: {events_per_second, handled_p50_us, ...}, or nil and why not.
---@param fsync "everysec"|"always"
---@param mode "steady"|"flat"
function bench.redis(fsync, mode, rate, seconds, size)
    local server, client = found "redis-server", uv.fs_realpath(bench.build .. "/bench/redis_bench")
    if not server then return nil, "redis-server is not installed" end
    if not client then return nil, bench.build .. "/bench/redis_bench is not built" end
    local port = ports.free()
    local node = evrt.spawn {
        program = server,
        args = { "--port", tostring(port), "--bind", "127.0.0.1", "--dir", evrt.folder(), "--save", "",
            "--appendonly", "yes", "--appendfsync", fsync },
    }
    node:await("Redis to be ready", function()
        for _, line in ipairs(node.out) do
            if line:find "[Rr]eady to accept connections" then return true end
        end
    end)
    local text, why = bench.run(client, { tostring(port), tostring(node.pid), mode, tostring(rate),
        tostring(seconds), tostring(size) })
    node:stop()
    return text and cjson.decode(text), why
end

--- Publishes one event at a time for some seconds, some two hundred a second, each when the one before has been
--- handled and a few milliseconds have passed; adds how long each took, in ms.
---@param text string a structured CloudEvent
---@param times number[]
function bench.probe(node, text, seconds, times)
    local connection, stop = evrt.connect(node.ingest), uv.hrtime() + seconds * 1e9
    while uv.hrtime() < stop do
        local began = uv.hrtime()
        local answer = connection:request("POST", "/events?wait=handled", text,
            { ["Content-Type"] = "application/cloudevents+json" })
        assert(answer.status == 200, answer.body)
        times[#times + 1] = (uv.hrtime() - began) / 1e6
        evrt.idle(0.003)
    end
    connection:close()
    return times
end

--- The value that so large a part of them does not exceed.
---@param part number 0 to 1
function bench.percentile(values, part)
    table.sort(values)
    return values[math.max(1, math.ceil(#values * part))]
end

--- Runs f, ends what it started, and says what failed.
function bench.main(f)
    loop.patience = 60
    local load, cores = uv.loadavg(), #uv.cpu_info()
    if load > cores / 2 then
        bench.note(("this machine is busy (load %.1f on %d cores): the figures are not what it can do")
            :format(load, cores))
    end
    local ok, why = pcall(f)
    evrt.cleanup()
    if not ok then
        print("# failed: " .. tostring(why))
        os.exit(1)
    end
end

return bench
