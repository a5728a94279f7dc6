/* See meter.h: what is counted for each event. */
#include "host/node.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/event.h"

enum {
    MARK_EVERY = 64,   /* events that share one reading of the clock, at most */
    TRACE_MS = 100,    /* between two exemplars of one meter */
    TRACED_MS = 60000, /* what was to be one is waited for */
    MARKS_START = 256,
    RETRIES_SHOWN = 3, /* numbers of retries that are shown before there are any */
};

/* ---- Finding meters ---- */

static uint64_t eight(const char *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Which place of a cache: the end of a name tells names apart best. */
static size_t place(struct evrt_slice s, uint64_t salt) {
    uint64_t x = 0;
    if (s.n >= sizeof x)
        x = eight(s.p + s.n - sizeof x); /* without a call */
    else if (s.n != 0)
        memcpy(&x, s.p, s.n);
    return ((x ^ salt ^ s.n) * UINT64_C(0x9e3779b97f4a7c15)) >> 54;
}

/* Names are mostly of 8 to 32 bytes: without a call. */
static inline bool same(struct evrt_slice a, struct evrt_slice b) {
    size_t n = a.n;
    if (n != b.n) return false;
    if (n < 8 || n > 32) return evrt_slice_eq(a, b);
    uint64_t differ = (eight(a.p) ^ eight(b.p)) | (eight(a.p + n - 8) ^ eight(b.p + n - 8));
    if (n > 16)
        differ |= (eight(a.p + 8) ^ eight(b.p + 8)) | (eight(a.p + n - 16) ^ eight(b.p + n - 16));
    return differ == 0;
}

static void put_key(struct evrt_buf *key, struct evrt_slice a, struct evrt_slice b) {
    evrt_buf_put(key, a.p, a.n);
    evrt_buf_putc(key, '\0');
    evrt_buf_put(key, b.p, b.n);
}

static struct evrt_slice copy(struct evrt_slice s) {
    return (struct evrt_slice){evrt_strndup(s.n == 0 ? "" : s.p, s.n), s.n};
}

static void count_overflow(struct host_meters *m, const char *metric) {
    evrt_metrics_count(m->metrics, EVRT_METRIC_METRICS_OVERFLOW, EVRT_LABELS(evrt_slice_of(metric)),
                       1);
    evrt_metrics_limit(m->metrics, EVRT_LIMIT_SERIES, 1);
}

/* ---- By type, by type and source ---- */

static struct host_type_meter *type_meter(struct host_meters *m, struct evrt_slice type) {
    struct host_type_meter *t = evrt_map_get(&m->types, type);
    if (t != NULL) return t;
    if (m->types.count >= m->most) {
        if (m->type_overflow == NULL) {
            t = m->type_overflow = evrt_alloc(sizeof *t);
            t->stored = evrt_metrics_overflow(m->metrics, EVRT_METRIC_STORED);
            t->duration = evrt_metrics_overflow(m->metrics, EVRT_METRIC_STORAGE_DURATION);
        }
        return m->type_overflow;
    }
    t = evrt_alloc(sizeof *t);
    t->stored = evrt_metrics_series(m->metrics, EVRT_METRIC_STORED, &type);
    t->duration = evrt_metrics_series(m->metrics, EVRT_METRIC_STORAGE_DURATION, &type);
    evrt_map_set(&m->types, type, t);
    return t;
}

static struct host_source_meter *source_overflow(struct host_meters *m) {
    struct host_source_meter *s = m->source_overflow;
    count_overflow(m, "events_published_total");
    if (s != NULL) return s;
    s = m->source_overflow = evrt_zalloc(sizeof *s);
    s->published = evrt_metrics_overflow(m->metrics, EVRT_METRIC_PUBLISHED);
    s->duration = evrt_metrics_overflow(m->metrics, EVRT_METRIC_PUBLISH_DURATION);
    return s;
}

static struct host_source_meter *make_source(struct host_meters *m, struct evrt_slice key,
                                             struct evrt_slice type, struct evrt_slice source) {
    struct host_source_meter *s = evrt_zalloc(sizeof *s);
    const struct evrt_slice *labels = EVRT_LABELS(type, source);
    s->type = copy(type);
    s->source = copy(source);
    s->published = evrt_metrics_series(m->metrics, EVRT_METRIC_PUBLISHED, labels);
    s->duration = evrt_metrics_series(m->metrics, EVRT_METRIC_PUBLISH_DURATION, labels);
    s->of_type = type_meter(m, type);
    evrt_map_set(&m->sources, key, s);
    return s;
}

/* Apart from what calls it: its stack is large, and seldom needed. */
static __attribute__((noinline)) struct host_source_meter *
find_source(struct host_meters *m, struct host_source_meter **at, struct evrt_slice type,
            struct evrt_slice source) {
    char room[EVRT_TYPE_MAX + EVRT_ATTRIBUTE_MAX + 8];
    struct evrt_buf key = {room, 0, sizeof room};
    put_key(&key, type, source);
    struct host_source_meter *s = evrt_map_get(&m->sources, evrt_buf_slice(&key));
    if (s == NULL && m->sources.count < m->most)
        s = make_source(m, evrt_buf_slice(&key), type, source);
    if (s == NULL) return source_overflow(m);
    return *at = s;
}

static struct host_source_meter *source_meter(struct host_meters *m, struct evrt_slice type,
                                              struct evrt_slice source) {
    struct host_source_meter **at =
        &m->source_cache[(place(type, 0) ^ place(source, 1)) % HOST_METER_CACHE];
    struct host_source_meter *s = *at;
    if (s != NULL && same(s->type, type) && same(s->source, source)) return s;
    return find_source(m, at, type, source);
}

/* ---- By handler and type ---- */

static struct evrt_series *error_series(struct host_meters *m, struct host_meter *t, size_t type) {
    static const char *const names[] = {
#define X(id, name) name,
        HOST_ERROR_TYPES(X)
#undef X
    };
    if (t->errors[type] == NULL)
        t->errors[type] = evrt_metrics_series(
            m->metrics, EVRT_METRIC_HANDLING_ERRORS,
            EVRT_LABELS(t->type, evrt_slice_of(t->handler), evrt_slice_of(names[type])));
    return t->errors[type];
}

static size_t error_type_of(struct evrt_slice name) {
#define X(id, text) \
    if (evrt_slice_eq(name, EVRT_STR(text))) return HOST_ERROR_##id;
    HOST_ERROR_TYPES(X)
#undef X
    return HOST_ERROR_ERROR;
}

/* Of retry number `i` + 1. */
static struct evrt_series *retried_series(struct host_meters *m, struct host_meter *t, size_t i) {
    static const char *const numbers[HOST_RETRY_NUMBERS] = {"1", "2", "3", "4", "5",
                                                            "6", "7", "8", "9", "10+"};
    if (t->retried[i] == NULL)
        t->retried[i] = evrt_metrics_series(
            m->metrics, EVRT_METRIC_RETRIED,
            EVRT_LABELS(t->type, evrt_slice_of(t->handler), evrt_slice_of(numbers[i])));
    return t->retried[i];
}

/* Those of a rate are there from the first delivery on, as 0: one that begins at 5 has no increase of 5. */
static void open_series(struct host_meters *m, struct host_meter *t) {
    struct evrt_slice handler = evrt_slice_of(t->handler), type = t->type;
    struct evrt_metrics *x = m->metrics;
    const struct evrt_slice *pair = EVRT_LABELS(type, handler);
    t->success = evrt_metrics_series(x, EVRT_METRIC_HANDLED,
                                     EVRT_LABELS(type, handler, EVRT_STR("success")));
    t->error =
        evrt_metrics_series(x, EVRT_METRIC_HANDLED, EVRT_LABELS(type, handler, EVRT_STR("error")));
    t->duration = evrt_metrics_series(x, EVRT_METRIC_HANDLING_DURATION, pair);
    t->retry_queued = evrt_metrics_series(x, EVRT_METRIC_RETRY_QUEUED, pair);
    t->retry_failed = evrt_metrics_series(x, EVRT_METRIC_RETRY_FAILED, pair);
    t->dead = evrt_metrics_series(x, EVRT_METRIC_DEAD_LETTER, pair);
    for (size_t i = 0; i < HOST_ERROR_TYPE_COUNT; i++)
        (void)error_series(m, t, i);
    for (size_t i = 0; i < RETRIES_SHOWN; i++)
        (void)retried_series(m, t, i);
}

static struct host_meter *delivery_overflow(struct host_meters *m) {
    struct host_meter *t = m->overflow;
    count_overflow(m, "events_handled_total");
    if (t != NULL) return t;
    t = m->overflow = evrt_zalloc(sizeof *t);
    t->success = t->error = evrt_metrics_overflow(m->metrics, EVRT_METRIC_HANDLED);
    t->duration = evrt_metrics_overflow(m->metrics, EVRT_METRIC_HANDLING_DURATION);
    t->retry_queued = evrt_metrics_overflow(m->metrics, EVRT_METRIC_RETRY_QUEUED);
    t->retry_failed = evrt_metrics_overflow(m->metrics, EVRT_METRIC_RETRY_FAILED);
    t->dead = evrt_metrics_overflow(m->metrics, EVRT_METRIC_DEAD_LETTER);
    for (size_t i = 0; i < HOST_ERROR_TYPE_COUNT; i++)
        t->errors[i] = evrt_metrics_overflow(m->metrics, EVRT_METRIC_HANDLING_ERRORS);
    for (size_t i = 0; i < HOST_RETRY_NUMBERS; i++)
        t->retried[i] = evrt_metrics_overflow(m->metrics, EVRT_METRIC_RETRIED);
    return t;
}

static __attribute__((noinline)) struct host_meter *find_delivery(struct host_meters *m,
                                                                  struct host_meter **at,
                                                                  const struct evrt_sub *s,
                                                                  struct evrt_slice type) {
    char room[EVRT_TYPE_MAX + 16];
    struct evrt_buf key = {room, 0, sizeof room};
    put_key(&key, (struct evrt_slice){(const char *)&s->id, sizeof s->id}, type);
    struct host_meter *t = evrt_map_get(&m->deliveries, evrt_buf_slice(&key));
    if (t == NULL && m->deliveries.count >= m->most) return delivery_overflow(m);
    if (t == NULL) {
        t = evrt_zalloc(sizeof *t);
        t->sub = s->id;
        t->handler = evrt_strdup(s->name);
        t->type = copy(type);
        open_series(m, t);
        evrt_map_set(&m->deliveries, evrt_buf_slice(&key), t);
    }
    return *at = t;
}

static struct host_meter *delivery_meter(struct host_meters *m, const struct evrt_sub *s,
                                         struct evrt_slice type) {
    struct host_meter **at = &m->delivery_cache[place(type, (uint64_t)s->id << 32)];
    struct host_meter *t = *at;
    if (t != NULL && t->sub == s->id && same(t->type, type)) return t;
    return find_delivery(m, at, s, type);
}

/* ---- Into the journal ---- */

static void grow_marks(struct host_meters *m) {
    size_t size = m->marks == NULL ? MARKS_START : (m->mark_mask + 1) * 2;
    struct host_mark *marks = evrt_alloc(size * sizeof *marks);
    for (uint64_t i = m->mark_head; i < m->mark_tail; i++)
        marks[i & (size - 1)] = m->marks[i & m->mark_mask];
    free(m->marks);
    m->marks = marks;
    m->mark_mask = size - 1;
}

void host_meter_appended(struct evrt_host *h) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    /* The first since the last submit has its own. */
    if (h->appended != h->submitted + 1 && ++m->since_mark < MARK_EVERY) return;
    if (m->marks == NULL || m->mark_tail - m->mark_head > m->mark_mask) grow_marks(m);
    m->since_mark = 0;
    m->marks[m->mark_tail++ & m->mark_mask] = (struct host_mark){h->appended, evrt_mono_ns()};
}

void host_meter_refused(struct evrt_host *h, struct evrt_slice type, int rc) {
    if (h->meters == NULL) return;
    const struct evrt_slice why = rc == -ENOSPC     ? EVRT_STR("full")
                                  : rc == -EAGAIN   ? EVRT_STR("backlog")
                                  : rc == -EMSGSIZE ? EVRT_STR("too_large")
                                                    : EVRT_STR("io");
    evrt_metrics_count(h->meters->metrics, EVRT_METRIC_STORAGE_ERRORS, EVRT_LABELS(type, why), 1);
}

void host_meter_group(struct evrt_host *h, uint32_t records, int64_t commit_ns) {
    if (h->meters == NULL) return;
    h->meters->now_ms = (int64_t)uv_now(h->loop);
    evrt_series_observe(h->meters->commit_duration, commit_ns);
    evrt_series_observe(h->meters->batch_records, records);
}

/* When the record that was committed last was appended. */
static int64_t appended_ns(struct evrt_host *h, int64_t now_ns) {
    struct host_meters *m = h->meters;
    if (m->mark_head == m->mark_tail) return now_ns;
    while (m->mark_head + 1 < m->mark_tail &&
           m->marks[(m->mark_head + 1) & m->mark_mask].record <= h->committed)
        m->mark_head++;
    return m->marks[m->mark_head & m->mark_mask].ns;
}

/* The first record that was appended at another time than those before it. */
static uint64_t next_mark(const struct host_meters *m) {
    uint64_t next = m->mark_head + 1;
    return next < m->mark_tail ? m->marks[next & m->mark_mask].record : UINT64_MAX;
}

/* The trace that came with the event; false: none, or one that nobody keeps. */
static bool trace_of(struct evrt_slice event, char out[EVRT_TRACE_ID_SIZE]) {
    struct evrt_extension x;
    struct evrt_trace_context c;
    struct evrt_slice all = evrt_event_field(event.p, EVRT_FIELD_EXTENSIONS);
    for (size_t at = 0; evrt_extensions_next(all, &at, &x);) {
        if (!evrt_slice_eq(x.name, EVRT_STR("traceparent"))) continue;
        if (evrt_traceparent_parse(x.value, &c) < 0 || !evrt_trace_is_sampled(&c)) return false;
        evrt_trace_id_format(c.high, c.low, out);
        return true;
    }
    return false;
}

/* Not for every event: again in a moment. */
static bool look_for_trace(struct evrt_slice event, int64_t now_ms, int64_t *next_ms,
                           char out[EVRT_TRACE_ID_SIZE]) {
    bool found = trace_of(event, out);
    *next_ms = now_ms + (found ? TRACE_MS : 1);
    return found;
}

/* Returns the bucket of how long publishing took. */
static uint32_t count_stored(struct host_source_meter *s, struct host_type_meter *t,
                             const struct host_stored_run *run) {
    evrt_series_add(s->published, run->n);
    evrt_series_add(t->stored, run->n);
    evrt_series_observe_many(t->duration, run->commit_ns, run->n);
    return evrt_series_observe_many(s->duration, run->took_ns, run->n);
}

static void end_run(struct host_meters *m) {
    if (m->run.n != 0) (void)count_stored(m->run.of, m->run.of->of_type, &m->run);
    m->run.n = 0;
}

/* The first of a run is counted by itself: it may become an exemplar. */
static __attribute__((noinline)) void begin_run(struct evrt_host *h, struct evrt_slice type,
                                                struct evrt_slice source, struct evrt_slice event,
                                                int64_t commit_ns, int64_t now_ns) {
    struct host_meters *m = h->meters;
    char trace[EVRT_TRACE_ID_SIZE];
    end_run(m);
    struct host_source_meter *s = source_meter(m, type, source);
    int64_t took = now_ns - appended_ns(h, now_ns), now_ms = now_ns / 1000000;
    struct host_stored_run run = {NULL, 1, next_mark(m), took, commit_ns};
    uint32_t bucket = count_stored(s, s->of_type != NULL ? s->of_type : type_meter(m, type), &run);
    if (now_ms >= s->next_trace_ms && look_for_trace(event, now_ms, &s->next_trace_ms, trace))
        evrt_series_exemplar(s->duration, bucket, trace, (double)took / 1e9, evrt_wall_ms());
    run.of = s == m->source_overflow ? NULL : s;
    run.n = 0;
    m->run = run;
}

void host_meter_stored(struct evrt_host *h, struct evrt_slice type, struct evrt_slice event,
                       int64_t commit_ns, int64_t now_ns) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    struct evrt_slice source = evrt_event_field(event.p, EVRT_FIELD_SOURCE);
    const struct host_source_meter *s = m->run.of;
    if (s != NULL && h->committed < m->run.until && same(s->type, type) && same(s->source, source))
        m->run.n++;
    else
        begin_run(h, type, source, event, commit_ns, now_ns);
}

void host_meter_group_end(struct evrt_host *h) {
    if (h->meters == NULL) return;
    end_run(h->meters);
    h->meters->run.of = NULL;
}

/* ---- To a worker and back ---- */

void host_meter_sent(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                     struct evrt_slice event) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    m->delivers++;
    m->delivered_bytes += EVRT_FRAME_HEADER + EVRT_FRAME_DELIVER_FIXED + event.n;
    const struct evrt_delivery *d = evrt_sub_at(s, position);
    if (evrt_sub_is_aside(position) && d->purpose != EVRT_PURPOSE_HANDLE) return;
    struct evrt_slice type = evrt_event_field(event.p, EVRT_FIELD_TYPE);
    struct host_meter *t = m->sent;
    if (t == NULL || t->sub != s->id || !same(t->type, type))
        t = m->sent = delivery_meter(m, s, type);
    d->label->meter = &t->meter;
    if (m->now_ms < t->next_trace_ms + (t->traced != 0 ? TRACED_MS : 0)) return;
    t->traced = look_for_trace(event, m->now_ms, &t->next_trace_ms, t->trace) ? position : 0;
}

static void count_retry(struct host_meters *m, struct host_meter *t, unsigned attempt) {
    if (attempt < 2) return;
    unsigned i = attempt - 2 < HOST_RETRY_NUMBERS ? attempt - 2 : HOST_RETRY_NUMBERS - 1;
    evrt_series_add(retried_series(m, t, i), 1);
}

static void observe(struct host_meter *t, const struct evrt_delivery *d, int64_t now_ns) {
    int64_t took = now_ns - d->sent_ns;
    uint32_t bucket = evrt_series_observe(t->duration, took);
    if (t->traced == 0 || t->traced != d->position) return;
    t->traced = 0;
    evrt_series_exemplar(t->duration, bucket, t->trace, (double)took / 1e9, evrt_wall_ms());
}

void host_meter_done(struct evrt_host *h, const struct evrt_delivery *d, int64_t now_ns) {
    struct host_meter *t = (struct host_meter *)d->label->meter;
    if (h->meters == NULL || t == NULL) return;
    evrt_series_add(t->success, 1);
    observe(t, d, now_ns);
    count_retry(h->meters, t, d->attempt);
}

void host_meter_failed(struct evrt_host *h, const struct evrt_delivery *d,
                       struct evrt_slice error_type, bool again) {
    struct host_meter *t = (struct host_meter *)d->label->meter;
    if (h->meters == NULL || t == NULL) return;
    evrt_series_add(t->error, 1);
    observe(t, d, evrt_mono_ns());
    evrt_series_add(error_series(h->meters, t, error_type_of(error_type)), 1);
    count_retry(h->meters, t, d->attempt);
    if (d->attempt > 1) evrt_series_add(t->retry_failed, 1);
    evrt_series_add(again ? t->retry_queued : t->dead, 1);
}

/* ---- Rarer ends ---- */

void host_meter_dead(struct evrt_host *h, const char *handler, struct evrt_slice type) {
    if (h->meters == NULL) return;
    evrt_metrics_count(h->meters->metrics, EVRT_METRIC_DEAD_LETTER,
                       EVRT_LABELS(type, evrt_slice_of(handler)), 1);
}

static struct evrt_slice status_of(bool good) {
    return good ? EVRT_STR("success") : EVRT_STR("error");
}

void host_meter_reprocessed(struct evrt_host *h, struct evrt_slice type, bool good) {
    if (h->meters == NULL) return;
    evrt_metrics_count(h->meters->metrics, EVRT_METRIC_REPROCESSED,
                       EVRT_LABELS(type, status_of(good)), 1);
}

void host_meter_replayed(struct evrt_host *h, struct evrt_slice type, struct evrt_slice error_type,
                         int64_t took_ns) {
    if (h->meters == NULL) return;
    struct evrt_metrics *x = h->meters->metrics;
    bool good = error_type.n == 0;
    evrt_metrics_count(x, EVRT_METRIC_REPLAY, EVRT_LABELS(type, status_of(good)), 1);
    if (!good) evrt_metrics_count(x, EVRT_METRIC_REPLAY_FAILED, EVRT_LABELS(type, error_type), 1);
    evrt_series_observe(evrt_metrics_series(x, EVRT_METRIC_REPLAY_DURATION, &type), took_ns);
}
