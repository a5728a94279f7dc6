/* How old something is that bears a time of the wall clock, though that clock may have been set since: nothing is
 * taken for older than it is. Time that passes is the monotonic clock's; what the wall clock showed beside it is
 * remembered for as long as anything may get old.
 *
 *     wall ahead of monotonic:   ────┐                 begin: as if no one ever sets the clock
 *                                    └──────┐    ┌──   set back, and forward again
 *                                           └────┘
 *                                           the least of the last `ttl` counts */
#ifndef EVRT_CORE_AGES_H
#define EVRT_CORE_AGES_H

#include <stdint.h>

enum { EVRT_AGES_MAX = 8 };

struct evrt_ages {
    int64_t begin_ms; /* by how much the wall clock was ahead of the monotonic one at first */
    unsigned count;
    struct {
        int64_t ahead_ms, last_ms; /* by so much, until then (monotonic) at the latest */
    } seen[EVRT_AGES_MAX];         /* each more ahead, and for longer, than the one before it */
};

void evrt_ages_init(struct evrt_ages *a, int64_t wall_ms, int64_t mono_ms);
/* Takes note of the clocks, as often as they may have been set. What is older than `keep_ms` is forgotten. */
void evrt_ages_look(struct evrt_ages *a, int64_t wall_ms, int64_t mono_ms, int64_t keep_ms);
/* What is from before this time of the wall clock is older than `ttl_ms`. Behind a look. */
int64_t evrt_ages_before(const struct evrt_ages *a, int64_t mono_ms, int64_t ttl_ms);
/* What the wall clock would show if nobody had set it since the beginning. */
static inline int64_t evrt_ages_steady(const struct evrt_ages *a, int64_t mono_ms) {
    return mono_ms + a->begin_ms;
}

#endif
