/* JSON values as Lua values, exactly: what evrt_json_push() makes, evrt_json_encode() writes back with the
 * same meaning. Worker process only, on the thread of its Lua state.
 *
 *     null            evrt.json.null (the light userdata NULL, as cjson.null)
 *     array           table with the array metatable, so that it stays an array when it is empty
 *     object          plain table
 *     integer         number up to +-2^53; beyond: int64_t, else uint64_t (LuaJIT's own 64-bit
 *                     integers, `9007199254740993LL`), else evrt.json.integer, which keeps the digits
 *     other number    number, the nearest double
 *     string          string, the bytes */
#ifndef EVRT_WORKER_BIND_JSON_H
#define EVRT_WORKER_BIND_JSON_H

#include "core/buf.h"

struct lua_State;

/* A lua_CFunction for package.preload["evrt.c.json"], which lua/evrt/json.lua requires; pushes its table.
 * Run it once per state before evrt_json_push(), and before any script is read: it starts LuaJIT's
 * 64-bit integers without leaving `ffi` in package.loaded, which a script's own first `1LL` would. */
int evrt_json_open(struct lua_State *L);

/* Pushes the value of the document and returns 1, or raises a string that ends in the position. With
 * EVRT_EVENT_JSON in event_flags the text was checked when it came in and is not checked again. */
int evrt_json_push(struct lua_State *L, const char *p, size_t n, unsigned event_flags);

/* Appends the value at idx as JSON. `name` opens the path in errors ("data" gives "data.items[3]: ...").
 * -EINVAL: not expressible as JSON; -E2BIG: nested deeper than EVRT_JSON_DEPTH, or a cycle; -EMSGSIZE:
 * more than `max` bytes. Then `out` is as it was. Calls no metamethods and raises only when Lua is out
 * of memory: `out` must have an owner that outlives a raise (the worker, or a userdata). */
EVRT_MUST_CHECK int evrt_json_encode(struct lua_State *L, int idx, const char *name, size_t max,
                                     struct evrt_buf *out, struct evrt_error *err);
/* The same with the members of objects in the order of their names: equal values give equal text. */
EVRT_MUST_CHECK int evrt_json_encode_sorted(struct lua_State *L, int idx, const char *name,
                                            size_t max, struct evrt_buf *out,
                                            struct evrt_error *err);

#endif
