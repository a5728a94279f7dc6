/* See ended.h. */
#include "state/ended.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/hash.h"

void evrt_ended_init(struct evrt_ended *e) {
    *e = (struct evrt_ended){0};
    evrt_rangeset_init(&e->fresh);
}

void evrt_ended_finish(struct evrt_ended *e) {
    for (size_t i = 0; i < e->count; i++)
        free(e->chunks[i].bytes);
    free(e->chunks);
    free(e->gone);
    evrt_rangeset_finish(&e->fresh);
    *e = (struct evrt_ended){0};
}

void evrt_ended_add(struct evrt_ended *e, struct evrt_range run) {
    evrt_rangeset_add(&e->fresh, run);
}

/* ---- Chunks ---- */

static struct evrt_ended_chunk *insert(struct evrt_ended *e, size_t at, uint64_t number) {
    e->chunks = evrt_grow(e->chunks, e->count, &e->cap, sizeof *e->chunks);
    memmove(e->chunks + at + 1, e->chunks + at, (e->count - at) * sizeof *e->chunks);
    e->count++;
    e->chunks[at] = (struct evrt_ended_chunk){.number = number};
    return &e->chunks[at];
}

static void store(struct evrt_ended_chunk *c, const char *bytes, size_t n) {
    free(c->bytes);
    c->bytes = evrt_alloc(n + 1);
    memcpy(c->bytes, bytes, n);
    c->n = (uint32_t)n;
    c->sum = evrt_hash64(bytes, n, c->number);
}

/* The chunk's runs, with their true sequences. */
static int decode(const struct evrt_ended_chunk *c, struct evrt_rangeset *out) {
    uint64_t base = c->number * EVRT_ENDED_CHUNK, from = 0;
    struct evrt_range run;
    int rc;
    for (size_t at = 0;
         (rc = evrt_ranges_next((struct evrt_slice){c->bytes, c->n}, &at, &from, &run)) == 1;) {
        if (from > EVRT_ENDED_CHUNK) return -EBADMSG;
        evrt_rangeset_add(out, (struct evrt_range){base + run.first, run.count});
    }
    return rc;
}

static void encode(struct evrt_ended_chunk *c, const struct evrt_rangeset *set) {
    struct evrt_buf out;
    uint64_t base = c->number * EVRT_ENDED_CHUNK, from = 0;
    evrt_buf_init(&out);
    for (size_t i = 0; i < set->count; i++)
        evrt_ranges_put(&out, &from,
                        (struct evrt_range){set->runs[i].first - base, set->runs[i].count});
    bool same = c->bytes != NULL && out.n == c->n && memcmp(out.p, c->bytes, out.n) == 0;
    if (!same) store(c, out.n == 0 ? "" : out.p, out.n);
    c->changed = c->changed || !same;
    evrt_buf_finish(&out);
}

/* ---- Trimming ---- */

static void note_gone(struct evrt_ended *e, uint64_t number) {
    e->gone = evrt_grow(e->gone, e->gone_count, &e->gone_cap, sizeof *e->gone);
    e->gone[e->gone_count++] = number;
}

static void drop_first(struct evrt_ended *e, size_t n) {
    for (size_t i = 0; i < n; i++) {
        note_gone(e, e->chunks[i].number);
        free(e->chunks[i].bytes);
    }
    e->count -= n;
    memmove(e->chunks, e->chunks + n, e->count * sizeof *e->chunks);
}

static void drop_below(struct evrt_ended *e, uint64_t floor) {
    uint64_t number = floor / EVRT_ENDED_CHUNK;
    size_t n = 0;
    while (n < e->count && e->chunks[n].number < number)
        n++;
    if (n > 0) drop_first(e, n);
    if (e->count == 0 || e->chunks[0].number != number) return;
    struct evrt_rangeset set;
    evrt_rangeset_init(&set);
    int rc = decode(&e->chunks[0], &set);
    evrt_rangeset_trim(&set, floor);
    if (rc == 0 && set.count != 0)
        encode(&e->chunks[0], &set);
    else
        drop_first(e, 1);
    evrt_rangeset_finish(&set);
}

/* Adds to one chunk the fresh runs from *i on that begin in it; what reaches beyond stays, cut off. */
static void fill(struct evrt_ended_chunk *c, struct evrt_rangeset *fresh, size_t *i) {
    uint64_t last = c->number * EVRT_ENDED_CHUNK + (EVRT_ENDED_CHUNK - 1);
    struct evrt_rangeset set;
    evrt_rangeset_init(&set);
    int rc = decode(c, &set);
    while (rc == 0 && *i < fresh->count && fresh->runs[*i].first <= last) {
        struct evrt_range *run = &fresh->runs[*i];
        uint64_t room = last - run->first + 1;
        bool whole = run->count <= room;
        evrt_rangeset_add(&set, (struct evrt_range){run->first, whole ? run->count : room});
        if (!whole) {
            run->first += room;
            run->count -= room;
            break;
        }
        ++*i;
    }
    evrt_rangeset_trim(&set, 0);
    encode(c, &set);
    evrt_rangeset_finish(&set);
}

void evrt_ended_trim(struct evrt_ended *e, uint64_t floor) {
    evrt_rangeset_trim(&e->fresh, floor);
    size_t at = 0;
    for (size_t i = 0; i < e->fresh.count;) {
        uint64_t number = e->fresh.runs[i].first / EVRT_ENDED_CHUNK;
        while (at < e->count && e->chunks[at].number < number)
            at++;
        if (at == e->count || e->chunks[at].number != number) insert(e, at, number);
        fill(&e->chunks[at], &e->fresh, &i);
    }
    evrt_rangeset_trim(&e->fresh, UINT64_MAX);
    drop_below(e, floor);
}

/* ---- Whole ---- */

void evrt_ended_put(const struct evrt_ended *e, struct evrt_buf *out) {
    struct evrt_rangeset all;
    evrt_rangeset_init(&all);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < e->count; i++)
        rc = decode(&e->chunks[i], &all);
    evrt_rangeset_trim(&all, 0);
    evrt_rangeset_put(&all, out);
    evrt_rangeset_finish(&all);
}

int evrt_ended_load(struct evrt_ended *e, uint64_t number, struct evrt_slice bytes) {
    if (number > UINT64_MAX / EVRT_ENDED_CHUNK || bytes.n > UINT32_MAX) return -EBADMSG;
    if (e->count > 0 && e->chunks[e->count - 1].number >= number) return -EBADMSG;
    struct evrt_ended_chunk *c = insert(e, e->count, number);
    struct evrt_rangeset set;
    evrt_rangeset_init(&set);
    store(c, bytes.n == 0 ? "" : bytes.p, bytes.n);
    int rc = decode(c, &set);
    evrt_rangeset_finish(&set);
    return rc < 0 || bytes.n == 0 ? -EBADMSG : 0;
}

void evrt_ended_committed(struct evrt_ended *e) {
    for (size_t i = 0; i < e->count; i++)
        e->chunks[i].changed = false;
    e->gone_count = 0;
}
