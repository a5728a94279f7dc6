/* The table of segments that the journal serves, oldest first, each with its sparse index. Owner: the
 * journal; every function is called with the journal's lock held. */
#ifndef EVRT_JOURNAL_SEGMENTS_H
#define EVRT_JOURNAL_SEGMENTS_H

#include "journal/format.h"

/* A place from which to walk: the first group at or behind every `step` bytes. */
struct evrt_mark {
    uint64_t offset, group, seq; /* of the group that stands at offset */
    int64_t max_ms;              /* latest time of the segment's groups before it */
};

struct evrt_index {
    struct evrt_mark *marks;
    uint32_t n, cap;
    uint64_t step;
};

struct evrt_segment {
    uint64_t number, salt, size;
    uint64_t first_group, first_seq;
    int64_t ended_ms; /* wall time when its successor was made */
    int64_t max_ms;   /* latest time of its groups */
    uint64_t end;     /* of the durable groups: readers go no further */
    bool sealed;
    int memory; /* durability memory: the file itself; else -1 */
    struct evrt_index index;
};

struct evrt_segments {
    struct evrt_segment **list;
    size_t n, cap;
    uint64_t bytes; /* sum of sizes */
};

void evrt_index_init(struct evrt_index *x, uint64_t segment_size);
void evrt_index_finish(struct evrt_index *x);
/* Tells the index of a group; they come in order. */
void evrt_index_note(struct evrt_index *x, const struct evrt_mark *mark);
/* The last mark whose group, seq or max_ms is at most (time: below) the one asked for; NULL when the
 * index is empty. */
const struct evrt_mark *evrt_index_by_group(const struct evrt_index *x, uint64_t group);
const struct evrt_mark *evrt_index_by_seq(const struct evrt_index *x, uint64_t seq);
const struct evrt_mark *evrt_index_by_time(const struct evrt_index *x, int64_t ms);

void evrt_segments_finish(struct evrt_segments *t);
/* Takes the segment over. */
void evrt_segments_push(struct evrt_segments *t, struct evrt_segment *s);
/* Takes the oldest out and returns it. */
struct evrt_segment *evrt_segments_shift(struct evrt_segments *t);
struct evrt_segment *evrt_segments_last(const struct evrt_segments *t);
/* The segment with that number, or the first one after it; NULL when all are older. */
struct evrt_segment *evrt_segments_at(const struct evrt_segments *t, uint64_t number);
void evrt_segment_destroy(struct evrt_segment *s);

#endif
