/* A hash map from byte strings to pointers: open addressing, keys copied or borrowed. Owner's thread only.
 * Values are never NULL. */
#ifndef EVRT_CORE_MAP_H
#define EVRT_CORE_MAP_H

#include <stdbool.h>

#include "evrt.h"

struct evrt_map_slot;
struct evrt_map {
    struct evrt_map_slot *slots;
    size_t count;
    size_t mask; /* slots - 1, or 0 when none are allocated */
    bool borrows;
};

void evrt_map_init(struct evrt_map *m);
/* Its keys are not copied: the bytes that an entry was first set with stay where they are as long as it is there,
 * in its value, say. p is never NULL. */
void evrt_map_init_borrowing(struct evrt_map *m);
/* Frees the keys; the values are the caller's. */
void evrt_map_finish(struct evrt_map *m);
void *evrt_map_get(const struct evrt_map *m, struct evrt_slice key);
/* Stores and returns the value that was there before, or NULL. */
void *evrt_map_set(struct evrt_map *m, struct evrt_slice key, void *value);
/* Removes and returns the value, or NULL. */
void *evrt_map_remove(struct evrt_map *m, struct evrt_slice key);
/* Visits every entry: start with *at = 0; returns the value or NULL at the end. No changes between. */
void *evrt_map_next(const struct evrt_map *m, size_t *at, struct evrt_slice *key);

#endif
