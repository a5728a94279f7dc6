/* Subscriptions against the scripts. A subscription is known by its handler's name and is made of journal
 * records (SUBSCRIBE, ORPHAN, FORGET), so it outlives both the process and the script. */
#include "host/node.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "core/pattern.h"

enum { CREDIT_BYTES = 8 << 20 }; /* of one handler's deliveries at workers */

static void journal_subscribe(struct evrt_host *h, uint32_t id, struct evrt_slice name,
                              uint64_t from_seq, struct evrt_slice patterns) {
    struct evrt_record_subscribe r = {id, name, from_seq, evrt_wall_ms(), patterns};
    evrt_buf_clear(&h->scratch);
    evrt_record_put_subscribe(&h->scratch, &r);
    host_append(h, EVRT_RECORD_SUBSCRIBE, evrt_buf_slice(&h->scratch));
}

static void journal_sub(struct evrt_host *h, enum evrt_record_kind kind, uint32_t id,
                        int64_t at_ms) {
    struct evrt_record_sub r = {id, at_ms};
    evrt_buf_clear(&h->scratch);
    evrt_record_put_sub(&h->scratch, &r);
    host_append(h, kind, evrt_buf_slice(&h->scratch));
}

/* New patterns hold from the next event on that commits: what is appended and not committed yet is routed
 * by them already. */
static void change_patterns(struct evrt_host *h, struct evrt_sub *s, struct evrt_slice patterns) {
    uint64_t from = evrt_bus_next_seq(h->bus);
    journal_subscribe(h, s->id, evrt_slice_of(s->name), from, patterns);
    evrt_sub_add_epoch(s, from, evrt_pattern_set_create(patterns));
    evrt_bus_recall(h->bus, s);
}

static struct evrt_sub *add(struct evrt_host *h, const struct evrt_handler *handler) {
    struct evrt_journal_stats stats;
    evrt_journal_stats(h->journal, &stats);
    uint64_t next = evrt_bus_next_seq(h->bus);
    uint64_t from = handler->from_beginning ? stats.first_seq : next;
    struct evrt_slice patterns = evrt_slice_of(handler->patterns);
    struct evrt_slice name = evrt_slice_of(handler->name);
    uint32_t id = h->next_sub++;
    journal_subscribe(h, id, name, from, patterns);
    struct evrt_sub *s = evrt_bus_add(h->bus, id, name, from);
    evrt_sub_add_epoch(s, from, evrt_pattern_set_create(patterns));
    s->from_seq = from;
    s->counting = from == next;
    s->seen = s->told_seen = from;
    struct evrt_buf events = {0};
    struct evrt_jsonout o = evrt_jsonout_start(&events);
    host_patterns_json(&o, patterns);
    evrt_log_event(h->log, HANDLER_ADDED, EVRT_F_STR("handler", name),
                   EVRT_F_JSON("events", evrt_buf_slice(&events)),
                   EVRT_F_CSTR("start", handler->from_beginning ? "beginning" : "new"));
    evrt_buf_finish(&events);
    return s;
}

/* What was sent under the keys before ends first; see evrt_bus_order. */
static void change_order(struct evrt_host *h, struct evrt_sub *s, const char *ordered_by) {
    if (strcmp(s->ordered_by == NULL ? "" : s->ordered_by, ordered_by) == 0) return;
    host_settle(h);
    free(s->ordered_by);
    s->ordered_by = evrt_strdup(ordered_by);
    evrt_bus_order(h->bus, s, ordered_by[0] != '\0');
}

static void adopt(struct evrt_host *h, uint32_t index) {
    const struct evrt_handler *handler = &h->serving->scripts.handlers[index];
    struct evrt_slice patterns = evrt_slice_of(handler->patterns);
    /* Most often it stands where it stood: a hundred are not searched for a hundred times. */
    struct evrt_sub *s = index < evrt_bus_count(h->bus) ? evrt_bus_get(h->bus, index) : NULL;
    if (s == NULL || strcmp(s->name, handler->name) != 0)
        s = evrt_bus_find(h->bus, evrt_slice_of(handler->name));
    if (s == NULL) {
        s = add(h, handler);
    } else {
        const struct evrt_epoch *now = &s->epochs[s->epoch_count - 1];
        if (!evrt_slice_eq(evrt_pattern_set_text(now->patterns), patterns))
            change_patterns(h, s, patterns);
    }
    uint32_t limit = handler->concurrency;
    if (limit == 0) limit = (uint32_t)h->config->workers.concurrency * h->worker_count;
    change_order(h, s, handler->ordered_by);
    s->handler = index;
    s->priority = handler->priority;
    s->active = true;
    s->orphaned_ms = 0;
    s->timeout_ms = handler->timeout_ms;
    s->limit = limit;
    s->own_limit = handler->concurrency != 0;
    s->limit_bytes = CREDIT_BYTES;
}

static void orphan(struct evrt_host *h, struct evrt_sub *s) {
    s->orphaned_ms = evrt_wall_ms();
    s->orphaned_ns = evrt_mono_ns();
    change_patterns(h, s, EVRT_STR(""));
    journal_sub(h, EVRT_RECORD_ORPHAN, s->id, s->orphaned_ms);
    evrt_log_event(h->log, HANDLER_REMOVED, EVRT_F_CSTR("handler", s->name),
                   EVRT_F_U64("pending", evrt_sub_pending(s)));
}

void host_subscribe(struct evrt_host *h) {
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++)
        evrt_bus_get(h->bus, i)->active = false;
    for (uint32_t i = 0; i < h->serving->scripts.count; i++)
        adopt(h, i);
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (!s->active && s->orphaned_ms == 0) orphan(h, s);
    }
    evrt_bus_rerouted(h->bus);
    host_timers_update(h);
}

bool host_orphaned_for(const struct evrt_sub *s, int64_t ttl_ms) {
    if (s->active || s->orphaned_ms == 0) return false;
    return (evrt_mono_ns() - s->orphaned_ns) / 1000000 >= ttl_ms;
}

bool host_may_forget(const struct evrt_sub *s) {
    return !s->active && s->flight == 0 && !s->reading && s->aside_live == 0;
}

void host_forget(struct evrt_host *h, struct evrt_sub *s, const char *reason) {
    host_settle(h); /* what ended is in the journal before the subscription goes */
    if (s->host != NULL) evrt_journal_reader_close(s->host);
    s->host = NULL;
    host_timers_forget(h, s->id);
    journal_sub(h, EVRT_RECORD_FORGET, s->id, evrt_wall_ms());
    evrt_log_event(h->log, HANDLER_FORGOTTEN, EVRT_F_CSTR("handler", s->name),
                   EVRT_F_U64("discarded", evrt_sub_pending(s)), EVRT_F_CSTR("reason", reason));
    if (s->dead != 0)
        evrt_log_event(h->log, DEAD_GONE, EVRT_F_U64("count", s->dead),
                       EVRT_F_CSTR("reason", "handler forgotten"));
    h->letters_dropped += s->dead;
    host_meter_removed(h, s);
    evrt_bus_remove(h->bus, s);
}

/* It stands behind all there is now, as one that was just made. */
static struct evrt_sub *move_to_end(struct evrt_host *h, struct evrt_sub *old) {
    uint64_t next = evrt_bus_next_seq(h->bus), gone = evrt_sub_pending(old);
    const struct evrt_sub was = *old;
    char *name = evrt_strdup(old->name);
    struct evrt_epoch *epochs = evrt_alloc((old->epoch_count + 1) * sizeof *epochs);
    for (size_t i = 0; i < old->epoch_count; i++) {
        epochs[i] = old->epochs[i];
        evrt_pattern_set_ref(epochs[i].patterns);
    }
    evrt_bus_remove(h->bus, old);
    struct evrt_sub *s = evrt_bus_add(h->bus, was.id, evrt_slice_of(name), next);
    free(name);
    for (size_t i = 0; i < was.epoch_count; i++)
        evrt_sub_add_epoch(s, epochs[i].from_seq, epochs[i].patterns);
    free(epochs);
    evrt_sub_add_epoch(s, next, evrt_pattern_set_create(EVRT_STR("")));
    if (was.paused) evrt_bus_pause(h->bus, s, true);
    s->paused_ms = was.paused_ms;
    s->orphaned_ms = was.orphaned_ms;
    s->orphaned_ns = was.orphaned_ns;
    s->from_seq = was.from_seq;
    s->counting = true;
    s->seen = next;
    s->told_cursor = s->told_seen = 0;
    s->matched = was.matched;
    s->done = was.done;
    s->dead = was.dead;
    s->discarded = was.discarded + gone;
    if (gone != 0) evrt_sub_discard(s, was.from_seq, next - was.from_seq);
    return s;
}

void host_give_up(struct evrt_host *h, struct evrt_sub *s) {
    host_settle(h);
    if (s->host != NULL) evrt_journal_reader_close(s->host);
    evrt_log_event(h->log, HANDLER_FORGOTTEN, EVRT_F_CSTR("handler", s->name),
                   EVRT_F_U64("discarded", evrt_sub_pending(s)),
                   EVRT_F_CSTR("reason", "bus.orphan_ttl; its dead letters stay"));
    host_checkpoint(h, move_to_end(h, s));
}

int evrt_host_forget(struct evrt_host *h, struct evrt_slice name, struct evrt_error *err) {
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "evrt is shutting down");
    struct evrt_sub *s = evrt_bus_find(h->bus, name);
    if (s == NULL)
        return evrt_error_set(err, -ENOENT, "no handler named \"%.*s\"", (int)name.n, name.p);
    if (s->active)
        return evrt_error_set(err, -EBUSY,
                              "handler \"%s\" is in the scripts; remove it there first", s->name);
    if (!host_may_forget(s))
        return evrt_error_set(err, -EBUSY,
                              "handler \"%s\" left the scripts, and its last deliveries are "
                              "still being finished; try again",
                              s->name);
    host_forget(h, s, "operator");
    return 0;
}

int evrt_host_pause(struct evrt_host *h, struct evrt_slice name, bool paused,
                    evrt_host_publish_cb cb, void *arg, struct evrt_error *err) {
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "evrt is shutting down");
    struct evrt_sub *s = evrt_bus_find(h->bus, name);
    if (s == NULL)
        return evrt_error_set(err, -ENOENT, "no handler named \"%.*s\"", (int)name.n, name.p);
    if (s->paused != paused) {
        int64_t now = evrt_wall_ms();
        journal_sub(h, paused ? EVRT_RECORD_PAUSE : EVRT_RECORD_RESUME, s->id, now);
        s->paused_ms = paused ? now : 0;
        evrt_bus_pause(h->bus, s, paused);
        if (paused)
            evrt_log_event(h->log, HANDLER_PAUSED, EVRT_F_CSTR("handler", s->name),
                           EVRT_F_U64("running", s->flight));
        else
            evrt_log_event(h->log, HANDLER_RESUMED, EVRT_F_CSTR("handler", s->name),
                           EVRT_F_U64("pending", evrt_sub_pending(s)));
    }
    host_barrier(h, cb, arg);
    return 0;
}
