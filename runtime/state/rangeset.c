/* See rangeset.h. Runs come nearly in order, so most additions extend the last run or follow it; the
 * others gather in a tail that is sorted and merged once per trim:
 *
 *     runs  [ normal form, ascending | tail as it came ]
 *             0 .. normal              .. count
 */
#include "state/rangeset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/jsonout.h"

/* A longer tail is merged at once, so that a set that is never trimmed does not hold duplicates. */
#define TAIL_MAX 8192

void evrt_rangeset_init(struct evrt_rangeset *set) {
    *set = (struct evrt_rangeset){0};
}

void evrt_rangeset_finish(struct evrt_rangeset *set) {
    free(set->runs);
    *set = (struct evrt_rangeset){0};
}

static uint64_t end_of(struct evrt_range run) {
    return run.first + run.count;
}

static int by_first(const void *a, const void *b) {
    uint64_t x = ((const struct evrt_range *)a)->first, y = ((const struct evrt_range *)b)->first;
    return x < y ? -1 : x > y;
}

/* Merges the sorted tail into the normal part, back to front, so that nothing is overwritten unread. */
static void merge_tail(struct evrt_rangeset *set) {
    size_t n = set->count - set->normal;
    struct evrt_range *tail = evrt_alloc(n * sizeof *tail);
    memcpy(tail, set->runs + set->normal, n * sizeof *tail);
    qsort(tail, n, sizeof *tail, by_first);
    size_t a = set->normal, b = n;
    for (size_t at = set->count; b > 0; at--) {
        if (a > 0 && set->runs[a - 1].first > tail[b - 1].first)
            set->runs[at - 1] = set->runs[--a];
        else
            set->runs[at - 1] = tail[--b];
    }
    free(tail);
}

/* Joins runs that overlap or touch; they are sorted by their first. */
static void join(struct evrt_rangeset *set) {
    size_t kept = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct evrt_range run = set->runs[i];
        struct evrt_range *last = kept > 0 ? &set->runs[kept - 1] : NULL;
        if (last == NULL || run.first > end_of(*last))
            set->runs[kept++] = run;
        else if (end_of(run) > end_of(*last))
            last->count = end_of(run) - last->first;
    }
    set->count = kept;
}

static void normalise(struct evrt_rangeset *set) {
    if (set->normal == set->count) return;
    merge_tail(set);
    join(set);
    set->normal = set->count;
}

void evrt_rangeset_add(struct evrt_rangeset *set, struct evrt_range run) {
    if (set->count > 0 && set->normal == set->count) {
        struct evrt_range *last = &set->runs[set->count - 1];
        if (run.first >= last->first && run.first <= end_of(*last)) {
            if (end_of(run) > end_of(*last)) last->count = end_of(run) - last->first;
            return;
        }
    }
    set->runs = evrt_grow(set->runs, set->count, &set->cap, sizeof *set->runs);
    if (set->normal == set->count &&
        (set->count == 0 || run.first > end_of(set->runs[set->count - 1])))
        set->normal++;
    set->runs[set->count++] = run;
    if (set->count - set->normal >= TAIL_MAX) normalise(set);
}

void evrt_rangeset_trim(struct evrt_rangeset *set, uint64_t floor) {
    normalise(set);
    size_t drop = 0;
    while (drop < set->count && end_of(set->runs[drop]) <= floor)
        drop++;
    set->count -= drop;
    if (drop > 0 && set->count > 0)
        memmove(set->runs, set->runs + drop, set->count * sizeof *set->runs);
    set->normal = set->count;
    if (set->count > 0 && set->runs[0].first < floor) {
        set->runs[0].count = end_of(set->runs[0]) - floor;
        set->runs[0].first = floor;
    }
}

void evrt_rangeset_put(const struct evrt_rangeset *set, struct evrt_buf *out) {
    uint64_t from = 0;
    for (size_t i = 0; i < set->count; i++)
        evrt_ranges_put(out, &from, set->runs[i]);
}

int evrt_rangeset_get(struct evrt_rangeset *set, struct evrt_slice ranges) {
    size_t at = 0;
    uint64_t from = 0;
    struct evrt_range run;
    int rc;
    while ((rc = evrt_ranges_next(ranges, &at, &from, &run)) == 1)
        evrt_rangeset_add(set, run);
    return rc;
}

void evrt_ranges_json(struct evrt_jsonout *o, struct evrt_slice ranges) {
    struct evrt_range run;
    uint64_t from = 0;
    size_t at = 0;
    evrt_jsonout_array(o);
    while (evrt_ranges_next(ranges, &at, &from, &run) == 1) {
        evrt_jsonout_array(o);
        evrt_jsonout_u64(o, run.first);
        evrt_jsonout_u64(o, run.count);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}
