/* Runners: long-lived coroutines, each a loop in Lua that takes deliveries and calls their handlers. One
 * runs at a time; a handler that waits keeps its runner, and the next one from the pool goes on with the
 * queue. The only place that resumes a coroutine from C. Embedded in the worker; its loop's thread. */
#ifndef EVRT_WORKER_RUNNER_H
#define EVRT_WORKER_RUNNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evrt_delivery;
struct evrt_runner;
struct evrt_worker;
struct lua_State;

struct evrt_runners {
    struct evrt_runner *idle;
    size_t idle_count;
    int loop_ref; /* the Lua function that is the loop */
    int64_t turn_began_ns;
    uint32_t look_at; /* so many taken, the clock is looked at */
};

/* Takes the loop function from the top of the stack. */
void evrt_runners_init(struct evrt_worker *w);
/* Before the Lua state closes. */
void evrt_runners_finish(struct evrt_worker *w);
/* May another delivery be taken from the inbox now? */
bool evrt_runners_may_take(struct evrt_worker *w);
/* Handles what is in the inbox, as far as concurrency and one turn's share allow. */
void evrt_runners_turn(struct evrt_worker *w);
/* Where the values go with which a waiting delivery goes on. */
struct lua_State *evrt_runner_stack(const struct evrt_runner *r);
/* Goes on with a waiting delivery, `nargs` values of whose answer are on its stack. */
void evrt_runner_continue(struct evrt_worker *w, struct evrt_delivery *d, int nargs);

#endif
