/* Batches: records in the form they take on disk, in reference-counted chunks of memory.
 *
 *     chunk 64 KiB  [ batch 1 ][ batch 2 ][ batch 3 . . . free ]     a record larger than a chunk
 *     chunk 64 KiB  [ . . . batch 3 ][ batch 4 ]                     gets one of its own
 *
 * A batch is a list of spans of chunks, ready for writev; small batches share a chunk. Owner: the
 * journal's owner thread makes, joins and frees them; the writer thread only reads the spans of a
 * batch that was handed to it. */
#ifndef EVRT_JOURNAL_BATCH_H
#define EVRT_JOURNAL_BATCH_H

#include "journal/journal.h"

enum {
    EVRT_CHUNK_BYTES = (64 << 10) - 64,
    EVRT_BATCH_SPANS_MAX = 1000, /* below IOV_MAX, with the group's header */
};

struct evrt_chunk {
    struct evrt_chunk *next_free;
    uint32_t refs; /* spans in it, and the pool's own while it is being filled */
    uint32_t used, size;
    _Alignas(8) char data[];
};

struct evrt_span {
    struct evrt_chunk *chunk;
    uint32_t at, n;
};

/* One owner's memory for batches. */
struct evrt_batch_pool {
    struct evrt_chunk *chunk; /* being filled, or NULL */
    struct evrt_chunk *free_chunks;
    struct evrt_batch *free_batches;
    unsigned free_chunk_count, free_batch_count;
};

struct evrt_batch {
    struct evrt_batch *next;
    struct evrt_batch_pool *pool;
    struct evrt_span *spans; /* `few` or on the heap */
    struct evrt_span few[2];
    uint32_t span_count, span_cap;
    uint32_t refs;
    uint32_t events, records;
    uint64_t first_seq;
    uint64_t group;    /* set by the writer */
    int64_t commit_ns; /* the same: what writing and syncing it took */
    size_t bytes;      /* of records, with their headers */
};

void evrt_batch_pool_init(struct evrt_batch_pool *p);
/* Every batch has been given back. */
void evrt_batch_pool_finish(struct evrt_batch_pool *p);

struct evrt_batch *evrt_batch_create(struct evrt_batch_pool *p, uint64_t first_seq);
/* Room for one record at the end of a batch, the last one made from this pool. */
void *evrt_batch_add(struct evrt_batch *b, enum evrt_record_kind kind, uint32_t n);
/* Stamps the events: their seq, counted from first_seq, and the time. */
void evrt_batch_stamp(struct evrt_batch *b, int64_t ms);
/* Moves what `from` holds to the end of `to`, which was made before it; ends `from`. */
void evrt_batch_join(struct evrt_batch *to, struct evrt_batch *from);

#endif
