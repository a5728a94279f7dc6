/* See bus.h. An event's way: type ─▶ route (one hash hit), by priority ─▶ for each subscription: in its
 * key's line when that is busy; else sent at once when it is live, has credit and nothing waits before it;
 * else kept ready; else, when the window or the memory is full, the subscription falls behind and reads
 * the journal. */
#include "bus/bus.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/event.h"
#include "core/pattern.h"

enum {
    ROUTES_MAX = 65536, /* types remembered; a flood of new ones starts afresh */
    READ_BATCH = 1024,  /* events of one read */
    SHARE = 16,         /* deliveries of one subscription before it is another's turn */
};

struct evrt_bus {
    struct evrt_bus_options o;
    struct evrt_sub **subs; /* by ascending id */
    size_t count;
    struct evrt_sub **order; /* by priority, then id; NULL: to be made */
    struct evrt_map routes;  /* type -> struct evrt_route */
    uint64_t next_seq;
    uint64_t held;
    struct evrt_bus_limits limits;
    size_t turn; /* where pump starts, so that no subscription is always first */
};

struct evrt_bus *evrt_bus_create(const struct evrt_bus_options *options) {
    struct evrt_bus *b = evrt_zalloc(sizeof *b);
    b->o = *options;
    b->next_seq = options->next_seq;
    evrt_map_init(&b->routes);
    return b;
}

static void forget_routes(struct evrt_bus *b) {
    size_t at = 0;
    for (void *route; (route = evrt_map_next(&b->routes, &at, NULL)) != NULL;)
        free(route);
    evrt_map_finish(&b->routes);
}

void evrt_bus_destroy(struct evrt_bus *b) {
    if (b == NULL) return;
    forget_routes(b);
    for (size_t i = 0; i < b->count; i++)
        evrt_sub_destroy(b->subs[i]);
    free(b->order);
    free(b->subs);
    free(b);
}

/* ---- Subscriptions ---- */

struct evrt_sub *evrt_bus_add(struct evrt_bus *b, uint32_t id, struct evrt_slice name,
                              uint64_t cursor) {
    struct evrt_sub *s = evrt_sub_create(id, name, b->o.window, b->o.max_parked, cursor);
    s->behind = cursor < b->next_seq;
    b->subs = evrt_realloc(b->subs, (b->count + 1) * sizeof(struct evrt_sub *));
    size_t at = b->count++;
    for (; at > 0 && b->subs[at - 1]->id > id; at--)
        b->subs[at] = b->subs[at - 1];
    b->subs[at] = s;
    evrt_bus_rerouted(b);
    return s;
}

void evrt_bus_remove(struct evrt_bus *b, struct evrt_sub *s) {
    size_t at = 0;
    while (b->subs[at] != s)
        at++;
    memmove(b->subs + at, b->subs + at + 1, (--b->count - at) * sizeof(struct evrt_sub *));
    evrt_sub_destroy(s);
    evrt_bus_rerouted(b);
}

struct evrt_sub *evrt_bus_find(const struct evrt_bus *b, struct evrt_slice name) {
    for (size_t i = 0; i < b->count; i++)
        if (evrt_slice_eq(evrt_slice_of(b->subs[i]->name), name)) return b->subs[i];
    return NULL;
}

struct evrt_sub *evrt_bus_by_id(const struct evrt_bus *b, uint32_t id) {
    size_t low = 0, high = b->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (b->subs[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < b->count && b->subs[low]->id == id ? b->subs[low] : NULL;
}

size_t evrt_bus_count(const struct evrt_bus *b) {
    return b->count;
}

struct evrt_sub *evrt_bus_get(const struct evrt_bus *b, size_t index) {
    return b->subs[index];
}

void evrt_bus_recall(struct evrt_bus *b, struct evrt_sub *s) {
    evrt_sub_recall(s, b->next_seq);
}

void evrt_bus_rerouted(struct evrt_bus *b) {
    forget_routes(b);
    free(b->order);
    b->order = NULL;
}

static int by_priority(const void *x, const void *y) {
    const struct evrt_sub *a = *(struct evrt_sub *const *)x, *b = *(struct evrt_sub *const *)y;
    if (a->priority != b->priority) return a->priority < b->priority ? 1 : -1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static struct evrt_sub **in_order(struct evrt_bus *b) {
    if (b->order != NULL || b->count == 0) return b->order;
    b->order = evrt_alloc(b->count * sizeof(struct evrt_sub *));
    memcpy(b->order, b->subs, b->count * sizeof(struct evrt_sub *));
    qsort(b->order, b->count, sizeof(struct evrt_sub *), by_priority);
    return b->order;
}

void evrt_bus_order(struct evrt_bus *b, struct evrt_sub *s, bool ordered) {
    bool empty = s->window.head == s->window.tail;
    if (!empty) evrt_sub_reorder(s, b->next_seq);
    if (s->scan == b->next_seq && !s->reordering && !s->paused) s->behind = false;
    s->ordered = ordered;
}

void evrt_bus_pause(struct evrt_bus *b, struct evrt_sub *s, bool paused) {
    if (s->paused == paused) return;
    s->paused = paused;
    if (paused) {
        evrt_sub_fall_behind(s, b->next_seq);
        if (!s->behind) s->scan = b->next_seq;
        s->behind = true;
    } else if (s->scan == b->next_seq && !s->reordering) {
        s->behind = false;
    }
}

/* ---- Events ---- */

static struct evrt_route *make_route(struct evrt_bus *b, struct evrt_slice type) {
    struct evrt_route *r = evrt_zalloc(sizeof *r + b->count * sizeof r->subs[0]);
    struct evrt_sub **subs = in_order(b);
    for (size_t i = 0; i < b->count; i++)
        if (subs[i]->active && evrt_sub_matches(subs[i], type)) r->subs[r->count++] = subs[i];
    return r;
}

const struct evrt_route *evrt_bus_route(struct evrt_bus *b, struct evrt_slice type) {
    struct evrt_route *r = evrt_map_get(&b->routes, type);
    if (r == NULL) {
        if (b->routes.count >= ROUTES_MAX) forget_routes(b);
        r = make_route(b, type);
        evrt_map_set(&b->routes, type, r);
    }
    return r;
}

/* Sends one ready delivery; false when it has to wait. */
static bool try_send(struct evrt_bus *b, struct evrt_sub *s, uint64_t position,
                     struct evrt_slice event) {
    struct evrt_delivery *d = evrt_sub_at(s, position);
    uint32_t worker = b->o.ops->send(b->o.arg, s, position, d->attempt, &event);
    if (worker == 0) return false;
    evrt_sub_sent(s, position, worker, evrt_mono_ns(), event);
    return true;
}

/* Half of the credit at most, so that what is published finds some. */
static bool has_aside_credit(const struct evrt_sub *s) {
    return s->aside_flight < (s->limit + 1) / 2 && s->flight_bytes <= s->limit_bytes / 2 &&
           evrt_sub_has_credit(s);
}

/* One that is aside; false: there is none whose key is free, or no worker takes it. */
static bool send_aside(struct evrt_bus *b, struct evrt_sub *s) {
    if (s->aside_first == NULL || !s->active || !has_aside_credit(s)) return false;
    struct evrt_delivery *d = evrt_sub_take_aside(s, b->o.ops->key, b->o.arg);
    if (d == NULL) return false;
    struct evrt_slice event = {d->event, d->n};
    if (!try_send(b, s, d->position, event)) {
        evrt_sub_untake_aside(s, d);
        return false;
    }
    return true;
}

static bool has_work(const struct evrt_sub *s) {
    return evrt_sub_has_ready(s) || s->aside_first != NULL;
}

static void mark_dirty(struct evrt_bus *b, struct evrt_sub *s) {
    if (s->dirty) return;
    s->dirty = true;
    b->o.ops->dirty(b->o.arg, s);
}

/* Frees memory: those that hold fresh events read them from the journal when their turn comes. */
static void shed(struct evrt_bus *b) {
    b->limits.memory++;
    for (size_t i = 0; i < b->count; i++)
        if (evrt_sub_has_ready(b->subs[i])) evrt_sub_fall_behind(b->subs[i], b->next_seq);
}

/* Enters an event into the window. Returns its position when it may be sent now; 0: it waits for its key,
 * with its bytes at hand when `near`. */
static uint64_t take_in(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq,
                        struct evrt_slice event, bool near) {
    uint64_t hash = s->ordered ? b->o.ops->key(b->o.arg, s, &event) : 0;
    struct evrt_key *key = hash != 0 ? evrt_keys_find(&s->keys, hash) : NULL;
    if (key == NULL) return evrt_sub_push(s, seq, hash);
    evrt_sub_park(s, seq, key, near ? event : (struct evrt_slice){NULL, 0});
    return 0;
}

static void count_full(struct evrt_bus *b, const struct evrt_sub *s) {
    *(s->parked >= s->parked_max ? &b->limits.parked : &b->limits.window) += 1;
}

static void offer(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq, struct evrt_slice event,
                  struct evrt_hold *hold) {
    if (s->counting) s->matched++;
    if (s->behind) return;
    if (evrt_sub_full(s)) {
        count_full(b, s);
        s->behind = true;
        s->scan = seq;
        return;
    }
    uint64_t position = take_in(b, s, seq, event, true);
    if (position == 0) return;
    if (!evrt_sub_has_ready(s) && evrt_sub_has_credit(s) && try_send(b, s, position, event)) return;
    evrt_sub_make_ready(s, position, hold, event.p, (uint32_t)event.n, false);
}

void evrt_bus_commit(struct evrt_bus *b, uint64_t seq, struct evrt_slice event,
                     struct evrt_hold *hold) {
    assert(seq >= b->next_seq);
    const struct evrt_route *r = evrt_bus_route(b, evrt_event_field(event.p, EVRT_FIELD_TYPE));
    for (size_t i = 0; i < r->count; i++)
        offer(b, r->subs[i], seq, event, hold);
    b->next_seq = seq + 1;
    if (b->held > b->o.memory_limit) shed(b);
}

uint64_t evrt_bus_next_seq(const struct evrt_bus *b) {
    return b->next_seq;
}

/* Many may be ready, each in a cache line of its own that has long been elsewhere. */
static void prefetch_ready(const struct evrt_sub *s) {
    enum { AHEAD = 4 };
    if (s->ready_tail - s->ready_head < AHEAD) return;
    __builtin_prefetch(evrt_sub_at(s, s->ready[(s->ready_head + AHEAD - 1) & s->ready_mask]));
}

/* One subscription's share of a round; true when it may have another. What is aside comes when nothing else
 * is ready, and once in a share. */
static bool pump_share(struct evrt_bus *b, struct evrt_sub *s) {
    for (int n = 0; n < SHARE; n++) {
        if (!evrt_sub_has_credit(s)) {
            bool waits = !s->held && !s->paused;
            s->credit_waits += waits;
            b->limits.concurrency += waits && !s->own_limit;
            return false;
        }
        uint64_t position = evrt_sub_take_ready(s);
        if (position == 0 && !send_aside(b, s)) return false;
        if (position == 0) continue;
        prefetch_ready(s);
        struct evrt_delivery *d = evrt_sub_at(s, position);
        if (try_send(b, s, position, (struct evrt_slice){d->event, d->n})) continue;
        evrt_sub_untake_ready(s, position);
        return false;
    }
    (void)send_aside(b, s);
    return has_work(s);
}

/* Those of one priority, each time beginning with another. */
static bool pump_equals(struct evrt_bus *b, struct evrt_sub **subs, size_t n) {
    bool more = false;
    for (size_t i = 0; i < n; i++) {
        struct evrt_sub *s = subs[(b->turn + i) % n];
        if (has_work(s) && pump_share(b, s)) more = true;
    }
    return more;
}

void evrt_bus_pump(struct evrt_bus *b) {
    struct evrt_sub **subs = in_order(b);
    bool more;
    do {
        more = false;
        b->turn++;
        for (size_t i = 0, n; i < b->count; i += n) {
            for (n = 1; i + n < b->count && subs[i + n]->priority == subs[i]->priority;)
                n++;
            if (pump_equals(b, subs + i, n)) more = true;
        }
    } while (more);
}

void evrt_bus_held(struct evrt_bus *b, int64_t delta) {
    b->held += (uint64_t)delta;
}

const struct evrt_bus_limits *evrt_bus_limits(const struct evrt_bus *b) {
    return &b->limits;
}

uint64_t evrt_bus_held_bytes(const struct evrt_bus *b) {
    return b->held;
}

/* ---- Ends ---- */

static bool still_matches(const struct evrt_sub *s, const struct evrt_delivery *d) {
    return d->event != NULL && evrt_sub_matches(s, evrt_event_field(d->event, EVRT_FIELD_TYPE));
}

static void count_end(struct evrt_bus *b, struct evrt_sub *s, uint64_t position,
                      enum evrt_outcome outcome) {
    if (outcome == EVRT_OUTCOME_DISCARDED) evrt_sub_discard(s, evrt_sub_at(s, position)->seq, 1);
    evrt_sub_end(s, position);
    *(outcome == EVRT_OUTCOME_DONE   ? &s->done
      : outcome == EVRT_OUTCOME_DEAD ? &s->dead
                                     : &s->discarded) += 1;
    mark_dirty(b, s);
}

/* The key's next one is ready, or will be when it has been read. */
static void pass_on(struct evrt_bus *b, struct evrt_sub *s, uint64_t key) {
    for (uint64_t next; (next = evrt_sub_pass_on(s, key)) != 0;) {
        const struct evrt_delivery *d = evrt_sub_at(s, next);
        if (d->state == EVRT_DELIVERY_AGAIN) return;
        if (!s->active) { /* it may come back, with other patterns */
            evrt_sub_put_back(s, next);
            return;
        }
        if (still_matches(s, d)) {
            evrt_sub_queue(s, next);
            return;
        }
        count_end(b, s, next, EVRT_OUTCOME_DISCARDED);
    }
}

static void end(struct evrt_bus *b, struct evrt_sub *s, uint64_t position,
                enum evrt_outcome outcome) {
    uint64_t key = evrt_sub_at(s, position)->key;
    if (evrt_sub_is_aside(position)) {
        evrt_sub_end(s, position);
        mark_dirty(b, s);
    } else {
        count_end(b, s, position, outcome);
    }
    if (key != 0) pass_on(b, s, key);
}

int evrt_bus_end(struct evrt_bus *b, struct evrt_sub *s, uint64_t position, uint32_t worker,
                 enum evrt_outcome outcome, struct evrt_delivery *out) {
    const struct evrt_delivery *d = evrt_sub_in_flight(s, position, worker);
    if (d == NULL) return -ESTALE;
    *out = *d;
    end(b, s, position, outcome);
    return 0;
}

bool evrt_bus_lend(struct evrt_bus *b, struct evrt_sub *s, uint64_t position, uint32_t worker,
                   bool lent) {
    (void)b;
    struct evrt_delivery *d = evrt_sub_in_flight(s, position, worker);
    if (d == NULL || d->lent == lent) return false;
    evrt_sub_lend(s, d, lent);
    return true;
}

int evrt_bus_retry(struct evrt_bus *b, struct evrt_sub *s, uint64_t position, uint32_t worker,
                   struct evrt_retry_row *again, struct evrt_delivery *out) {
    struct evrt_delivery *d = evrt_sub_in_flight(s, position, worker);
    if (d == NULL) return -ESTALE;
    *out = *d;
    again->seq = d->seq;
    again->attempt = d->attempt == UINT16_MAX ? UINT16_MAX : (uint16_t)(d->attempt + 1);
    if (again->key != 0) again->key = d->key;
    if (again->kept == NULL && d->kept) {
        again->kept = (struct evrt_kept *)d->hold;
        d->hold->refs++;
    }
    if (evrt_sub_is_retry(position))
        d->failed = true;
    else
        s->retrying++;
    evrt_retries_push(&s->retries, again);
    evrt_sub_end(s, position);
    mark_dirty(b, s);
    if (out->key != 0 && again->key == 0) pass_on(b, s, out->key);
    return 0;
}

static int not_waiting(const struct evrt_sub *s, uint64_t seq) {
    return evrt_sub_where(s, seq, 0) == EVRT_SUB_RUNNING ? -EBUSY : -ENOENT;
}

int evrt_bus_end_retry(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq,
                       enum evrt_outcome outcome, struct evrt_delivery *out) {
    struct evrt_delivery *d = evrt_sub_take_retry(s, seq);
    if (d == NULL) return not_waiting(s, seq);
    *out = *d;
    if (d->state == EVRT_DELIVERY_FRESH) evrt_sub_unready(s, d->position);
    end(b, s, d->position, outcome);
    return 0;
}

int evrt_bus_run_retry(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq) {
    (void)b;
    return evrt_sub_take_retry(s, seq) == NULL ? not_waiting(s, seq) : 0;
}

void evrt_bus_letter_left(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq, bool done) {
    evrt_sub_letter_left(s, seq, done);
    mark_dirty(b, s);
}

void evrt_bus_aside(struct evrt_bus *b, struct evrt_sub *s, const struct evrt_aside *a) {
    (void)b;
    evrt_sub_add_aside(s, a);
}

uint32_t evrt_bus_drop_asides_of(struct evrt_bus *b, struct evrt_sub *s, uint64_t job) {
    uint32_t count = 0;
    uint64_t key;
    for (; evrt_sub_drop_aside(s, job, &key); count++)
        if (key != 0) pass_on(b, s, key);
    return count;
}

uint32_t evrt_bus_drop_asides(struct evrt_bus *b, uint64_t job) {
    uint32_t count = 0;
    for (size_t i = 0; i < b->count; i++)
        count += evrt_bus_drop_asides_of(b, b->subs[i], job);
    return count;
}

void evrt_bus_again(struct evrt_bus *b, struct evrt_sub *s, uint64_t position) {
    (void)b;
    evrt_sub_again(s, evrt_sub_at(s, position));
}

uint64_t evrt_bus_worker_gone(struct evrt_bus *b, uint32_t worker) {
    uint64_t count = 0;
    for (size_t i = 0; i < b->count; i++)
        count += evrt_sub_worker_gone(b->subs[i], worker);
    return count;
}

/* ---- Reading for those that are behind ---- */

static uint32_t room(const struct evrt_sub *s) {
    if (evrt_sub_full(s)) return 0;
    uint64_t left = s->live_max - (s->live - s->retry_live - s->aside_live);
    return left < READ_BATCH ? (uint32_t)left : READ_BATCH;
}

bool evrt_bus_wants_read(const struct evrt_bus *b, const struct evrt_sub *s,
                         struct evrt_bus_read *out) {
    if (s->reading || !s->active || s->paused) return false;
    if (s->ready_tail - s->ready_head > READ_BATCH / 2) return false;
    bool ahead = s->behind && !s->reordering && s->scan < b->next_seq && room(s) != 0;
    if (s->again != 0 && !(ahead && s->again_read))
        *out = (struct evrt_bus_read){true, 0, READ_BATCH};
    else
        *out = (struct evrt_bus_read){false, s->scan, room(s)};
    return s->again != 0 || ahead;
}

/* Counts a matching event that no commit counted. */
static void count_late(struct evrt_sub *s, uint64_t seq) {
    if (s->counting || seq < s->seen) return;
    s->matched++;
    s->seen = seq + 1;
}

bool evrt_bus_read_event(struct evrt_bus *b, struct evrt_sub *s, struct evrt_slice event,
                         struct evrt_hold *hold) {
    uint64_t seq = evrt_event_seq(event.p);
    if (!s->active || !s->behind || s->reordering || seq < s->scan) return false;
    if (evrt_sub_full(s)) {
        count_full(b, s);
        return false;
    }
    struct evrt_slice type = evrt_event_field(event.p, EVRT_FIELD_TYPE);
    s->scan = seq + 1;
    count_late(s, seq);
    if (evrt_sub_skips(s, seq)) return true;
    if (!evrt_sub_matches(s, type)) {
        end(b, s, evrt_sub_push(s, seq, 0), EVRT_OUTCOME_DISCARDED);
        return true;
    }
    uint64_t position = take_in(b, s, seq, event, false);
    if (position != 0) evrt_sub_make_ready(s, position, hold, event.p, (uint32_t)event.n, false);
    return true;
}

void evrt_bus_read_to(struct evrt_bus *b, struct evrt_sub *s, uint64_t next) {
    if (!s->behind || s->reordering || next < s->scan) return;
    s->scan = next;
    if (!s->counting && next > s->seen) s->seen = next;
    if (next < b->next_seq) return;
    s->behind = false;
    s->counting = true;
}

void evrt_bus_read_again(struct evrt_bus *b, struct evrt_sub *s, struct evrt_slice event,
                         struct evrt_hold *hold) {
    struct evrt_delivery *d = evrt_sub_find_again(s, evrt_event_seq(event.p));
    if (d == NULL || !s->active) return;
    if (d->in_line)
        evrt_sub_keep_bytes(s, d, event); /* looked at when its turn comes */
    else if (evrt_sub_matches(s, evrt_event_field(event.p, EVRT_FIELD_TYPE)))
        evrt_sub_make_ready(s, d->position, hold, event.p, (uint32_t)event.n, d->begun);
    else
        end(b, s, d->position, EVRT_OUTCOME_DISCARDED);
}

void evrt_bus_lost_again(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq) {
    struct evrt_delivery *d = evrt_sub_find_again(s, seq);
    if (d == NULL || !s->active) return;
    if (d->in_line)
        evrt_sub_keep_bytes(s, d, (struct evrt_slice){NULL, 0});
    else
        end(b, s, d->position, EVRT_OUTCOME_DISCARDED);
}
