/* See sub.h. */
#include "bus/sub.h"

#include <stdlib.h>

#include "bus/sub_internal.h"
#include "core/pattern.h"

enum {
    IDLE_BLOCKS = 4, /* kept by a subscription that has nothing under way */
};

struct evrt_sub *evrt_sub_create(uint32_t id, struct evrt_slice name, uint32_t live_max,
                                 uint64_t parked_max, uint64_t cursor) {
    struct evrt_sub *s = evrt_zalloc(sizeof *s);
    s->id = id;
    s->name = evrt_strndup(name.p, name.n);
    s->live_max = live_max;
    s->parked_max = parked_max;
    s->scan = s->told_cursor = cursor;
    evrt_window_init(&s->window);
    evrt_keys_init(&s->keys);
    evrt_keys_init(&s->retried);
    evrt_buf_init(&s->dead_list);
    evrt_buf_init(&s->retry_list);
    evrt_buf_init(&s->retried_list);
    evrt_buf_init(&s->left_list);
    evrt_buf_init(&s->gone_list);
    return s;
}

void evrt_sub_destroy(struct evrt_sub *s) {
    if (s == NULL) return;
    for (uint32_t i = 0; i < s->made; i++) {
        evrt_sub_let_go(s, evrt_sub_numbered(s, i));
        evrt_sub_drop_label(evrt_sub_numbered(s, i)->label);
    }
    for (size_t i = 0; i < s->epoch_count; i++)
        evrt_pattern_set_unref(s->epochs[i].patterns);
    evrt_sub_free_blocks(s);
    evrt_window_finish(&s->window);
    evrt_keys_finish(&s->keys);
    evrt_keys_finish(&s->retried);
    evrt_retries_finish(&s->retries);
    evrt_buf_finish(&s->dead_list);
    evrt_buf_finish(&s->retry_list);
    evrt_buf_finish(&s->retried_list);
    evrt_buf_finish(&s->left_list);
    evrt_buf_finish(&s->gone_list);
    free(s->left);
    free(s->gone);
    free(s->epochs);
    free(s->ready);
    free(s->skip);
    free(s->ended);
    free(s->ordered_by);
    free(s->name);
    free(s);
}

uint64_t evrt_sub_cursor(const struct evrt_sub *s, uint64_t next_seq) {
    uint64_t cursor = s->behind ? s->scan : next_seq;
    if (s->window.head == s->window.tail) return cursor;
    uint64_t first = evrt_window_at(&s->window, s->window.head)->seq;
    return first < cursor ? first : cursor;
}

static bool is_ahead(const struct evrt_sub *s, uint64_t seq) {
    return s->behind && seq >= s->scan && !evrt_sub_skips(s, seq);
}

enum evrt_sub_where evrt_sub_where(const struct evrt_sub *s, uint64_t seq, uint64_t next_seq) {
    const struct evrt_delivery *retry = evrt_sub_find_retry(s, seq);
    if (retry != NULL && retry->state == EVRT_DELIVERY_FLIGHT) return EVRT_SUB_RUNNING;
    if (seq < evrt_sub_cursor(s, next_seq)) return EVRT_SUB_ENDED;
    uint64_t position = evrt_window_find(&s->window, seq);
    const struct evrt_entry *e = evrt_window_at(&s->window, position);
    if (e == NULL || e->state == EVRT_ENTRY_GONE)
        return is_ahead(s, seq) ? EVRT_SUB_PENDING : EVRT_SUB_ENDED;
    if (e->state == EVRT_ENTRY_PARKED) return EVRT_SUB_PENDING;
    uint8_t state = evrt_sub_numbered(s, e->ref)->state;
    return state == EVRT_DELIVERY_DONE     ? EVRT_SUB_ENDED
           : state == EVRT_DELIVERY_FLIGHT ? EVRT_SUB_RUNNING
                                           : EVRT_SUB_PENDING;
}

struct evrt_delivery *evrt_sub_find_flight(const struct evrt_sub *s, uint64_t seq) {
    struct evrt_delivery *d = evrt_sub_find_retry(s, seq);
    if (d == NULL) d = evrt_sub_delivery(s, evrt_window_find(&s->window, seq));
    return d != NULL && d->state == EVRT_DELIVERY_FLIGHT ? d : NULL;
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
    size_t gone = 0, over = 0;
    while (over + 1 < s->epoch_count && s->epochs[over + 1].from_seq <= cursor)
        over++;
    while (gone + EVRT_EPOCHS_KEPT < over)
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

uint64_t evrt_sub_push(struct evrt_sub *s, uint64_t seq, uint64_t key) {
    uint64_t position =
        evrt_window_push(&s->window, (struct evrt_entry){.seq = seq, .state = EVRT_ENTRY_LIVE});
    struct evrt_delivery *d = evrt_sub_take_delivery(s, position, seq, key);
    evrt_window_at(&s->window, position)->ref = d->number;
    if (key != 0) evrt_keys_add(&s->keys, key);
    return position;
}

/* ---- In flight ---- */

void evrt_sub_sent(struct evrt_sub *s, uint64_t position, uint32_t worker, int64_t now_ns,
                   struct evrt_slice event) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    evrt_sub_set_label(d->label, event.p);
    if (!evrt_sub_is_aside(position) && !d->kept) evrt_sub_let_go(s, d);
    d->n = (uint32_t)event.n;
    d->state = EVRT_DELIVERY_FLIGHT;
    d->worker = worker;
    d->sent_ns = now_ns;
    if (!d->begun) s->begun++;
    d->begun = true;
    s->flight++;
    if (d->label->meter != NULL) d->label->meter->in_flight++;
    if (evrt_sub_is_aside(position)) s->aside_flight++;
    s->flight_bytes += d->n;
    if (evrt_sub_is_retry(position)) s->retry_flight++;
}

struct evrt_delivery *evrt_sub_delivery(const struct evrt_sub *s, uint64_t position) {
    if (evrt_sub_is_beside(position)) {
        uint32_t number = position & ((1u << EVRT_SUB_NUMBER_BITS) - 1);
        struct evrt_delivery *d = number < s->made ? evrt_sub_numbered(s, number) : NULL;
        bool its = d != NULL && d->position == position && d->state != EVRT_DELIVERY_DONE;
        return its ? d : NULL;
    }
    const struct evrt_entry *e = evrt_window_at(&s->window, position);
    return e != NULL && e->state == EVRT_ENTRY_LIVE ? evrt_sub_numbered(s, e->ref) : NULL;
}

struct evrt_delivery *evrt_sub_in_flight(const struct evrt_sub *s, uint64_t position,
                                         uint32_t worker) {
    struct evrt_delivery *d = evrt_sub_delivery(s, position);
    return d != NULL && d->state == EVRT_DELIVERY_FLIGHT && d->worker == worker ? d : NULL;
}

void evrt_sub_lend(struct evrt_sub *s, struct evrt_delivery *d, bool lent) {
    if (d->lent == lent) return;
    d->lent = lent;
    s->lent += lent ? 1u : -1u;
    s->lent_bytes += lent ? d->n : -(uint64_t)d->n;
}

static void out_of_flight(struct evrt_sub *s, struct evrt_delivery *d) {
    evrt_sub_lend(s, d, false);
    s->flight--;
    if (d->label->meter != NULL) d->label->meter->in_flight--;
    if (evrt_sub_is_aside(d->position)) s->aside_flight--;
    s->flight_bytes -= d->n;
    if (evrt_sub_is_retry(d->position)) s->retry_flight--;
}

void evrt_sub_end(struct evrt_sub *s, uint64_t position) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    if (d->state == EVRT_DELIVERY_FLIGHT) out_of_flight(s, d);
    evrt_sub_leave_again(s, d);
    evrt_sub_let_go(s, d);
    d->state = EVRT_DELIVERY_DONE;
    if (evrt_sub_is_retry(position)) {
        s->retry_live--;
        if (!d->failed) s->retrying--;
    }
    s->ended = evrt_grow(s->ended, s->ended_count, &s->ended_cap, sizeof *s->ended);
    s->ended[s->ended_count++] = position;
}

void evrt_sub_again(struct evrt_sub *s, struct evrt_delivery *d) {
    out_of_flight(s, d);
    if (evrt_sub_is_aside(d->position))
        evrt_sub_untake_aside(s, d);
    else
        evrt_sub_put_back(s, d->position);
}

uint32_t evrt_sub_worker_gone(struct evrt_sub *s, uint32_t worker) {
    uint32_t count = 0;
    for (uint32_t i = 0; s->flight != 0 && i < s->made; i++) {
        struct evrt_delivery *d = evrt_sub_numbered(s, i);
        if (d->state != EVRT_DELIVERY_FLIGHT || d->worker != worker) continue;
        evrt_sub_again(s, d);
        count++;
    }
    return count;
}

/* ---- Settlement ---- */

static uint64_t ended_seq(const struct evrt_sub *s, size_t i) {
    return evrt_window_at(&s->window, s->ended[i])->seq;
}

/* Runs of neighbouring positions become one range of sequences: what lies between two neighbours did
 * not match the handler, or had ended or failed before a restart. Whoever reads ranges expects both. */
static void put_ranges(struct evrt_sub *s, struct evrt_buf *out) {
    bool sorted = true;
    for (size_t i = 1; i < s->ended_count && sorted; i++)
        sorted = s->ended[i - 1] < s->ended[i];
    if (!sorted) qsort(s->ended, s->ended_count, sizeof *s->ended, evrt_sub_ascending);
    uint64_t from = 0;
    for (size_t i = 0; i < s->ended_count && !evrt_sub_is_beside(s->ended[i]);) {
        size_t to = i;
        while (to + 1 < s->ended_count && s->ended[to + 1] == s->ended[to] + 1)
            to++;
        uint64_t first = ended_seq(s, i), last = ended_seq(s, to);
        evrt_ranges_put(out, &from, (struct evrt_range){first, last - first + 1});
        i = to + 1;
    }
}

static void put_retried(struct evrt_sub *s) {
    uint64_t from = 0, *seqs = s->ended;
    size_t n = 0;
    evrt_buf_clear(&s->retried_list);
    for (size_t i = 0; i < s->ended_count; i++) {
        const struct evrt_delivery *d;
        if (!evrt_sub_is_beside(s->ended[i])) continue;
        d = evrt_sub_at(s, s->ended[i]);
        if (evrt_sub_is_aside(d->position)) {
            s->aside_live--;
            evrt_sub_free_delivery(s, evrt_sub_at(s, s->ended[i]));
            continue;
        }
        uint64_t seq = d->seq;
        bool failed = d->failed;
        evrt_sub_forget_retry(s, d);
        evrt_sub_free_delivery(s, evrt_sub_at(s, s->ended[i]));
        if (!failed) seqs[n++] = seq;
    }
    if (n > 1) qsort(seqs, n, sizeof *seqs, evrt_sub_ascending);
    for (size_t i = 0; i < n; i++)
        evrt_ranges_put(&s->retried_list, &from, (struct evrt_range){seqs[i], 1});
}

static void put_left(struct evrt_sub *s) {
    uint64_t from = 0;
    evrt_buf_clear(&s->left_list);
    if (s->left_count > 1) qsort(s->left, s->left_count, sizeof *s->left, evrt_sub_ascending);
    for (size_t i = 0; i < s->left_count; i++)
        evrt_ranges_put(&s->left_list, &from, (struct evrt_range){s->left[i], 1});
}

void evrt_sub_discard(struct evrt_sub *s, uint64_t seq, uint64_t count) {
    struct evrt_range *last = s->gone_count == 0 ? NULL : &s->gone[s->gone_count - 1];
    if (last != NULL && last->first + last->count == seq) {
        last->count += count;
        return;
    }
    s->gone = evrt_grow(s->gone, s->gone_count, &s->gone_cap, sizeof *s->gone);
    s->gone[s->gone_count++] = (struct evrt_range){seq, count};
}

static void put_gone(struct evrt_sub *s) {
    uint64_t from = 0;
    evrt_buf_clear(&s->gone_list);
    if (s->gone_count > 1) qsort(s->gone, s->gone_count, sizeof *s->gone, evrt_sub_by_first);
    for (size_t i = 0; i < s->gone_count; i++)
        evrt_ranges_put(&s->gone_list, &from, s->gone[i]);
}

void evrt_sub_letter_left(struct evrt_sub *s, uint64_t seq, bool done) {
    if ((s->left_count & (s->left_count - 1)) == 0)
        s->left =
            evrt_realloc(s->left, (s->left_count == 0 ? 1 : s->left_count * 2) * sizeof *s->left);
    s->left[s->left_count++] = seq;
    s->dead--;
    *(done ? &s->done : &s->discarded) += 1;
    if (!done) evrt_sub_discard(s, seq, 1);
}

static void free_ended(struct evrt_sub *s) {
    for (size_t i = 0; i < s->ended_count && !evrt_sub_is_beside(s->ended[i]); i++) {
        evrt_sub_free_delivery(s, evrt_sub_at(s, s->ended[i]));
        evrt_window_done(&s->window, s->ended[i]);
    }
    evrt_window_trim(&s->window);
}

void evrt_sub_tidy(struct evrt_sub *s) {
    if (s->live == 0 && s->made > IDLE_BLOCKS * EVRT_SUB_BLOCK) evrt_sub_free_blocks(s);
}

/* What is passed is never read again. */
static void drop_skips(struct evrt_sub *s, uint64_t cursor) {
    if (s->skip_count == 0) return;
    const struct evrt_range *last = &s->skip[s->skip_count - 1];
    if (last->first + last->count > cursor) return;
    free(s->skip);
    s->skip = NULL;
    s->skip_count = 0;
}

void evrt_sub_settle(struct evrt_sub *s, uint64_t next_seq, struct evrt_buf *ranges,
                     struct evrt_record_settle *out) {
    put_ranges(s, ranges);
    free_ended(s);
    put_retried(s);
    put_left(s);
    put_gone(s);
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
        .retrying = s->retrying,
        .retries = evrt_buf_slice(&s->retry_list),
        .retried = evrt_buf_slice(&s->retried_list),
        .left = evrt_buf_slice(&s->left_list),
        .gone = evrt_buf_slice(&s->gone_list),
    };
    drop_skips(s, out->cursor);
}

void evrt_sub_settled(struct evrt_sub *s) {
    s->ended_count = s->left_count = s->gone_count = 0;
    evrt_buf_clear(&s->dead_list);
    evrt_buf_clear(&s->retry_list);
    if (s->begun == 0) s->reordering = false;
}
