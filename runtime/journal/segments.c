/* See segments.h. */
#include "journal/segments.h"

#include <stdlib.h>
#include <unistd.h>

enum { INDEX_STEP_MAX = 256 << 10, INDEX_STEP_MIN = 4096, INDEX_MARKS = 256 };

void evrt_index_init(struct evrt_index *x, uint64_t segment_size) {
    uint64_t step = segment_size / INDEX_MARKS;
    if (step > INDEX_STEP_MAX) step = INDEX_STEP_MAX;
    if (step < INDEX_STEP_MIN) step = INDEX_STEP_MIN;
    *x = (struct evrt_index){.step = step};
}

void evrt_index_finish(struct evrt_index *x) {
    free(x->marks);
    x->marks = NULL;
    x->n = x->cap = 0;
}

void evrt_index_note(struct evrt_index *x, const struct evrt_mark *mark) {
    if (x->n > 0 && mark->offset - x->marks[x->n - 1].offset < x->step) return;
    if (x->n == x->cap) {
        x->cap = x->cap > 0 ? x->cap * 2 : 8;
        x->marks = evrt_realloc(x->marks, x->cap * sizeof *x->marks);
    }
    x->marks[x->n++] = *mark;
}

/* The last mark for which `within` holds: it holds for a prefix. The first mark at least. */
#define LAST_WITHIN(x, within)                            \
    do {                                                  \
        size_t low = 0, high = (x)->n;                    \
        if (high == 0) return NULL;                       \
        while (high - low > 1) {                          \
            size_t mid = low + (high - low) / 2;          \
            const struct evrt_mark *m = &(x)->marks[mid]; \
            if (within)                                   \
                low = mid;                                \
            else                                          \
                high = mid;                               \
        }                                                 \
        return &(x)->marks[low];                          \
    } while (0)

const struct evrt_mark *evrt_index_by_group(const struct evrt_index *x, uint64_t group) {
    LAST_WITHIN(x, m->group <= group);
}

const struct evrt_mark *evrt_index_by_seq(const struct evrt_index *x, uint64_t seq) {
    LAST_WITHIN(x, m->seq <= seq);
}

const struct evrt_mark *evrt_index_by_time(const struct evrt_index *x, int64_t ms) {
    LAST_WITHIN(x, m->max_ms < ms);
}

void evrt_segment_destroy(struct evrt_segment *s) {
    if (s->memory >= 0) close(s->memory);
    evrt_index_finish(&s->index);
    free(s);
}

void evrt_segments_finish(struct evrt_segments *t) {
    for (size_t i = 0; i < t->n; i++)
        evrt_segment_destroy(t->list[i]);
    free(t->list);
    *t = (struct evrt_segments){0};
}

void evrt_segments_push(struct evrt_segments *t, struct evrt_segment *s) {
    t->list = evrt_grow(t->list, t->n, &t->cap, sizeof(struct evrt_segment *));
    t->list[t->n++] = s;
    t->bytes += s->size;
}

struct evrt_segment *evrt_segments_shift(struct evrt_segments *t) {
    struct evrt_segment *s = t->list[0];
    t->n--;
    memmove(t->list, t->list + 1, t->n * sizeof(struct evrt_segment *));
    t->bytes -= s->size;
    return s;
}

struct evrt_segment *evrt_segments_last(const struct evrt_segments *t) {
    return t->list[t->n - 1];
}

struct evrt_segment *evrt_segments_at(const struct evrt_segments *t, uint64_t number) {
    size_t low = 0, high = t->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->list[mid]->number < number)
            low = mid + 1;
        else
            high = mid;
    }
    return low < t->n ? t->list[low] : NULL;
}
