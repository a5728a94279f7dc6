/* While scripts load: one that loops or waits for longer than it may is told where it is stuck, and refused.
 * The host would only know that its worker does not answer. */
#ifndef EVRT_WORKER_LOAD_GUARD_H
#define EVRT_WORKER_LOAD_GUARD_H

#include <time.h>

struct evrt_worker;

struct evrt_load_guard {
    timer_t timer;
    int ticks; /* of it so far */
    int on;
};

/* With the worker's Lua state open; `hello.load_timeout_ms` 0: nothing is guarded. */
void evrt_load_guard_start(struct evrt_worker *w);
void evrt_load_guard_stop(struct evrt_worker *w);

#endif
