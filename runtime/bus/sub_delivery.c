/* Deliveries of a subscription: their bytes and labels, where they are kept, and in which queue they
 * stand. See sub.h. */
#include <stdlib.h>

#include "bus/sub_internal.h"
#include "core/event.h"

enum { READY_START = 64 };

void evrt_sub_let_go(struct evrt_sub *s, struct evrt_delivery *d) {
    evrt_hold_release(d->hold);
    if (d->own) {
        free((char *)d->event);
        s->own_bytes -= d->n;
    }
    d->hold = NULL;
    d->event = NULL;
    d->own = false;
    d->kept = false;
}

/* ---- Labels ---- */

static size_t label_size(const struct evrt_delivery_label *l) {
    return (size_t)l->id_n + l->type_n + l->time_n;
}

static const char *label_text(const struct evrt_delivery_label *l) {
    return label_size(l) <= sizeof l->text.here ? l->text.here : l->text.heap;
}

void evrt_sub_drop_label(struct evrt_delivery_label *l) {
    if (label_size(l) > sizeof l->text.here) free(l->text.heap);
    l->id_n = l->type_n = l->time_n = 0;
    l->meter = NULL;
    l->trace_flags = 0;
}

void evrt_sub_set_label(struct evrt_delivery_label *l, const char *event) {
    if (label_size(l) != 0) return;
    struct evrt_slice id = evrt_event_field(event, EVRT_FIELD_ID);
    struct evrt_slice type = evrt_event_field(event, EVRT_FIELD_TYPE);
    struct evrt_slice time = evrt_event_field(event, EVRT_FIELD_TIME);
    l->id_n = (uint16_t)id.n;
    l->type_n = (uint16_t)type.n;
    l->time_n = (uint16_t)time.n;
    l->hops = evrt_event_hops(event);
    char *to = l->text.here;
    if (label_size(l) > sizeof l->text.here) to = l->text.heap = evrt_alloc(label_size(l));
    memcpy(to, id.p, id.n);
    memcpy(to + id.n, type.p, type.n);
    memcpy(to + id.n + type.n, time.p, time.n);
}

struct evrt_delivery_names evrt_delivery_names(const struct evrt_delivery *d) {
    const struct evrt_delivery_label *l = d->label;
    const char *p = label_text(l);
    return (struct evrt_delivery_names){
        {p, l->id_n}, {p + l->id_n, l->type_n}, {p + l->id_n + l->type_n, l->time_n}};
}

/* ---- Blocks of them ---- */

void evrt_sub_free_blocks(struct evrt_sub *s) {
    for (uint32_t i = 0; i < s->made; i += EVRT_SUB_BLOCK)
        free(s->blocks[i / EVRT_SUB_BLOCK]);
    free(s->blocks);
    s->blocks = NULL;
    s->made = s->free_first = s->free_last = 0;
}

/* First in, first out: what is used in turn is in the cache in turn. */
static void put_free(struct evrt_sub *s, struct evrt_delivery *d) {
    d->free_next = 0;
    if (s->free_first == 0)
        s->free_first = d->number + 1;
    else
        evrt_sub_numbered(s, s->free_last - 1)->free_next = d->number + 1;
    s->free_last = d->number + 1;
}

static void make_block(struct evrt_sub *s) {
    uint32_t block = s->made / EVRT_SUB_BLOCK;
    if ((block & (block - 1)) == 0)
        s->blocks = evrt_realloc(s->blocks, (block == 0 ? 1 : block * 2) * sizeof *s->blocks);
    s->blocks[block] = evrt_zalloc(sizeof **s->blocks);
    for (uint32_t i = 0; i < EVRT_SUB_BLOCK; i++) {
        struct evrt_delivery *d = &s->blocks[block]->deliveries[i];
        d->label = &s->blocks[block]->labels[i];
        d->number = s->made++;
        d->state = EVRT_DELIVERY_DONE;
        put_free(s, d);
    }
}

struct evrt_delivery *evrt_sub_take_delivery(struct evrt_sub *s, uint64_t position, uint64_t seq,
                                             uint64_t key) {
    if (s->free_first == 0) make_block(s);
    struct evrt_delivery *d = evrt_sub_numbered(s, s->free_first - 1);
    s->free_first = d->free_next;
    if (d->free_next != 0) __builtin_prefetch(evrt_sub_numbered(s, d->free_next - 1));
    s->live++;
    /* What it does not need is left as it was: this is done for every delivery. */
    d->seq = seq;
    d->position = position;
    d->key = key;
    d->next_in_line = 0;
    d->state = EVRT_DELIVERY_FRESH;
    d->attempt = 1;
    d->crashes = 0;
    d->conflicts = 0;
    d->in_line = d->failed = false;
    d->first_failed_ms = 0;
    return d;
}

void evrt_sub_free_delivery(struct evrt_sub *s, struct evrt_delivery *d) {
    evrt_sub_drop_label(d->label);
    if (d->begun) s->begun--;
    d->begun = false;
    d->state = EVRT_DELIVERY_DONE;
    put_free(s, d);
    s->live--;
}

/* ---- Those whose bytes are to be read ---- */

void evrt_sub_come_again(struct evrt_sub *s, struct evrt_delivery *d) {
    d->state = EVRT_DELIVERY_AGAIN;
    d->again_prev = s->again_last;
    d->again_next = NULL;
    *(s->again_last == NULL ? &s->again_first : &s->again_last->again_next) = d;
    s->again_last = d;
    s->again++;
}

void evrt_sub_leave_again(struct evrt_sub *s, struct evrt_delivery *d) {
    if (d->state != EVRT_DELIVERY_AGAIN) return;
    *(d->again_prev == NULL ? &s->again_first : &d->again_prev->again_next) = d->again_next;
    *(d->again_next == NULL ? &s->again_last : &d->again_next->again_prev) = d->again_prev;
    d->again_prev = d->again_next = NULL;
    d->state = EVRT_DELIVERY_FRESH;
    s->again--;
}

int evrt_sub_ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

size_t evrt_sub_list_again(const struct evrt_sub *s, uint64_t *seqs, size_t max) {
    size_t n = 0;
    for (const struct evrt_delivery *d = s->again_first; d != NULL && n < max; d = d->again_next)
        seqs[n++] = d->seq;
    qsort(seqs, n, sizeof *seqs, evrt_sub_ascending);
    return n;
}

struct evrt_delivery *evrt_sub_find_again(const struct evrt_sub *s, uint64_t seq) {
    struct evrt_delivery *d = evrt_sub_find_retry(s, seq);
    if (d == NULL) d = evrt_sub_delivery(s, evrt_window_find(&s->window, seq));
    return d != NULL && d->state == EVRT_DELIVERY_AGAIN ? d : NULL;
}

/* ---- Ready ---- */

static void grow_ready(struct evrt_sub *s) {
    uint32_t size = s->ready == NULL ? READY_START : (s->ready_mask + 1) * 2;
    uint64_t *ready = evrt_alloc(size * sizeof *ready);
    for (uint64_t p = s->ready_head; p != s->ready_tail; p++)
        ready[p & (size - 1)] = s->ready[p & s->ready_mask];
    free(s->ready);
    s->ready = ready;
    s->ready_mask = size - 1;
}

void evrt_sub_put_ready(struct evrt_sub *s, uint64_t position, bool front) {
    if (s->ready == NULL || s->ready_tail - s->ready_head > s->ready_mask) grow_ready(s);
    s->ready[(front ? --s->ready_head : s->ready_tail++) & s->ready_mask] = position;
}

void evrt_sub_queue(struct evrt_sub *s, uint64_t position) {
    evrt_sub_put_ready(s, position, false);
}

void evrt_sub_untake_ready(struct evrt_sub *s, uint64_t position) {
    evrt_sub_put_ready(s, position, true);
}

uint64_t evrt_sub_take_ready(struct evrt_sub *s) {
    return evrt_sub_has_ready(s) ? s->ready[s->ready_head++ & s->ready_mask] : 0;
}

void evrt_sub_unready(struct evrt_sub *s, uint64_t position) {
    for (uint64_t n = s->ready_tail - s->ready_head; n > 0; n--) {
        uint64_t one = evrt_sub_take_ready(s);
        if (one != position) evrt_sub_put_ready(s, one, false);
    }
}

void evrt_sub_make_ready(struct evrt_sub *s, uint64_t position, struct evrt_hold *hold,
                         const char *event, uint32_t n, bool front) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    evrt_sub_leave_again(s, d);
    d->hold = hold;
    hold->refs++;
    d->event = event;
    d->n = n;
    evrt_sub_put_ready(s, position, front);
}
