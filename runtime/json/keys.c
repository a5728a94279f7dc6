/* See keys.h. */
#include "json/keys.h"

#include <stdlib.h>

#include "core/bytes.h"

void evrt_json_keys_init(struct evrt_json_keys *k) {
    k->keys = k->inline_keys;
    k->prints = k->inline_prints;
    k->n = 0;
    k->cap = EVRT_JSON_KEYS_INLINE;
}

void evrt_json_keys_finish(struct evrt_json_keys *k) {
    if (k->keys == k->inline_keys) return;
    free(k->keys);
    free(k->prints);
}

static void grow(struct evrt_json_keys *k) {
    size_t cap = k->cap * 2;
    bool first = k->keys == k->inline_keys;
    struct evrt_json_key *keys = evrt_realloc(first ? NULL : k->keys, cap * sizeof *keys);
    uint32_t *prints = evrt_realloc(first ? NULL : k->prints, cap * sizeof *prints);
    if (first) {
        memcpy(keys, k->inline_keys, sizeof k->inline_keys);
        memcpy(prints, k->inline_prints, sizeof k->inline_prints);
    }
    k->keys = keys;
    k->prints = prints;
    k->cap = cap;
}

/* Length, first and last eight bytes: names of one object seldom agree in all three. */
static uint32_t fingerprint(struct evrt_slice s) {
    uint64_t head = 0, tail = 0;
    if (s.n >= 8) {
        head = evrt_get_u64(s.p);
        tail = evrt_get_u64(s.p + s.n - 8);
    } else if (s.n >= 4) {
        head = evrt_get_u32(s.p);
        tail = evrt_get_u32(s.p + s.n - 4);
    } else {
        for (size_t i = 0; i < s.n; i++)
            head = head << 8 | (unsigned char)s.p[i];
    }
    uint64_t mixed = (head ^ (tail << 29 | tail >> 35) ^ s.n) * 0x9e3779b97f4a7c15u;
    return (uint32_t)(mixed >> 32);
}

bool evrt_json_keys_add(struct evrt_json_keys *k, size_t first, struct evrt_slice name,
                        const char *at) {
    uint32_t print = fingerprint(name);
    if (k->n - first < EVRT_JSON_KEYS_LINEAR) {
        for (size_t i = first; i < k->n; i++)
            if (k->prints[i] == print && evrt_slice_eq(k->keys[i].name, name)) return false;
    }
    if (k->n == k->cap) grow(k);
    k->prints[k->n] = print;
    k->keys[k->n++] = (struct evrt_json_key){name, at};
    return true;
}

/* By length, bytes, place. */
static int compare(const void *a, const void *b) {
    const struct evrt_json_key *x = a, *y = b;
    if (x->name.n != y->name.n) return x->name.n < y->name.n ? -1 : 1;
    int order = x->name.n == 0 ? 0 : memcmp(x->name.p, y->name.p, x->name.n);
    if (order != 0) return order;
    return x->at < y->at ? -1 : x->at > y->at;
}

const char *evrt_json_keys_close(struct evrt_json_keys *k, size_t first) {
    size_t n = k->n - first;
    k->n = first;
    if (n <= EVRT_JSON_KEYS_LINEAR) return NULL;
    struct evrt_json_key *keys = k->keys + first;
    qsort(keys, n, sizeof *keys, compare);
    for (size_t i = 1; i < n; i++)
        if (evrt_slice_eq(keys[i - 1].name, keys[i].name)) return keys[i].at;
    return NULL;
}
