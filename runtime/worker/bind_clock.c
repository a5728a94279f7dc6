/* evrt.c.clock: clocks, durations, and the random numbers of this worker. */
#include <lauxlib.h>
#include <math.h>

#include "core/clock.h"
#include "core/cron.h"
#include "core/units.h"
#include "worker/bind.h"
#include "worker/process.h"

static int now(lua_State *L) {
    lua_pushnumber(L, (lua_Number)evrt_wall_ms() / 1000);
    return 1;
}

static int monotonic(lua_State *L) {
    lua_pushnumber(L, (lua_Number)evrt_mono_ns() / 1e9);
    return 1;
}

/* format(seconds) -> RFC 3339; nil when the year has not four digits */
static int format(lua_State *L) {
    double ms = floor(luaL_checknumber(L, 1) * 1000 + 0.5);
    if (!(ms >= -62167219200000.0 && ms < 253402300800000.0)) return 0;
    char text[EVRT_RFC3339_SIZE];
    lua_pushstring(L, evrt_rfc3339_format((int64_t)ms, text));
    return 1;
}

/* parse(text) -> seconds; or nil and the position of what is wrong */
static int parse(lua_State *L) {
    struct evrt_slice s;
    s.p = luaL_checklstring(L, 1, &s.n);
    int64_t ms;
    size_t bad;
    if (evrt_rfc3339_parse(s, &ms, &bad) < 0) {
        lua_pushnil(L);
        lua_pushinteger(L, (lua_Integer)bad);
        return 2;
    }
    lua_pushnumber(L, (lua_Number)ms / 1000);
    return 1;
}

/* duration("30s") -> seconds, or nil */
static int duration(lua_State *L) {
    struct evrt_slice s;
    s.p = luaL_checklstring(L, 1, &s.n);
    int64_t ms;
    if (evrt_duration_parse(s, &ms) < 0) return 0;
    lua_pushnumber(L, (lua_Number)ms / 1000);
    return 1;
}

/* cron("0 9 * * mon-fri") -> nothing, or what is wrong with it */
static int cron(lua_State *L) {
    struct evrt_slice s;
    struct evrt_cron parsed;
    struct evrt_error err;
    s.p = luaL_checklstring(L, 1, &s.n);
    if (evrt_cron_parse(s, &parsed, &err) == 0) return 0;
    lua_pushstring(L, err.message);
    return 1;
}

/* zone("Europe/Berlin") -> nothing, or what is wrong with it */
static int zone(lua_State *L) {
    struct evrt_slice s;
    struct evrt_zone *loaded;
    struct evrt_error err;
    s.p = luaL_checklstring(L, 1, &s.n);
    if (evrt_zone_load(&loaded, s, &err) == 0) {
        evrt_zone_destroy(loaded);
        return 0;
    }
    lua_pushstring(L, err.message);
    return 1;
}

static int uuid(lua_State *L) {
    char text[EVRT_UUID_SIZE];
    evrt_uuid7(&evrt_worker_of(L)->random, text);
    lua_pushlstring(L, text, EVRT_UUID_SIZE - 1);
    return 1;
}

/* A seed for math.random. */
static int seed(lua_State *L) {
    lua_pushnumber(L, (lua_Number)(evrt_random_u64(&evrt_worker_of(L)->random) >> 11));
    return 1;
}

static const luaL_Reg functions[] = {
    {"now", now},     {"monotonic", monotonic}, {"format", format},
    {"parse", parse}, {"duration", duration},   {"uuid", uuid},
    {"seed", seed},   {"cron", cron},           {"zone", zone},
    {NULL, NULL},
};

int evrt_clock_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
