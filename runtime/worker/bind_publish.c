/* evrt.c.publish: sends an event to the host and waits for what became of it, or keeps it with the running
 * delivery's effects. Most tables have nothing but attributes and data: those are taken as they are. The others
 * are checked, and what is wrong is said, by lua/evrt/publish.lua, which gives a copy then. */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/event.h"
#include "core/kv.h"
#include "worker/bind.h"
#include "worker/bind_json.h"
#include "worker/code.h"
#include "worker/process.h"
#include "worker/wait.h"
#include "json/json.h"

/* nil, nil, message, code: no timeout, and the results that evrt.publish gives on failure. */
static int refuse(lua_State *L, int code, const char *message) {
    lua_pushnil(L);
    lua_pushnil(L);
    lua_pushstring(L, message);
    lua_pushstring(L, evrt_code_name(code));
    return 4;
}

/* ---- The table ---- */

static const struct {
    struct evrt_slice name;
    size_t at; /* offset of the slice in struct evrt_event */
} attributes[] = {
#define X(name) \
    { {#name, sizeof #name - 1}, offsetof(struct evrt_event, name) }
    X(type),      X(id), X(source), X(time), X(subject), X(datacontenttype),
    X(dataschema)
#undef X
};

static struct evrt_slice *attribute(struct evrt_event *e, struct evrt_slice name) {
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++)
        if (evrt_slice_eq(attributes[i].name, name)) return (void *)((char *)e + attributes[i].at);
    return NULL;
}

/* Where values of the table are on the stack. */
enum { EXTENSIONS = 5, DATA };

struct table {
    bool
        checked; /* by lua/evrt/publish.lua; else only what needs no check but those made here is taken */
    bool json;
    struct evrt_slice raw; /* data as it is, p NULL: any value */
};

/* One member, key and value on top. false: it needs more checks. */
static bool take_member(lua_State *L, struct table *t, struct evrt_event *e) {
    struct evrt_slice name;
    if (lua_type(L, -2) != LUA_TSTRING) return false;
    name.p = lua_tolstring(L, -2, &name.n);
    int type = lua_type(L, -1);
    struct evrt_slice *to = attribute(e, name);
    if (to == NULL && t->checked && evrt_slice_eq(name, EVRT_STR("raw"))) to = &t->raw;
    if (to != NULL) {
        if (type != LUA_TSTRING || (to == &e->datacontenttype && !t->checked)) return false;
        to->p = lua_tolstring(L, -1, &to->n); /* the table holds it */
        return t->checked || to->n != 0;
    }
    bool data = evrt_slice_eq(name, EVRT_STR("data"));
    if (!data && !(t->checked && evrt_slice_eq(name, EVRT_STR("extensions")))) return false;
    if (data && !t->checked && type == LUA_TTABLE && lua_getmetatable(L, -1)) return false;
    lua_pushvalue(L, -1);
    lua_replace(L, data ? DATA : EXTENSIONS);
    return true;
}

/* Walks through the table, which is faster than asking for each name that there could be. false as above. */
static bool take_table(lua_State *L, struct table *t, struct evrt_event *e) {
    *t = (struct table){.checked = !lua_isnoneornil(L, 2)};
    t->json = !t->checked || lua_toboolean(L, 2);
    lua_settop(L, DATA);
    if (!t->checked && (!lua_istable(L, 1) || lua_getmetatable(L, 1))) return false;
    lua_pushnil(L);
    while (lua_next(L, 1) != 0) {
        if (!take_member(L, t, e)) return false;
        lua_pop(L, 1);
    }
    return t->checked || e->type.p != NULL;
}

/* Extensions and data are encoded one after the other in the scratch; only offsets are kept, as it may
 * move while it grows. */
static int encode_extensions(lua_State *L, struct evrt_buf *out, struct evrt_error *err) {
    if (!lua_istable(L, EXTENSIONS)) return 0;
    lua_pushnil(L);
    while (lua_next(L, EXTENSIONS) != 0) {
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
    return 0;
}

static bool has_traceparent(lua_State *L) {
    if (!lua_istable(L, EXTENSIONS)) return false;
    lua_getfield(L, EXTENSIONS, "traceparent");
    bool given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    return given;
}

static int too_large(struct evrt_worker *w, const char *what, struct evrt_error *err) {
    evrt_worker_limit(w, "http.max_event_size");
    return evrt_error_set(err, -EMSGSIZE, "%s %llu bytes (http.max_event_size)", what,
                          (unsigned long long)w->hello.max_event_size);
}

/* What `data` and `raw` of the table give: raw is bytes as they are, data any value. */
static int encode_data(lua_State *L, struct evrt_worker *w, const struct table *t,
                       struct evrt_event *e, struct evrt_error *err) {
    struct evrt_buf *b = &w->scratch;
    size_t from = b->n;
    int rc = 0;
    if (t->raw.p != NULL)
        evrt_buf_put(b, t->raw.p, t->raw.n);
    else if (!lua_isnil(L, DATA))
        rc = evrt_json_encode(L, DATA, "data", w->hello.max_event_size, b, err);
    else
        return 0;
    if (rc == -EMSGSIZE) return too_large(w, "data has more than", err);
    if (rc < 0) return rc;
    evrt_buf_cstr(b);
    e->data = (struct evrt_slice){b->p + from, b->n - from};
    e->flags |= EVRT_EVENT_HAS_DATA;
    if (!t->json) return 0;
    e->flags |= EVRT_EVENT_JSON;
    return t->raw.p == NULL ? 0 : evrt_json_check(e->data, NULL, err);
}

/* ---- The event ---- */

/* What the event points into, beside the table and the scratch. */
struct texts {
    char id[EVRT_UUID_SIZE], time[25];
};

/* Fills the rest of *e. Its size, or an error. */
static int64_t build(lua_State *L, struct evrt_worker *w, const struct table *t,
                     struct evrt_event *e, struct texts *texts, struct evrt_error *err) {
    e->hops = (uint8_t)(w->deliveries.running->hops + 1);
    evrt_buf_clear(&w->scratch);
    int rc = encode_extensions(L, &w->scratch, err);
    evrt_spans_extend(w, e, &w->scratch, has_traceparent(L));
    size_t extensions = w->scratch.n;
    if (rc == 0) rc = encode_data(L, w, t, e, err);
    if (rc < 0) return rc;
    e->extensions = (struct evrt_slice){w->scratch.p, extensions};
    evrt_event_defaults(e, &w->random, w->hello.service, texts->id, texts->time);
    rc = w->hello.testing ? evrt_event_check(e, err) : evrt_event_check_public(e, err);
    if (rc < 0) return rc;
    size_t n = evrt_event_size(e);
    if (n > w->hello.max_event_size) return too_large(w, "the event has more than", err);
    return (int64_t)n;
}

static void put(struct evrt_worker *w, const struct evrt_event *e, size_t n, bool wait,
                int64_t timeout_ms) {
    struct evrt_delivery *d = w->deliveries.running;
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

static int too_many_hops(lua_State *L, struct evrt_worker *w, const struct evrt_delivery *d,
                         struct evrt_slice type) {
    struct evrt_error err;
    evrt_worker_limit(w, "bus.max_hops");
    evrt_error_set(&err, -ELOOP,
                   "hop limit (%u) reached: \"%.*s\" would be the publish number %u in a chain "
                   "of handlers that publish; bus.max_hops is the limit",
                   w->hello.max_hops, (int)(type.n < 256 ? type.n : 256), type.p, d->hops + 1u);
    return refuse(L, -ELOOP, err.message);
}

static int unchecked(lua_State *L) {
    lua_pushliteral(L, "unchecked");
    return 1;
}

/* send(event, is_json, wait, timeout in seconds) -> problem, id or nil, seq or message, outcomes or code. Without
 * is_json the event is as the script gave it, and the problem may be "unchecked". */
static int send_event(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    bool wait = lua_toboolean(L, 3);
    double timeout_ms = luaL_optnumber(L, 4, 0) * 1000;
    struct evrt_error err;
    struct evrt_event e = {0};
    struct table t;
    struct texts texts;
    if (!take_table(L, &t, &e)) return unchecked(L);
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;

    struct evrt_delivery *d = w->deliveries.running;
    if (d->hops >= w->hello.max_hops) return too_many_hops(L, w, d, e.type);
    int64_t n = build(L, w, &t, &e, &texts, &err);
    if (n < 0) return refuse(L, (int)n, err.message);
    put(w, &e, (size_t)n, wait, (int64_t)timeout_ms);
    if (wait) {
        d->lent = true;
        w->deliveries.busy--;
    }
    evrt_delivery_wait(d, INT64_MAX);
    return evrt_wait_yield(L);
}

/* emit(event, is_json) -> problem, id or nil, message, code. Kept until the delivery is done. As above. */
static int emit(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    struct evrt_error err;
    struct evrt_event e = {0};
    struct table t;
    struct texts texts;
    if (!take_table(L, &t, &e)) return unchecked(L);
    if (d == NULL || evrt_delivery_expire(d)) {
        lua_pushstring(L, d == NULL ? "outside" : "timeout");
        return 1;
    }
    if (d->hops >= w->hello.max_hops) return too_many_hops(L, w, d, e.type);
    int64_t n = build(L, w, &t, &e, &texts, &err);
    if (n < 0) return refuse(L, (int)n, err.message);
    int rc = evrt_worker_has_room(w, d, EVRT_KV_HEADER + (size_t)n, &err);
    if (rc < 0) return refuse(L, rc, err.message);
    d->last_effect = SIZE_MAX;
    evrt_event_encode(&e, evrt_kv_put_emit(&d->effects, (size_t)n));
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
