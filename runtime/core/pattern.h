/* Patterns of event types: segments between dots, '*' for exactly one, '**' for zero or more. Types that
 * begin with "evrt." are matched only by patterns that do.
 *
 * A set is immutable and reference-counted with atomics, so that a reading thread may match against it
 * while the loop replaces it. */
#ifndef EVRT_CORE_PATTERN_H
#define EVRT_CORE_PATTERN_H

#include <stdbool.h>

#include "evrt.h"

struct evrt_pattern_set;

/* Offset of what is wrong in one pattern, or its length. */
size_t evrt_pattern_check(struct evrt_slice pattern);
bool evrt_pattern_match(struct evrt_slice pattern, struct evrt_slice type);

/* From patterns joined by '\n' ("" matches nothing). NULL when one is malformed. The caller holds a
 * reference. */
struct evrt_pattern_set *evrt_pattern_set_create(struct evrt_slice joined);
struct evrt_pattern_set *evrt_pattern_set_ref(struct evrt_pattern_set *set);
void evrt_pattern_set_unref(struct evrt_pattern_set *set);
bool evrt_pattern_set_match(const struct evrt_pattern_set *set, struct evrt_slice type);
/* As given to create. */
struct evrt_slice evrt_pattern_set_text(const struct evrt_pattern_set *set);

#endif
