/* Retries of a subscription, from waiting to under way. See sub.h.
 *
 *     failed ──▶ heap by time ──due──▶ a delivery, AGAIN ──read──▶ ready ──▶ FLIGHT ──▶ ended or failed
 *                                  │   (no place in the window: its position names the delivery)
 *                                  └── with its bytes, if they were kept ──▶ ready
 */
#include <assert.h>

#include "bus/sub_internal.h"
#include "core/event.h"

enum {
    UNDER_WAY = 512
}; /* of one subscription that wait to be read or sent: fresh ones come between */

/* Any bit of a sequence may tell two of them apart; 0 stays 0. */
static uint64_t index_of(uint64_t seq) {
    return seq * UINT64_C(0x9e3779b97f4a7c15);
}

struct evrt_delivery *evrt_sub_find_retry(const struct evrt_sub *s, uint64_t seq) {
    if (s->retried.count == 0) return NULL;
    const struct evrt_key *at = evrt_keys_find(&s->retried, index_of(seq));
    return at == NULL ? NULL : evrt_sub_at(s, at->head);
}

/* Ready at once, if its bytes were kept and it is still wanted; else they are read, and then looked at. */
static bool has_its_bytes(struct evrt_sub *s, struct evrt_delivery *d, struct evrt_kept *kept) {
    if (kept == NULL) return false;
    bool wanted = s->active && evrt_sub_matches(s, evrt_event_field(kept->event, EVRT_FIELD_TYPE));
    if (wanted) {
        evrt_sub_make_ready(s, d->position, &kept->hold, kept->event, kept->n, false);
        d->kept = true;
    }
    evrt_hold_release(&kept->hold);
    return wanted;
}

static struct evrt_delivery *promote(struct evrt_sub *s, size_t index) {
    struct evrt_retry_row r = evrt_retries_take(&s->retries, index);
    struct evrt_delivery *d = evrt_sub_take_delivery(s, 0, r.seq, r.key);
    d->position = EVRT_SUB_RETRY |
                  (s->retry_serial++ & EVRT_SUB_SERIAL_MASK) << EVRT_SUB_NUMBER_BITS | d->number;
    d->attempt = r.attempt;
    d->crashes = r.crashes;
    d->first_failed_ms = r.first_failed_ms;
    evrt_keys_add(&s->retried, index_of(r.seq));
    evrt_keys_find(&s->retried, index_of(r.seq))->head = d->position;
    s->retry_live++;
    if (!has_its_bytes(s, d, r.kept)) evrt_sub_come_again(s, d);
    return d;
}

static bool has_room(const struct evrt_sub *s) {
    return s->retry_live - s->retry_flight < UNDER_WAY;
}

int64_t evrt_sub_retry_due(const struct evrt_sub *s) {
    if (s->retries.n == 0 || !s->active || s->paused || !has_room(s)) return INT64_MAX;
    return s->retries.heap[0].due_ns;
}

uint32_t evrt_sub_promote(struct evrt_sub *s, int64_t now_ns) {
    uint32_t count = 0;
    assert(s->ended_count == 0);
    for (; evrt_sub_retry_due(s) <= now_ns; count++)
        promote(s, 0);
    return count;
}

struct evrt_delivery *evrt_sub_take_retry(struct evrt_sub *s, uint64_t seq) {
    struct evrt_delivery *d = evrt_sub_find_retry(s, seq);
    if (d != NULL)
        return d->state == EVRT_DELIVERY_FLIGHT || d->state == EVRT_DELIVERY_DONE ? NULL : d;
    size_t index = evrt_retries_find(&s->retries, seq);
    return index == SIZE_MAX ? NULL : promote(s, index);
}

static const struct evrt_delivery *promoted(const struct evrt_sub *s, uint32_t number) {
    const struct evrt_delivery *d = evrt_sub_numbered(s, number);
    return evrt_sub_is_retry(d->position) && d->state != EVRT_DELIVERY_DONE ? d : NULL;
}

size_t evrt_sub_some_retries(const struct evrt_sub *s, uint64_t *seqs, size_t most) {
    size_t count = 0; /* from the end, where a heap has them taken out for nothing */
    for (size_t i = s->retries.n; i-- > 0 && count < most;)
        seqs[count++] = s->retries.heap[i].seq;
    for (uint32_t i = 0; s->retry_live != 0 && i < s->made && count < most; i++) {
        const struct evrt_delivery *d = promoted(s, i);
        if (d != NULL && d->state != EVRT_DELIVERY_FLIGHT) seqs[count++] = d->seq;
    }
    return count;
}

void evrt_sub_forget_retry(struct evrt_sub *s, const struct evrt_delivery *d) {
    evrt_keys_remove(&s->retried, index_of(d->seq));
}

void evrt_sub_restore_retry(struct evrt_sub *s, const struct evrt_retry_row *r) {
    struct evrt_retry_row one = *r;
    if (one.key != 0 && evrt_keys_find(&s->keys, one.key) != NULL) one.key = 0;
    if (one.key != 0) evrt_keys_add(&s->keys, one.key);
    evrt_retries_push(&s->retries, &one);
    s->retrying++;
}

void evrt_sub_free_keys(struct evrt_sub *s) {
    for (size_t i = 0; i < s->retries.n; i++)
        s->retries.heap[i].key = 0;
    for (uint32_t i = 0; i < s->made; i++)
        if (evrt_sub_is_beside(evrt_sub_numbered(s, i)->position)) evrt_sub_numbered(s, i)->key = 0;
    evrt_keys_finish(&s->keys);
}
