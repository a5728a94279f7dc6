-- What cmake --install lays, and that a C program can be built on it.
local c = require "spec.support.c"
local evrt = require "spec.support.evrt"
local leak = require "spec.support.leak"
local uv = require "luv"

local function sh(script, env)
    local node = evrt.spawn { program = "/bin/sh", args = { "-ec", script }, env = env }
    node:wait(120)
    return node.code, table.concat(node.out, "\n"), table.concat(node.err, "\n")
end

describe("an installation #plain", function()
    leak.guard(before_each, after_each)

    local root, env
    before_each(function()
        root = evrt.folder()
        env = { DESTDIR = root, BUILD = c.build_dir(), ROOT = root, PKG_CONFIG_SYSROOT_DIR = root,
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS = "1" }
        local code, _, err = sh("cmake --install $BUILD >/dev/null", env)
        assert(code == 0, err)
        env.DESTDIR = nil
    end)

    local function find(pattern)
        local _, out = sh("find $ROOT -path '" .. pattern .. "'", env)
        return out ~= "" and out or nil
    end

    it("has the binary, the library, the header and what belongs to a service", function()
        for _, pattern in ipairs { "*/bin/evrt", "*/libevrt.so", "*/libevrt.so.0", "*/include/evrt.h",
            "*/pkgconfig/evrt.pc", "*/etc/evrt/evrt.yaml", "*/systemd/system/evrt.service" } do
            assert.truthy(find(pattern), pattern)
        end
        local unit = evrt.read(find "*/systemd/system/evrt.service")
        local bin = find("*/bin/evrt"):sub(#root + 1)
        assert.truthy(unit:find("ExecStart=" .. bin .. " run ", 1, true))
    end)

    it("runs from anywhere, without the sources", function()
        local code, out = evrt.run({ "version" }, { program = find "*/bin/evrt", cwd = "/" })
        assert.equal(0, code)
        assert.truthy(out:find "%d+%.%d+%.%d+")
    end)

    it("has a configuration with a first handler, which passes `evrt check`", function()
        local code, out, err = evrt.run({ "check", find "*/etc/evrt/evrt.yaml" },
            { program = find "*/bin/evrt", cwd = "/" })
        assert.equal(0, code, out .. err)
        assert.truthy(find "*/etc/evrt/handlers/hello.lua")
    end)

    it("carries a C program that publishes on its own loop", function()
        env.PKG_CONFIG_PATH = find("*/pkgconfig/evrt.pc"):match "^(.*)/evrt.pc$"
        local code, _, err = sh("${CC:-cc} -Wall -Werror $FLAGS -o $ROOT/embed spec/support/embed.c "
            .. "$(pkg-config --cflags --libs evrt libuv)", env)
        assert(code == 0, err)
        local dir = evrt.lay { handlers = { ["a.lua"] = [[
            return { name = "A", events = { "a.*" }, handle = function() end }
        ]] } }
        local lib = find("*/libevrt.so"):match "^(.*)/"
        local node = evrt.spawn { program = root .. "/embed", cwd = dir,
            args = { dir .. "/evrt.yaml", find "*/bin/evrt" }, env = { LD_LIBRARY_PATH = lib } }
        assert.equal(0, (node:wait()), node:said())
        local own = {}
        for _, line in ipairs(node.lines) do own[#own + 1] = line.raw end
        assert.same({
            "durable 0 seq 1 id one", "done 1 of 1", "metrics good", "spans 1", "drained"
        }, { unpack(own, 2) })
        assert.truthy(uv.fs_stat(dir .. "/data"))
    end)
end)
