/* See retries.h. */
#include "bus/retries.h"

#include <assert.h>
#include <stdlib.h>

#include "core/buf.h"

enum {
    START = 64,
    WAYS = 4, /* children of each: half the levels of two, and as many lines of the cache */
};

void evrt_retries_finish(struct evrt_retries *r) {
    for (size_t i = 0; i < r->n; i++)
        evrt_hold_release(r->heap[i].kept == NULL ? NULL : &r->heap[i].kept->hold);
    free(r->heap);
    *r = (struct evrt_retries){0};
}

static int before(const struct evrt_retry_row *a, const struct evrt_retry_row *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->seq < b->seq;
}

static size_t parent_of(size_t at) {
    return (at - 1) / WAYS;
}

static void sift_up(struct evrt_retries *r, size_t at, const struct evrt_retry_row *one) {
    for (; at > 0 && before(one, &r->heap[parent_of(at)]); at = parent_of(at))
        r->heap[at] = r->heap[parent_of(at)];
    r->heap[at] = *one;
}

static size_t first_child(const struct evrt_retries *r, size_t at) {
    size_t child = WAYS * at + 1, end = child + WAYS < r->n ? child + WAYS : r->n, first = child;
    while (++child < end)
        if (before(&r->heap[child], &r->heap[first])) first = child;
    return first;
}

static void sift_down(struct evrt_retries *r, size_t at, const struct evrt_retry_row *one) {
    for (size_t child; (child = first_child(r, at)) < r->n; at = child) {
        if (!before(&r->heap[child], one)) break;
        r->heap[at] = r->heap[child];
    }
    r->heap[at] = *one;
}

void evrt_retries_push(struct evrt_retries *r, const struct evrt_retry_row *one) {
    if (r->n == r->cap) {
        r->cap = r->cap == 0 ? START : r->cap * 2;
        r->heap = evrt_realloc(r->heap, r->cap * sizeof *r->heap);
    }
    sift_up(r, r->n++, one);
}

/* A wave that has passed gives its memory back. */
static void shrink(struct evrt_retries *r) {
    if (r->cap <= START || r->n > r->cap / 4) return;
    r->cap /= 2;
    r->heap = evrt_realloc(r->heap, r->cap * sizeof *r->heap);
}

struct evrt_retry_row evrt_retries_take(struct evrt_retries *r, size_t index) {
    assert(index < r->n);
    struct evrt_retry_row taken = r->heap[index], last = r->heap[--r->n];
    if (index < r->n) {
        if (index > 0 && before(&last, &r->heap[parent_of(index)]))
            sift_up(r, index, &last);
        else
            sift_down(r, index, &last);
    }
    shrink(r);
    return taken;
}

size_t evrt_retries_find(const struct evrt_retries *r, uint64_t seq) {
    for (size_t i = r->n; i-- > 0;)
        if (r->heap[i].seq == seq) return i;
    return SIZE_MAX;
}
