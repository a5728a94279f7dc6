/* See dedup.h.
 *
 * A slot holds the upper half of a hash's first word, which both says where it belongs and tells most
 * others apart without a look at the ring, and the entry's place in the ring plus one (0: empty). Entries
 * leave in the order in which they came; their slots are closed by moving others up, so that a search may
 * end at the first empty slot. */
#include "bus/dedup.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "core/event.h"

enum { SIZE_MIN = 64, SIZE_LEAP = 1 << 16 };
#define TAG UINT64_C(0xffffffff00000000)

struct evrt_dedup_entry {
    struct evrt_hash128 hash;
    uint64_t value;
    int64_t at_ms;
};

/* At most 4 of 5 slots are taken, at least 2 of 5 when the ring is full. */
static unsigned bits_for(uint32_t size) {
    unsigned bits = 1;
    while ((UINT64_C(4) << bits) < UINT64_C(5) * size)
        bits++;
    return bits;
}

static uint64_t mask_of(const struct evrt_dedup *d) {
    return (UINT64_C(1) << d->bits) - 1;
}

static uint64_t home_of(const struct evrt_dedup *d, uint64_t slot) {
    return slot >> (64 - d->bits);
}

/* The slot of this entry of the ring. */
static uint64_t slot_of_place(const struct evrt_dedup *d, uint32_t place) {
    uint64_t want = (d->ring[place].hash.lo & TAG) | (place + 1), i = home_of(d, want);
    while (d->slots[i] != want)
        i = (i + 1) & mask_of(d);
    return i;
}

static void put_slot(struct evrt_dedup *d, uint32_t place) {
    uint64_t slot = (d->ring[place].hash.lo & TAG) | (place + 1), i = home_of(d, slot);
    while (d->slots[i] != 0)
        i = (i + 1) & mask_of(d);
    d->slots[i] = slot;
}

static void close_slot(struct evrt_dedup *d, uint64_t hole) {
    uint64_t mask = mask_of(d);
    for (uint64_t i = (hole + 1) & mask; d->slots[i] != 0; i = (i + 1) & mask) {
        uint64_t home = home_of(d, d->slots[i]);
        if (((i - home) & mask) < ((i - hole) & mask)) continue; /* it may not go before its home */
        d->slots[hole] = d->slots[i];
        hole = i;
    }
    d->slots[hole] = 0;
}

static void resize(struct evrt_dedup *d, uint32_t size) {
    struct evrt_dedup_entry *ring = evrt_alloc(size * sizeof *ring);
    for (uint32_t i = 0; i < d->count; i++)
        ring[i] = d->ring[(d->head + i) % d->size];
    free(d->ring);
    free(d->slots);
    d->ring = ring;
    d->size = size;
    d->head = 0;
    d->bits = bits_for(size);
    d->slots = evrt_zalloc(sizeof *d->slots << d->bits);
    for (uint32_t i = 0; i < d->count; i++)
        put_slot(d, i);
}

/* A large one would take long to copy (30 ms for half a million), so the last step is a long one: what is not
 * used of it costs address space only. */
static uint32_t larger(const struct evrt_dedup *d) {
    return d->size >= SIZE_LEAP || d->size > d->max / 2 ? d->max : d->size * 2;
}

struct evrt_dedup *evrt_dedup_create(uint32_t max, int64_t window_ms) {
    assert(max >= 1 && max <= UINT32_C(1) << 30);
    struct evrt_dedup *d = evrt_zalloc(sizeof *d);
    evrt_hash_key_init(&d->key);
    d->max = max;
    d->window_ms = window_ms;
    resize(d, max < SIZE_MIN ? max : SIZE_MIN);
    return d;
}

void evrt_dedup_destroy(struct evrt_dedup *d) {
    if (d == NULL) return;
    free(d->ring);
    free(d->slots);
    free(d);
}

struct evrt_hash128 evrt_dedup_hash(const struct evrt_dedup *d, struct evrt_slice source,
                                    struct evrt_slice id) {
    char joined[2 + 2 * EVRT_ATTRIBUTE_MAX];
    uint16_t n = (uint16_t)source.n; /* or "a"+"bc" would be "ab"+"c" */
    assert(source.n <= EVRT_ATTRIBUTE_MAX && id.n <= EVRT_ATTRIBUTE_MAX);
    memcpy(joined, &n, sizeof n);
    memcpy(joined + 2, source.p, source.n);
    memcpy(joined + 2 + source.n, id.p, id.n);
    return evrt_hash128(joined, 2 + source.n + id.n, &d->key);
}

static bool is_old(const struct evrt_dedup *d, const struct evrt_dedup_entry *e, int64_t now_ms) {
    return now_ms - e->at_ms >= d->window_ms;
}

/* One that is old or forgotten may stand before one that was added anew. */
static struct evrt_dedup_entry *find(const struct evrt_dedup *d, struct evrt_hash128 h,
                                     int64_t now_ms) {
    for (uint64_t i = home_of(d, h.lo); d->slots[i] != 0; i = (i + 1) & mask_of(d)) {
        if (((d->slots[i] ^ h.lo) & TAG) != 0) continue;
        struct evrt_dedup_entry *e = &d->ring[(uint32_t)d->slots[i] - 1];
        if (e->hash.lo == h.lo && e->hash.hi == h.hi && e->value != 0 && !is_old(d, e, now_ms))
            return e;
    }
    return NULL;
}

uint64_t evrt_dedup_find(const struct evrt_dedup *d, struct evrt_hash128 h, int64_t now_ms) {
    const struct evrt_dedup_entry *e = find(d, h, now_ms);
    return e == NULL ? 0 : e->value;
}

static void drop_oldest(struct evrt_dedup *d) {
    close_slot(d, slot_of_place(d, d->head));
    d->head = d->head + 1 == d->size ? 0 : d->head + 1;
    d->count--;
}

static void expire(struct evrt_dedup *d, int64_t now_ms) {
    while (d->count > 0 && is_old(d, &d->ring[d->head], now_ms))
        drop_oldest(d);
}

void evrt_dedup_expire(struct evrt_dedup *d, int64_t now_ms) {
    uint32_t size = d->size;
    expire(d, now_ms);
    while (size > SIZE_MIN && d->count < size / 16)
        size /= 2;
    if (size != d->size) resize(d, size);
}

void evrt_dedup_add(struct evrt_dedup *d, struct evrt_hash128 h, uint64_t value, int64_t now_ms) {
    if (d->count == d->size) expire(d, now_ms);
    if (d->count == d->size && d->size < d->max) resize(d, larger(d));
    if (d->count == d->size) {
        d->evicted++;
        drop_oldest(d);
    }
    uint32_t place = d->head + d->count;
    if (place >= d->size) place -= d->size;
    d->ring[place] = (struct evrt_dedup_entry){h, value, now_ms};
    d->count++;
    put_slot(d, place);
}

bool evrt_dedup_set(struct evrt_dedup *d, struct evrt_hash128 h, uint64_t value, int64_t now_ms) {
    struct evrt_dedup_entry *e = find(d, h, now_ms);
    if (e != NULL) e->value = value;
    return e != NULL;
}

size_t evrt_dedup_bytes(const struct evrt_dedup *d) {
    return d->size * sizeof *d->ring + (sizeof *d->slots << d->bits);
}
