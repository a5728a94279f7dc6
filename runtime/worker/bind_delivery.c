/* evrt.c.delivery: what a runner asks for. next() -> index, record, attempt, deadline, purpose, info; fail(); sleep();
 * retry_after(); note(). */
#include <lauxlib.h>
#include <math.h>
#include <sysexits.h>

#include "core/clock.h"
#include "worker/bind.h"
#include "worker/process.h"
#include "worker/wait.h"

#define FOREVER_NS \
    (INT64_C(100) * 366 * 86400 * 1000000000) /* as long as anything is asked to wait */

static void collect(struct evrt_worker *w, lua_State *L) {
    int64_t begin = evrt_mono_ns();
    evrt_memory_collect(&w->memory, L);
    if (w->page == NULL) return;
    uint64_t took = (uint64_t)(evrt_mono_ns() - begin);
    evrt_page_store(&w->page->collecting_ns, evrt_page_load(&w->page->collecting_ns) + took);
    evrt_page_store(&w->page->collections, evrt_page_load(&w->page->collections) + 1);
}

/* Settles the running delivery as done and takes the next; waits when there is none to take. Returns nil
 * and a reason when the running one cannot be done: whatever its handler returned, it ran out of
 * "memory", or was told of its "timeout". */
static int next(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    if (d != NULL && (d->expired || w->memory.exhausted)) {
        lua_pushnil(L);
        lua_pushstring(L, w->memory.exhausted ? "memory" : "timeout");
        return 2;
    }
    if (d != NULL) evrt_worker_settle_done(w);
    if (evrt_memory_is_high(&w->memory)) {
        /* Finalizers of scripts run now: what is done must not be lost to them. */
        evrt_worker_flush(w);
        collect(w, L);
    }
    if (!evrt_runners_may_take(w)) return lua_yield(L, 0);
    w->taken++;
    struct evrt_frame_deliver f;
    d = evrt_deliveries_take(w, &f);
    lua_pushinteger(L, (lua_Integer)f.handler + 1);
    lua_pushlstring(L, f.event.p, f.event.n);
    lua_pushinteger(L, (lua_Integer)f.attempt);
    bool handle = f.purpose == EVRT_PURPOSE_HANDLE;
    if (d->deadline_ns == INT64_MAX && handle) return 3;
    if (d->deadline_ns == INT64_MAX)
        lua_pushnil(L);
    else
        lua_pushnumber(L, (lua_Number)d->deadline_ns / 1e9);
    if (handle) return 4;
    static const char *const purposes[] = {
#define X(name, number, help) [number] = #name,
        EVRT_PURPOSES(X)
#undef X
    };
    lua_pushstring(L, purposes[f.purpose]);
    lua_pushlstring(L, f.info.p == NULL ? "" : f.info.p, f.info.n);
    return 6;
}

/* fail(error_type, message, traceback). What a script raises after it was told that its time or memory is
 * over does not change what ended it. */
static int fail(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_delivery *d = w->deliveries.running;
    if (d == NULL) return luaL_error(L, "no delivery to fail");
    struct evrt_frame_failed f = {.retry_ms = d->retry_ms};
    f.error_type.p = luaL_checklstring(L, 1, &f.error_type.n);
    if (d->expired && !evrt_slice_eq(f.error_type, EVRT_STR("rejected")))
        f.error_type = EVRT_STR("timeout");
    if (w->memory.exhausted) f.error_type = EVRT_STR("memory");
    f.message.p = luaL_checklstring(L, 2, &f.message.n);
    f.traceback.p = luaL_optlstring(L, 3, "", &f.traceback.n);
    evrt_worker_settle_failed(w, &f);
    if (w->memory.exhausted) evrt_worker_leave(w, EX_TEMPFAIL);
    return 0;
}

/* retry_after(seconds [, unless]): should the running delivery fail, then that is its delay; nil: it is not tried
 * again. `unless`: only when nothing was decided before. false: no delivery runs. */
static int retry_after(lua_State *L) {
    struct evrt_delivery *d = evrt_worker_of(L)->deliveries.running;
    double ms = lua_isnoneornil(L, 1) ? EVRT_RETRY_NEVER : ceil(luaL_checknumber(L, 1) * 1000);
    bool keep = d != NULL && lua_toboolean(L, 2) && d->retry_ms != EVRT_RETRY_BY_POLICY;
    if (d != NULL && !keep) d->retry_ms = ms < 1e15 ? (int64_t)ms : (int64_t)1e15;
    lua_pushboolean(L, d != NULL);
    return 1;
}

/* note(text): what a policy does with the running delivery, for people who ask why. */
static int note(lua_State *L) {
    struct evrt_worker *w = evrt_worker_of(L);
    struct evrt_frame_note f = {0};
    f.text.p = luaL_checklstring(L, 1, &f.text.n);
    if (w->deliveries.running == NULL) return 0;
    f.delivery = w->deliveries.running->id;
    evrt_frame_put_note(evrt_worker_out(w), &f);
    return 0;
}

/* sleep(seconds) */
static int sleep_for(lua_State *L) {
    double ns = ceil(luaL_checknumber(L, 1) * 1e9);
    int refused = evrt_wait_check(L);
    if (refused != 0) return refused;
    int64_t wait = ns < 0 ? 0 : ns < FOREVER_NS ? (int64_t)ns : FOREVER_NS;
    evrt_delivery_wait(evrt_worker_of(L)->deliveries.running, evrt_mono_ns() + wait);
    return evrt_wait_yield(L);
}

static const luaL_Reg functions[] = {
    {"next", next},       {"fail", fail}, {"retry_after", retry_after},
    {"sleep", sleep_for}, {"note", note}, {NULL, NULL},
};

int evrt_delivery_open(lua_State *L) {
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    evrt_wait_push_mark(L);
    lua_setfield(L, -2, "mark");
    return 1;
}
