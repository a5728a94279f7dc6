/* The keys of a subscription that has `ordered_by` that are busy: one delivery of each is under way, the
 * others of it stand in line behind it. A key is known by its 64-bit hash; two keys that share one wait for
 * each other, which is slow and never wrong. Embedded; the bus's thread. */
#ifndef EVRT_BUS_KEYS_H
#define EVRT_BUS_KEYS_H

#include "evrt.h"

struct evrt_key {
    uint64_t hash;       /* not 0 */
    uint64_t head, tail; /* positions of the line's ends; 0: nobody waits */
    uint64_t bare;       /* the first in line without a delivery of its own; 0: none */
    uint32_t ready;      /* in line with a delivery of their own */
};

struct evrt_keys {
    struct evrt_key *slots;
    size_t count, mask;
};

void evrt_keys_init(struct evrt_keys *k);
void evrt_keys_finish(struct evrt_keys *k);
/* NULL: the key is free. Valid until the next add or remove. */
struct evrt_key *evrt_keys_find(const struct evrt_keys *k, uint64_t hash);
/* Makes it busy; it is free. */
void evrt_keys_add(struct evrt_keys *k, uint64_t hash);
void evrt_keys_remove(struct evrt_keys *k, uint64_t hash);

#endif
