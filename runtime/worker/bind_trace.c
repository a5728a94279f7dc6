/* evrt.c.trace: spans of scripts, and the ids of the trace they are in. lua/evrt/worker/trace.lua calls the
 * function in between. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "core/attributes.h"
#include "core/clock.h"
#include "core/event.h"
#include "worker/bind.h"
#include "worker/process.h"

enum { HELD_MAX = 64 << 10 }; /* bytes of spans that wait for a delivery's outcome */

/* What a span that is open needs to be ended: goes through Lua as a string. */
struct open_span {
    uint64_t id, parent;
    int64_t start_ns;
};

/* begin() -> token; nil: not recorded. */
static int begin(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    if (d == NULL || !d->spans.known) return 0;
    bool sampled = evrt_trace_is_sampled(&d->spans.context);
    if (!sampled && w->hello.tracing != EVRT_TRACING_KEEP_ERRORS) return 0;
    struct open_span open = {
        .id = evrt_random_u64(&w->random) | 1,
        .parent = d->spans.context.span,
        .start_ns = evrt_mono_ns(),
    };
    d->spans.context.span = open.id;
    lua_pushlstring(L, (const char *)&open, sizeof open);
    return 1;
}

/* The number at idx, as an integer when it is one. */
static void take_number(lua_State *L, int idx, struct evrt_attribute *a) {
    double n = lua_tonumber(L, idx);
    bool whole = n == floor(n) && fabs(n) < 9007199254740992.0;
    a->kind = whole ? EVRT_ATTRIBUTE_INTEGER : EVRT_ATTRIBUTE_DOUBLE;
    if (whole)
        a->v.i = (int64_t)n;
    else
        a->v.d = n;
}

/* The table at idx, checked by the caller. */
static struct evrt_slice encode_attributes(lua_State *L, int idx, struct evrt_buf *out) {
    evrt_buf_clear(out);
    if (!lua_istable(L, idx)) return evrt_buf_slice(out);
    int count = 0;
    lua_pushnil(L);
    while (lua_next(L, idx) != 0) {
        struct evrt_attribute a = {.kind = EVRT_ATTRIBUTE_TEXT};
        if (lua_type(L, -2) == LUA_TSTRING && count++ < EVRT_ATTRIBUTES_MAX) {
            a.name.p = lua_tolstring(L, -2, &a.name.n);
            if (lua_type(L, -1) == LUA_TNUMBER) {
                take_number(L, -1, &a);
            } else if (lua_type(L, -1) == LUA_TBOOLEAN) {
                a.kind = EVRT_ATTRIBUTE_BOOL;
                a.v.b = lua_toboolean(L, -1) != 0;
            } else if (lua_type(L, -1) == LUA_TSTRING) {
                a.text.p = lua_tolstring(L, -1, &a.text.n);
            }
            evrt_attributes_put(out, &a);
        }
        lua_pop(L, 1);
    }
    return evrt_buf_slice(out);
}

/* finish(token, name, attributes or nil [, error_type, message]) */
static int finish(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    struct open_span open;
    size_t n;
    const char *token = luaL_checklstring(L, 1, &n);
    if (d == NULL || n != sizeof open) return 0;
    memcpy(&open, token, sizeof open);
    d->spans.context.span = open.parent;
    struct evrt_frame_span f = {
        .delivery = d->id,
        .id = open.id,
        .parent = open.parent,
        .start_ns = open.start_ns,
        .end_ns = evrt_mono_ns(),
        .failed = !lua_isnoneornil(L, 4),
    };
    f.name.p = luaL_checklstring(L, 2, &f.name.n);
    f.error_type.p = luaL_optlstring(L, 4, "", &f.error_type.n);
    f.message.p = luaL_optlstring(L, 5, "", &f.message.n);
    f.attributes = encode_attributes(L, 3, &w->scratch);
    if (!d->spans.hold)
        evrt_frame_put_span(evrt_worker_out(w), &f);
    else if (d->spans.held.n + f.attributes.n + f.message.n < HELD_MAX)
        evrt_frame_put_span(&d->spans.held, &f);
    return 0;
}

/* ids(record) -> trace_id, span_id of the running delivery; nothing when tracing is off. */
static int ids(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    struct evrt_event e;
    struct evrt_event_trace t;
    char trace[EVRT_TRACE_ID_SIZE], span[EVRT_SPAN_ID_SIZE];
    size_t n;
    const char *record = luaL_checklstring(L, 1, &n);
    if (d == NULL || !d->spans.on || evrt_event_decode(record, n, &e) < 0) return 0;
    struct evrt_trace_context *c = &d->spans.context;
    if (!d->spans.known) { /* nobody but the script asks */
        evrt_event_trace(record, w->hello.trace_threshold, &t);
        *c = t.context;
        d->spans.handle = c->span =
            evrt_handle_span_id(c, d->id, (unsigned)luaL_optinteger(L, 2, 1));
    }
    lua_pushstring(L, evrt_trace_id_format(c->high, c->low, trace));
    lua_pushstring(L, evrt_span_id_format(c->span, span));
    return 2;
}

static const luaL_Reg functions[] = {
    {"begin", begin},
    {"finish", finish},
    {"ids", ids},
    {NULL, NULL},
};

int evrt_trace_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
