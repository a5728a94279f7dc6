/* Stepping through a segment file group by group, with one sliding window of memory. Used by recovery,
 * readers, the index and the store tools. Owner: whoever holds the struct; one thread at a time. */
#ifndef EVRT_JOURNAL_SCAN_H
#define EVRT_JOURNAL_SCAN_H

#include "journal/format.h"

enum { EVRT_SCAN_WINDOW = 256 << 10 };

struct evrt_scan {
    int fd; /* not owned */
    uint64_t salt;
    uint64_t limit; /* never read at or beyond it; may be raised, never lowered, between calls */
    char *window;
    size_t cap;
    uint64_t start; /* file offset of window[0] */
    size_t n;       /* valid bytes in the window */
};

void evrt_scan_init(struct evrt_scan *s, int fd, uint64_t salt, uint64_t limit);
void evrt_scan_finish(struct evrt_scan *s);
/* Turns to another file; keeps the memory. */
void evrt_scan_reset(struct evrt_scan *s, int fd, uint64_t salt, uint64_t limit);

/* Makes at least `want` bytes at `offset` available, fewer only when limit or the end of the file come
 * first. *have: how many there are. NULL with *rc when reading fails. Valid until the next call. */
const char *evrt_scan_bytes(struct evrt_scan *s, uint64_t offset, size_t want, size_t *have,
                            int *rc);
/* The whole checked group at `offset`. -EBADMSG: none stands there; other: the read failed.
 * g->body is valid until the next call. */
EVRT_MUST_CHECK int evrt_scan_group(struct evrt_scan *s, uint64_t offset, struct evrt_group *g);

/* Walks groups from `offset` as long as they are whole and continue (*group, *seq); both are advanced.
 * `each` (may be NULL) sees every one. *end: where the first that does not fit would stand. 0 also
 * when the walk ended at a bad group: a negative errno only when reading failed. Ends after a SEAL. */
typedef void (*evrt_scan_cb)(void *arg, uint64_t offset, const struct evrt_group *g);
EVRT_MUST_CHECK int evrt_scan_walk(struct evrt_scan *s, uint64_t offset, uint64_t *group,
                                   uint64_t *seq, uint64_t *end, evrt_scan_cb each, void *arg);

/* What lies behind the end of the good groups. */
struct evrt_tail {
    bool later;          /* a group's header with a number above `group` stands there */
    uint64_t later_at;   /* its offset */
    uint64_t last_group; /* the highest such number, and what follows it */
    uint64_t last_seq;
    uint64_t used_end; /* one past the last byte that is not zero (rounded up to 8), or `from` */
};
/* Looks at every multiple of 8 from `from` to the limit. */
EVRT_MUST_CHECK int evrt_scan_tail(struct evrt_scan *s, uint64_t from, uint64_t group,
                                   struct evrt_tail *out);
/* The first whole group at or behind `from` whose number is above `group`. 1, 0 when there is none. */
EVRT_MUST_CHECK int evrt_scan_resume(struct evrt_scan *s, uint64_t from, uint64_t group,
                                     uint64_t *offset, struct evrt_group *g);

#endif
