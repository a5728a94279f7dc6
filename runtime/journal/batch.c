/* See batch.h. The pool fills one chunk after the other; a chunk whose batches have all ended is
 * filled again from its start, so that a quiet journal stays within one chunk. */
#include "journal/batch.h"

#include <assert.h>
#include <stdlib.h>

#include "core/event.h"
#include "journal/format.h"

enum { FREE_CHUNKS_MAX = 16, FREE_BATCHES_MAX = 256 };

void evrt_batch_pool_init(struct evrt_batch_pool *p) {
    *p = (struct evrt_batch_pool){0};
}

static void chunk_unref(struct evrt_batch_pool *p, struct evrt_chunk *c) {
    if (--c->refs > 0) return;
    if (c->size != EVRT_CHUNK_BYTES || p->free_chunk_count >= FREE_CHUNKS_MAX) {
        free(c);
        return;
    }
    c->next_free = p->free_chunks;
    p->free_chunks = c;
    p->free_chunk_count++;
}

void evrt_batch_pool_finish(struct evrt_batch_pool *p) {
    if (p->chunk != NULL) chunk_unref(p, p->chunk);
    for (struct evrt_chunk *c = p->free_chunks, *next; c != NULL; c = next) {
        next = c->next_free;
        free(c);
    }
    for (struct evrt_batch *b = p->free_batches, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    evrt_batch_pool_init(p);
}

static struct evrt_chunk *chunk_create(struct evrt_batch_pool *p, uint32_t size) {
    struct evrt_chunk *c = p->free_chunks;
    if (size == EVRT_CHUNK_BYTES && c != NULL) {
        p->free_chunks = c->next_free;
        p->free_chunk_count--;
    } else {
        c = evrt_alloc(sizeof *c + size);
        c->size = size;
    }
    c->refs = 1;
    c->used = 0;
    return c;
}

/* The chunk that the next `need` bytes go to. A large record's chunk is not the pool's: what follows
 * goes on in the small one. */
static struct evrt_chunk *chunk_for(struct evrt_batch_pool *p, uint32_t need) {
    if (need > EVRT_CHUNK_BYTES) return chunk_create(p, need);
    if (p->chunk != NULL && p->chunk->refs == 1) p->chunk->used = 0;
    if (p->chunk == NULL || p->chunk->size - p->chunk->used < need) {
        if (p->chunk != NULL) chunk_unref(p, p->chunk);
        p->chunk = chunk_create(p, EVRT_CHUNK_BYTES);
    }
    p->chunk->refs++;
    return p->chunk;
}

struct evrt_batch *evrt_batch_create(struct evrt_batch_pool *p, uint64_t first_seq) {
    struct evrt_batch *b = p->free_batches;
    if (b != NULL) {
        p->free_batches = b->next;
        p->free_batch_count--;
    } else {
        b = evrt_alloc(sizeof *b);
    }
    *b = (struct evrt_batch){.pool = p, .refs = 1, .first_seq = first_seq};
    b->spans = b->few;
    b->span_cap = sizeof b->few / sizeof b->few[0];
    return b;
}

static void push_span(struct evrt_batch *b, struct evrt_span span) {
    if (b->span_count == b->span_cap) {
        b->span_cap *= 4;
        struct evrt_span *old = b->spans == b->few ? NULL : b->spans;
        b->spans = evrt_realloc(old, b->span_cap * sizeof *b->spans);
        if (old == NULL) memcpy(b->spans, b->few, sizeof b->few);
    }
    b->spans[b->span_count++] = span;
}

void *evrt_batch_add(struct evrt_batch *b, enum evrt_record_kind kind, uint32_t n) {
    uint32_t need = (uint32_t)evrt_record_bytes(n);
    struct evrt_span *last = b->span_count > 0 ? &b->spans[b->span_count - 1] : NULL;
    struct evrt_chunk *chunk = last == NULL ? NULL : last->chunk;
    if (chunk == NULL || chunk->size - chunk->used < need) {
        chunk = chunk_for(b->pool, need);
        push_span(b, (struct evrt_span){chunk, chunk->used, 0});
        last = &b->spans[b->span_count - 1];
    }
    char *at = chunk->data + chunk->used;
    chunk->used += need;
    last->n += need;
    b->bytes += need;
    b->records++;
    b->events += kind == EVRT_RECORD_EVENT;
    return evrt_record_begin(at, kind, n);
}

void evrt_batch_stamp(struct evrt_batch *b, int64_t ms) {
    if (b->events == 0) return;
    uint64_t seq = b->first_seq;
    for (uint32_t s = 0; s < b->span_count; s++) {
        char *at = b->spans[s].chunk->data + b->spans[s].at;
        char *end = at + b->spans[s].n;
        for (; at < end; at += evrt_record_bytes(evrt_get_u32(at)))
            if (at[4] == EVRT_RECORD_EVENT) evrt_event_stamp(at + EVRT_RECORD_HEAD, seq++, ms);
    }
    assert(seq == b->first_seq + b->events);
}

void evrt_batch_join(struct evrt_batch *to, struct evrt_batch *from) {
    uint32_t i = 0;
    struct evrt_span *last = &to->spans[to->span_count - 1];
    if (last->chunk == from->spans[0].chunk && last->at + last->n == from->spans[0].at) {
        last->n += from->spans[0].n;
        last->chunk->refs--;
        i = 1;
    }
    for (; i < from->span_count; i++)
        push_span(to, from->spans[i]);
    to->events += from->events;
    to->records += from->records;
    to->bytes += from->bytes;
    from->span_count = 0;
    evrt_batch_unref(from);
}

struct evrt_batch *evrt_batch_ref(struct evrt_batch *b) {
    b->refs++;
    return b;
}

void evrt_batch_unref(struct evrt_batch *b) {
    if (--b->refs > 0) return;
    struct evrt_batch_pool *p = b->pool;
    for (uint32_t i = 0; i < b->span_count; i++)
        chunk_unref(p, b->spans[i].chunk);
    if (b->spans != b->few) free(b->spans);
    if (p->free_batch_count >= FREE_BATCHES_MAX) {
        free(b);
        return;
    }
    b->next = p->free_batches;
    p->free_batches = b;
    p->free_batch_count++;
}

/* *at: the span's index in the upper half, the offset within the span in the lower. */
bool evrt_batch_next(const struct evrt_batch *b, size_t *at, struct evrt_batch_record *out) {
    size_t span = *at >> 32, offset = *at & UINT32_MAX;
    if (span >= b->span_count) return false;
    const struct evrt_span *s = &b->spans[span];
    const char *p = s->chunk->data + s->at + offset;
    out->n = evrt_get_u32(p);
    out->kind = evrt_get_u32(p + 4);
    out->payload = p + EVRT_RECORD_HEAD;
    offset += evrt_record_bytes(out->n);
    *at = offset == s->n ? (span + 1) << 32 : (span << 32) | offset;
    return true;
}

uint64_t evrt_batch_group(const struct evrt_batch *b) {
    return b->group;
}

uint64_t evrt_batch_first_seq(const struct evrt_batch *b) {
    return b->first_seq;
}

uint32_t evrt_batch_events(const struct evrt_batch *b) {
    return b->events;
}

uint32_t evrt_batch_records(const struct evrt_batch *b) {
    return b->records;
}

int64_t evrt_batch_commit_ns(const struct evrt_batch *b) {
    return b->commit_ns;
}

size_t evrt_batch_bytes(const struct evrt_batch *b) {
    return sizeof *b + b->bytes + b->span_count * sizeof *b->spans;
}
