/* Which (source, id) were published lately, and what became of each: a bounded window in memory.
 *
 *     hash of (source, id) ─▶ slots: 8 bytes, linear probing ─▶ ring: hash, value, when; oldest first
 *
 * Both grow as they fill, up to `max` entries, and shrink again; an entry costs at most 32 bytes in the ring
 * and, at their fullest, 11 to 21 in the slots. Hashes are of 128 bits, with a key of this process, so that
 * nobody can make two that meet. Pure: times are the caller's. Owner's thread. */
#ifndef EVRT_BUS_DEDUP_H
#define EVRT_BUS_DEDUP_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/hash.h"

struct evrt_dedup_entry;

struct evrt_dedup {
    struct evrt_hash_key key;
    struct evrt_dedup_entry *ring;
    uint64_t *slots;
    uint32_t max;               /* entries */
    uint32_t size, head, count; /* of the ring */
    unsigned bits;              /* of a slot's number */
    int64_t window_ms;
    uint64_t evicted; /* entries that had to go before their time, for there were `max` */
};

/* max 1 to 2^30. */
struct evrt_dedup *evrt_dedup_create(uint32_t max, int64_t window_ms);
void evrt_dedup_destroy(struct evrt_dedup *d);

struct evrt_hash128 evrt_dedup_hash(const struct evrt_dedup *d, struct evrt_slice source,
                                    struct evrt_slice id);
/* What it was added with, less than window_ms ago; 0: nothing such. */
uint64_t evrt_dedup_find(const struct evrt_dedup *d, struct evrt_hash128 h, int64_t now_ms);
/* A value, not 0, for what find did not know. `now_ms` never goes back. */
void evrt_dedup_add(struct evrt_dedup *d, struct evrt_hash128 h, uint64_t value, int64_t now_ms);
/* Another value for what is there, 0 to forget it; false: it is not. */
bool evrt_dedup_set(struct evrt_dedup *d, struct evrt_hash128 h, uint64_t value, int64_t now_ms);
/* Lets go of what is older than window_ms, and of memory. */
void evrt_dedup_expire(struct evrt_dedup *d, int64_t now_ms);
/* Of both arrays. */
size_t evrt_dedup_bytes(const struct evrt_dedup *d);

#endif
