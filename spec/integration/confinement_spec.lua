-- What a script cannot reach, whatever it does with io, os and FFI: the store, the host, what the host has
-- open; as the kernel offers, in a mount namespace or with Landlock.
local uv = require "luv"
local evrt = require "spec.support.evrt"

local AS_ROOT = uv.getuid() == 0

-- A handler that runs each event's data.run as Lua and logs what it returns.
local prober = [[
    local evrt = require "evrt"
    local function sh(command)
        local pipe = io.popen("(" .. command .. ") 2>&1")
        local text = pipe:read "*a"
        pipe:close()
        return (text:gsub("%s+$", ""))
    end
    return { name = "Prober", events = "probe", handle = function(event)
        local chunk = assert(loadstring("local sh, host, store = ... " .. event.data.run))
        local host = sh "cut -d ' ' -f 4 /proc/$PPID/stat"
        evrt.log.info("probed", { id = event.id, answer = tostring((chunk(sh, host, event.data.store))) })
    end }
]]

local number = 0
local function probe(node, run)
    number = number + 1
    local id = "probe-" .. number
    node:publish { type = "probe", id = id, data = { run = run, store = node.dir .. "/data" } }
    return node:await_log({ msg = "probed", id = id }).answer
end

local function start(workers, options)
    workers.count = 1
    options = options or {}
    options.config = { workers = workers }
    options.handlers = { ["probe.lua"] = prober }
    return evrt.start(options)
end

-- Runs the node where mount namespaces are used up, so that Landlock is what is left.
local without_namespaces = { "unshare", "--user", "--map-root-user", "sh", "-c",
    'echo 0 > /proc/sys/user/max_mnt_namespaces && exec "$@"', "sh" }

local function cannot_reach(node)
    for _, run in ipairs {
        "return (io.open(store .. '/state.db'))",
        "return (io.open(store .. '/state.db', 'r+'))",
        "return (io.open(store .. '/new', 'w'))",
        "return (os.remove(store .. '/state.db'))",
        "return (os.rename(store .. '/state.db', store .. '/x'))",
        "return (os.rename(store, store .. '2'))",
        "local path = sh('ls -d ' .. store .. '/*.log ' .. store .. '/journal/* | head -1') return (io.open(path))",
        "return (io.open('/proc/' .. host .. '/root' .. store .. '/state.db'))",
        "return (io.open('/proc/' .. host .. '/mem'))",
        "return (io.open('/proc/' .. host .. '/environ'))",
        "for fd = 3, 40 do local f = io.open('/proc/' .. host .. '/fd/' .. fd) if f then return fd end end",
    } do
        assert.same({ run, "nil" }, { run, probe(node, run) })
    end
end

describe("a script", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("has less of a CPU than the host", function()
        local function nice(text)
            return tonumber((text:gsub("^.*%) ", "")):match("^" .. ("%S+ "):rep(16) .. "(%d+)"))
        end
        local file = assert(io.open "/proc/self/stat")
        local own = nice(file:read "*a")
        file:close()
        for wanted, workers in pairs { [5] = {}, [7] = { nice = 7 }, [0] = { nice = 0 } } do
            local node = start(workers)
            local run = 'local f = io.open "/proc/self/stat" local s = f:read "*a" f:close() return s'
            assert.equal(math.min(own + wanted, 19), nice(probe(node, run)))
            node:stop()
        end
    end)

    it("cannot reach the store or look into the host", function()
        local node = start {}
        local said = node:await_log { msg = "Workers confined" }
        assert.same({ "hidden", "denied", "filtered" }, { said.store, said.host, said.system_calls })
        cannot_reach(node)
        -- The namespace cannot be left.
        assert.truthy(probe(node, "return sh('umount ' .. store)"):find "umount")
        assert.equal("nil", probe(node, "return (io.open(store .. '/state.db'))"))
        assert.truthy(probe(node, "return sh('unshare --mount true')"):find "not permitted")
        assert.truthy(probe(node, "return sh('nsenter --mount --target ' .. host .. ' true')"):find "denied")
        assert.equal(0, node:stop())
        assert.equal(0, evrt.run { "store", "verify", node.dir .. "/data" })
    end)

    it("keeps all other files, also new ones beside the store", function()
        local node = start {}
        assert.equal("x", probe(node, [[
            local path = store .. '/../side'
            local file = assert(io.open(path, 'w'))
            assert(file:write 'x')
            file:close()
            sh('mkdir -p ' .. store .. '/../sub')
            assert(os.rename(path, store .. '/../sub/side'))
            return assert(io.open(store .. '/../sub/side')):read '*a'
        ]]))
        assert.equal(0, node:stop())
    end)

    it("cannot reach the store where Landlock has to do #plain", function()
        local node = start({}, { wrap = without_namespaces })
        local said = node:await_log { msg = "Workers confined" }
        assert.same({ "denied", "denied", "filtered" }, { said.store, said.host, said.system_calls })
        cannot_reach(node)
        -- What was there beside it still is.
        assert.equal("ok", probe(node, "return assert(io.open(store .. '/../evrt.yaml', 'r+')) and 'ok'"))
        assert.equal("true", probe(node, [[
            local path = '/dev/shm/evrt-spec-' .. host
            assert(io.open(path, 'w')):close()
            return os.remove(path)
        ]]))
        assert.equal(0, node:stop())
    end)

    it("finds nothing open but what is its worker's", function()
        local node = start {}
        local open = probe(node, "return sh('ls -l /proc/$PPID/fd')")
        assert.is_nil(open:find(node.dir, 1, true))
        local listeners = {}
        for _, file in ipairs { "tcp", "tcp6" } do
            for inode in evrt.read("/proc/net/" .. file):gmatch ":%x+ %x+:0000 0A %S+ %S+ %S+ +%d+ +%d+ (%d+)" do
                listeners[inode] = true
            end
        end
        assert.is_truthy(next(listeners))
        local count = 0
        for fd, what in open:gmatch " (%d+) %-> (%S+)" do
            count = count + 1
            local inode = what:match "^socket:%[(%d+)%]$"
            assert.is_nil(listeners[inode or ""])
            -- 0 to 2, the host's socket, and what the loop and popen need
            assert.truthy(inode and tonumber(fd) <= 3 or what:find "^anon_inode:" or what:find "^pipe:"
                or what == "/dev/null", what)
        end
        assert.truthy(count >= 5)
        assert.equal(0, node:stop())
    end)

    it("cannot signal or trace the host", function()
        local node = start { allow_ffi = true }
        for _, run in ipairs {
            "return sh('kill -TERM ' .. host)",
            [[return sh('/bin/kill -TERM -- -' ..
              io.open('/proc/' .. host .. '/stat'):read('*a'):match '%) %a %d+ (%d+)')]],
            [[local ffi = require 'ffi'
              ffi.cdef 'int kill(int, int); char *strerror(int);'
              return ffi.C.kill(tonumber(host), 15) == -1 and ffi.string(ffi.C.strerror(ffi.errno()))]],
            [[local ffi = require 'ffi'
              ffi.cdef 'long ptrace(int, int, void *, void *); char *strerror(int);'
              return ffi.C.ptrace(16, tonumber(host), nil, nil) == -1 and ffi.string(ffi.C.strerror(ffi.errno()))]],
            [[local ffi = require 'ffi'
              ffi.cdef 'int mount(const char *, const char *, const char *, unsigned long, void *);'
              ffi.cdef 'char *strerror(int);'
              return ffi.C.mount('x', '/mnt', 'tmpfs', 0, nil) == -1 and ffi.string(ffi.C.strerror(ffi.errno()))]],
        } do
            local answer = probe(node, run)
            assert.truthy(answer:lower():find "not permitted", run .. ": " .. answer)
        end
        -- kill(0): its own and its programs'.
        node:publish { type = "probe", data = { run = "os.execute('kill -9 0')", store = "" } }
        node:await_log { msg = "Worker replaced" }
        assert.equal("fine", probe(node, "return 'fine'"))
        assert.equal(0, node:stop())
    end)

    it("is limited in what it takes beside Lua's memory #plain", function()
        local node = start { allow_ffi = true, memory_limit = "16MiB" }
        assert.equal("true", probe(node, [[
            local ffi = require 'ffi'
            ffi.cdef 'void *malloc(size_t n); void free(void *p);'
            local small, big = ffi.C.malloc(2 ^ 26), ffi.C.malloc(2 ^ 30)
            ffi.C.free(small)
            return small ~= nil and big == nil
        ]]))
        assert.equal("0 4096", probe(node, "return (sh('ulimit -c; ulimit -n'):gsub('\\n', ' '))"))
        assert.equal(0, node:stop())
    end)

    it("reaches everything with workers.confine: false", function()
        local node = start { confine = false }
        assert.truthy(probe(node, "return (io.open(store .. '/state.db'))"):find "^file")
        local said = node:await_log { msg = "Workers confined" }
        assert.same({ "no", "no", "no" }, { said.store, said.host, said.system_calls })
        assert.equal(0, node:stop())
    end)
end)

describe("workers.user", function()
    require("spec.support.leak").guard(before_each, after_each)

    it("is who scripts run as; only root can", function()
        if AS_ROOT then
            local node = start { user = "nobody" }
            assert.equal("nobody", probe(node, "return sh 'id -un'"))
            assert.equal("nogroup", probe(node, "return sh 'id -Gn'"))
            assert.equal("nil", probe(node, "return (io.open('/etc/shadow'))"))
            cannot_reach(node)
            assert.equal(0, node:stop())
        else
            local dir = evrt.lay { config = { workers = { user = "root" } }, handlers = { ["probe.lua"] = prober } }
            local code, _, err = evrt.run { "check", dir .. "/evrt.yaml" }
            assert.equal(78, code)
            assert.truthy(err:find("only a node that runs as root can", 1, true), err)
        end
    end)

    it("that does not exist is told with its line", function()
        local dir = evrt.lay { config = "handlers: handlers/\nworkers:\n  user: nobody-by-that-name\n",
            handlers = { ["probe.lua"] = prober } }
        for _, command in ipairs { "check", "run" } do
            local code, _, err = evrt.run { command, dir .. "/evrt.yaml" }
            assert.equal(78, code)
            assert.truthy(err:find('evrt.yaml:3: workers.user: there is no user "nobody-by-that-name"', 1, true), err)
        end
    end)
end)

