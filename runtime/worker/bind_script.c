/* evrt.c.script: the files of the snapshot, evrt's own modules, and this worker's settings. */
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/buf.h"
#include "frame/snapshot.h"
#include "worker/bind.h"
#include "worker/embedded.h"
#include "worker/process.h"

/* Source text only: bytecode can crash the machine. A byte-order mark and a first line with '#!' are
 * passed over, as `lua FILE` does. */
static int load_text(lua_State *L, struct evrt_slice text, const char *chunk_name) {
    if (text.n >= 3 && memcmp(text.p, "\xef\xbb\xbf", 3) == 0) text.p += 3, text.n -= 3;
    if (text.n > 0 && text.p[0] == '#')
        while (text.n > 0 && text.p[0] != '\n')
            text.p++, text.n--;
    if (luaL_loadbufferx(L, text.p, text.n, chunk_name, "t") == 0) return 1;
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
}

/* embedded(module) -> function, or nil */
static int embedded(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    for (size_t i = 0; i < evrt_embedded_count; i++) {
        const struct evrt_embedded_file *f = &evrt_embedded_files[i];
        if (strcmp(f->module, name) != 0) continue;
        lua_pushfstring(L, "=%s", f->path);
        return load_text(L, (struct evrt_slice){(const char *)f->bytes, f->n}, lua_tostring(L, -1));
    }
    return 0;
}

/* files() -> list of {role, path, name}; nil when the snapshot is none */
static int files(lua_State *L) {
    struct evrt_slice snapshot = evrt_worker_of(L)->snapshot;
    struct evrt_snapshot_file f;
    size_t at = 0;
    int rc, i = 0;
    lua_newtable(L);
    while ((rc = evrt_snapshot_next(snapshot, &at, &f)) == 1) {
        lua_newtable(L);
        lua_pushlstring(L, &f.role, 1);
        lua_setfield(L, -2, "role");
        lua_pushlstring(L, f.path.p, f.path.n);
        lua_setfield(L, -2, "path");
        lua_pushlstring(L, f.name.p, f.name.n);
        lua_setfield(L, -2, "name");
        lua_rawseti(L, -2, ++i);
    }
    return rc == 0 ? 1 : 0;
}

static struct evrt_snapshot_file check_file(lua_State *L) {
    int wanted = (int)luaL_checkinteger(L, 1), i = 0;
    struct evrt_snapshot_file f;
    size_t at = 0;
    while (evrt_snapshot_next(evrt_worker_of(L)->snapshot, &at, &f) == 1)
        if (++i == wanted) return f;
    luaL_argerror(L, 1, "no such file");
    return f;
}

/* load(i) -> function; or nil, message */
static int load(lua_State *L) {
    struct evrt_snapshot_file f = check_file(L);
    lua_pushliteral(L, "@");
    lua_pushlstring(L, f.path.p, f.path.n);
    lua_concat(L, 2);
    return load_text(L, f.bytes, lua_tostring(L, -1));
}

/* text(i) -> the file's bytes */
static int text(lua_State *L) {
    struct evrt_snapshot_file f = check_file(L);
    lua_pushlstring(L, f.bytes.p, f.bytes.n);
    return 1;
}

static int memory(lua_State *L) {
    lua_pushnumber(L, (lua_Number)evrt_worker_of(L)->memory.used);
    return 1;
}

/* exit([code]): os.exit of a worker. A delivery is in the middle of things, so nothing is taken down on the
 * way out: what was written is flushed, and the kernel and the host see to the rest. */
static int exit_worker(lua_State *L) {
    int code = lua_isboolean(L, 1) ? lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE
                                   : (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
    fflush(NULL);
    _exit(code);
}

static const luaL_Reg functions[] = {
    {"embedded", embedded}, {"files", files},      {"load", load}, {"text", text},
    {"memory", memory},     {"exit", exit_worker}, {NULL, NULL},
};

int evrt_script_open(lua_State *L) {
    const struct evrt_frame_hello *hello = &evrt_worker_of(L)->hello;
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushboolean(L, hello->allow_ffi);
    lua_setfield(L, -2, "allow_ffi");
    lua_pushliteral(L, EVRT_VERSION);
    lua_setfield(L, -2, "version");
    return 1;
}
