/* See meter.h: what is known elsewhere and looked at when a scrape asks, what is counted of workers, and what
 * goes when a handler has. */
#include "host/node.h"

#include <stdlib.h>
#include <sysexits.h>

#include "bus/dedup.h"
#include "core/clock.h"
#include "core/event.h"
#include "frame/page.h"
#include "host/kv.h"
#include "host/letters.h"
#include "host/overlay.h"
#include "host/shared.h"

enum {
    AGES_MAX = 4096,
    AGE_PART = 256,   /* a mark may be off by this part of its age */
    AGE_EVERY_MS = 5, /* between two marks at least */
};

static void count_to(struct evrt_host *h, enum evrt_metric_id id, uint64_t total) {
    evrt_metrics_total(h->meters->metrics, id, NULL, total);
}

static void gauge(struct evrt_host *h, enum evrt_metric_id id, double v) {
    evrt_metrics_gauge(h->meters->metrics, id, NULL, v);
}

/* ---- Ages ---- */

/* Drops marks that are closer to their neighbours than their age asks for. */
static void thin_ages(struct host_meters *m, int64_t now_ms) {
    size_t n = 1;
    for (size_t i = 1; i + 1 < m->age_count; i++) {
        int64_t gap = m->ages[i + 1].ms - m->ages[n - 1].ms;
        if (gap >= (now_ms - m->ages[i].ms) / AGE_PART) m->ages[n++] = m->ages[i];
    }
    m->ages[n++] = m->ages[m->age_count - 1];
    /* A clock that was set may have kept all of them. */
    if (n == AGES_MAX) memmove(m->ages, m->ages + 1, --n * sizeof *m->ages);
    m->age_count = n;
}

void host_meter_age(struct evrt_host *h, uint64_t seq, int64_t stored_ms) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    struct host_age *last = m->age_count == 0 ? NULL : &m->ages[m->age_count - 1];
    /* A clock that was set back has a mark at once: by those of before nothing would have an age. */
    bool soon = last != NULL && stored_ms >= last->ms && stored_ms < last->ms + AGE_EVERY_MS;
    if (last != NULL && (seq <= last->seq || soon)) {
        if (seq >= m->ages[0].seq) return;
        if (m->age_count == AGES_MAX) return;
        memmove(m->ages + 1, m->ages, m->age_count++ * sizeof *m->ages);
        m->ages[0] = (struct host_age){seq, stored_ms};
        return;
    }
    if (m->ages == NULL) m->ages = evrt_alloc(AGES_MAX * sizeof *m->ages);
    if (m->age_count == AGES_MAX) thin_ages(m, stored_ms);
    m->ages[m->age_count++] = (struct host_age){seq, stored_ms};
}

int64_t host_meter_age_of(const struct evrt_host *h, uint64_t seq, int64_t now_ms) {
    const struct host_meters *m = h->meters;
    size_t low = 0, high = m->age_count;
    while (low < high) { /* the last mark at or before it */
        size_t mid = (low + high) / 2;
        if (m->ages[mid].seq <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    if (m->age_count == 0) return 0;
    int64_t ms = m->ages[low == 0 ? 0 : low - 1].ms;
    return now_ms > ms ? now_ms - ms : 0;
}

void host_limit(const struct evrt_host *h, enum evrt_limit_id limit) {
    if (h->meters != NULL) evrt_metrics_limit(h->meters->metrics, limit, 1);
}

/* ---- Workers ---- */

void host_meter_frame(struct evrt_host *h, unsigned type, size_t bytes) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    if (m->frames[type & 255] == NULL)
        m->frames[type & 255] = evrt_metrics_series(
            m->metrics, EVRT_METRIC_FRAMES, EVRT_LABELS(evrt_slice_of(evrt_frame_name(type))));
    evrt_series_add(m->frames[type & 255], 1);
    evrt_series_add(m->bytes_in, bytes);
}

/* Why workers end unasked. */
enum { STALLED, MEMORY, PROTOCOL, CRASHED, EXITED, CAUSES };

static const char *const causes[CAUSES] = {"stalled", "memory", "protocol", "crashed", "exited"};

/* All of them are there from the start: a counter that begins with 1 has not grown, to who reads it. */
void host_meter_no_deaths(struct host_meters *m) {
    for (size_t i = 0; i < CAUSES; i++)
        evrt_metrics_count(m->metrics, EVRT_METRIC_WORKER_RESTARTS,
                           EVRT_LABELS(evrt_slice_of(causes[i])), 0);
}

void host_meter_died(struct evrt_host *h, const struct host_worker *w, int status, int signal,
                     uint64_t again) {
    if (h->meters == NULL) return;
    size_t cause = w->watch.stalled                       ? STALLED
                   : signal == 0 && status == EX_TEMPFAIL ? MEMORY
                   : strncmp(w->reason, "broke", 5) == 0  ? PROTOCOL
                   : signal != 0                          ? CRASHED
                                                          : EXITED;
    evrt_metrics_count(h->meters->metrics, EVRT_METRIC_WORKER_RESTARTS,
                       EVRT_LABELS(evrt_slice_of(causes[cause])), 1);
    evrt_series_add(h->meters->redelivered, again);
}

static void collect_worker(struct evrt_host *h, const struct host_worker *w) {
    struct evrt_metrics *m = h->meters->metrics;
    struct evrt_buf number = {0};
    if (!w->process_open) return;
    evrt_buf_put_u64(&number, w->slot);
    struct evrt_slice label = evrt_buf_slice(&number);
    if (w->channel_open)
        evrt_metrics_gauge(m, EVRT_METRIC_WORKER_BACKLOG, &label,
                           (double)evrt_channel_backlog(&w->channel));
    evrt_metrics_gauge(m, EVRT_METRIC_WORKER_IN_FLIGHT, &label, w->outstanding);
    if (w->watch.page != NULL) {
        evrt_metrics_gauge(m, EVRT_METRIC_WORKER_MEMORY, &label,
                           (double)evrt_page_load(&w->watch.page->memory));
        evrt_metrics_total(m, EVRT_METRIC_WORKER_GC, &label,
                           evrt_page_load(&w->watch.page->collecting_ns));
        evrt_metrics_total(m, EVRT_METRIC_WORKER_GCS, &label,
                           evrt_page_load(&w->watch.page->collections));
    }
    evrt_buf_finish(&number);
}

/* Those that serve by their number; of what loads and drains only how many there are. */
static void collect_workers(struct evrt_host *h) {
    static const char *const states[] = {"restarting", "loading", "ready", "ending", "draining"};
    static const enum evrt_metric_id of_worker[] = {
        EVRT_METRIC_WORKER_BACKLOG, EVRT_METRIC_WORKER_IN_FLIGHT, EVRT_METRIC_WORKER_MEMORY,
        EVRT_METRIC_WORKER_GC, EVRT_METRIC_WORKER_GCS};
    uint32_t counts[5] = {0};
    for (size_t i = 0; i < sizeof of_worker / sizeof of_worker[0]; i++)
        evrt_metrics_clear(h->meters->metrics, of_worker[i]);
    for (const struct host_generation *g = h->generations; g != NULL; g = g->next) {
        for (uint32_t i = 0; i < g->count; i++) {
            const struct host_worker *w = &g->workers[i];
            if (!w->process_open && g != h->serving) continue;
            counts[g->state == HOST_GENERATION_DRAINING ? 4 : w->state]++;
            if (g == h->serving) collect_worker(h, w);
        }
    }
    for (size_t i = 0; i < 5; i++)
        evrt_metrics_gauge(h->meters->metrics, EVRT_METRIC_WORKERS,
                           EVRT_LABELS(evrt_slice_of(states[i])), counts[i]);
}

/* ---- Handlers ---- */

static void collect_handler(struct evrt_host *h, const struct evrt_sub *s, int64_t now_ms) {
    struct evrt_metrics *m = h->meters->metrics;
    uint64_t next = evrt_bus_next_seq(h->bus), cursor = evrt_sub_cursor(s, next);
    struct evrt_slice label = evrt_slice_of(s->name);
    double age = cursor == next ? 0 : (double)host_meter_age_of(h, cursor, now_ms) / 1000;
    const struct {
        enum evrt_metric_id id;
        double v;
    } gauges[] = {
        {EVRT_METRIC_HANDLER_LAG, (double)(next - cursor)},
        {EVRT_METRIC_HANDLER_AGE, age},
        {EVRT_METRIC_HANDLER_PENDING,
         (double)(evrt_sub_pending(s) - evrt_sub_running(s) - evrt_sub_retrying(s))},
        {EVRT_METRIC_HANDLER_IN_FLIGHT, (double)evrt_sub_running(s)},
        {EVRT_METRIC_HANDLER_BESIDE, s->aside_flight},
        {EVRT_METRIC_HANDLER_RETRYING, (double)evrt_sub_retrying(s)},
        {EVRT_METRIC_HANDLER_PARKED, (double)s->parked},
        {EVRT_METRIC_HANDLER_DEAD, (double)s->dead},
        {EVRT_METRIC_HANDLER_PAUSED, s->paused},
    };
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++)
        evrt_metrics_gauge(m, gauges[i].id, &label, gauges[i].v);
    evrt_metrics_total(m, EVRT_METRIC_HANDLER_DONE, &label, s->done);
    evrt_metrics_total(m, EVRT_METRIC_HANDLER_DISCARDED, &label, s->discarded);
    evrt_metrics_total(m, EVRT_METRIC_CREDIT_WAITS, &label, s->credit_waits);
}

static void collect_handlers(struct evrt_host *h) {
    struct host_meters *m = h->meters;
    uint64_t retrying = 0;
    int64_t now = evrt_wall_ms();
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(h->bus, i);
        retrying += evrt_sub_retrying(s);
        if (s->active || evrt_sub_pending(s) != 0) collect_handler(h, s, now);
    }
    gauge(h, EVRT_METRIC_RETRY_QUEUE_SIZE, (double)retrying);
    size_t at = 0;
    for (struct host_meter *t; (t = evrt_map_next(&m->deliveries, &at, NULL)) != NULL;)
        evrt_metrics_gauge(m->metrics, EVRT_METRIC_HANDLERS_ACTIVE,
                           EVRT_LABELS(evrt_slice_of(t->handler), t->type),
                           (double)t->meter.in_flight);
}

/* ---- The rest ---- */

static void collect_store(struct evrt_host *h) {
    struct evrt_journal_stats j;
    struct evrt_state_stats state;
    evrt_journal_stats(h->journal, &j);
    evrt_state_stats(h->state, &state);
    count_to(h, EVRT_METRIC_JOURNAL_COMMITS, j.commits);
    count_to(h, EVRT_METRIC_JOURNAL_RECORDS, j.committed_records);
    count_to(h, EVRT_METRIC_JOURNAL_WRITTEN, j.committed_bytes);
    gauge(h, EVRT_METRIC_JOURNAL_SEGMENTS, (double)j.segments);
    gauge(h, EVRT_METRIC_JOURNAL_BYTES, (double)j.bytes);
    gauge(h, EVRT_METRIC_JOURNAL_EVENTS, (double)(j.next_seq - j.first_seq));
    gauge(h, EVRT_METRIC_JOURNAL_BACKLOG, (double)j.backlog_bytes);
    gauge(h, EVRT_METRIC_STORE_FULL, j.space != 0);
    gauge(h, EVRT_METRIC_STATE_QUEUED, (double)state.queued_bytes);
    uint64_t applied = evrt_state_applied(h->state);
    gauge(h, EVRT_METRIC_STATE_LAG, (double)(j.last_group > applied ? j.last_group - applied : 0));
    count_to(h, EVRT_METRIC_SNAPSHOT_FAILURES, state.snapshot_failures);
    gauge(h, EVRT_METRIC_FRESH_BYTES, (double)evrt_bus_held_bytes(h->bus));
}

static void collect_shared(struct evrt_host *h, struct evrt_metrics *m) {
    struct evrt_shared_stats s;
    evrt_shared_stats(h->shared, &s);
    gauge(h, EVRT_METRIC_SHARED_ENTRIES, (double)s.entries);
    gauge(h, EVRT_METRIC_SHARED_BYTES, (double)s.bytes);
    count_to(h, EVRT_METRIC_SHARED_CHANGES, s.changes);
    count_to(h, EVRT_METRIC_SHARED_CONFLICTS, s.conflicts);
    evrt_metrics_limit_total(m, EVRT_LIMIT_SHARED_ENTRIES, s.refused_full);
    evrt_metrics_limit_total(m, EVRT_LIMIT_SHARED_SIZE, s.refused_size);
}

static void collect_limits(struct evrt_host *h, struct evrt_metrics *m) {
    const struct evrt_bus_limits *bus = evrt_bus_limits(h->bus);
    evrt_metrics_limit_total(m, EVRT_LIMIT_STORE_SPACE, h->refused_full);
    evrt_metrics_limit_total(m, EVRT_LIMIT_MAX_BACKLOG, h->refused_backlog);
    evrt_metrics_limit_total(m, EVRT_LIMIT_BUS_MEMORY, bus->memory);
    evrt_metrics_limit_total(m, EVRT_LIMIT_WINDOW, bus->window);
    evrt_metrics_limit_total(m, EVRT_LIMIT_MAX_PARKED, bus->parked);
    evrt_metrics_limit_total(m, EVRT_LIMIT_CONCURRENCY, bus->concurrency);
    evrt_metrics_limit_total(m, EVRT_LIMIT_STATE_BACKLOG, h->state_waits);
    evrt_metrics_limit_total(m, EVRT_LIMIT_WORKER_MEMORY, h->contained.memory);
    evrt_metrics_limit_total(m, EVRT_LIMIT_STALL, h->contained.stalled);
}

static void collect_node(struct evrt_host *h, struct evrt_metrics *m) {
    static const char *const outcomes[] = {[HOST_RELOAD_DONE] = "done",
                                           [HOST_RELOAD_UNCHANGED] = "unchanged",
                                           [HOST_RELOAD_REFUSED] = "refused"};
    uint64_t dropped, sampled;
    gauge(h, EVRT_METRIC_READY, evrt_host_ready(h, NULL));
    gauge(h, EVRT_METRIC_GENERATION, (double)h->serving->number);
    for (unsigned i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++)
        if (outcomes[i] != NULL)
            evrt_metrics_total(m, EVRT_METRIC_RELOADS, EVRT_LABELS(evrt_slice_of(outcomes[i])),
                               h->reload.counts[i]);
    gauge(h, EVRT_METRIC_RELOAD_GOOD, h->reload.outcome != HOST_RELOAD_REFUSED);
    count_to(h, EVRT_METRIC_STALE, h->stale);
    evrt_log_counts(h->log, &dropped, &sampled);
    count_to(h, EVRT_METRIC_LOG_DROPPED, dropped);
    count_to(h, EVRT_METRIC_LOG_SAMPLED, sampled);
}

static void collect_kv(struct evrt_host *h) {
    const struct host_kv *kv = &h->kv;
    struct evrt_overlay_stats s;
    evrt_overlay_stats(kv->overlay, &s);
    count_to(h, EVRT_METRIC_KV_WRITES, kv->counts.writes);
    count_to(h, EVRT_METRIC_KV_READS, kv->counts.reads);
    count_to(h, EVRT_METRIC_KV_MISSES, kv->counts.misses);
    count_to(h, EVRT_METRIC_KV_CONFLICTS, kv->counts.conflicts);
    count_to(h, EVRT_METRIC_KV_REFUSED, kv->counts.refused);
    count_to(h, EVRT_METRIC_EFFECTS, kv->counts.effects);
    count_to(h, EVRT_METRIC_EMITTED, kv->counts.emitted);
    gauge(h, EVRT_METRIC_KV_OVERLAY, (double)s.dirty_bytes);
    gauge(h, EVRT_METRIC_KV_CACHE, (double)s.cache_bytes);
}

static void collect_scheduled(struct evrt_host *h) {
    struct host_schedule_stats s;
    host_schedule_stats(h, &s);
    gauge(h, EVRT_METRIC_SCHEDULED, (double)s.pending);
    count_to(h, EVRT_METRIC_SCHEDULED_FIRED, s.fired);
    count_to(h, EVRT_METRIC_SCHEDULED_CANCELLED, s.cancelled);
}

static void collect_dedup(struct evrt_host *h, struct evrt_metrics *m) {
    const struct evrt_dedup *d = h->dedup;
    gauge(h, EVRT_METRIC_DEDUP_ENTRIES, d == NULL ? 0 : (double)d->count);
    count_to(h, EVRT_METRIC_DUPLICATES, h->duplicates);
    evrt_metrics_limit_total(m, EVRT_LIMIT_DEDUP, d == NULL ? 0 : d->evicted);
}

static void collect_spans(struct evrt_host *h, struct evrt_metrics *m) {
    struct evrt_tracer_counts c = {0}; /* all outcomes are there from the start */
    if (h->tracing != NULL) evrt_tracer_counts(h->tracing->tracer, &c);
    const struct {
        const char *outcome;
        uint64_t n;
    } spans[] = {{"exported", c.exported},
                 {"limited", c.limited},
                 {"queue", c.queue},
                 {"failed", c.failed},
                 {"rejected", c.rejected}};
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
        evrt_metrics_total(m, EVRT_METRIC_SPANS, EVRT_LABELS(evrt_slice_of(spans[i].outcome)),
                           spans[i].n);
    gauge(h, EVRT_METRIC_SPANS_WAITING, (double)c.waiting);
    count_to(h, EVRT_METRIC_SPAN_REQUESTS, c.requests);
    count_to(h, EVRT_METRIC_SPAN_RETRIES, c.retries);
    evrt_metrics_limit_total(m, EVRT_LIMIT_SPAN_RATE, c.limited);
    evrt_metrics_limit_total(m, EVRT_LIMIT_SPAN_QUEUE, c.queue);
}

/* What is counted beside its series, as it comes too often for them. */
static void collect_hot(struct evrt_host *h) {
    struct host_meters *m = h->meters;
    host_meter_group_end(h);
    evrt_series_add(m->frames[EVRT_FRAME_DELIVER], m->delivers);
    evrt_series_add(m->bytes_out, m->delivered_bytes);
    m->delivers = m->delivered_bytes = 0;
}

void host_meters_collect(struct evrt_host *h) {
    if (h->meters == NULL || h->phase == HOST_CLOSED) return;
    struct evrt_metrics *m = h->meters->metrics;
    collect_hot(h);
    collect_node(h, m);
    collect_workers(h);
    collect_handlers(h);
    gauge(h, EVRT_METRIC_DEAD_LETTER_QUEUE_SIZE, (double)host_letters_count(h));
    collect_store(h);
    collect_shared(h, m);
    collect_limits(h, m);
    collect_dedup(h, m);
    collect_kv(h);
    collect_scheduled(h);
    collect_spans(h, m);
    count_to(h, EVRT_METRIC_NOTES_DROPPED, h->notes_dropped);
    gauge(h, EVRT_METRIC_METRICS_SERIES, (double)evrt_metrics_count_series(m));
}

struct evrt_metrics *evrt_host_metrics(const struct evrt_host *h) {
    return h->meters == NULL ? NULL : h->meters->metrics;
}

void evrt_host_collect(struct evrt_host *h) {
    host_meters_collect(h);
}
