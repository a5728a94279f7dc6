/* What a handler has ended above its cursor: a set of sequence numbers in chunks of 8192, each one row of
 * state.db, so that a set of a million pieces costs a commit no more than what it touches.
 *
 *     added ──▶ fresh runs ── trim ──▶ chunks: encoded runs, 2 bytes each where they are short
 *
 * The chunks depend only on the set and the floor, not on the order or grouping of the additions. Embedded
 * (init/finish); one thread. */
#ifndef EVRT_STATE_ENDED_H
#define EVRT_STATE_ENDED_H

#include <stdbool.h>

#include "state/rangeset.h"

enum { EVRT_ENDED_CHUNK = 8192 };

struct evrt_ended_chunk {
    uint64_t number; /* of its first sequence, divided by EVRT_ENDED_CHUNK */
    uint64_t sum;
    char *bytes; /* as evrt_ranges_put writes, from the chunk's first sequence on */
    uint32_t n;
    bool changed; /* since the last commit */
};

struct evrt_ended {
    struct evrt_ended_chunk *chunks; /* ascending */
    size_t count, cap;
    struct evrt_rangeset fresh; /* not in the chunks yet */
    uint64_t *gone;             /* chunks that are no more since the last commit */
    size_t gone_count, gone_cap;
};

void evrt_ended_init(struct evrt_ended *e);
void evrt_ended_finish(struct evrt_ended *e);
/* Adds a run (count > 0, not past the last 64-bit number). */
void evrt_ended_add(struct evrt_ended *e, struct evrt_range run);
/* Drops everything below `floor` and puts the rest into chunks. */
void evrt_ended_trim(struct evrt_ended *e, uint64_t floor);
/* Appends the whole set, trimmed, as evrt_ranges_put writes it. */
void evrt_ended_put(const struct evrt_ended *e, struct evrt_buf *out);
/* Appends a chunk as it was stored, after those before it. -EBADMSG: it is none. */
EVRT_MUST_CHECK int evrt_ended_load(struct evrt_ended *e, uint64_t number, struct evrt_slice bytes);
/* Changes were stored. */
void evrt_ended_committed(struct evrt_ended *e);

#endif
