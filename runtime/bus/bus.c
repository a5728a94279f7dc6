/* See bus.h. An event's way: type ─▶ route (one hash hit) ─▶ for each subscription: sent at once when
 * it is live, has credit and nothing waits before it; else kept ready; else, when the window or the
 * memory is full, the subscription falls behind and reads the journal. */
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
};

struct evrt_bus {
    struct evrt_bus_options o;
    struct evrt_sub **subs; /* by ascending id */
    size_t count;
    struct evrt_map routes; /* type -> struct evrt_route */
    uint64_t next_seq;
    uint64_t held;
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
    free(b->subs);
    free(b);
}

/* ---- Subscriptions ---- */

struct evrt_sub *evrt_bus_add(struct evrt_bus *b, uint32_t id, struct evrt_slice name,
                              uint64_t cursor) {
    struct evrt_sub *s = evrt_sub_create(id, name, b->o.window, cursor);
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
}

/* ---- Events ---- */

static struct evrt_route *make_route(struct evrt_bus *b, struct evrt_slice type) {
    struct evrt_route *r = evrt_zalloc(sizeof *r + b->count * sizeof r->subs[0]);
    for (size_t i = 0; i < b->count; i++)
        if (b->subs[i]->active && evrt_sub_matches(b->subs[i], type))
            r->subs[r->count++] = b->subs[i];
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

static void mark_dirty(struct evrt_bus *b, struct evrt_sub *s) {
    if (s->dirty) return;
    s->dirty = true;
    b->o.ops->dirty(b->o.arg, s);
}

/* Frees memory: those that hold fresh events read them from the journal when their turn comes. */
static void shed(struct evrt_bus *b) {
    for (size_t i = 0; i < b->count; i++)
        if (evrt_sub_has_ready(b->subs[i])) evrt_sub_fall_behind(b->subs[i], b->next_seq);
}

static void offer(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq, struct evrt_slice event,
                  struct evrt_hold *hold) {
    if (s->counting) s->matched++;
    if (s->behind) return;
    if (evrt_sub_full(s)) {
        s->behind = true;
        s->scan = seq;
        return;
    }
    uint64_t position = evrt_sub_push(s, seq);
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

/* One subscription's share of a pump. */
static void pump_sub(struct evrt_bus *b, struct evrt_sub *s) {
    while (evrt_sub_has_credit(s)) {
        uint64_t position = evrt_sub_take_ready(s);
        if (position == 0) return;
        struct evrt_delivery *d = evrt_sub_at(s, position);
        if (try_send(b, s, position, (struct evrt_slice){d->event, d->n})) continue;
        s->ready[--s->ready_head & s->mask] = position;
        return;
    }
}

void evrt_bus_pump(struct evrt_bus *b) {
    if (b->count == 0) return;
    b->turn = (b->turn + 1) % b->count;
    for (size_t i = 0; i < b->count; i++) {
        struct evrt_sub *s = b->subs[(b->turn + i) % b->count];
        if (evrt_sub_has_ready(s)) pump_sub(b, s);
    }
}

void evrt_bus_held(struct evrt_bus *b, int64_t delta) {
    b->held += (uint64_t)delta;
}

uint64_t evrt_bus_held_bytes(const struct evrt_bus *b) {
    return b->held;
}

/* ---- Ends ---- */

static void end(struct evrt_bus *b, struct evrt_sub *s, uint64_t position,
                enum evrt_outcome outcome) {
    evrt_sub_end(s, position);
    *(outcome == EVRT_OUTCOME_DONE   ? &s->done
      : outcome == EVRT_OUTCOME_DEAD ? &s->dead
                                     : &s->discarded) += 1;
    mark_dirty(b, s);
}

int evrt_bus_end(struct evrt_bus *b, struct evrt_sub *s, uint64_t position, uint32_t worker,
                 enum evrt_outcome outcome, struct evrt_delivery *out) {
    const struct evrt_delivery *d = evrt_sub_in_flight(s, position, worker);
    if (d == NULL) return -ESTALE;
    *out = *d;
    end(b, s, position, outcome);
    return 0;
}

unsigned evrt_bus_charge(struct evrt_sub *s, uint64_t position, uint32_t worker) {
    struct evrt_delivery *d = evrt_sub_in_flight(s, position, worker);
    if (d == NULL) return 0;
    if (d->attempt < UINT8_MAX) d->attempt++;
    return ++d->crashes;
}

uint64_t evrt_bus_worker_gone(struct evrt_bus *b, uint32_t worker) {
    uint64_t count = 0;
    for (size_t i = 0; i < b->count; i++)
        count += evrt_sub_worker_gone(b->subs[i], worker);
    return count;
}

/* ---- Reading for those that are behind ---- */

bool evrt_bus_wants_read(const struct evrt_bus *b, const struct evrt_sub *s,
                         struct evrt_bus_read *out) {
    if (s->reading || !s->active) return false;
    if (s->again != 0) {
        uint64_t p = s->head;
        while (evrt_sub_at(s, p)->state != EVRT_DELIVERY_AGAIN)
            p++;
        *out = (struct evrt_bus_read){true, evrt_sub_at(s, p)->seq, READ_BATCH};
        return true;
    }
    uint64_t waiting = s->ready_tail - s->ready_head;
    if (!s->behind || waiting > READ_BATCH / 2 || evrt_sub_full(s)) return false;
    uint64_t room = s->window - (s->tail - s->head);
    *out = (struct evrt_bus_read){false, s->scan, room < READ_BATCH ? (uint32_t)room : READ_BATCH};
    return s->scan < b->next_seq;
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
    if (!s->active || !s->behind || seq < s->scan || evrt_sub_full(s)) return false;
    struct evrt_slice type = evrt_event_field(event.p, EVRT_FIELD_TYPE);
    s->scan = seq + 1;
    count_late(s, seq);
    if (evrt_sub_skips(s, seq)) return true;
    uint64_t position = evrt_sub_push(s, seq);
    if (!evrt_sub_matches(s, type))
        end(b, s, position, EVRT_OUTCOME_DISCARDED);
    else
        evrt_sub_make_ready(s, position, hold, event.p, (uint32_t)event.n, false);
    return true;
}

void evrt_bus_read_to(struct evrt_bus *b, struct evrt_sub *s, uint64_t next) {
    if (!s->behind || next < s->scan) return;
    s->scan = next;
    if (!s->counting && next > s->seen) s->seen = next;
    if (next < b->next_seq) return;
    s->behind = false;
    s->counting = true;
    free(s->skip);
    s->skip = NULL;
    s->skip_count = 0;
}

/* The delivery of `seq` in state AGAIN, or 0. Positions ascend with sequences. */
static uint64_t find_again(const struct evrt_sub *s, uint64_t seq) {
    uint64_t low = s->head, high = s->tail;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (evrt_sub_at(s, mid)->seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    bool found = low < s->tail && evrt_sub_at(s, low)->seq == seq &&
                 evrt_sub_at(s, low)->state == EVRT_DELIVERY_AGAIN;
    return found ? low : 0;
}

void evrt_bus_read_again(struct evrt_bus *b, struct evrt_sub *s, struct evrt_slice event,
                         struct evrt_hold *hold) {
    uint64_t position = find_again(s, evrt_event_seq(event.p));
    if (position == 0 || !s->active) return;
    if (evrt_sub_matches(s, evrt_event_field(event.p, EVRT_FIELD_TYPE)))
        evrt_sub_make_ready(s, position, hold, event.p, (uint32_t)event.n, true);
    else
        end(b, s, position, EVRT_OUTCOME_DISCARDED);
}

void evrt_bus_lost_again(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq) {
    uint64_t position = find_again(s, seq);
    if (position != 0 && s->active) end(b, s, position, EVRT_OUTCOME_DISCARDED);
}
