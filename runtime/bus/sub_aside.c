/* What a subscription is given beside its window: a queue of deliveries that keep their bytes. See sub.h. */
#include "bus/sub_internal.h"
#include "core/event.h"

#include <stdlib.h>

static void put_first(struct evrt_sub *s, struct evrt_delivery *d) {
    d->state = EVRT_DELIVERY_FRESH;
    d->again_prev = NULL;
    d->again_next = s->aside_first;
    *(s->aside_first == NULL ? &s->aside_last : &s->aside_first->again_prev) = d;
    s->aside_first = d;
}

static void put_last(struct evrt_sub *s, struct evrt_delivery *d) {
    d->again_next = NULL;
    d->again_prev = s->aside_last;
    *(s->aside_last == NULL ? &s->aside_first : &s->aside_last->again_next) = d;
    s->aside_last = d;
}

static void take_out(struct evrt_sub *s, struct evrt_delivery *d) {
    *(d->again_prev == NULL ? &s->aside_first : &d->again_prev->again_next) = d->again_next;
    *(d->again_next == NULL ? &s->aside_last : &d->again_next->again_prev) = d->again_prev;
    d->again_prev = d->again_next = NULL;
}

void evrt_sub_add_aside(struct evrt_sub *s, const struct evrt_aside *a) {
    uint64_t serial = s->retry_serial++ & EVRT_SUB_SERIAL_MASK;
    struct evrt_delivery *d = evrt_sub_take_delivery(s, 0, a->key, 0);
    char *bytes = evrt_alloc(a->event.n + a->info.n);
    memcpy(bytes, a->event.p, a->event.n);
    if (a->info.n != 0) memcpy(bytes + a->event.n, a->info.p, a->info.n);
    d->position = EVRT_SUB_RETRY | EVRT_SUB_ASIDE | serial << EVRT_SUB_NUMBER_BITS | d->number;
    d->seq = evrt_event_seq(a->event.p);
    d->attempt = a->attempt;
    d->purpose = (uint8_t)a->purpose;
    d->job = a->job;
    d->job_key = a->key;
    d->event = bytes;
    d->n = (uint32_t)a->event.n;
    d->info_n = (uint32_t)a->info.n;
    d->own = true;
    s->own_bytes += d->n;
    s->aside_live++;
    put_last(s, d);
}

struct evrt_delivery *evrt_sub_take_aside(struct evrt_sub *s,
                                          uint64_t (*key)(void *, const struct evrt_sub *,
                                                          const struct evrt_slice *),
                                          void *arg) {
    for (struct evrt_delivery *d = s->aside_first; d != NULL; d = d->again_next) {
        if (s->reordering && !d->begun) continue;
        if (d->key == 0 && s->ordered) { /* else it has it already */
            uint64_t hash = key(arg, s, &(struct evrt_slice){d->event, d->n});
            if (hash != 0 && evrt_keys_find(&s->keys, hash) != NULL) continue;
            if (hash != 0) evrt_keys_add(&s->keys, hash);
            d->key = hash;
        }
        take_out(s, d);
        return d;
    }
    return NULL;
}

void evrt_sub_untake_aside(struct evrt_sub *s, struct evrt_delivery *d) {
    put_first(s, d);
}

bool evrt_sub_drop_aside(struct evrt_sub *s, uint64_t job, uint64_t *key) {
    struct evrt_delivery *d = s->aside_first;
    while (d != NULL && d->job != job)
        d = d->again_next;
    if (d == NULL) return false;
    *key = d->key;
    take_out(s, d);
    evrt_sub_let_go(s, d);
    evrt_sub_free_delivery(s, d);
    s->aside_live--;
    if (s->begun == 0) s->reordering = false; /* it was the last that was waited for */
    return true;
}

struct evrt_delivery *evrt_sub_aside_at(const struct evrt_sub *s, enum evrt_purpose purpose,
                                        uint32_t worker) {
    for (uint32_t i = 0; s->aside_flight != 0 && i < s->made; i++) {
        struct evrt_delivery *d = evrt_sub_numbered(s, i);
        if (d->state == EVRT_DELIVERY_FLIGHT && d->worker == worker &&
            evrt_sub_is_aside(d->position) && d->purpose == purpose)
            return d;
    }
    return NULL;
}

bool evrt_sub_has_aside(const struct evrt_sub *s, uint64_t job, uint64_t key) {
    for (uint32_t i = 0; s->aside_live != 0 && i < s->made; i++) {
        const struct evrt_delivery *d = evrt_sub_numbered(s, i);
        if (d->state == EVRT_DELIVERY_FLIGHT && evrt_sub_is_aside(d->position) && d->job == job &&
            d->job_key == key)
            return true;
    }
    return false;
}
