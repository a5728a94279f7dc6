local layers = require "spec.lint.layers"
local lint = require "spec.lint.lint"

local CMAKE = [[
set(below core loop)
evrt_layer(core LIBS x m)
evrt_layer(loop DEPENDS core LIBS PkgConfig::UV)
evrt_layer(state DEPENDS core)
evrt_layer(worker SOURCES gen.c DEPENDS ${below}
  LIBS lua)
evrt_layer(http DEPENDS ${below} state LIBS y)
]]

describe("lint", function()
    local depends = layers.parse("\n" .. CMAKE)

    local function problems(path, text)
        return table.concat(lint.check(path, "/* x */\n" .. text .. "\n", depends), "\n")
    end
    local function clean(path, text) assert.equal("", problems(path, text)) end
    local function caught(expected, path, text)
        assert.equal(expected, problems(path, text))
    end

    it("reads the layers from the build", function()
        assert.same({}, depends.core)
        assert.same({ core = true }, depends.loop)
        assert.same({ core = true, loop = true }, depends.worker)
        assert.same({ core = true, loop = true, state = true }, depends.http)
    end)

    it("reads the real build too", function()
        local file = assert(io.open "CMakeLists.txt")
        local real = layers.parse(file:read "*a")
        file:close()
        assert.same({}, real.core)
        assert.is_true(real.http.host and real.http.core)
        assert.is_nil(real.host.worker)
        assert.is_nil(real.bus.loop)
    end)

    it("catches an upward include", function()
        clean("runtime/http/a.c", '#include "state/state.h"')
        caught("runtime/state/a.c:2: state may not include http/http.h", "runtime/state/a.c",
            '#include "http/http.h"')
        caught("runtime/core/a.h:3: core may not include loop/channel.h", "runtime/core/a.h",
            '\n#  include "loop/channel.h"')
    end)

    it("catches an include between neighbours, and one without its folder", function()
        caught("runtime/state/a.c:2: state may not include loop/channel.h", "runtime/state/a.c",
            '#include "loop/channel.h"')
        caught('runtime/state/a.c:2: include "state.h" by its path from runtime/', "runtime/state/a.c",
            '#include "state.h"')
        clean("runtime/state/a.c", '#include "state/state.h"\n#include "core/buf.h"\n#include "evrt.h"')
    end)

    it("catches a library outside of its layer", function()
        clean("runtime/state/a.c", "#include <sqlite3.h>")
        clean("runtime/worker/a.c", "#include <lua.h>\n#include <uv.h>")
        clean("runtime/core/hash.c", "#include <xxhash.h>")
        caught("runtime/http/a.c:2: <sqlite3.h> belongs to state", "runtime/http/a.c", "#include <sqlite3.h>")
        caught("runtime/core/map.c:2: <xxhash.h> belongs to core/hash.c", "runtime/core/map.c",
            "#include <xxhash.h>")
        caught("runtime/loop/a.c:2: <lauxlib.h> belongs to worker", "runtime/loop/a.c", "#include <lauxlib.h>")
    end)

    it("catches a folder that is no layer", function()
        caught("runtime/util/a.c:1: 'util' is not a layer in CMakeLists.txt", "runtime/util/a.c", "int f(void);")
    end)

    it("catches mutable state at file scope", function()
        for _, text in ipairs {
            "static int count;", "static int count = 0;", "int shared;", "static const char *name;",
            "static struct evrt_map map;", "static char buf[16] = {0};", "static void (*hook)(void);",
            "static struct { int a; } anonymous;", "static _Thread_local int x;",
        } do
            caught("runtime/core/a.c:2: mutable state at file scope", "runtime/core/a.c", text)
        end
    end)

    it("lets constants, types and functions be", function()
        clean("runtime/core/a.c", table.concat({
            "static const int a = 1;", "static const char *const names[] = {\"a;\", \"b\"};",
            "struct x;", "struct y { int a; char *b; };", "enum { A = 1, B };", "typedef void (*cb)(void *);",
            "extern const struct x all[];", "int f(int (*each)(void *), void *arg);", "static int g(void);",
            "static void (*const hooks[])(void) = {h};",
            "static inline int k(void) {\n    static const int z = 1;\n    return z;\n}",
            "#define M(x) \\\n    static int x;", "/* static int commented; */", "_Static_assert(1, \"one\");",
        }, "\n"))
    end)

    it("catches long files and long functions", function()
        local body = ("    f();\n"):rep(78)
        clean("runtime/core/a.c", "int f(void) {\n" .. body .. "}")
        caught("runtime/core/a.c:2: function of 81 lines, at most 80", "runtime/core/a.c",
            "int f(void) {\n    f();\n" .. body .. "}")
        caught("runtime/core/a.c:600: file of 601 lines, at most 600", "runtime/core/a.c",
            ("\n"):rep(599))
    end)

    it("catches a file that does not say what it is", function()
        local found = lint.check("runtime/core/a.c", "int f(void);\n", depends)
        assert.same({ "runtime/core/a.c:1: must open with a comment that says what the file is" }, found)
        assert.same({ "lua/evrt/a.lua:1: must open with a comment that says what the file is" },
            lint.check("lua/evrt/a.lua", "return 1\n", depends))
        assert.same({}, lint.check("spec/run.sh", "#!/bin/sh\n# Runs.\n", depends))
    end)

    it("catches paths of one machine and stray spaces", function()
        local home = "/" .. "home/someone/x"
        assert.same({ "README.md:1: path of one machine" }, lint.check("README.md", home .. "\n", depends))
        assert.same({ "a.yaml:1: space at the end of a line", "a.yaml:2: no newline at the end" },
            lint.check("a.yaml", "a: 1 \nb: 2", depends))
    end)
end)
