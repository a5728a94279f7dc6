/* See due.h. A binary heap; numbers break ties, so what was scheduled first is published first. */
#include "host/due.h"

#include <stdlib.h>

#include "core/buf.h"

static bool before(const struct host_due *a, const struct host_due *b) {
    return a->when != b->when ? a->when < b->when : a->number < b->number;
}

void host_due_finish(struct host_due_heap *h) {
    free(h->all);
    *h = (struct host_due_heap){NULL, 0, 0};
}

static void sift_up(struct host_due_heap *h, size_t i, struct host_due due) {
    for (; i > 0 && before(&due, &h->all[(i - 1) / 2]); i = (i - 1) / 2)
        h->all[i] = h->all[(i - 1) / 2];
    h->all[i] = due;
}

static void sift_down(struct host_due_heap *h, size_t i, struct host_due due) {
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        if (child + 1 < h->n && before(&h->all[child + 1], &h->all[child])) child++;
        if (!before(&h->all[child], &due)) break;
        h->all[i] = h->all[child];
    }
    h->all[i] = due;
}

void host_due_push(struct host_due_heap *h, struct host_due due) {
    h->all = evrt_grow(h->all, h->n, &h->cap, sizeof *h->all);
    sift_up(h, h->n++, due);
}

static void take_out(struct host_due_heap *h, size_t i, struct host_due *out) {
    *out = h->all[i];
    struct host_due last = h->all[--h->n];
    if (i == h->n) return;
    if (i > 0 && before(&last, &h->all[(i - 1) / 2]))
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

bool host_due_pop(struct host_due_heap *h, int64_t by, struct host_due *out) {
    if (h->n == 0 || h->all[0].when > by) return false;
    take_out(h, 0, out);
    return true;
}

bool host_due_take(struct host_due_heap *h, uint64_t number, struct host_due *out) {
    for (size_t i = 0; i < h->n; i++)
        if (h->all[i].number == number) {
            take_out(h, i, out);
            return true;
        }
    return false;
}
