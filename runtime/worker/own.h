/* What a delivery wrote itself, by key: one that wrote ten thousand keys reads each of them without a walk through
 * all. Made when it is asked for, from the effects (core/kv.h), which only grow, or whose last increment does.
 * Embedded in the delivery (finish; all 0 is empty); the worker's loop. */
#ifndef EVRT_WORKER_OWN_H
#define EVRT_WORKER_OWN_H

#include <stdbool.h>

#include "core/kv.h"

struct evrt_own_key;

struct evrt_own {
    struct evrt_own_key *keys; /* by hash; NULL: none */
    uint32_t mask, count;
    size_t upto; /* the effects below were taken in */
};

/* A key as of the delivery's writes: set or deleted, then so much was added. */
struct evrt_own_value {
    bool known;
    struct evrt_slice value; /* known; into the effects, n 0: deleted */
    bool adds;
    int64_t sum;
};

void evrt_own_finish(struct evrt_own *o);
void evrt_own_find(struct evrt_own *o, struct evrt_slice effects, struct evrt_slice ns,
                   struct evrt_slice key, struct evrt_own_value *out);
/* The increment that stands last in the effects is greater by so much. */
void evrt_own_merged(struct evrt_own *o, struct evrt_slice effects, const struct evrt_kv_op *op);

#endif
