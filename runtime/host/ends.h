/* How deliveries ended that are neither pending nor dead letters nor retries: done, or discarded. Only the journal
 * knows, whose settlements name what they discard, so it is read from the event on until the end was found, which is
 * near but for what an operator or time discarded later. For a job in the thread pool. */
#ifndef EVRT_HOST_ENDS_H
#define EVRT_HOST_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buf.h"

struct evrt_error;
struct evrt_journal_reader;

enum host_how {
    HOST_HOW_OPEN, /* none is in the journal: an older version did not name what it discarded */
    HOST_HOW_DONE,
    HOST_HOW_DISCARDED,
    HOST_HOW_UNKNOWN, /* none was found in time */
};

struct host_end {
    uint64_t seq;
    uint32_t sub;
    uint32_t how;  /* enum host_how */
    uint64_t said; /* scratch: the record that said so */
    bool failed;   /* scratch: it has left the window as a retry or a dead letter */
};

/* Finds the ends of those that are OPEN, which are sorted by seq, in about so many ms. 0, or a negative errno of the
 * journal. */
enum { HOST_ENDS_MS = 2000 };
EVRT_MUST_CHECK int host_ends_find(struct evrt_journal_reader *reader, struct host_end *ends,
                                   size_t count, int64_t ms, struct evrt_error *err);

#endif
