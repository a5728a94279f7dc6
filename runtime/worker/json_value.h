/* What the two halves of the JSON binding share: how decoding and encoding know a value's kind. The
 * marks live in the Lua registry under the addresses of evrt_json_mark[]. Worker process only. */
#ifndef EVRT_WORKER_JSON_VALUE_H
#define EVRT_WORKER_JSON_VALUE_H

#include <lua.h>

enum evrt_json_mark {
    EVRT_JSON_MARK_ARRAY,   /* metatable of arrays */
    EVRT_JSON_MARK_INTEGER, /* metatable of evrt.json.integer */
    EVRT_JSON_MARK_INT64,   /* LuaJIT's ctype; calling it makes a zero */
    EVRT_JSON_MARK_UINT64,
    EVRT_JSON_MARK_FFI, /* the library: LuaJIT's C types use what only it keeps alive */
    EVRT_JSON_MARKS,
};

extern const char evrt_json_mark[EVRT_JSON_MARKS];

static inline void evrt_json_push_mark(lua_State *L, enum evrt_json_mark mark) {
    lua_pushlightuserdata(L, (void *)&evrt_json_mark[mark]);
    lua_rawget(L, LUA_REGISTRYINDEX);
}

#endif
