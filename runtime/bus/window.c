/* See window.h. */
#include "bus/window.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/buf.h"

enum { BLOCK = 256, WORDS = BLOCK / 64 };

struct evrt_window_block {
    struct evrt_entry *entries; /* NULL: none is open */
    uint64_t first_seq;
    uint64_t open[WORDS]; /* a bit for each that is not done */
    uint16_t count;       /* of those */
    uint16_t cap;         /* places in entries; BLOCK: each has its own, else they stand in order */
};

static uint64_t block_of(uint64_t position) {
    return position / BLOCK;
}

static struct evrt_window_block *block_at(const struct evrt_window *w, uint64_t position) {
    return &w->blocks[block_of(position) & w->mask];
}

static bool is_open(const struct evrt_window_block *b, unsigned i) {
    return b->open[i / 64] >> (i % 64) & 1;
}

/* Where the entry of the i-th position stands. */
static unsigned place_of(const struct evrt_window_block *b, unsigned i) {
    if (b->cap == BLOCK) return i;
    unsigned place = 0;
    for (unsigned word = 0; word < i / 64; word++)
        place += (unsigned)__builtin_popcountll(b->open[word]);
    return place + (unsigned)__builtin_popcountll(b->open[i / 64] & ((1ull << (i % 64)) - 1));
}

/* The first open one from the i-th on; BLOCK: none. */
static unsigned next_open(const struct evrt_window_block *b, unsigned i) {
    for (unsigned word = i / 64; word < WORDS; word++, i = word * 64) {
        uint64_t left = b->open[word] & (~0ull << (i % 64));
        if (left != 0) return word * 64 + (unsigned)__builtin_ctzll(left);
    }
    return BLOCK;
}

static void drop(struct evrt_window_block *b) {
    free(b->entries);
    *b = (struct evrt_window_block){0};
}

void evrt_window_init(struct evrt_window *w) {
    *w = (struct evrt_window){.head = 1, .tail = 1}; /* position 0 means none */
}

void evrt_window_finish(struct evrt_window *w) {
    for (size_t i = 0; w->blocks != NULL && i <= w->mask; i++)
        free(w->blocks[i].entries);
    free(w->blocks);
    *w = (struct evrt_window){0};
}

struct evrt_entry *evrt_window_at(const struct evrt_window *w, uint64_t position) {
    if (position < w->head || position >= w->tail) return NULL;
    const struct evrt_window_block *b = block_at(w, position);
    unsigned i = position % BLOCK;
    return is_open(b, i) ? &b->entries[place_of(b, i)] : NULL;
}

uint64_t evrt_window_next(const struct evrt_window *w, uint64_t position) {
    while (position < w->tail) {
        unsigned i = next_open(block_at(w, position), position % BLOCK);
        position = block_of(position) * BLOCK + i;
        if (i < BLOCK) return position;
    }
    return w->tail;
}

uint64_t evrt_window_find(const struct evrt_window *w, uint64_t seq) {
    if (w->head == w->tail) return 0;
    /* The last block that begins at or below it. */
    uint64_t low = block_of(w->head), high = block_of(w->tail - 1);
    while (low < high) {
        uint64_t mid = low + (high - low + 1) / 2;
        if (w->blocks[mid & w->mask].first_seq <= seq)
            low = mid;
        else
            high = mid - 1;
    }
    uint64_t at = low * BLOCK, end = at + BLOCK;
    for (at = evrt_window_next(w, at < w->head ? w->head : at); at < end && at < w->tail;
         at = evrt_window_next(w, at + 1)) {
        const struct evrt_entry *e = evrt_window_at(w, at);
        if (e->seq >= seq) return e->seq == seq ? at : 0;
    }
    return 0;
}

/* ---- Changes ---- */

static void grow(struct evrt_window *w) {
    size_t size = w->blocks == NULL ? 2 : (w->mask + 1) * 2;
    struct evrt_window_block *blocks = evrt_zalloc(size * sizeof *blocks);
    for (uint64_t b = block_of(w->head); w->blocks != NULL && b <= block_of(w->tail - 1); b++)
        blocks[b & (size - 1)] = w->blocks[b & w->mask];
    free(w->blocks);
    w->blocks = blocks;
    w->mask = size - 1;
}

/* To be called when nothing is put into the block any more. */
static void pack(struct evrt_window_block *b) {
    if (b->count > b->cap / 2) return;
    struct evrt_entry *packed = NULL;
    if (b->count != 0) packed = evrt_alloc(b->count * sizeof *packed);
    unsigned i = 0;
    for (unsigned n = 0; n < b->count; n++, i++) {
        i = next_open(b, i);
        packed[n] = b->entries[b->cap == BLOCK ? i : n];
    }
    free(b->entries);
    b->entries = packed;
    b->cap = b->count;
}

/* It is new, or the tail came back to it. */
static void unpack(struct evrt_window_block *b) {
    struct evrt_entry *entries = evrt_alloc(BLOCK * sizeof *entries);
    unsigned i = 0;
    for (unsigned n = 0; n < b->count; n++, i++) {
        i = next_open(b, i);
        entries[i] = b->entries[n];
    }
    free(b->entries);
    b->entries = entries;
    b->cap = BLOCK;
}

uint64_t evrt_window_push(struct evrt_window *w, struct evrt_entry entry) {
    if (w->blocks == NULL || block_of(w->tail) - block_of(w->head) > w->mask) grow(w);
    struct evrt_window_block *b = block_at(w, w->tail);
    unsigned i = w->tail % BLOCK;
    if (i == 0 && block_of(w->head) < block_of(w->tail)) pack(block_at(w, w->tail - 1));
    if (i == 0 || w->head == w->tail) b->first_seq = entry.seq;
    if (b->cap != BLOCK) unpack(b);
    b->entries[i] = entry;
    b->open[i / 64] |= 1ull << (i % 64);
    b->count++;
    return w->tail++;
}

static void close_one(struct evrt_window_block *b, unsigned i) {
    if (b->cap != BLOCK) {
        unsigned place = place_of(b, i);
        memmove(b->entries + place, b->entries + place + 1,
                (size_t)(b->count - place - 1) * sizeof *b->entries);
    }
    b->open[i / 64] &= ~(1ull << (i % 64));
    b->count--;
}

void evrt_window_done(struct evrt_window *w, uint64_t position) {
    struct evrt_window_block *b = block_at(w, position);
    assert(is_open(b, position % BLOCK));
    close_one(b, position % BLOCK);
    if (block_of(position) < block_of(w->tail)) pack(b);
}

void evrt_window_pop(struct evrt_window *w) {
    struct evrt_window_block *b = block_at(w, --w->tail);
    close_one(b, w->tail % BLOCK);
    if (w->tail % BLOCK == 0) drop(b);
}

void evrt_window_trim(struct evrt_window *w) {
    while (w->head < w->tail) {
        uint64_t next = evrt_window_next(w, w->head);
        for (uint64_t b = block_of(w->head); b < block_of(next); b++)
            drop(&w->blocks[b & w->mask]);
        w->head = next;
        if (next == w->tail || evrt_window_at(w, next)->state != EVRT_ENTRY_GONE) return;
        evrt_window_done(w, next);
    }
}
