/* evrt.c.shared: this worker's copy of the values that all workers share, and changing them through the
 * host. The copy is kept outside of Lua: it is filled by frames, where nothing may raise. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <uv.h>

#include "worker/bind.h"
#include "worker/code.h"
#include "worker/process.h"
#include "worker/shared.h"
#include "worker/wait.h"

struct value {
    uint64_t version;
    size_t n;
    char bytes[];
};

/* ---- The copy ---- */

static void keep(struct evrt_map *shared, const struct evrt_frame_shared *f) {
    struct value *v = NULL;
    if (f->version != 0) {
        v = evrt_alloc(sizeof *v + f->value.n + 1);
        *v = (struct value){f->version, f->value.n};
        memcpy(v->bytes, f->value.p, f->value.n);
        v = evrt_map_set(shared, f->key, v);
    } else {
        v = evrt_map_remove(shared, f->key);
    }
    free(v); /* what was there before */
}

void evrt_shared_finish(struct evrt_map *shared) {
    size_t at = 0;
    for (void *v; (v = evrt_map_next(shared, &at, NULL)) != NULL;)
        free(v);
    evrt_map_finish(shared);
}

/* value, version; nil, 0 when there is none */
static int push_value(lua_State *L, struct evrt_slice value, uint64_t version) {
    if (version == 0)
        lua_pushnil(L);
    else
        lua_pushlstring(L, value.n == 0 ? "" : value.p, value.n);
    lua_pushnumber(L, (lua_Number)version);
    return 2;
}

/* nil (no timeout), then what evrt.shared.cas returns. */
static int push_answer(lua_State *L, const struct evrt_frame_shared *f) {
    lua_pushnil(L);
    if (f->status == 0) {
        lua_pushboolean(L, true);
        lua_pushnumber(L, (lua_Number)f->version);
        return 3;
    }
    if (f->status == -EAGAIN) {
        lua_pushboolean(L, false);
        return 2 + push_value(L, f->value, f->version);
    }
    lua_pushnil(L);
    lua_pushstring(L, f->status == -ENOSPC     ? "no room for another key (shared.max_entries)"
                      : f->status == -EMSGSIZE ? "too large (shared.max_value_size)"
                                               : uv_strerror(f->status));
    lua_pushstring(L, evrt_code_name(f->status));
    return 4;
}

int evrt_shared_says(struct evrt_worker *w, struct evrt_slice payload) {
    struct evrt_frame_shared f;
    if (evrt_frame_get_shared(payload, &f) < 0) return -EBADMSG;
    keep(&w->shared, &f);
    struct evrt_delivery *d = evrt_deliveries_find(&w->deliveries, f.token);
    if (d == NULL || d->runner == NULL) return 0; /* nobody waits for it any more */
    evrt_runner_continue(w, d, push_answer(evrt_runner_stack(d->runner), &f));
    return 0;
}

/* ---- Lua ---- */

/* get(key) -> value, version; nil, 0 */
static int get(lua_State *L) {
    struct evrt_slice key;
    key.p = luaL_checklstring(L, 1, &key.n);
    const struct value *v = evrt_map_get(&evrt_worker_of(L)->shared, key);
    if (v == NULL) return push_value(L, (struct evrt_slice){NULL, 0}, 0);
    return push_value(L, (struct evrt_slice){v->bytes, v->n}, v->version);
}

/* cas(key, version, value or nil, ttl in seconds or 0, sure) -> problem, true, version | false, value,
 * version | nil, message, code. `sure`: also when the deadline has passed, which then does not end the wait
 * either. The host answers at once, so that holds nothing up, and what a policy keeps is kept. */
static int cas(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_frame_share f = {.version = (uint64_t)luaL_checknumber(L, 2)};
    f.key.p = luaL_checklstring(L, 1, &f.key.n);
    f.remove = lua_isnil(L, 3);
    if (!f.remove) f.value.p = luaL_checklstring(L, 3, &f.value.n);
    double ttl_ms = luaL_optnumber(L, 4, 0) * 1000;
    f.ttl_ms = ttl_ms > 0 && ttl_ms < 1e15 ? (int64_t)ttl_ms : 0;
    bool sure = lua_toboolean(L, 5);
    struct evrt_delivery *d = w->deliveries.running;
    int64_t deadline_ns = d == NULL ? 0 : d->deadline_ns;
    bool expired = d != NULL && d->expired;
    if (sure && d != NULL) d->deadline_ns = INT64_MAX, d->expired = false;
    int refused = evrt_wait_check(L);
    if (refused == 0) {
        f.token = evrt_delivery_token(d);
        evrt_frame_put_share(evrt_worker_out(w), &f);
        evrt_delivery_wait(d, INT64_MAX);
    }
    if (sure && d != NULL) d->deadline_ns = deadline_ns, d->expired = expired;
    return refused != 0 ? refused : evrt_wait_yield(L);
}

static const luaL_Reg functions[] = {
    {"get", get},
    {"cas", cas},
    {NULL, NULL},
};

int evrt_shared_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
