/* Failures: what becomes of one, and when what is tried again goes on.
 *
 *     FAILED, or a worker that died ─▶ decided here ─▶ dead
 *                                                   └▶ retry: a row of the same SETTLE record that ends the
 *                                                      attempt, and 48 bytes in the subscription's heap
 *     one timer for the next due of all subscriptions ─▶ evrt_sub_promote ─▶ read, ready, sent
 *
 * What is due waits for nothing but room: a subscription has some hundreds read or ready at once, so that
 * its fresh events come between. Delays are monotonic time while the node runs, and wall time across
 * restarts, never longer than they were. The loop's thread. */
#include <errno.h>

#include "host/fetch.h"
#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"
#include "loop/timer.h"

enum {
    CRASHES_MAX = 3,
    EXPIRE_BATCH = 100, /* retries of vanished handlers that die at once */
    MS = 1000000,
};
#define DELAY_MAX_MS (INT64_C(366) * 86400 * 1000)

/* ---- Deciding ---- */

static int64_t either(int64_t declared, int64_t configured) {
    return declared >= 0 ? declared : configured;
}

/* What holds when a delivery fails, with nothing left out. */
struct policy {
    enum evrt_retry_kind kind;
    bool asks; /* a function of the handler's decides, and how often is its business */
    int64_t max_retries, initial_ms, max_ms, increment_ms;
    double multiplier, jitter;
};

static bool covers(const struct evrt_retry *r, struct evrt_slice type) {
    for (const char *at = r->events; *at != '\0';) {
        size_t n = strcspn(at, "\n");
        if (evrt_pattern_match((struct evrt_slice){at, n}, type)) return true;
        at += n + (at[n] != '\0');
    }
    return r->events[0] == '\0';
}

/* The innermost of the handler's retry policies that is around this type. */
static const struct evrt_retry *declared(const struct evrt_host *h, const struct evrt_sub *s,
                                         struct evrt_slice type) {
    if (!s->active) return NULL;
    const struct evrt_handler *handler = &h->serving->scripts.handlers[s->handler];
    for (size_t i = handler->retry_count; i-- > 0;)
        if (covers(&handler->retries[i], type)) return &handler->retries[i];
    return NULL;
}

static struct policy policy_of(const struct evrt_host *h, const struct evrt_sub *s,
                               struct evrt_slice type) {
    static const struct evrt_retry none = {NULL, EVRT_RETRY_DEFAULT, -1, -1, -1, -1, -1, -1, false};
    const struct evrt_config *c = h->config;
    const struct evrt_retry *d = declared(h, s, type);
    if (d == NULL) d = &none;
    struct policy p = {
        .kind = d->kind,
        .asks = d->kind == EVRT_RETRY_FUNCTION && d->max_retries < 0,
        .max_retries = either(d->max_retries, (int64_t)c->retry.max_retries),
        .initial_ms = either(d->initial_delay_ms, c->retry.initial_delay),
        .max_ms = either(d->max_delay_ms, c->retry.max_delay),
        .increment_ms = either(d->increment_ms, c->retry.increment),
        .multiplier = d->multiplier >= 0 ? d->multiplier : (double)c->retry.multiplier / 1000,
        .jitter = d->jitter >= 0 ? d->jitter : (double)c->retry.jitter / 1000,
    };
    if (p.kind == EVRT_RETRY_DEFAULT || p.kind == EVRT_RETRY_FUNCTION)
        p.kind = strcmp(c->retry.policy, "fixed") == 0    ? EVRT_RETRY_FIXED
                 : strcmp(c->retry.policy, "linear") == 0 ? EVRT_RETRY_LINEAR
                                                          : EVRT_RETRY_EXPONENTIAL;
    /* Who says how long the first delay is, and not the longest, means no less. */
    double first = (double)p.initial_ms * (1 + p.jitter);
    if (d->initial_delay_ms > p.max_ms && d->max_delay_ms < 0) p.max_ms = (int64_t)first;
    return p;
}

void host_retries_describe(const struct evrt_host *h, const struct evrt_sub *s,
                           struct evrt_slice type, struct evrt_jsonout *o) {
    static const char *const kinds[] = {[EVRT_RETRY_EXPONENTIAL] = "exponential",
                                        [EVRT_RETRY_FIXED] = "fixed",
                                        [EVRT_RETRY_LINEAR] = "linear"};
    struct policy p = policy_of(h, s, type);
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "policy", p.asks ? "function" : kinds[p.kind]);
    evrt_jsonout_put_cstr(o, "from", declared(h, s, type) != NULL ? "handler" : "configuration");
    if (p.asks)
        evrt_jsonout_put_null(o, "max_retries");
    else
        evrt_jsonout_put_i64(o, "max_retries", p.max_retries);
    evrt_jsonout_put_i64(o, "initial_delay_ms", p.initial_ms);
    evrt_jsonout_put_i64(o, "max_delay_ms", p.max_ms);
    evrt_jsonout_end(o);
}

/* Before retry number `n`, from 1. */
static double backoff(const struct policy *p, unsigned n) {
    double delay = (double)p->initial_ms, most = (double)p->max_ms;
    if (p->kind == EVRT_RETRY_LINEAR) delay += (double)p->increment_ms * (n - 1);
    if (p->kind == EVRT_RETRY_EXPONENTIAL && p->multiplier > 1)
        while (--n > 0 && delay > 0 && delay < most)
            delay *= p->multiplier;
    return delay < most ? delay : most;
}

static int64_t delay_of(struct evrt_host *h, const struct policy *p, unsigned n) {
    double chance = (double)(evrt_random_u64(&h->random) >> 11) * 0x1p-53; /* [0, 1) */
    double delay = backoff(p, n) * (1 + p->jitter * (2 * chance - 1));
    if (delay > (double)p->max_ms) delay = (double)p->max_ms;
    return (int64_t)delay;
}

static int64_t never(enum evrt_dead_reason why, enum evrt_dead_reason *reason) {
    *reason = why;
    return -1;
}

/* The milliseconds until the next attempt, or -1: there is none, and why. */
static int64_t decide(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                      unsigned crashes, const struct evrt_frame_failed *f,
                      enum evrt_dead_reason *reason) {
    if (crashes >= CRASHES_MAX) return never(EVRT_DEAD_CRASHED, reason);
    if (evrt_slice_eq(f->error_type, EVRT_STR("rejected")))
        return never(EVRT_DEAD_REJECTED, reason);
    if (f->retry_ms == EVRT_RETRY_NEVER) return never(EVRT_DEAD_DECLINED, reason);
    struct policy p = policy_of(h, s, evrt_delivery_names(d).type);
    bool asked = f->retry_ms >= 0;
    if (d->attempt > p.max_retries && !(asked && p.asks)) return never(EVRT_DEAD_EXHAUSTED, reason);
    int64_t delay = asked ? f->retry_ms : delay_of(h, &p, d->attempt);
    return delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS;
}

/* ---- Ends of an attempt ---- */

static void log_queued(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                       const struct evrt_frame_failed *f, const struct evrt_record_retry *r) {
    struct evrt_delivery_names names = evrt_delivery_names(d);
    struct host_trace_text ids;
    evrt_log_event(h->log, EVENT_RETRY_QUEUED, EVRT_F_STR("event_type", names.type),
                   EVRT_F_STR("event_id", names.id), EVRT_F_CSTR("handler", s->name),
                   EVRT_F_U64("attempt", r->attempt), EVRT_F_DURATION("delay", r->delay_ms * MS),
                   EVRT_F_STR("error", f->message), EVRT_F_STR("error_type", f->error_type),
                   EVRT_F_STR("event_time", names.time), EVRT_F_U64("seq", d->seq),
                   EVRT_F_STR("trace_id", host_trace_id(d, &ids)),
                   EVRT_F_STR("span_id", host_span_id(s, d, &ids)));
}

static void queue(struct evrt_host *h, struct host_worker *w, struct evrt_sub *s, uint64_t position,
                  int64_t delay_ms, const struct evrt_frame_failed *f) {
    const struct evrt_delivery *now = evrt_sub_in_flight(s, position, w->instance);
    bool skips = s->active && h->serving->scripts.handlers[s->handler].retry_skips;
    int64_t wall = evrt_wall_ms(), mono = evrt_mono_ns();
    struct evrt_retry_row again = {
        .due_ns = mono + delay_ms * MS,
        .kept = now->kept ? NULL : host_recent_keep(h, now->seq, delay_ms, mono),
        .first_failed_ms = evrt_sub_is_retry(position) ? now->first_failed_ms : wall,
        .crashes = now->crashes,
        .key = !skips,
    };
    struct evrt_delivery d;
    int rc = evrt_bus_retry(h->bus, s, position, w->instance, &again, &d);
    if (rc < 0) return; /* not reached: it is in flight */
    struct evrt_record_retry row = {
        .seq = d.seq,
        .attempt = again.attempt,
        .crashes = again.crashes,
        .due_ms = wall + delay_ms,
        .delay_ms = delay_ms,
        .first_failed_ms = again.first_failed_ms,
        .last_failed_ms = wall,
        .key = again.key,
        .error_type = f->error_type,
        .message = f->message,
        .generation = w->generation->number,
        .script = host_script_of(w->generation, s),
        .type = evrt_delivery_names(&d).type,
    };
    evrt_retry_put(&s->retry_list, &row);
    host_meter_failed(h, &d, f->error_type, true);
    host_waits_settled(h, s, d.seq, EVRT_OUTCOME_RETRYING, f->error_type, f->message);
    host_log_failed(w, s, &d, f);
    log_queued(h, s, &d, f, &row);
}

static void bury(struct evrt_host *h, struct host_worker *w, struct evrt_sub *s, uint64_t position,
                 enum evrt_dead_reason reason, const struct evrt_frame_failed *f) {
    struct evrt_delivery d;
    if (evrt_bus_end(h->bus, s, position, w->instance, EVRT_OUTCOME_DEAD, &d) < 0) return;
    struct evrt_delivery_names names = evrt_delivery_names(&d);
    struct host_trace_text ids;
    host_log_failed(w, s, &d, f);
    host_dead(h, &(struct host_dead){
                     .sub = s,
                     .seq = d.seq,
                     .attempt = d.attempt,
                     .reason = reason,
                     .first_failed_ms = d.first_failed_ms,
                     .type = names.type,
                     .id = names.id,
                     .time = names.time,
                     .error_type = f->error_type,
                     .message = f->message,
                     .traceback = f->traceback,
                     .generation = w->generation->number,
                     .script = host_script_of(w->generation, s),
                     .hops = d.label->hops,
                     .trace_id = host_trace_id(&d, &ids),
                     .span_id = host_span_id(s, &d, &ids),
                 });
    host_meter_failed(h, &d, f->error_type, false);
    host_waits_settled(h, s, d.seq, EVRT_OUTCOME_DEAD, f->error_type, f->message);
}

/* Whoever made it decides. */
static void fail_aside(struct host_worker *w, struct evrt_sub *s, uint64_t position,
                       const struct evrt_frame_failed *f) {
    struct evrt_delivery d;
    if (evrt_bus_end(w->host->bus, s, position, w->instance, EVRT_OUTCOME_DEAD, &d) < 0) return;
    host_aside_ended(w, s, &d, f);
    if (d.purpose != EVRT_PURPOSE_NOTICE) host_log_failed(w, s, &d, f);
}

/* Bytes of its next settlement. */
static size_t failures_of(const struct evrt_sub *s) {
    return s->dead_list.n + s->retry_list.n;
}

void host_failed(struct host_worker *w, const struct evrt_frame_failed *f, bool died) {
    struct evrt_host *h = w->host;
    uint64_t position;
    struct evrt_sub *s = host_sub_of(h, f->delivery, &position);
    struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_in_flight(s, position, w->instance);
    if (d == NULL) {
        h->stale++;
        return;
    }
    w->outstanding--;
    w->lent -= d->lent;
    size_t before = failures_of(s);
    if (evrt_sub_is_aside(position)) {
        fail_aside(w, s, position, f);
        host_ended(h, failures_of(s) - before);
        return;
    }
    if (died && d->crashes < CRASHES_MAX) d->crashes++;
    enum evrt_dead_reason reason = EVRT_DEAD_UNKNOWN;
    int64_t delay = decide(h, s, d, d->crashes, f, &reason);
    if (delay < 0)
        bury(h, w, s, position, reason, f);
    else
        queue(h, w, s, position, delay, f);
    host_ended(h, failures_of(s) - before);
}

/* ---- Going on ---- */

/* The turn does the work, before the loop waits again. */
static void on_due(uv_timer_t *timer) {
    (void)timer;
}

void host_retries_turn(struct evrt_host *h) {
    int64_t next = INT64_MAX, now = 0;
    uint32_t promoted = 0;
    if (h->phase != HOST_SERVING) return;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (s->retries.n == 0) continue;
        if (now == 0) now = evrt_mono_ns();
        promoted += evrt_sub_promote(s, now);
        int64_t due = evrt_sub_retry_due(s);
        if (due < next) next = due;
    }
    if (next == INT64_MAX) {
        uv_timer_stop(&h->retry);
    } else if (next != h->retry_due_ns || !uv_is_active((uv_handle_t *)&h->retry)) {
        evrt_timer_start(&h->retry, on_due, next);
    }
    h->retry_due_ns = next;
    if (promoted != 0) evrt_bus_pump(h->bus); /* those that have their bytes are ready */
}

void host_retries_sent(struct evrt_host *h, const struct evrt_sub *s, unsigned attempt,
                       struct evrt_slice event) {
    struct host_trace_text ids;
    evrt_log_event(h->log, EVENT_RETRY_ATTEMPT,
                   EVRT_F_STR("event_type", evrt_event_field(event.p, EVRT_FIELD_TYPE)),
                   EVRT_F_STR("event_id", evrt_event_field(event.p, EVRT_FIELD_ID)),
                   EVRT_F_CSTR("handler", s->name), EVRT_F_U64("attempt", attempt),
                   EVRT_F_STR("event_time", evrt_event_field(event.p, EVRT_FIELD_TIME)),
                   EVRT_F_U64("seq", evrt_event_seq(event.p)),
                   EVRT_F_STR("trace_id", host_event_trace_id(h, event.p, &ids)));
}

/* Whatever the clock says now, it waits no longer than it was to wait. What is due later than that, or was
 * due longer ago (the clock jumped, or the node was down), would come all at once: it is spread over as
 * long. */
static int64_t left_ms(struct evrt_host *h, const struct evrt_record_retry *r) {
    int64_t left = r->due_ms - evrt_wall_ms(), most = h->config->retry.max_delay;
    if (most > r->delay_ms) most = r->delay_ms;
    if (left >= -most && left <= r->delay_ms) return left < 0 ? 0 : left;
    return most <= 0 ? 0 : (int64_t)(evrt_random_u64(&h->random) % (uint64_t)most);
}

void host_retries_restore(struct evrt_host *h, uint32_t sub, const struct evrt_record_retry *r) {
    struct evrt_sub *s = evrt_bus_by_id(h->bus, sub);
    if (s == NULL) return;
    evrt_sub_restore_retry(
        s, &(struct evrt_retry_row){
               .due_ns = evrt_mono_ns() + left_ms(h, r) * MS,
               .seq = r->seq,
               .key = r->key,
               .first_failed_ms = r->first_failed_ms,
               .attempt = (uint16_t)(r->attempt < UINT16_MAX ? r->attempt : UINT16_MAX),
               .crashes = (uint8_t)(r->crashes < CRASHES_MAX ? r->crashes : CRASHES_MAX),
           });
}

/* ---- Handlers that left the scripts ---- */

static void expire(struct evrt_host *h, struct evrt_sub *s, uint64_t seq, struct evrt_slice bytes) {
    struct evrt_event e = {0};
    struct host_trace_text ids;
    bool known = bytes.n != 0 && evrt_event_decode(bytes.p, bytes.n, &e) == 0;
    struct evrt_delivery d;
    size_t before = failures_of(s);
    if (evrt_bus_end_retry(h->bus, s, seq, EVRT_OUTCOME_DEAD, &d) < 0) return;
    host_dead(h, &(struct host_dead){
                     .sub = s,
                     .seq = seq,
                     .attempt = d.attempt - 1u,
                     .unmade = true,
                     .reason = EVRT_DEAD_ORPHANED,
                     .type = e.type,
                     .id = e.id,
                     .time = e.time,
                     .error_type = EVRT_STR("cancelled"),
                     .message = EVRT_STR("not tried again: the handler left the scripts, and "
                                         "retry.ttl has passed since"),
                     .hops = e.hops,
                     .trace_id = known ? host_event_trace_id(h, bytes.p, &ids)
                                       : (struct evrt_slice){NULL, 0},
                 });
    host_meter_dead(h, s->name, e.type);
    host_ended(h, failures_of(s) - before);
}

static void on_fetched(void *arg, const struct host_fetch *f) {
    struct evrt_host *h = arg;
    h->expiring = false;
    if (f->rc < 0 || h->phase != HOST_SERVING) return; /* the next look tries again */
    for (size_t i = 0; i < f->count; i++) {
        struct evrt_sub *s = evrt_bus_by_id(h->bus, f->items[i].sub);
        if (s != NULL && !f->items[i].left && host_orphaned_for(s, h->config->retry.ttl))
            expire(h, s, f->items[i].seq, host_fetched(f, i));
    }
    host_retries_expire(h);
}

void host_retries_expire(struct evrt_host *h) {
    uint64_t seqs[EXPIRE_BATCH];
    size_t count = 0;
    struct evrt_sub *s;
    for (size_t i = 0; !h->expiring && count == 0 && i < evrt_bus_count(h->bus); i++) {
        s = evrt_bus_get(h->bus, i);
        if (s->retrying != 0 && host_orphaned_for(s, h->config->retry.ttl))
            count = evrt_sub_some_retries(s, seqs, EXPIRE_BATCH);
    }
    if (count == 0) return;
    struct host_fetch_item *items = evrt_alloc(count * sizeof *items);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct host_fetch_item){.sub = s->id, .seq = seqs[i]};
    h->expiring = true;
    host_fetch(h, items, count, on_fetched, h);
}

/* ---- By an operator ---- */

static int not_waiting(struct evrt_error *err, int rc) {
    return evrt_error_set(err, rc,
                          rc == -EBUSY ? "it is being handled now"
                                       : "no such retry: it has ended, or never was one");
}

int evrt_host_retry(struct evrt_host *h, uint32_t sub, uint64_t seq, bool discard,
                    evrt_host_publish_cb cb, void *arg, struct evrt_error *err) {
    struct evrt_sub *s = evrt_bus_by_id(h->bus, sub);
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    if (s == NULL) return not_waiting(err, -ENOENT);
    host_settle(h); /* one that has just failed again is waiting from then on */
    struct evrt_delivery d;
    int rc = discard ? evrt_bus_end_retry(h->bus, s, seq, EVRT_OUTCOME_DISCARDED, &d)
                     : evrt_bus_run_retry(h->bus, s, seq);
    if (rc < 0) return not_waiting(err, rc);
    host_barrier(h, cb, arg);
    return 0;
}
