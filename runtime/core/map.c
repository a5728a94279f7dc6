/* See map.h. Linear probing, at most 3/4 full; removal shifts the following run back, so there are no
 * tombstones and lookups never get slower with age. */
#include "core/map.h"

#include <stdlib.h>

#include "core/buf.h"
#include "core/hash.h"

struct evrt_map_slot {
    const char *key;
    size_t n;
    uint64_t hash;
    void *value;
};

void evrt_map_init(struct evrt_map *m) {
    *m = (struct evrt_map){0};
}

void evrt_map_init_borrowing(struct evrt_map *m) {
    *m = (struct evrt_map){.borrows = true};
}

static void free_key(const struct evrt_map *m, struct evrt_map_slot *s) {
    if (!m->borrows) free((char *)(uintptr_t)s->key);
}

void evrt_map_finish(struct evrt_map *m) {
    for (size_t i = 0; m->slots != NULL && i <= m->mask; i++)
        free_key(m, &m->slots[i]);
    free(m->slots);
    *m = (struct evrt_map){0};
}

static size_t find(const struct evrt_map *m, struct evrt_slice key, uint64_t hash) {
    size_t at = hash & m->mask;
    for (; m->slots[at].key != NULL; at = (at + 1) & m->mask) {
        const struct evrt_map_slot *s = &m->slots[at];
        if (s->hash == hash && s->n == key.n && memcmp(s->key, key.p, key.n) == 0) break;
    }
    return at;
}

void *evrt_map_get(const struct evrt_map *m, struct evrt_slice key) {
    if (m->slots == NULL) return NULL;
    const struct evrt_map_slot *s = &m->slots[find(m, key, evrt_hash64(key.p, key.n, 0))];
    return s->key == NULL ? NULL : s->value;
}

static void grow(struct evrt_map *m) {
    struct evrt_map old = *m;
    size_t size = old.slots == NULL ? 16 : (old.mask + 1) * 2;
    m->slots = evrt_zalloc(size * sizeof *m->slots);
    m->mask = size - 1;
    for (size_t i = 0; old.slots != NULL && i <= old.mask; i++) {
        struct evrt_map_slot *s = &old.slots[i];
        if (s->key != NULL) m->slots[find(m, (struct evrt_slice){s->key, s->n}, s->hash)] = *s;
    }
    free(old.slots);
}

static const char *copy_of(struct evrt_slice key) {
    char *copy = evrt_alloc(key.n + 1);
    memcpy(copy, key.p, key.n);
    return copy;
}

void *evrt_map_set(struct evrt_map *m, struct evrt_slice key, void *value) {
    if (m->slots == NULL || (m->count + 1) * 4 > (m->mask + 1) * 3) grow(m);
    uint64_t hash = evrt_hash64(key.p, key.n, 0);
    struct evrt_map_slot *s = &m->slots[find(m, key, hash)];
    void *before = s->value;
    if (s->key == NULL) {
        *s = (struct evrt_map_slot){m->borrows ? key.p : copy_of(key), key.n, hash, NULL};
        m->count++;
    }
    s->value = value;
    return before;
}

void *evrt_map_remove(struct evrt_map *m, struct evrt_slice key) {
    if (m->slots == NULL) return NULL;
    size_t hole = find(m, key, evrt_hash64(key.p, key.n, 0));
    if (m->slots[hole].key == NULL) return NULL;
    void *value = m->slots[hole].value;
    free_key(m, &m->slots[hole]);
    for (size_t at = hole;;) {
        at = (at + 1) & m->mask;
        if (m->slots[at].key == NULL) break;
        size_t home = m->slots[at].hash & m->mask;
        if (((at - home) & m->mask) < ((at - hole) & m->mask)) continue; /* hole is before home */
        m->slots[hole] = m->slots[at];
        hole = at;
    }
    m->slots[hole] = (struct evrt_map_slot){0};
    m->count--;
    return value;
}

void *evrt_map_next(const struct evrt_map *m, size_t *at, struct evrt_slice *key) {
    for (; m->slots != NULL && *at <= m->mask; (*at)++) {
        const struct evrt_map_slot *s = &m->slots[*at];
        if (s->key == NULL) continue;
        if (key != NULL) *key = (struct evrt_slice){s->key, s->n};
        (*at)++;
        return s->value;
    }
    return NULL;
}
