/* evrt.json for scripts: what lua/evrt/json.lua is made of; see bind_json.h. */
#include "worker/bind_json.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "worker/json_value.h"
#include "json/json.h"
#include "json/number.h"

const char evrt_json_mark[EVRT_JSON_MARKS];

enum {
    ENCODE_MAX =
        1 << 28, /* bytes of evrt.json.encode; more is a table that shares its parts without end */
    ENCODE_KEEP = 1 << 20, /* a larger buffer is given back after use */
};

static int refused(lua_State *L, const struct evrt_error *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    lua_pushstring(L, err->code == -E2BIG      ? "too_deep"
                      : err->code == -EMSGSIZE ? "too_large"
                                               : "invalid");
    return 3;
}

/* decode(text) -> value | nil, message, code */
static int decode(lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING);
    size_t n;
    const char *p = lua_tolstring(L, 1, &n);
    struct evrt_error err;
    if (evrt_json_check((struct evrt_slice){p, n}, NULL, &err) < 0) return refused(L, &err);
    return evrt_json_push(L, p, n, EVRT_EVENT_JSON);
}

/* encode(value [, sorted]) -> text | nil, message, code. Upvalue 1: the buffer, in a userdata that outlives
 * a raise. */
static int encode(lua_State *L) {
    luaL_checkany(L, 1);
    struct evrt_buf *out = lua_touserdata(L, lua_upvalueindex(1));
    struct evrt_error err;
    evrt_buf_clear(out);
    int rc = (lua_toboolean(L, 2) ? evrt_json_encode_sorted
                                  : evrt_json_encode)(L, 1, "value", ENCODE_MAX, out, &err);
    if (rc < 0) return refused(L, &err);
    lua_pushlstring(L, out->p, out->n);
    if (out->cap > ENCODE_KEEP) evrt_buf_finish(out);
    return 1;
}

static int free_buffer(lua_State *L) {
    evrt_buf_finish(lua_touserdata(L, 1));
    return 0;
}

static void push_encode(lua_State *L) {
    evrt_buf_init(lua_newuserdata(L, sizeof(struct evrt_buf)));
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_buffer);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pushcclosure(L, encode, 1);
}

/* evrt.json.integer: a userdata that is the digits. */

static struct evrt_slice digits(lua_State *L, int idx) {
    return (struct evrt_slice){lua_touserdata(L, idx), lua_objlen(L, idx)};
}

static void check_integer(lua_State *L, int idx) {
    evrt_json_push_mark(L, EVRT_JSON_MARK_INTEGER);
    if (!lua_getmetatable(L, idx) || !lua_rawequal(L, -1, -2))
        luaL_argerror(L, idx, "evrt.json.integer expected");
    lua_pop(L, 2);
}

static int integer_tostring(lua_State *L) {
    check_integer(L, 1);
    lua_pushlstring(L, lua_touserdata(L, 1), lua_objlen(L, 1));
    return 1;
}

static int integer_number(lua_State *L) {
    check_integer(L, 1);
    struct evrt_json_number number;
    evrt_json_number_read(digits(L, 1), &number);
    lua_pushnumber(L, number.d);
    return 1;
}

static int integer_eq(lua_State *L) {
    lua_pushboolean(L, evrt_slice_eq(digits(L, 1), digits(L, 2)));
    return 1;
}

static int integer_arithmetic(lua_State *L) {
    return luaL_error(L, "this integer needs more than 64 bits: use x:number() for the nearest "
                         "number, or tostring(x) for its digits");
}

static void push_integer_metatable(lua_State *L) {
    static const char *const refused[] = {"__add", "__sub", "__mul", "__div", "__mod",
                                          "__pow", "__unm", "__lt",  "__le"};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        lua_pushcfunction(L, integer_arithmetic);
        lua_setfield(L, -2, refused[i]);
    }
    lua_pushcfunction(L, integer_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushcfunction(L, integer_eq);
    lua_setfield(L, -2, "__eq");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, integer_number);
    lua_setfield(L, -2, "number");
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "evrt.json.integer");
    lua_setfield(L, -2, "__metatable");
}

/* Pops what is on top and keeps it. */
static void keep_mark(lua_State *L, enum evrt_json_mark mark) {
    lua_pushlightuserdata(L, (void *)&evrt_json_mark[mark]);
    lua_insert(L, -2);
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* Pushes LuaJIT's ffi, which lets C make 64-bit integers. It is loaded at most once in a state, since a
 * second time forgets all C types, and is left where scripts would find it only if it was there. */
static void push_ffi(lua_State *L) {
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, -1, LUA_FFILIBNAME);
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, luaopen_ffi);
        lua_call(L, 0, 1);
        lua_pushnil(L);
        lua_setfield(L, -3, LUA_FFILIBNAME);
    }
    lua_remove(L, -2);
}

static int preloaded_ffi(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

/* ffi on top. If scripts may still require it, they get this one. */
static void share_ffi(lua_State *L) {
    lua_getfield(L, LUA_GLOBALSINDEX, "package");
    lua_getfield(L, -1, "preload");
    lua_getfield(L, -1, LUA_FFILIBNAME);
    if (!lua_isnil(L, -1)) {
        lua_pushvalue(L, -4);
        lua_pushcclosure(L, preloaded_ffi, 1);
        lua_setfield(L, -3, LUA_FFILIBNAME);
    }
    lua_pop(L, 3);
}

static void keep_ctype(lua_State *L, const char *name, enum evrt_json_mark mark) {
    lua_getfield(L, -1, "typeof");
    lua_pushstring(L, name);
    lua_call(L, 1, 1);
    keep_mark(L, mark);
}

static void make_marks(lua_State *L) {
    push_ffi(L);
    share_ffi(L);
    keep_ctype(L, "int64_t", EVRT_JSON_MARK_INT64);
    keep_ctype(L, "uint64_t", EVRT_JSON_MARK_UINT64);
    keep_mark(L, EVRT_JSON_MARK_FFI);
    push_integer_metatable(L);
    keep_mark(L, EVRT_JSON_MARK_INTEGER);
    lua_newtable(L);
    keep_mark(L, EVRT_JSON_MARK_ARRAY);
}

int evrt_json_open(lua_State *L) {
    evrt_json_push_mark(L, EVRT_JSON_MARK_ARRAY);
    if (lua_isnil(L, -1)) make_marks(L);
    lua_createtable(L, 0, 5);
    lua_pushcfunction(L, decode);
    lua_setfield(L, -2, "decode");
    push_encode(L);
    lua_setfield(L, -2, "encode");
    evrt_json_push_mark(L, EVRT_JSON_MARK_ARRAY);
    lua_setfield(L, -2, "array_mt");
    lua_pushlightuserdata(L, (void *)&evrt_json_mark[EVRT_JSON_MARK_ARRAY]);
    lua_setfield(L, -2, "empty_array");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
