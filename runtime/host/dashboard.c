/* What the dashboard shows: queues, counts of the last hour and of today, rates, quantiles, a row for each
 * handler and type, the slowest and the most failing. Today began at midnight in the node's time zone.
 *
 *     asked ──▶ a thread of the pool: where in the journal the hour and the day begin ──▶ JSON, on the loop */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "host/letters.h"
#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"

enum { TOP = 10, WINDOWS = 3, WINDOW_RANKED = 900 };
static const struct {
    const char *name;
    int seconds;
} windows[WINDOWS] = {{"1m", 60}, {"5m", 300}, {"15m", WINDOW_RANKED}};
static const char *const watched[] = {
#define X(id, name) name,
    HOST_WATCHED(X)
#undef X
};

struct dashboard {
    uv_work_t work;
    struct evrt_host *host;
    struct evrt_journal_reader *reader;
    evrt_host_json_cb cb;
    void *arg;
    int64_t now_ms, hour_ms, midnight_ms;
    uint64_t next_seq, last_hour, today;
    struct tm local;
    int rc;
    struct evrt_error err;
};

/* ---- Counting, on a thread of the pool ---- */

/* Events stored at or after this time. Their numbers are dense, so the first one's says how many. */
static int count_since(struct dashboard *d, int64_t ms, uint64_t *count) {
    struct evrt_journal_record r;
    struct evrt_event e;
    int rc = evrt_journal_seek_time(d->reader, ms, &d->err);
    *count = 0;
    if (rc == -ENOENT) return 0;
    while (rc >= 0 && (rc = evrt_journal_read(d->reader, &r, &d->err)) == 1) {
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (evrt_event_decode(r.payload.p, r.payload.n, &e) < 0 || e.stored_ms < ms) continue;
        *count = e.seq < d->next_seq ? d->next_seq - e.seq : 0;
        return 0;
    }
    return rc;
}

static void count(uv_work_t *work) {
    struct dashboard *d = work->data;
    d->rc = count_since(d, d->hour_ms, &d->last_hour);
    if (d->rc == 0) d->rc = count_since(d, d->midnight_ms, &d->today);
}

/* ---- Rows ---- */

struct row {
    struct evrt_slice name;
    const struct evrt_sub *sub;        /* NULL: of a type */
    const struct host_observed *watch; /* NULL: nothing was counted */
    double p95;
    uint64_t errors; /* in the longest window */
};

/* "rates":{"handled":{"1m":..},..}, then quantiles and the share of failed attempts. */
static void put_watch(struct evrt_jsonout *o, const struct host_monitor *m,
                      const struct host_observed *w, enum host_observable first) {
    static const struct host_observed none;
    int64_t now = evrt_mono_ns();
    if (w == NULL) w = &none;
    evrt_jsonout_key(o, "rates");
    evrt_jsonout_object(o);
    for (unsigned what = first; what < HOST_WATCHED_COUNT; what++) {
        evrt_jsonout_key(o, watched[what]);
        evrt_jsonout_object(o);
        for (size_t i = 0; i < WINDOWS; i++)
            evrt_jsonout_put_double(o, windows[i].name,
                                    host_monitor_rate(m, w, what, windows[i].seconds, now));
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
    uint64_t handled = host_monitor_count(m, w, HOST_WATCHED_HANDLED, WINDOW_RANKED, now);
    uint64_t errors = host_monitor_count(m, w, HOST_WATCHED_ERRORS, WINDOW_RANKED, now);
    evrt_jsonout_put_double(o, "error_ratio",
                            handled == 0 ? NAN : (double)errors / (double)handled);
    evrt_jsonout_put_double(o, "p50", host_monitor_quantile(m, w, 0.5));
    evrt_jsonout_put_double(o, "p95", host_monitor_quantile(m, w, 0.95));
    evrt_jsonout_put_double(o, "p99", host_monitor_quantile(m, w, 0.99));
}

static void put_handler(struct evrt_jsonout *o, const struct evrt_host *h, const struct row *row) {
    const struct evrt_sub *s = row->sub;
    uint64_t next = evrt_bus_next_seq(h->bus);
    evrt_jsonout_put_u64(o, "pending",
                         evrt_sub_pending(s) - evrt_sub_running(s) - evrt_sub_retrying(s));
    evrt_jsonout_put_u64(o, "running", evrt_sub_running(s));
    evrt_jsonout_put_u64(o, "retrying", evrt_sub_retrying(s));
    evrt_jsonout_put_u64(o, "lag", next - evrt_sub_cursor(s, next));
    evrt_jsonout_put_bool(o, "paused", s->paused);
}

static void put_rows(struct evrt_jsonout *o, const struct evrt_host *h, const char *key,
                     const char *name, const struct row *rows, size_t n) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_array(o);
    for (size_t i = 0; i < n; i++) {
        evrt_jsonout_object(o);
        evrt_jsonout_put_str(o, name, rows[i].name);
        if (rows[i].sub != NULL) put_handler(o, h, &rows[i]);
        put_watch(o, &h->meters->monitor, rows[i].watch,
                  rows[i].sub != NULL ? HOST_WATCHED_HANDLED : HOST_WATCHED_PUBLISHED);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

/* ---- Ranks ---- */

static int slower(const void *a, const void *b) {
    double x = ((const struct row *)a)->p95, y = ((const struct row *)b)->p95;
    return (x < y) - (x > y);
}

static int more_failing(const void *a, const void *b) {
    uint64_t x = ((const struct row *)a)->errors, y = ((const struct row *)b)->errors;
    return (x < y) - (x > y);
}

static void put_ranks(struct evrt_jsonout *o, struct row *rows, size_t n) {
    evrt_jsonout_key(o, "slowest");
    evrt_jsonout_array(o);
    if (n > 0) qsort(rows, n, sizeof *rows, slower);
    for (size_t i = 0; i < n && i < TOP && rows[i].p95 >= 0; i++) {
        evrt_jsonout_object(o);
        evrt_jsonout_put_str(o, "handler", rows[i].name);
        evrt_jsonout_put_double(o, "p95", rows[i].p95);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
    evrt_jsonout_key(o, "most_failing");
    evrt_jsonout_array(o);
    if (n > 0) qsort(rows, n, sizeof *rows, more_failing);
    for (size_t i = 0; i < n && i < TOP && rows[i].errors > 0; i++) {
        evrt_jsonout_object(o);
        evrt_jsonout_put_str(o, "handler", rows[i].name);
        evrt_jsonout_put_u64(o, "errors", rows[i].errors);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

/* ---- The whole ---- */

/* Handlers that are loaded or have something left, as rows. */
static size_t handler_rows(const struct evrt_host *h, struct row *rows) {
    const struct host_monitor *m = &h->meters->monitor;
    size_t n = 0;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (!s->active && evrt_sub_pending(s) == 0) continue;
        struct row row = {.name = evrt_slice_of(s->name), .sub = s, .p95 = -1};
        row.watch = evrt_map_get(&m->handlers, row.name);
        if (row.watch != NULL) {
            double p95 = host_monitor_quantile(m, row.watch, 0.95);
            row.p95 = isnan(p95) ? -1 : p95;
            row.errors = host_monitor_count(m, row.watch, HOST_WATCHED_ERRORS, WINDOW_RANKED,
                                            evrt_mono_ns());
        }
        rows[n++] = row;
    }
    return n;
}

/* What needs metrics.enabled. */
static void put_watched(struct evrt_host *h, struct evrt_jsonout *o) {
    struct host_monitor *m = &h->meters->monitor;
    host_monitor_gather(m, h->meters);
    put_watch(o, m, &m->total, HOST_WATCHED_PUBLISHED);
    size_t most = evrt_bus_count(h->bus) + m->types.count + 1, n, at = 0;
    struct row *rows = evrt_alloc(most * sizeof *rows);
    n = handler_rows(h, rows);
    put_rows(o, h, "handlers", "handler", rows, n);
    put_ranks(o, rows, n);
    n = 0;
    for (struct row row = {.p95 = -1};
         (row.watch = evrt_map_next(&m->types, &at, &row.name)) != NULL;)
        rows[n++] = row;
    put_rows(o, h, "types", "event_type", rows, n);
    free(rows);
}

static void put_counts(struct dashboard *d, struct evrt_jsonout *o) {
    struct evrt_host *h = d->host;
    uint64_t retrying = 0, active = 0;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(h->bus, i);
        retrying += evrt_sub_retrying(s);
        active += s->active && !s->paused;
    }
    evrt_jsonout_put_time(o, "collected_at", d->now_ms);
    evrt_jsonout_put_u64(o, "retry_queue_size", retrying);
    evrt_jsonout_put_u64(o, "dead_letter_queue_size", host_letters_count(h));
    evrt_jsonout_put_u64(o, "events_last_hour", d->last_hour);
    evrt_jsonout_put_u64(o, "events_today", d->today);
    evrt_jsonout_put_u64(o, "active_handlers", active);
    evrt_jsonout_put_time(o, "today_since", d->midnight_ms);
    evrt_jsonout_put_cstr(o, "time_zone", d->local.tm_zone);
    evrt_jsonout_put_double(o, "uptime_seconds", (double)(evrt_mono_ns() - h->created_ns) / 1e9);
}

static void on_counted(uv_work_t *work, int status) {
    struct dashboard *d = work->data;
    struct evrt_host *h = d->host;
    struct evrt_buf json;
    evrt_buf_init(&json);
    if (status < 0) d->rc = status;
    if (d->rc == 0) {
        struct evrt_jsonout o = evrt_jsonout_start(&json);
        evrt_jsonout_object(&o);
        put_counts(d, &o);
        if (h->meters != NULL) put_watched(h, &o);
        evrt_jsonout_end(&o);
    } else if (d->rc != -ECANCELED) {
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", d->err.message));
    }
    d->cb(d->arg, d->rc, d->rc < 0 ? evrt_slice_of(d->err.message) : evrt_buf_slice(&json));
    evrt_journal_reader_close(d->reader);
    evrt_buf_finish(&json);
    free(d);
    h->reads--;
    host_progress(h);
}

static int64_t midnight_of(int64_t now_ms, struct tm *local) {
    time_t now = (time_t)(now_ms / 1000);
    localtime_r(&now, local);
    struct tm day = *local;
    day.tm_hour = day.tm_min = day.tm_sec = 0;
    day.tm_isdst = -1;
    return (int64_t)mktime(&day) * 1000;
}

void evrt_host_dashboard(struct evrt_host *h, evrt_host_json_cb cb, void *arg) {
    if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    struct dashboard *d = evrt_zalloc(sizeof *d);
    *d = (struct dashboard){.host = h,
                            .cb = cb,
                            .arg = arg,
                            .now_ms = evrt_wall_ms(),
                            .next_seq = evrt_bus_next_seq(h->bus)};
    d->work.data = d;
    d->hour_ms = d->now_ms - INT64_C(3600000);
    d->midnight_ms = midnight_of(d->now_ms, &d->local);
    h->reads++;
    int rc = evrt_journal_reader_open(&d->reader, h->journal);
    if (rc == 0) rc = uv_queue_work(h->loop, &d->work, count, on_counted);
    if (rc == 0) return;
    evrt_error_set(&d->err, rc, "%s", uv_strerror(rc));
    on_counted(&d->work, rc);
}
