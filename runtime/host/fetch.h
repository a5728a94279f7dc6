/* Events by sequence, for what failed with them: read from the journal, or where that has dropped them from
 * the copies in state.db. The loop's thread. */
#ifndef EVRT_HOST_FETCH_H
#define EVRT_HOST_FETCH_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_host;

/* Of one fetch; one event more may be read that goes beyond it. So a batch is small whatever is in it, and costs
 * the same an event: reading it is a jump in the journal for each at worst. */
enum { HOST_FETCH_BYTES = 8 << 20 };

struct host_fetch_item {
    uint32_t sub; /* whose copy it may be */
    uint64_t seq;
    size_t at, n; /* set by the fetch; n 0: it is nowhere any more */
    bool left;    /* set by the fetch: not read, the bytes were enough; ask again */
};

struct host_fetch {
    struct host_fetch_item *items;
    size_t count;
    struct evrt_buf bytes;
    int rc; /* a negative errno: the journal or state.db cannot be read */
};

static inline struct evrt_slice host_fetched(const struct host_fetch *f, size_t i) {
    return (struct evrt_slice){f->items[i].n == 0 ? NULL : f->bytes.p + f->items[i].at,
                               f->items[i].n};
}

/* The item of that event and subscription; NULL: it is none of them. */
const struct host_fetch_item *host_fetch_find(const struct host_fetch *f, uint32_t sub,
                                              uint64_t seq);
/* Orders items (qsort) by seq, then by sub. */
int host_fetch_by_seq(const void *a, const void *b);
/* `items` in any order, from evrt_alloc: taken over, and put in order. The one that was the first is never left.
 * `done` is called once, never before this returns; *f is valid during the call. */
void host_fetch(struct evrt_host *h, struct host_fetch_item *items, size_t count,
                void (*done)(void *arg, const struct host_fetch *f), void *arg);

#endif
