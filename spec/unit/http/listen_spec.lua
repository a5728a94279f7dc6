local ffi = require "ffi"
local c = require "spec.support.c"
local uv = require "luv"
local lib = c.load("http", { "http/listen.h" })
ffi.cdef "int close(int);"

describe("http/listen", function()
    local err = ffi.new "struct evrt_error"

    local function listen(host, port)
        local address = ffi.new "struct evrt_address"
        address.host, address.port = host, port or 0
        local fd = lib.evrt_listen(address, err)
        return fd, fd < 0 and ffi.string(err.message)
    end

    it("takes any free port and says which", function()
        for _, host in ipairs { "127.0.0.1", "::1", "0.0.0.0", "::" } do
            local fd, why = listen(host)
            assert.is_true(fd >= 0, why)
            assert.is_true(lib.evrt_listen_port(fd) > 0)
            ffi.C.close(fd)
        end
    end)

    it("says that a port is taken, and by whom", function()
        for _, host in ipairs { "127.0.0.1", "::1" } do
            local fd = listen(host)
            local port = lib.evrt_listen_port(fd)
            local code, why = listen(host, port)
            assert.are.equal(-98, code)
            local name = host == "::1" and "[::1]" or host
            assert.truthy(why:find(("cannot listen on %s:%d: the port is taken"):format(name, port), 1, true), why)
            assert.truthy(why:find("pid " .. uv.os_getpid(), 1, true), why)
            ffi.C.close(fd)
        end
    end)

    it("says what else is wrong", function()
        local code, why = listen "no.such.name"
        assert.are.equal(-22, code)
        assert.truthy(why:find("not an IPv4 or IPv6 address", 1, true))
        code, why = listen "192.0.2.1" -- an address of documentation, nobody's
        assert.are.equal(-99, code)
        assert.truthy(why:find("192.0.2.1:0", 1, true), why)
    end)

    it("tells what has come to a connection", function()
        local fd = listen "127.0.0.1"
        local tcp, server = uv.new_tcp(), uv.new_tcp()
        server:open(fd)
        local accepted
        server:listen(1, function()
            accepted = uv.new_tcp()
            server:accept(accepted)
        end)
        tcp:connect("127.0.0.1", lib.evrt_listen_port(fd), function() end)
        while not accepted do uv.run "once" end
        local received = ffi.new "struct evrt_received"
        assert.are.equal(0, lib.evrt_received(accepted:fileno(), received))
        assert.are.equal(0, tonumber(received.bytes))
        local told
        accepted:read_start(function(_, data) told = data end)
        tcp:write "hello"
        while not told do uv.run "once" end
        assert.are.equal(0, lib.evrt_received(accepted:fileno(), received))
        assert.are.equal(5, tonumber(received.bytes))
        for _, handle in ipairs { tcp, server, accepted } do handle:close() end
        uv.run "nowait"
        assert.are.equal(-9, lib.evrt_received(-1, received))
    end)
end)
