/* See ages.h. Where there is no place left, the two oldest are taken as one, with the lesser lead of both: what gets
 * old then does so later. */
#include "core/ages.h"

#include <string.h>

enum { DRIFT_MS = 1000 }; /* clocks that go differently are not set */

void evrt_ages_init(struct evrt_ages *a, int64_t wall_ms, int64_t mono_ms) {
    *a = (struct evrt_ages){.begin_ms = wall_ms - mono_ms, .count = 1};
    a->seen[0].ahead_ms = wall_ms - mono_ms;
    a->seen[0].last_ms = mono_ms;
}

static void drop_first(struct evrt_ages *a) {
    memmove(&a->seen[0], &a->seen[1], --a->count * sizeof a->seen[0]);
}

void evrt_ages_look(struct evrt_ages *a, int64_t wall_ms, int64_t mono_ms, int64_t keep_ms) {
    int64_t ahead = wall_ms - mono_ms;
    while (a->count > 1 && a->seen[0].last_ms < mono_ms - keep_ms)
        drop_first(a);
    while (a->count > 0 && a->seen[a->count - 1].ahead_ms >= ahead)
        a->count--;
    if (a->count > 0 && ahead - a->seen[a->count - 1].ahead_ms < DRIFT_MS) {
        a->seen[a->count - 1].last_ms = mono_ms;
        return;
    }
    if (a->count == EVRT_AGES_MAX) {
        a->seen[1].ahead_ms = a->seen[0].ahead_ms;
        drop_first(a);
    }
    a->seen[a->count].ahead_ms = ahead;
    a->seen[a->count++].last_ms = mono_ms;
}

int64_t evrt_ages_before(const struct evrt_ages *a, int64_t mono_ms, int64_t ttl_ms) {
    unsigned i = 0;
    while (i + 1 < a->count && a->seen[i].last_ms < mono_ms - ttl_ms)
        i++;
    return mono_ms + a->seen[i].ahead_ms - ttl_ms;
}
