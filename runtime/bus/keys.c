/* See keys.h. Open addressing with linear probing; a removal moves back what it leaves stranded. */
#include "bus/keys.h"

#include <stdlib.h>

#include "core/buf.h"

enum { KEYS_START = 64 };

void evrt_keys_init(struct evrt_keys *k) {
    *k = (struct evrt_keys){0};
}

void evrt_keys_finish(struct evrt_keys *k) {
    free(k->slots);
    *k = (struct evrt_keys){0};
}

static struct evrt_key *place(const struct evrt_keys *k, uint64_t hash) {
    size_t i = hash & k->mask;
    while (k->slots[i].hash != 0 && k->slots[i].hash != hash)
        i = (i + 1) & k->mask;
    return &k->slots[i];
}

struct evrt_key *evrt_keys_find(const struct evrt_keys *k, uint64_t hash) {
    if (k->count == 0) return NULL;
    struct evrt_key *slot = place(k, hash);
    return slot->hash != 0 ? slot : NULL;
}

static void resize(struct evrt_keys *k, size_t size) {
    struct evrt_keys bigger = {evrt_zalloc(size * sizeof *k->slots), k->count, size - 1};
    for (size_t i = 0; k->slots != NULL && i <= k->mask; i++)
        if (k->slots[i].hash != 0) *place(&bigger, k->slots[i].hash) = k->slots[i];
    free(k->slots);
    *k = bigger;
}

void evrt_keys_add(struct evrt_keys *k, uint64_t hash) {
    if (k->slots == NULL)
        resize(k, KEYS_START);
    else if (k->count > k->mask / 2)
        resize(k, (k->mask + 1) * 2);
    *place(k, hash) = (struct evrt_key){.hash = hash};
    k->count++;
}

void evrt_keys_remove(struct evrt_keys *k, uint64_t hash) {
    size_t gap = (size_t)(place(k, hash) - k->slots);
    if (k->slots[gap].hash == 0) return;
    for (size_t i = (gap + 1) & k->mask; k->slots[i].hash != 0; i = (i + 1) & k->mask) {
        size_t home = k->slots[i].hash & k->mask;
        /* Does it reach its place without passing the gap? Then it stays. */
        if (((i - home) & k->mask) < ((i - gap) & k->mask)) continue;
        k->slots[gap] = k->slots[i];
        gap = i;
    }
    k->slots[gap] = (struct evrt_key){0};
    k->count--;
}
