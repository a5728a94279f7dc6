/* Which events for later are due next: two heaps, one by the wall clock and one by time that passes. Pure;
 * what is due is the caller's business. Embedded (init/finish); its owner's thread. */
#ifndef EVRT_HOST_DUE_H
#define EVRT_HOST_DUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct host_due {
    int64_t when; /* what it is ordered by: wall ms, or monotonic ms */
    int64_t due_ms;
    uint64_t number;
};

struct host_due_heap {
    struct host_due *all;
    size_t n, cap;
};

void host_due_finish(struct host_due_heap *h);
void host_due_push(struct host_due_heap *h, struct host_due due);
/* Takes out the first one, when it is due by then. */
bool host_due_pop(struct host_due_heap *h, int64_t by, struct host_due *out);
/* Takes out the one of that number, wherever it is. */
bool host_due_take(struct host_due_heap *h, uint64_t number, struct host_due *out);

#endif
