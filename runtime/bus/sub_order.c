/* Order in a subscription: the lines of its keys, and how it gives up memory or its order without losing
 * a place. See sub.h. */
#include <assert.h>
#include <stdlib.h>

#include "bus/sub_internal.h"

enum {
    IN_LINE = 16,            /* of one key that have their bytes at hand */
    IN_LINE_BYTES = 1 << 20, /* of one subscription's */
    IN_LINE_READS = 128,     /* in state AGAIN; more are not read ahead */
};

/* ---- Lines ---- */

static void put_in_line(struct evrt_sub *s, struct evrt_key *key, uint64_t position) {
    if (key->tail == 0) {
        key->head = position;
    } else {
        struct evrt_entry *last = evrt_window_at(&s->window, key->tail);
        if (last->state == EVRT_ENTRY_PARKED)
            last->ref = (uint32_t)(position - key->tail);
        else
            evrt_sub_at(s, key->tail)->next_in_line = position;
    }
    key->tail = position;
}

/* The first in line without a delivery gets one; its bytes are to be read. */
static struct evrt_delivery *equip(struct evrt_sub *s, struct evrt_key *key) {
    uint64_t position = key->bare;
    struct evrt_entry *e = evrt_window_at(&s->window, position);
    uint64_t next = e->ref == 0 ? 0 : position + e->ref;
    struct evrt_delivery *d = evrt_sub_take_delivery(s, position, e->seq, key->hash);
    e->state = EVRT_ENTRY_LIVE;
    e->ref = d->number;
    d->in_line = true;
    d->next_in_line = next;
    key->bare = next;
    key->ready++;
    s->parked--;
    return d;
}

void evrt_sub_keep_bytes(struct evrt_sub *s, struct evrt_delivery *d, struct evrt_slice event) {
    evrt_sub_leave_again(s, d);
    if (event.p == NULL) return;
    char *copy = evrt_alloc(event.n);
    memcpy(copy, event.p, event.n);
    d->event = copy;
    d->n = (uint32_t)event.n;
    d->own = true;
    s->own_bytes += event.n;
}

void evrt_sub_park(struct evrt_sub *s, uint64_t seq, struct evrt_key *key,
                   struct evrt_slice event) {
    uint64_t position =
        evrt_window_push(&s->window, (struct evrt_entry){.seq = seq, .state = EVRT_ENTRY_PARKED});
    put_in_line(s, key, position);
    s->parked++;
    if (key->bare != 0) return;
    key->bare = position;
    if (event.p != NULL && key->ready < IN_LINE && s->own_bytes + event.n <= IN_LINE_BYTES)
        evrt_sub_keep_bytes(s, equip(s, key), event);
}

uint64_t evrt_sub_pass_on(struct evrt_sub *s, uint64_t hash) {
    struct evrt_key *key = evrt_keys_find(&s->keys, hash);
    if (key == NULL) return 0;
    uint64_t position = key->head;
    if (position == 0) {
        evrt_keys_remove(&s->keys, hash);
        return 0;
    }
    if (key->bare == position) evrt_sub_come_again(s, equip(s, key));
    struct evrt_delivery *d = evrt_sub_at(s, position);
    d->in_line = false;
    key->head = d->next_in_line;
    if (key->head == 0) key->tail = 0;
    key->ready--;
    if (key->ready < IN_LINE / 2)
        while (key->bare != 0 && key->ready < IN_LINE && s->own_bytes < IN_LINE_BYTES &&
               s->again < IN_LINE_READS)
            evrt_sub_come_again(s, equip(s, key));
    return position;
}

/* ---- Less memory, another order ---- */

static void drop_delivery(struct evrt_sub *s, struct evrt_delivery *d) {
    evrt_sub_leave_again(s, d);
    evrt_sub_let_go(s, d);
    evrt_sub_free_delivery(s, d);
}

/* Those whose key is known must keep their place: their bytes are read again when few are ready. */
static void forget_bytes(struct evrt_sub *s) {
    uint64_t end = s->ready_tail;
    while (s->ready_head != end) {
        uint64_t position = evrt_sub_take_ready(s);
        struct evrt_delivery *d = evrt_sub_at(s, position);
        if (d->own) {
            evrt_sub_put_ready(s, position, false);
            continue;
        }
        evrt_sub_put_back(s, position);
    }
}

void evrt_sub_fall_behind(struct evrt_sub *s, uint64_t next_seq) {
    if (s->ordered) {
        forget_bytes(s);
        return;
    }
    /* Fresh deliveries stand at the end of the window and of the ready queue alike: a live
     * subscription sends at once unless something is ready before it. Those read again after a
     * worker died stand further in front, and stay. */
    uint64_t scan = s->behind ? s->scan : next_seq;
    while (evrt_sub_has_ready(s)) {
        uint64_t last = s->ready[(s->ready_tail - 1) & s->ready_mask];
        if (evrt_sub_is_retry(last)) {
            s->ready_tail--;
            evrt_sub_put_back(s, last);
            continue;
        }
        if (last != s->window.tail - 1) break;
        struct evrt_delivery *d = evrt_sub_at(s, s->window.tail - 1);
        if (d->begun) break;
        scan = d->seq;
        drop_delivery(s, d);
        evrt_window_pop(&s->window);
        s->ready_tail--;
    }
    s->scan = scan;
    s->behind = true;
}

void evrt_sub_put_back(struct evrt_sub *s, uint64_t position) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    evrt_sub_let_go(s, d);
    evrt_sub_come_again(s, d);
}

void evrt_sub_recall(struct evrt_sub *s, uint64_t next_seq) {
    if (!evrt_sub_has_ready(s)) return;
    evrt_sub_fall_behind(s, next_seq);
    for (uint64_t position; (position = evrt_sub_take_ready(s)) != 0;)
        evrt_sub_put_back(s, position);
}

int evrt_sub_by_first(const void *a, const void *b) {
    return evrt_sub_ascending(&((const struct evrt_range *)a)->first,
                              &((const struct evrt_range *)b)->first);
}

static void join_skips(struct evrt_sub *s) {
    size_t kept = 0;
    qsort(s->skip, s->skip_count, sizeof *s->skip, evrt_sub_by_first);
    for (size_t i = 1; i < s->skip_count; i++) {
        struct evrt_range *last = &s->skip[kept], run = s->skip[i];
        uint64_t end = run.first + run.count, last_end = last->first + last->count;
        if (run.first > last_end)
            s->skip[++kept] = run;
        else if (end > last_end)
            last->count = end - last->first;
    }
    if (s->skip_count != 0) s->skip_count = kept + 1;
}

static void add_skip(struct evrt_sub *s, uint64_t first, uint64_t last) {
    if ((s->skip_count & (s->skip_count - 1)) == 0)
        s->skip =
            evrt_realloc(s->skip, (s->skip_count == 0 ? 1 : s->skip_count * 2) * sizeof *s->skip);
    s->skip[s->skip_count++] = (struct evrt_range){first, last - first + 1};
}

/* What was never sent leaves the window, and the gaps between are not read again: what stood there has ended,
 * or was sent. Returns the first that is read again. */
static uint64_t keep_begun(struct evrt_sub *s, uint64_t scan) {
    uint64_t first = scan, last = s->window.head - 1;
    uint64_t from = evrt_window_at(&s->window, s->window.head)->seq;
    for (uint64_t p = s->window.head; p < s->window.tail; p = evrt_window_next(&s->window, p + 1)) {
        struct evrt_entry *e = evrt_window_at(&s->window, p);
        struct evrt_delivery *d = evrt_sub_delivery(s, p);
        if (d != NULL && d->begun) {
            d->key = 0;
            continue;
        }
        if (p > last + 1) add_skip(s, from, e->seq - 1);
        from = e->seq + 1;
        last = p;
        if (e->seq < first) first = e->seq;
        if (d != NULL) drop_delivery(s, d);
        e->state = EVRT_ENTRY_GONE;
    }
    if (s->window.tail > last + 1 && scan > from) add_skip(s, from, scan - 1);
    return first;
}

static bool is_begun(const struct evrt_sub *s, uint64_t position) {
    if (evrt_sub_is_beside(position)) return true;
    const struct evrt_delivery *d = evrt_sub_delivery(s, position);
    return d != NULL && d->begun;
}

void evrt_sub_reorder(struct evrt_sub *s, uint64_t next_seq) {
    assert(s->ended_count == 0);
    if (s->window.head == s->window.tail) return;
    /* Room for doubling as add_skip does it. */
    size_t cap = 1;
    while (cap < s->skip_count)
        cap *= 2;
    s->skip = evrt_realloc(s->skip, cap * sizeof *s->skip);
    s->scan = keep_begun(s, s->behind ? s->scan : next_seq);
    s->behind = true;
    join_skips(s);
    for (uint64_t n = s->ready_tail - s->ready_head; n > 0; n--) {
        uint64_t position = evrt_sub_take_ready(s);
        if (is_begun(s, position)) evrt_sub_put_ready(s, position, false);
    }
    evrt_sub_free_keys(s);
    s->parked = 0;
    evrt_window_trim(&s->window);
    s->reordering = s->begun != 0;
}
