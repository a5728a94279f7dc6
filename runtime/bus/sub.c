/* See sub.h. */
#include "bus/sub.h"

#include <assert.h>
#include <stdlib.h>

#include "core/event.h"
#include "core/pattern.h"

enum { RING_START = 64 };

struct evrt_sub *evrt_sub_create(uint32_t id, struct evrt_slice name, uint32_t window,
                                 uint64_t cursor) {
    struct evrt_sub *s = evrt_zalloc(sizeof *s);
    s->id = id;
    s->name = evrt_strndup(name.p, name.n);
    s->window = RING_START;
    while (s->window < window)
        s->window *= 2;
    s->head = s->tail = 1; /* position 0 means none */
    s->scan = s->told_cursor = cursor;
    evrt_buf_init(&s->dead_list);
    return s;
}

static void let_go(struct evrt_delivery *d) {
    if (d->hold != NULL && --d->hold->refs == 0) d->hold->release(d->hold);
    d->hold = NULL;
    d->event = NULL;
}

/* ---- Labels ---- */

static size_t label_size(const struct evrt_delivery_label *l) {
    return (size_t)l->id_n + l->type_n + l->time_n;
}

static const char *label_text(const struct evrt_delivery_label *l) {
    return label_size(l) <= sizeof l->text.here ? l->text.here : l->text.heap;
}

static void drop_label(struct evrt_delivery_label *l) {
    if (label_size(l) > sizeof l->text.here) free(l->text.heap);
    *l = (struct evrt_delivery_label){0};
}

static void set_label(struct evrt_delivery_label *l, const char *event) {
    struct evrt_slice id = evrt_event_field(event, EVRT_FIELD_ID);
    struct evrt_slice type = evrt_event_field(event, EVRT_FIELD_TYPE);
    struct evrt_slice time = evrt_event_field(event, EVRT_FIELD_TIME);
    l->id_n = (uint16_t)id.n;
    l->type_n = (uint16_t)type.n;
    l->time_n = (uint16_t)time.n;
    char *to = l->text.here;
    if (label_size(l) > sizeof l->text.here) to = l->text.heap = evrt_alloc(label_size(l));
    memcpy(to, id.p, id.n);
    memcpy(to + id.n, type.p, type.n);
    memcpy(to + id.n + type.n, time.p, time.n);
}

struct evrt_delivery_names evrt_delivery_names(const struct evrt_delivery *d) {
    const struct evrt_delivery_label *l = &d->label;
    const char *p = label_text(l);
    return (struct evrt_delivery_names){
        {p, l->id_n}, {p + l->id_n, l->type_n}, {p + l->id_n + l->type_n, l->time_n}};
}

void evrt_sub_destroy(struct evrt_sub *s) {
    if (s == NULL) return;
    for (uint64_t p = s->head; p < s->tail; p++) {
        let_go(evrt_sub_at(s, p));
        drop_label(&evrt_sub_at(s, p)->label);
    }
    for (size_t i = 0; i < s->epoch_count; i++)
        evrt_pattern_set_unref(s->epochs[i].patterns);
    evrt_buf_finish(&s->dead_list);
    free(s->epochs);
    free(s->ring);
    free(s->ready);
    free(s->skip);
    free(s->ended);
    free(s->name);
    free(s);
}

uint64_t evrt_sub_cursor(const struct evrt_sub *s, uint64_t next_seq) {
    if (s->head < s->tail) return evrt_sub_at(s, s->head)->seq;
    return s->behind ? s->scan : next_seq;
}

/* ---- Patterns over time ---- */

void evrt_sub_add_epoch(struct evrt_sub *s, uint64_t from_seq, struct evrt_pattern_set *patterns) {
    struct evrt_epoch *last = s->epoch_count == 0 ? NULL : &s->epochs[s->epoch_count - 1];
    if (last != NULL && last->from_seq == from_seq) { /* no event came to the one before */
        evrt_pattern_set_unref(last->patterns);
        last->patterns = patterns;
        return;
    }
    s->epochs = evrt_realloc(s->epochs, (s->epoch_count + 1) * sizeof *s->epochs);
    s->epochs[s->epoch_count++] = (struct evrt_epoch){from_seq, patterns};
}

void evrt_sub_drop_epochs(struct evrt_sub *s, uint64_t cursor) {
    size_t gone = 0;
    while (gone + 1 < s->epoch_count && s->epochs[gone + 1].from_seq <= cursor)
        evrt_pattern_set_unref(s->epochs[gone++].patterns);
    s->epoch_count -= gone;
    memmove(s->epochs, s->epochs + gone, s->epoch_count * sizeof *s->epochs);
}

bool evrt_sub_matched(const struct evrt_sub *s, uint64_t seq, struct evrt_slice type) {
    for (size_t i = s->epoch_count; i-- > 0;)
        if (s->epochs[i].from_seq <= seq)
            return evrt_pattern_set_match(s->epochs[i].patterns, type);
    return false;
}

bool evrt_sub_matches(const struct evrt_sub *s, struct evrt_slice type) {
    return s->epoch_count != 0 &&
           evrt_pattern_set_match(s->epochs[s->epoch_count - 1].patterns, type);
}

bool evrt_sub_skips(const struct evrt_sub *s, uint64_t seq) {
    size_t low = 0, high = s->skip_count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (s->skip[mid].first + s->skip[mid].count <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->skip_count && s->skip[low].first <= seq;
}

/* ---- The window ---- */

static void grow(struct evrt_sub *s) {
    uint32_t size = s->ring == NULL ? RING_START : (s->mask + 1) * 2;
    struct evrt_delivery *ring = evrt_alloc(size * sizeof *ring);
    uint64_t *ready = evrt_alloc(size * sizeof *ready);
    for (uint64_t p = s->head; p < s->tail; p++)
        ring[p & (size - 1)] = *evrt_sub_at(s, p);
    for (uint64_t p = s->ready_head; p != s->ready_tail; p++)
        ready[p & (size - 1)] = s->ready[p & s->mask];
    free(s->ring);
    free(s->ready);
    s->ring = ring;
    s->ready = ready;
    s->mask = size - 1;
}

uint64_t evrt_sub_push(struct evrt_sub *s, uint64_t seq) {
    assert(!evrt_sub_full(s));
    if (s->ring == NULL || s->tail - s->head > s->mask) grow(s);
    uint64_t position = s->tail++;
    *evrt_sub_at(s, position) = (struct evrt_delivery){
        .seq = seq,
        .attempt = 1,
        .state = EVRT_DELIVERY_FRESH,
    };
    return position;
}

void evrt_sub_make_ready(struct evrt_sub *s, uint64_t position, struct evrt_hold *hold,
                         const char *event, uint32_t n, bool front) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    if (d->state == EVRT_DELIVERY_AGAIN) s->again--;
    d->state = EVRT_DELIVERY_FRESH;
    d->hold = hold;
    hold->refs++;
    d->event = event;
    d->n = n;
    if (front)
        s->ready[--s->ready_head & s->mask] = position;
    else
        s->ready[s->ready_tail++ & s->mask] = position;
}

uint64_t evrt_sub_take_ready(struct evrt_sub *s) {
    return evrt_sub_has_ready(s) ? s->ready[s->ready_head++ & s->mask] : 0;
}

void evrt_sub_sent(struct evrt_sub *s, uint64_t position, uint32_t worker, int64_t now_ns,
                   struct evrt_slice event) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    if (label_size(&d->label) == 0) set_label(&d->label, event.p);
    d->n = (uint32_t)event.n;
    let_go(d);
    d->state = EVRT_DELIVERY_FLIGHT;
    d->worker = worker;
    d->sent_ns = now_ns;
    s->flight++;
    s->flight_bytes += d->n;
}

void evrt_sub_fall_behind(struct evrt_sub *s, uint64_t next_seq) {
    /* Fresh deliveries stand at the end of the window and of the ready queue alike: a live
     * subscription sends at once unless something is ready before it. Those read again after a
     * worker died stand further in front, and stay. */
    uint64_t scan = s->behind ? s->scan : next_seq;
    while (s->tail > s->head && evrt_sub_has_ready(s) &&
           s->ready[(s->ready_tail - 1) & s->mask] == s->tail - 1) {
        struct evrt_delivery *d = evrt_sub_at(s, s->tail - 1);
        if (d->crashes != 0) break; /* the journal would not know */
        scan = d->seq;
        let_go(d);
        s->tail--;
        s->ready_tail--;
    }
    s->scan = scan;
    s->behind = true;
}

void evrt_sub_recall(struct evrt_sub *s, uint64_t next_seq) {
    if (!evrt_sub_has_ready(s)) return;
    evrt_sub_fall_behind(s, next_seq);
    for (uint64_t position; (position = evrt_sub_take_ready(s)) != 0;) {
        struct evrt_delivery *d = evrt_sub_at(s, position);
        let_go(d);
        d->state = EVRT_DELIVERY_AGAIN;
        s->again++;
    }
}

struct evrt_delivery *evrt_sub_in_flight(const struct evrt_sub *s, uint64_t position,
                                         uint32_t worker) {
    if (position < s->head || position >= s->tail) return NULL;
    struct evrt_delivery *d = evrt_sub_at(s, position);
    return d->state == EVRT_DELIVERY_FLIGHT && d->worker == worker ? d : NULL;
}

static void out_of_flight(struct evrt_sub *s, const struct evrt_delivery *d) {
    s->flight--;
    s->flight_bytes -= d->n;
}

void evrt_sub_end(struct evrt_sub *s, uint64_t position) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    if (d->state == EVRT_DELIVERY_FLIGHT) out_of_flight(s, d);
    if (d->state == EVRT_DELIVERY_AGAIN) s->again--;
    let_go(d);
    d->state = EVRT_DELIVERY_DONE;
    if (s->ended_count == s->ended_cap) {
        s->ended_cap = s->ended_cap == 0 ? RING_START : s->ended_cap * 2;
        s->ended = evrt_realloc(s->ended, s->ended_cap * sizeof *s->ended);
    }
    s->ended[s->ended_count++] = position;
}

uint32_t evrt_sub_worker_gone(struct evrt_sub *s, uint32_t worker) {
    uint32_t count = 0;
    for (uint64_t p = s->head; p < s->tail; p++) {
        struct evrt_delivery *d = evrt_sub_in_flight(s, p, worker);
        if (d == NULL) continue;
        out_of_flight(s, d);
        d->state = EVRT_DELIVERY_AGAIN;
        s->again++;
        count++;
    }
    return count;
}

/* ---- Settlement ---- */

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Runs of neighbouring positions become one range of sequences: what lies between two neighbours did not
 * match the handler, so including it says nothing false. */
static void put_ranges(struct evrt_sub *s, struct evrt_buf *out) {
    bool sorted = true;
    for (size_t i = 1; i < s->ended_count && sorted; i++)
        sorted = s->ended[i - 1] < s->ended[i];
    if (!sorted) qsort(s->ended, s->ended_count, sizeof *s->ended, ascending);
    uint64_t from = 0;
    for (size_t i = 0; i < s->ended_count;) {
        size_t to = i;
        while (to + 1 < s->ended_count && s->ended[to + 1] == s->ended[to] + 1)
            to++;
        uint64_t first = evrt_sub_at(s, s->ended[i])->seq, last = evrt_sub_at(s, s->ended[to])->seq;
        evrt_ranges_put(out, &from, (struct evrt_range){first, last - first + 1});
        i = to + 1;
    }
}

void evrt_sub_settle(struct evrt_sub *s, uint64_t next_seq, struct evrt_buf *ranges,
                     struct evrt_record_settle *out) {
    put_ranges(s, ranges);
    for (; s->head < s->tail && evrt_sub_at(s, s->head)->state == EVRT_DELIVERY_DONE; s->head++)
        drop_label(&evrt_sub_at(s, s->head)->label);
    *out = (struct evrt_record_settle){
        .sub = s->id,
        .cursor = evrt_sub_cursor(s, next_seq),
        .seen = s->counting ? next_seq : s->seen,
        .matched = s->matched,
        .done = s->done,
        .dead_total = s->dead,
        .discarded = s->discarded,
        .ranges = evrt_buf_slice(ranges),
        .dead = evrt_buf_slice(&s->dead_list),
    };
}

void evrt_sub_settled(struct evrt_sub *s) {
    s->ended_count = 0;
    evrt_buf_clear(&s->dead_list);
}
