/* evrt.c.policy: what policies need of the running delivery that handlers do not: whose it is, a shorter
 * deadline for a while, and waiting until another delivery of this worker says so. */
#include <lauxlib.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/pattern.h"
#include "worker/bind.h"
#include "worker/process.h"
#include "worker/wait.h"

static struct evrt_slice check_slice(lua_State *L, int idx) {
    struct evrt_slice s;
    s.p = luaL_checklstring(L, idx, &s.n);
    return s;
}

static struct evrt_delivery *check_running(lua_State *L) {
    struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    if (d == NULL) luaL_error(L, "no event is being handled");
    return d;
}

/* handler() -> index of the running delivery's handler, or nil */
static int handler(lua_State *L) {
    const struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    if (d == NULL) return 0;
    lua_pushinteger(L, (lua_Integer)d->handler + 1);
    return 1;
}

static void push_deadline(lua_State *L, int64_t ns) {
    if (ns == INT64_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)ns / 1e9);
}

/* limit(seconds) -> the deadline before, the deadline now: at most so long from now on */
static int limit(lua_State *L) {
    struct evrt_delivery *d = check_running(L);
    double ns = luaL_checknumber(L, 1) * 1e9;
    int64_t before = d->deadline_ns, wanted = INT64_MAX;
    if (ns < 1e18) wanted = evrt_mono_ns() + (int64_t)ns;
    if (wanted < before) d->deadline_ns = wanted;
    push_deadline(L, before);
    push_deadline(L, d->deadline_ns);
    return 2;
}

/* unlimit(deadline before) -> whether the script was told that the shorter one had passed. It is as if it
 * had not been, unless the one before has passed too. */
static int unlimit(lua_State *L) {
    struct evrt_delivery *d = check_running(L);
    bool told = d->expired;
    d->deadline_ns = lua_isnil(L, 1) ? INT64_MAX : (int64_t)(luaL_checknumber(L, 1) * 1e9);
    d->expired = told && d->deadline_ns != INT64_MAX && evrt_mono_ns() >= d->deadline_ns;
    lua_pushboolean(L, told);
    return 1;
}

/* ticket() -> what wake() takes to end the next park() of this delivery. A string: a number of Lua could
 * not hold its 64 bits. */
static int ticket(lua_State *L) {
    uint64_t token = evrt_delivery_token(check_running(L));
    lua_pushlstring(L, (const char *)&token, sizeof token);
    return 1;
}

/* park() -> problem; waits until woken or the deadline. A ticket for what did not come about is good for no
 * later wait. */
static int park(lua_State *L) {
    struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    int refused = evrt_wait_check(L);
    if (refused != 0) {
        if (d != NULL) d->token = 0;
        return refused;
    }
    evrt_delivery_wait(d, INT64_MAX);
    return evrt_wait_yield(L);
}

/* wake(ticket) -> whether it is parked; it goes on after this one has waited or ended */
static int wake(lua_State *L) {
    uint64_t token;
    struct evrt_slice s = check_slice(L, 1);
    if (s.n != sizeof token) return luaL_argerror(L, 1, "not a ticket");
    memcpy(&token, s.p, sizeof token);
    struct evrt_delivery *d = evrt_deliveries_find(&evrt_worker_of(L)->deliveries, token);
    lua_pushboolean(L, d != NULL && d->runner != NULL);
    if (lua_toboolean(L, -1)) evrt_delivery_rouse(d);
    return 1;
}

/* matches(pattern, type) */
static int matches(lua_State *L) {
    lua_pushboolean(L, evrt_pattern_match(check_slice(L, 1), check_slice(L, 2)));
    return 1;
}

/* fraction(text) -> a number from 0 below 1 that is the same for the same text, anywhere */
static int fraction(lua_State *L) {
    struct evrt_slice s = check_slice(L, 1);
    lua_pushnumber(L, (lua_Number)(evrt_hash64(s.p, s.n, 0) >> 11) * 0x1p-53);
    return 1;
}

static const luaL_Reg functions[] = {
    {"handler", handler}, {"limit", limit},       {"unlimit", unlimit},
    {"ticket", ticket},   {"park", park},         {"wake", wake},
    {"matches", matches}, {"fraction", fraction}, {NULL, NULL},
};

int evrt_policy_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    return 1;
}
