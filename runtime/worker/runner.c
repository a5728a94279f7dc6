/* See runner.h. */
#include "worker/runner.h"

#include <assert.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <sysexits.h>

#include "core/clock.h"
#include "core/jsonout.h"
#include "worker/process.h"

enum {
    IDLE_MAX = 256, /* runners kept for later: as many as wait at once by default */
    /* Deliveries and time before the loop looks at the socket and the timers again: what has come for
     * other handlers meanwhile takes its turn. */
    TURN_TAKES = 512,
    TURN_NS = 200000,
    LOOK_EVERY = 32, /* deliveries at most without a look at the clock */
};

struct evrt_runner {
    struct evrt_runner *next;
    lua_State *L;
    int ref;
};

void evrt_runners_init(struct evrt_worker *w) {
    w->runners = (struct evrt_runners){.loop_ref = luaL_ref(w->L, LUA_REGISTRYINDEX)};
}

static void destroy(struct evrt_worker *w, struct evrt_runner *r) {
    luaL_unref(w->L, LUA_REGISTRYINDEX, r->ref);
    free(r);
}

void evrt_runners_finish(struct evrt_worker *w) {
    while (w->runners.idle != NULL) {
        struct evrt_runner *r = w->runners.idle;
        w->runners.idle = r->next;
        destroy(w, r);
    }
    for (size_t i = 0; i < w->deliveries.count; i++)
        free(w->deliveries.all[i]->runner);
}

static struct evrt_runner *create(struct evrt_worker *w) {
    lua_State *L = lua_newthread(w->L);
    struct evrt_runner *r = evrt_alloc(sizeof *r);
    *r = (struct evrt_runner){.L = L, .ref = luaL_ref(w->L, LUA_REGISTRYINDEX)};
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->runners.loop_ref);
    return r;
}

static struct evrt_runner *take(struct evrt_worker *w) {
    struct evrt_runner *r = w->runners.idle;
    if (r == NULL) return create(w);
    w->runners.idle = r->next;
    w->runners.idle_count--;
    return r;
}

static void put_back(struct evrt_worker *w, struct evrt_runner *r) {
    if (w->runners.idle_count == IDLE_MAX) {
        destroy(w, r);
        return;
    }
    r->next = w->runners.idle;
    w->runners.idle = r;
    w->runners.idle_count++;
}

/* The loop never returns, and it catches what handlers raise: what comes through is memory that ran out
 * in the loop itself, or a bug in it. Either way this state cannot go on. */
static void died(struct evrt_worker *w, struct evrt_runner *r, int status) {
    const char *message = lua_tostring(r->L, -1);
    if (message == NULL) message = "the runner ended";
    bool memory = status == LUA_ERRMEM || w->memory.exhausted;
    struct evrt_frame_log line = {.level = 3,
                                  .message = evrt_slice_of("Worker cannot go on"),
                                  .caller = EVRT_STR("worker/runner.c:1")};
    evrt_buf_clear(&w->scratch);
    evrt_buf_puts(&w->scratch, "\"error\":");
    evrt_json_quote(&w->scratch, evrt_slice_of(message));
    line.fields = evrt_buf_slice(&w->scratch);
    evrt_frame_put_log(evrt_worker_out(w), &line);
    if (w->deliveries.running != NULL)
        evrt_worker_settle_failed(w,
                                  &(struct evrt_frame_failed){
                                      .error_type = memory ? EVRT_STR("memory") : EVRT_STR("error"),
                                      .message = evrt_slice_of(message),
                                  });
    destroy(w, r);
    evrt_worker_leave(w, EX_SOFTWARE);
}

/* When it yields, either the running delivery waits, or there is nothing to take. */
static void resume(struct evrt_worker *w, struct evrt_runner *r, int nargs) {
    int status = lua_resume(r->L, nargs);
    if (status != LUA_YIELD) {
        died(w, r, status);
        return;
    }
    lua_settop(r->L, 0);
    struct evrt_delivery *d = w->deliveries.running;
    w->deliveries.running = NULL;
    evrt_page_rests(w->page);
    if (d != NULL)
        d->runner = r;
    else
        put_back(w, r);
}

/* The clock costs as much as a short handler's call: it is looked at after as many deliveries as a quarter of
 * the time that is left should bring. */
static bool turn_is_over(struct evrt_worker *w) {
    if (w->taken == 0 || w->taken < w->runners.look_at) return false;
    int64_t used = evrt_mono_ns() - w->runners.turn_began_ns, left = TURN_NS - used;
    if (left <= 0 || w->taken >= TURN_TAKES) return true;
    w->runners.look_at = w->taken + 1 + (uint32_t)(left / 4 * w->taken / (used + 1));
    if (w->runners.look_at > w->taken + LOOK_EVERY) w->runners.look_at = w->taken + LOOK_EVERY;
    return false;
}

void evrt_runners_turn(struct evrt_worker *w) {
    w->taken = 0;
    w->runners.look_at = 1;
    w->runners.turn_began_ns = evrt_mono_ns();
    while (evrt_runners_may_take(w))
        resume(w, take(w), 0);
}

bool evrt_runners_may_take(struct evrt_worker *w) {
    return evrt_deliveries_waiting(&w->deliveries) && w->phase != EVRT_WORKER_LEAVING &&
           w->deliveries.busy < w->hello.concurrency && !turn_is_over(w);
}

struct lua_State *evrt_runner_stack(const struct evrt_runner *r) {
    return r->L;
}

void evrt_runner_continue(struct evrt_worker *w, struct evrt_delivery *d, int nargs) {
    assert(w->deliveries.running == NULL);
    struct evrt_runner *r = d->runner;
    evrt_delivery_wake(d);
    resume(w, r, nargs);
}
