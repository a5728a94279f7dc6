/* How far apart two words are, to name what a person probably meant. Any thread. */
#ifndef EVRT_CORE_DISTANCE_H
#define EVRT_CORE_DISTANCE_H

#include <stdbool.h>

#include "evrt.h"

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b. Only the first
 * EVRT_DISTANCE_MAX bytes of each count. */
#define EVRT_DISTANCE_MAX 63
unsigned evrt_distance(struct evrt_slice a, struct evrt_slice b);
/* Whether so many edits of a word may be a slip. */
static inline bool evrt_distance_is_near(unsigned edits, struct evrt_slice word) {
    return edits <= 1 + word.n / 3;
}

#endif
