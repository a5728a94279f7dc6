/* See state.h. */
#include "worker/state.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua-cjson.h>
#include <lualib.h>

#include "core/error.h"
#include "worker/bind.h"
#include "worker/bind_json.h"
#include "worker/process.h"

/* Without LUA_FFILIBNAME: opening it is what makes `require "ffi"` possible. */
static const luaL_Reg libraries[] = {
    {"", luaopen_base},
    {LUA_LOADLIBNAME, luaopen_package},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_IOLIBNAME, luaopen_io},
    {LUA_OSLIBNAME, luaopen_os},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {LUA_DBLIBNAME, luaopen_debug},
    {LUA_BITLIBNAME, luaopen_bit},
    {LUA_JITLIBNAME, luaopen_jit},
};

static const luaL_Reg preloaded[] = {
#define X(module, open) {module, open},
    EVRT_BINDINGS(X)
#undef X
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void preload(lua_State *L, const char *name, lua_CFunction open) {
    lua_getfield(L, LUA_REGISTRYINDEX, "_PRELOAD");
    lua_pushcfunction(L, open);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Runs protected: everything here may raise. Ends with the module that starts the rest. */
static int prepare(lua_State *L) {
    for (size_t i = 0; i < COUNT(libraries); i++) {
        lua_pushcfunction(L, libraries[i].func);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    if (evrt_worker_of(L)->hello.allow_ffi) preload(L, LUA_FFILIBNAME, luaopen_ffi);
    for (size_t i = 0; i < COUNT(preloaded); i++)
        preload(L, preloaded[i].name, preloaded[i].func);
    preload(L, "evrt.c.json", evrt_json_open);
    /* For scripts that were written against it; evrt.json.null is its null, so values mix. */
    preload(L, "cjson", luaopen_cjson);
    return 0;
}

/* lua/evrt/worker/main.lua, which has no `require` yet but the one it makes itself. It is given the
 * binding that finds scripts; returns `load` and `loop`. */
static int start(lua_State *L) {
    evrt_script_open(L);
    lua_getfield(L, -1, "embedded");
    lua_pushliteral(L, "evrt.worker.main");
    lua_call(L, 1, 1);
    lua_pushvalue(L, -2);
    lua_call(L, 1, 2);
    return 2;
}

/* The only lua_pcall. Calls the function below `nargs` arguments; on failure its message is on top. */
static int call(lua_State *L, int nargs, int nresults) {
    return lua_pcall(L, nargs, nresults, 0);
}

static int failed(lua_State *L, struct evrt_error *err) {
    const char *message = lua_tostring(L, -1);
    return evrt_error_set(err, -EINVAL, "%s", message == NULL ? "error without a text" : message);
}

int evrt_worker_state_open(struct evrt_worker *w, struct evrt_error *err) {
    w->L = evrt_memory_open(&w->memory, w->hello.memory_limit);
    if (w->L == NULL) return evrt_error_set(err, -ENOMEM, "no memory for a Lua state");
    lua_pushcfunction(w->L, prepare);
    if (call(w->L, 0, 0) != 0) return failed(w->L, err);
    lua_pushcfunction(w->L, start);
    if (call(w->L, 0, 2) != 0) return failed(w->L, err);
    return 0;
}

int evrt_state_load(struct evrt_worker *w, struct evrt_slice *text) {
    lua_State *L = w->L;
    lua_pushvalue(L, -2);
    /* load() -> count, READY text; or nil, REFUSED text */
    int status = call(L, 0, 2);
    if (status != 0) lua_pushnil(L), lua_insert(L, -2);
    text->p = lua_tolstring(L, -1, &text->n);
    if (text->p == NULL) *text = EVRT_STR("error without a text");
    if (lua_isnil(L, -2)) return -EINVAL;
    w->handlers = (uint32_t)lua_tointeger(L, -2);
    lua_pushvalue(L, -3);
    return 0;
}

void evrt_worker_state_close(struct evrt_worker *w) {
    if (w->L == NULL) return;
    evrt_runners_finish(w);
    lua_close(w->L);
    w->L = NULL;
}
