/* How a worker that has more to do gives up the CPU between its turns. A yield is for those to whom the kernel owes
 * time; it may owe none to the host, or to its own thread that flushes the disk for the host, and leave them standing
 * behind a worker for some 5 ms. So when the host has not read what was written a turn ago, the worker rests.
 * Embedded in the worker; its loop's thread. */
#ifndef EVRT_WORKER_UNHEARD_H
#define EVRT_WORKER_UNHEARD_H

#include <stdbool.h>
#include <stdint.h>

struct evrt_page;

struct evrt_unheard {
    uint64_t heard;   /* as the page said when it was looked at last */
    int64_t since_ns; /* the host has read nothing since, though something was there */
    bool wrote;       /* something that it may not have read */
};

static inline void evrt_unheard_wrote(struct evrt_unheard *u) {
    u->wrote = true;
}
/* `page` NULL: nobody listens; a yield then. */
void evrt_unheard_yield(struct evrt_unheard *u, const struct evrt_page *page);

#endif
