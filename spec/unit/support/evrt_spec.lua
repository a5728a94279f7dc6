-- The harness itself: what integration specs rely on must not be what fails.
local evrt = require "spec.support.evrt"
local http = require "spec.support.http"
local leak = require "spec.support.leak"
local loop = require "spec.support.loop"
local ports = require "spec.support.ports"
local uv = require "luv"

local function shell(script, options)
    options = options or {}
    options.program, options.args = "/bin/sh", { "-c", script }
    return evrt.spawn(options)
end

-- A server that answers every connection with the same bytes, then perhaps closes.
local function serve(bytes, close)
    local server, peers = uv.new_tcp(), {}
    server:bind("127.0.0.1", 0)
    server:listen(16, function()
        local peer = uv.new_tcp()
        peers[#peers + 1] = peer
        server:accept(peer)
        peer:read_start(function(_, data)
            if not data then return end
            peer:write(bytes, function() if close and not peer:is_closing() then peer:close() end end)
        end)
    end)
    return server:getsockname().port, function()
        server:close()
        for _, peer in ipairs(peers) do if not peer:is_closing() then peer:close() end end
        loop.settle()
    end
end

describe("spec/support", function()
    leak.guard(before_each, after_each)

    it("collects lines, decoded where they are JSON, and the exit code", function()
        local node = shell [[echo '{"msg":"a","n":1}'; echo plain; printf 'no newline'; echo oops >&2; exit 3]]
        assert.equal(3, (node:wait()))
        assert.same({ { msg = "a", n = 1 }, { raw = "plain" }, { raw = "no newline" } }, node.lines)
        assert.same({ "oops" }, node.err)
    end)

    it("passes arguments, environment, standard input and the folder", function()
        local dir = evrt.folder()
        local node = shell("pwd; echo $X; cat", { cwd = dir, env = { X = "a b" }, stdin = "typed" })
        node:wait()
        assert.same({ dir, "a b", "typed" }, node.out)
    end)

    it("awaits log lines by their fields", function()
        local node = shell [[echo '{"msg":"a","n":1}'; echo '{"msg":"a","n":2}'; exec sleep 60]]
        assert.equal(2, node:await_log({ msg = "a" }, nil, 2).n)
        assert.equal(1, #node:logged { msg = "a", n = 1 })
        node:kill "sigkill"
        assert.same({ 0, 9 }, { node:wait() })
    end)

    it("says what the process said when it ends too early, or never gets there", function()
        local node = shell "echo dying words >&2; exit 1"
        assert.error_matches(function() node:await_log { msg = "never" } end, "code 1.*dying words")
        local slow = shell "echo alive; exec sleep 60"
        slow:await("alive", function() return #slow.out > 0 end)
        assert.error_matches(function() slow:await_log({ msg = "never" }, 0.05) end, "timed out.*never.*alive")
    end)

    it("ends what a spec left running, and its folders", function()
        local dir = evrt.folder()
        local node = shell "exec sleep 60"
        evrt.cleanup()
        assert.equal(9, node.signal)
        assert.is_nil(uv.fs_stat(dir))
    end)

    it("does not overlook a sanitizer's report", function()
        shell("echo '==7==ERROR: AddressSanitizer: heap-buffer-overflow' >&2"):wait()
        assert.error_matches(evrt.cleanup, "heap%-buffer%-overflow")
        evrt.cleanup()
    end)

    it("sees children, descriptors and handles", function()
        local before = #leak.descriptors()
        local node = shell "exec sleep 60"
        assert.equal(1, #leak.children())
        assert.is_true(#leak.descriptors() > before)
        assert.equal(1, leak.handles().process)
        node:kill "sigkill"
        node:wait()
        assert.same({}, leak.children())
        assert.equal(before, #leak.descriptors())
    end)

    it("lays out a node's folder", function()
        local dir = evrt.lay { config = { workers = { count = 3 } }, handlers = { ["sub/a.lua"] = "return {}" } }
        local config = require "cjson".decode(evrt.read(dir .. "/evrt.yaml"))
        assert.equal(3, config.workers.count)
        assert.equal("127.0.0.1:0", config.http.listen)
        assert.equal("return {}", evrt.read(dir .. "/handlers/sub/a.lua"))
        assert.equal("a: 1", evrt.read(evrt.lay { config = "a: 1" } .. "/evrt.yaml"))
    end)

    it("reads responses: by length, chunked, pipelined, to the end of the connection", function()
        local port, stop = serve("HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
            .. '{"seq":7}' .. "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
            .. "3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n" .. "HTTP/1.1 500 No\r\n\r\nrest", true)
        local conn = http.connect(port)
        local first = conn:request("POST", "/x", "{}")
        assert.same({ 202, 7 }, { first.status, first.json.seq })
        local second = conn:response()
        assert.same({ "abc0123456789", "1, 2" }, { second.body, second.headers["x-a"] })
        assert.equal("rest", conn:response().body)
        assert.same({ nil, "eof", "" }, { conn:response() })
        conn:close()
        stop()
    end)

    it("says when nobody listens, and keeps a port occupied", function()
        local free = ports.free()
        assert.error_matches(function() http.connect(free) end, "cannot connect.*ECONNREFUSED")
        local port, release = ports.occupy()
        http.connect(port):close()
        release()
        assert.error_matches(function() http.connect(port) end, "ECONNREFUSED")
    end)
end)
