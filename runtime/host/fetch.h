/* Events by sequence, for what failed with them: read from the journal, or where that has dropped them from
 * the copies in state.db. The loop's thread. */
#ifndef EVRT_HOST_FETCH_H
#define EVRT_HOST_FETCH_H

#include "core/buf.h"

struct evrt_host;

struct host_fetch_item {
    uint32_t sub; /* whose copy it may be */
    uint64_t seq;
    size_t at, n; /* set by the fetch; n 0: it is nowhere any more */
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

/* Orders items (qsort) by seq, then by sub. */
int host_fetch_by_seq(const void *a, const void *b);
/* `items` in any order, from evrt_alloc: taken over, and put in order. `done` is called once, never before this
 * returns; *f is valid during the call. */
void host_fetch(struct evrt_host *h, struct host_fetch_item *items, size_t count,
                void (*done)(void *arg, const struct host_fetch *f), void *arg);

#endif
