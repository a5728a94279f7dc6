/* evrt.c.event: reads fields of an encoded event (core/event.h), which Lua holds as one string. The
 * string is within reach of scripts, so each read checks it. */
#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base64.h"
#include "core/event.h"
#include "core/hash.h"
#include "worker/bind.h"
#include "worker/bind_json.h"

static void check_event(lua_State *L, struct evrt_event *e) {
    size_t n;
    const char *p = luaL_checklstring(L, 1, &n);
    if (evrt_event_decode(p, n, e) < 0) luaL_argerror(L, 1, "not an event");
}

/* An absent attribute is nil; so is an empty one, which CloudEvents does not allow. */
static int push_attribute(lua_State *L, struct evrt_slice s) {
    if (s.n == 0) return 0;
    lua_pushlstring(L, s.p, s.n);
    return 1;
}

#define ATTRIBUTE(member)                   \
    static int get_##member(lua_State *L) { \
        struct evrt_event e;                \
        check_event(L, &e);                 \
        return push_attribute(L, e.member); \
    }
ATTRIBUTE(id)
ATTRIBUTE(type)
ATTRIBUTE(source)
ATTRIBUTE(time)
ATTRIBUTE(subject)
ATTRIBUTE(datacontenttype)
ATTRIBUTE(dataschema)

static int get_seq(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    lua_pushnumber(L, (lua_Number)e.seq);
    return 1;
}

static int get_hops(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    lua_pushinteger(L, e.hops);
    return 1;
}

static void push_extension(lua_State *L, const struct evrt_extension *x) {
    lua_pushlstring(L, x->value.p, x->value.n);
    if (x->kind == 'i') {
        lua_Integer v = (lua_Integer)strtol(lua_tostring(L, -1), NULL, 10);
        lua_pop(L, 1);
        lua_pushinteger(L, v);
    } else if (x->kind == 'b') {
        lua_pop(L, 1);
        lua_pushboolean(L, evrt_slice_eq(x->value, EVRT_STR("true")));
    }
}

static int get_extensions(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    lua_newtable(L);
    struct evrt_extension x;
    for (size_t at = 0; evrt_extensions_next(e.extensions, &at, &x);) {
        lua_pushlstring(L, x.name.p, x.name.n);
        push_extension(L, &x);
        lua_rawset(L, -3);
    }
    return 1;
}

/* The bytes that were published, or nil when the event has no data. */
static int get_raw(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    if (!(e.flags & EVRT_EVENT_HAS_DATA)) return 0;
    lua_pushlstring(L, e.data.p, e.data.n);
    return 1;
}

static int get_data(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    if (!(e.flags & EVRT_EVENT_JSON)) return get_raw(L);
    return evrt_json_push(L, e.data.p, e.data.n, e.flags);
}

/* is_json(record), is_binary(record): how a structured CloudEvent would show the data. */
static int is_json(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    lua_pushboolean(L, (e.flags & EVRT_EVENT_JSON) != 0);
    return 1;
}

/* idempotency_key(record, handler): the same for every attempt, and different for two handlers of one
 * event as well as for two sources that use the same id. */
static int idempotency_key(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    size_t n;
    const char *handler = luaL_checklstring(L, 2, &n);
    struct iovec parts[] = {
        {(void *)(uintptr_t)handler, n},
        {(void *)"", 1},
        {(void *)(uintptr_t)e.source.p, e.source.n},
        {(void *)"", 1},
        {(void *)(uintptr_t)e.id.p, e.id.n},
    };
    char key[33];
    snprintf(key, sizeof key, "%016" PRIx64 "%016" PRIx64, evrt_hash64_iov(parts, 5, 0),
             evrt_hash64_iov(parts, 5, 1));
    lua_pushlstring(L, key, 32);
    return 1;
}

/* The bytes of data as base64. The text is made in a userdata, which Lua frees whatever happens. */
static int get_base64(lua_State *L) {
    struct evrt_event e;
    check_event(L, &e);
    size_t n = evrt_base64_size(e.data.n);
    char *text = lua_newuserdata(L, n);
    evrt_base64_encode(e.data, text);
    lua_pushlstring(L, text, n);
    return 1;
}

static const luaL_Reg functions[] = {
    {"id", get_id},
    {"type", get_type},
    {"source", get_source},
    {"time", get_time},
    {"subject", get_subject},
    {"datacontenttype", get_datacontenttype},
    {"dataschema", get_dataschema},
    {"extensions", get_extensions},
    {"seq", get_seq},
    {"hops", get_hops},
    {"data", get_data},
    {"raw", get_raw},
    {"base64", get_base64},
    {"is_json", is_json},
    {"idempotency_key", idempotency_key},
    {NULL, NULL},
};

int evrt_event_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
