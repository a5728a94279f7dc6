/* Deliveries: those that have arrived and wait their turn, and those in progress.
 *
 *     DELIVER ──▶ inbox (per handler) ──▶ in progress: running (one) or waiting (each keeps a coroutine)
 *
 * Embedded in the worker; its loop's thread. */
#ifndef EVRT_WORKER_DELIVERY_H
#define EVRT_WORKER_DELIVERY_H

#include <stdbool.h>
#include <uv.h>

#include "frame/frame.h"
#include "worker/inbox.h"
#include "worker/own.h"
#include "worker/trace.h"

struct evrt_runner;
struct evrt_worker;

/* One in progress. Recycled; its address is stable because of the timer. */
struct evrt_delivery {
    struct evrt_worker *worker;
    struct evrt_delivery *next_free;
    uv_timer_t timer; /* while it waits: the end of the wait or the deadline, whichever is first */
    struct evrt_runner *runner; /* while it waits: the coroutine it keeps */
    uint64_t id;                /* the host's number */
    uint64_t token;             /* of the PUBLISH it waits for; 0: none */
    int64_t deadline_ns;        /* monotonic; INT64_MAX: none */
    struct evrt_buf effects;    /* what it wrote and published so far: core/kv.h */
    size_t last_effect;  /* where the last write of a key begins in them; SIZE_MAX: none is last */
    struct evrt_own own; /* the keys among them */
    int64_t retry_ms;    /* what the script decided, should it fail; as in frame/frame.h */
    uint32_t index;      /* in deliveries.all */
    uint32_t handler;    /* as in DELIVER */
    uint8_t hops;        /* of its event */
    bool expired;        /* its deadline has been told to the script */
    bool timer_is_deadline;
    uint8_t reads_here; /* reads since it waited last: reads.h */
    bool reads_simple;  /* waits for a key, and takes a value that needs no decoding */
    bool lent;          /* waits for other handlers: does not count as in progress */
    struct evrt_delivery_spans spans;
};

struct evrt_deliveries {
    struct evrt_inbox inbox;
    struct evrt_inbox
        later;       /* replays and their like: when nothing else waits, or once in a while */
    uint32_t passed; /* taken since one of those was */
    struct evrt_delivery **all;
    size_t count;
    struct evrt_delivery *free;
    struct evrt_delivery *running; /* whose coroutine runs now, or NULL */
    uint32_t open;                 /* in progress, also lent ones */
    uint32_t busy;                 /* in progress, but for lent ones */
    uint32_t serial;               /* of tokens */
};

void evrt_deliveries_init(struct evrt_deliveries *ds);
/* After the loop has closed every handle. */
void evrt_deliveries_finish(struct evrt_deliveries *ds);

static inline bool evrt_deliveries_waiting(const struct evrt_deliveries *ds) {
    return !evrt_inbox_is_empty(&ds->inbox) || !evrt_inbox_is_empty(&ds->later);
}
/* Opens the next of the inbox as the running one and returns it; `f` stays valid until the inbox's next push.
 * The inbox is not empty. */
struct evrt_delivery *evrt_deliveries_take(struct evrt_worker *w, struct evrt_frame_deliver *f);
/* The delivery is settled; whatever it waited for is forgotten. */
void evrt_delivery_end(struct evrt_delivery *d);

/* A new token for a PUBLISH in this delivery. */
uint64_t evrt_delivery_token(struct evrt_delivery *d);
/* The delivery that waits for the token, or NULL. */
struct evrt_delivery *evrt_deliveries_find(struct evrt_deliveries *ds, uint64_t token);

/* Has the deadline passed? Remembers that the script was told. */
bool evrt_delivery_expire(struct evrt_delivery *d);
/* Starts the timer for a wait until then (monotonic; INT64_MAX: until something else ends it) or until the
 * deadline. When it fires, never early, the delivery is resumed: with nothing, or with "timeout" at the deadline. */
void evrt_delivery_wait(struct evrt_delivery *d, int64_t until_ns);
/* Ends the wait in the next turn of the loop: the delivery is resumed with nothing. It waits. */
void evrt_delivery_rouse(struct evrt_delivery *d);
/* The wait is over: the delivery is the running one again. */
void evrt_delivery_wake(struct evrt_delivery *d);

#endif
