/* A set of sequence numbers kept as runs: what a handler has ended above its cursor.
 * Embedded (init/finish); one thread. Adding is cheap and may leave the runs in disorder; trim puts them
 * in the one normal form (ascending, apart from each other by at least one), which depends only on the
 * set and not on the order or grouping of the additions. */
#ifndef EVRT_STATE_RANGESET_H
#define EVRT_STATE_RANGESET_H

#include "core/record.h"

struct evrt_rangeset {
    struct evrt_range *runs;
    size_t count, cap;
    size_t normal; /* the first so many runs are in normal form; the rest came later */
};

void evrt_rangeset_init(struct evrt_rangeset *set);
void evrt_rangeset_finish(struct evrt_rangeset *set);
/* Adds a run (count > 0, not past the last 64-bit number). */
void evrt_rangeset_add(struct evrt_rangeset *set, struct evrt_range run);
/* Drops everything below `floor` and brings the rest to normal form. */
void evrt_rangeset_trim(struct evrt_rangeset *set, uint64_t floor);
/* Appends a set in normal form as evrt_ranges_put writes it. */
void evrt_rangeset_put(const struct evrt_rangeset *set, struct evrt_buf *out);
/* Adds every run of such an encoding. -EBADMSG: malformed. */
EVRT_MUST_CHECK int evrt_rangeset_get(struct evrt_rangeset *set, struct evrt_slice ranges);

/* Such an encoding as [[first,count],...]. */
struct evrt_jsonout;
void evrt_ranges_json(struct evrt_jsonout *o, struct evrt_slice ranges);

#endif
