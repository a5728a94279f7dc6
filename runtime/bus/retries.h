/* What a subscription will try again: a heap by time, 48 bytes each, so that a million may wait. What more is
 * known of them is in state.db. Embedded; the bus's thread. */
#ifndef EVRT_BUS_RETRIES_H
#define EVRT_BUS_RETRIES_H

#include "bus/hold.h"

/* An event's bytes that are at hand for a retry. */
struct evrt_kept {
    struct evrt_hold hold;
    const char *event;
    uint32_t n;
};

struct evrt_retry_row {
    int64_t due_ns; /* monotonic */
    uint64_t seq;
    struct evrt_kept *kept; /* NULL: its bytes are read from the journal. The row has a reference */
    uint64_t key;           /* that it keeps busy; 0: none */
    int64_t first_failed_ms; /* wall clock */
    uint16_t attempt;        /* the next one's number */
    uint8_t crashes;         /* workers that it has cost */
};

struct evrt_retries {
    struct evrt_retry_row *heap; /* [0] is due first; of equals the lower sequence */
    size_t n, cap;
};

void evrt_retries_finish(struct evrt_retries *r);
void evrt_retries_push(struct evrt_retries *r, const struct evrt_retry_row *one);
/* Takes the one at that index out; 0 is the first that is due. */
struct evrt_retry_row evrt_retries_take(struct evrt_retries *r, size_t index);
/* The index of a sequence, or SIZE_MAX. Looks at all of them, from the end. */
size_t evrt_retries_find(const struct evrt_retries *r, uint64_t seq);

#endif
