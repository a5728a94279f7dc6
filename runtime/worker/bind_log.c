/* evrt.c.log: log lines of scripts, sent to the host, which writes them. */
#include <lauxlib.h>

#include "core/error.h"
#include "core/jsonout.h"
#include "worker/bind.h"
#include "worker/bind_json.h"
#include "worker/process.h"

enum { FIELDS_MAX = 64 * 1024 };

/* The table at idx as the inside of a JSON object, in the worker's scratch. A table that is not an object
 * becomes a field of its own, one that JSON cannot hold becomes the reason: a line is never lost for its
 * fields. */
static struct evrt_slice encode_fields(lua_State *L, int idx, struct evrt_worker *w) {
    struct evrt_buf *b = &w->scratch;
    struct evrt_error err;
    evrt_buf_clear(b);
    if (evrt_json_encode(L, idx, "fields", FIELDS_MAX, b, &err) < 0) {
        evrt_buf_clear(b);
        evrt_buf_puts(b, "\"fields_error\":");
        evrt_json_quote(b, evrt_slice_of(err.message));
        return evrt_buf_slice(b);
    }
    if (b->n >= 2 && b->p[0] == '{') return (struct evrt_slice){b->p + 1, b->n - 2};
    static const char key[] = "\"fields\":";
    evrt_buf_room(b, sizeof key);
    memmove(b->p + sizeof key - 1, b->p, b->n);
    memcpy(b->p, key, sizeof key - 1);
    b->n += sizeof key - 1;
    return evrt_buf_slice(b);
}

/* write(level, caller, message, fields or nil) */
static int write_line(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_frame_log f = {.level = (uint8_t)luaL_checkinteger(L, 1)};
    f.caller.p = luaL_checklstring(L, 2, &f.caller.n);
    f.message.p = luaL_checklstring(L, 3, &f.message.n);
    if (lua_istable(L, 4)) f.fields = encode_fields(L, 4, w);
    if (w->deliveries.running != NULL) f.delivery = w->deliveries.running->id;
    evrt_frame_put_log(evrt_worker_out(w), &f);
    return 0;
}

/* enabled(level): whether such lines are wanted, now */
static int enabled(lua_State *L) {
    lua_pushboolean(L, luaL_checkinteger(L, 1) >= evrt_worker_of(L)->hello.log_level);
    return 1;
}

static const luaL_Reg functions[] = {
    {"write", write_line},
    {"enabled", enabled},
    {NULL, NULL},
};

int evrt_log_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
