/* evrt.c.publish: sends an event to the host and waits for what became of it, or keeps it with the running
 * delivery's effects. The table has been checked
 * for names and types by lua/evrt/publish.lua. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <uv.h>

#include "core/error.h"
#include "core/event.h"
#include "core/kv.h"
#include "worker/bind.h"
#include "worker/bind_json.h"
#include "worker/process.h"
#include "worker/wait.h"
#include "json/json.h"

/* nil, nil, message, code: no timeout, and the results that evrt.publish gives on failure. */
static int refuse(lua_State *L, int code, const char *message) {
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, uv_err_name(code));
    return 4;
}

static struct evrt_slice text_field(lua_State *L, const char *name) {
    struct evrt_slice s = {NULL, 0};
    lua_getfield(L, 1, name);
    if (lua_type(L, -1) == LUA_TSTRING) s.p = lua_tolstring(L, -1, &s.n);
    lua_pop(L, 1); /* the table still holds it */
    return s;
}

/* Extensions and data are encoded one after the other in the scratch; only offsets are kept, as it may
 * move while it grows. */
static int encode_extensions(lua_State *L, struct evrt_buf *out, struct evrt_error *err) {
    lua_getfield(L, 1, "extensions");
    if (!lua_istable(L, -1)) {
        lua_pop(L, 1);
        return 0;
    }
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        struct evrt_slice name, value;
        name.p = lua_tolstring(L, -2, &name.n);
        char kind = lua_type(L, -1) == LUA_TBOOLEAN  ? 'b'
                    : lua_type(L, -1) == LUA_TNUMBER ? 'i'
                                                     : 's';
        if (kind == 'b')
            value = evrt_slice_of(lua_toboolean(L, -1) ? "true" : "false");
        else
            value.p = lua_tolstring(L, -1, &value.n);
        if (evrt_extensions_add(out, name, kind, value) < 0)
            return evrt_error_set(err, -EINVAL,
                                  "extensions.%s: expected a name of at most %d lower-case letters "
                                  "and digits",
                                  name.p, EVRT_EXTENSION_NAME_MAX);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return 0;
}

static int too_large(struct evrt_worker *w, const char *what, struct evrt_error *err) {
    evrt_worker_limit(w, "http.max_event_size");
    return evrt_error_set(err, -EMSGSIZE, "%s %llu bytes (http.max_event_size)", what,
                          (unsigned long long)w->hello.max_event_size);
}

/* What `data` and `raw` of the table give: raw is bytes as they are, data any value. */
static int encode_data(lua_State *L, struct evrt_worker *w, bool json, struct evrt_event *e,
                       struct evrt_error *err) {
    struct evrt_buf *b = &w->scratch;
    size_t from = b->n;
    struct evrt_slice raw = text_field(L, "raw");
    if (raw.p != NULL) {
        evrt_buf_put(b, raw.p, raw.n);
    } else {
        lua_getfield(L, 1, "data");
        int rc = lua_isnil(L, -1)
                     ? 1
                     : evrt_json_encode(L, lua_gettop(L), "data", w->hello.max_event_size, b, err);
        lua_pop(L, 1);
        if (rc == -EMSGSIZE) return too_large(w, "data has more than", err);
        if (rc != 0) return rc > 0 ? 0 : rc;
    }
    evrt_buf_cstr(b);
    e->data = (struct evrt_slice){b->p + from, b->n - from};
    e->flags |= EVRT_EVENT_HAS_DATA;
    if (!json) return 0;
    e->flags |= EVRT_EVENT_JSON;
    return evrt_json_check(e->data, NULL, err);
}

static bool has_traceparent(lua_State *L) {
    lua_getfield(L, 1, "extensions");
    bool table = lua_istable(L, -1);
    if (table) lua_getfield(L, -1, "traceparent");
    bool given = table && !lua_isnil(L, -1);
    lua_pop(L, table ? 2 : 1);
    return given;
}

/* Fills *e; what it points into lives in the table, the scratch and the two texts. */
static int build(lua_State *L, struct evrt_worker *w, struct evrt_event *e, char id[EVRT_UUID_SIZE],
                 char time[25], struct evrt_error *err) {
    *e = (struct evrt_event){
        .id = text_field(L, "id"),
        .type = text_field(L, "type"),
        .source = text_field(L, "source"),
        .time = text_field(L, "time"),
        .subject = text_field(L, "subject"),
        .datacontenttype = text_field(L, "datacontenttype"),
        .dataschema = text_field(L, "dataschema"),
        .hops = (uint8_t)(w->deliveries.running->hops + 1),
    };
    evrt_buf_clear(&w->scratch);
    int rc = encode_extensions(L, &w->scratch, err);
    evrt_spans_extend(w, e, &w->scratch, has_traceparent(L));
    size_t extensions = w->scratch.n;
    if (rc == 0) rc = encode_data(L, w, lua_toboolean(L, 2), e, err);
    if (rc < 0) return rc;
    e->extensions = (struct evrt_slice){w->scratch.p, extensions};
    evrt_event_defaults(e, &w->random, w->hello.service, id, time);
    rc = evrt_event_check(e, err);
    if (rc < 0) return rc;
    if (evrt_event_size(e) > w->hello.max_event_size)
        return too_large(w, "the event has more than", err);
    return 0;
}

static void put(struct evrt_worker *w, const struct evrt_event *e, bool wait, int64_t timeout_ms) {
    struct evrt_delivery *d = w->deliveries.running;
    size_t n = evrt_event_size(e);
    char *encoded = evrt_alloc(n);
    evrt_event_encode(e, encoded);
    evrt_frame_put_publish(evrt_worker_out(w), &(struct evrt_frame_publish){
                                                   .token = evrt_delivery_token(d),
                                                   .delivery = d->id,
                                                   .wait = wait,
                                                   .timeout_ms = timeout_ms,
                                                   .event = {encoded, n},
                                               });
    free(encoded);
}

static int too_many_hops(lua_State *L, struct evrt_worker *w, const struct evrt_delivery *d) {
    struct evrt_slice type = text_field(L, "type");
    struct evrt_error err;
    evrt_worker_limit(w, "bus.max_hops");
    evrt_error_set(&err, -EINVAL,
                   "hop limit (%u) reached: \"%.*s\" would be the publish number %u in a chain "
                   "of handlers that publish; bus.max_hops is the limit",
                   w->hello.max_hops, (int)(type.n < 256 ? type.n : 256), type.p, d->hops + 1u);
    refuse(L, -EINVAL, err.message);
    lua_pushliteral(L, "EHOPS");
    lua_replace(L, -2);
    return 4;
}

/* send(event, is_json, wait, timeout in seconds) -> problem, id or nil, seq or message, outcomes or code */
static int send_event(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    bool wait = lua_toboolean(L, 3);
    double timeout_ms = luaL_optnumber(L, 4, 0) * 1000;
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;

    struct evrt_delivery *d = w->deliveries.running;
    struct evrt_error err;
    struct evrt_event e;
    char id[EVRT_UUID_SIZE], time[25];
    if (d->hops >= w->hello.max_hops) return too_many_hops(L, w, d);
    int rc = build(L, w, &e, id, time, &err);
    if (rc < 0) return refuse(L, rc, err.message);
    put(w, &e, wait, (int64_t)timeout_ms);
    if (wait) {
        d->lent = true;
        w->deliveries.busy--;
    }
    evrt_delivery_wait(d, INT64_MAX);
    return evrt_wait_yield(L);
}

/* emit(event, is_json) -> problem, id or nil, message, code. Kept until the delivery is done. */
static int emit(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    luaL_checktype(L, 1, LUA_TTABLE);
    if (d == NULL || evrt_delivery_expire(d)) {
        lua_pushstring(L, d == NULL ? "outside" : "timeout");
        return 1;
    }
    struct evrt_error err;
    struct evrt_event e;
    char id[EVRT_UUID_SIZE], time[25];
    if (d->hops >= w->hello.max_hops) return too_many_hops(L, w, d);
    int rc = build(L, w, &e, id, time, &err);
    if (rc < 0) return refuse(L, rc, err.message);
    size_t n = evrt_event_size(&e);
    if (d->effects.n + EVRT_KV_HEADER + n > w->hello.kv_max_effects) {
        evrt_worker_limit(w, "kv.max_effects");
        evrt_error_set(&err, -EMSGSIZE,
                       "the delivery would write and publish more than %llu bytes (kv.max_effects)",
                       (unsigned long long)w->hello.kv_max_effects);
        return refuse(L, -EMSGSIZE, err.message);
    }
    char *encoded = evrt_alloc(n);
    evrt_event_encode(&e, encoded);
    d->last_effect = SIZE_MAX;
    evrt_kv_put(&d->effects, &(struct evrt_kv_op){.kind = EVRT_KV_EMIT, .value = {encoded, n}});
    free(encoded);
    lua_pushnil(L);
    lua_pushlstring(L, e.id.p, e.id.n);
    return 2;
}

static const luaL_Reg functions[] = {
    {"send", send_event},
    {"emit", emit},
    {NULL, NULL},
};

int evrt_publish_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
