/* See monitor.h. A watch that is new was 0 in every sample before, so a ring begins with zeros and is never
 * filled in. */
#include "host/monitor.h"

#include <math.h>
#include <stdlib.h>

#include "host/meter.h"

#define SAMPLE_NS (INT64_C(15) * 1000000000)
#define SNAPSHOT_NS (INT64_C(300) * 1000000000)

void host_monitor_init(struct host_monitor *m, int64_t now_ns) {
    *m = (struct host_monitor){.samples = 1, .snapshots = 1};
    evrt_map_init(&m->handlers);
    evrt_map_init(&m->types);
    m->at_ns[0] = m->hist_at_ns[0] = now_ns;
}

static void free_watches(struct evrt_map *map) {
    size_t at = 0;
    for (struct host_observed *w; (w = evrt_map_next(map, &at, NULL)) != NULL;) {
        free(w->hist);
        free(w);
    }
    evrt_map_finish(map);
}

void host_monitor_finish(struct host_monitor *m) {
    free_watches(&m->handlers);
    free_watches(&m->types);
    free(m->total.hist);
}

/* ---- Gathering ---- */

static void reset(struct host_observed *w) {
    memset(w->now, 0, sizeof w->now);
    w->sum_ns = 0;
    w->seen = false;
    if (w->hist != NULL) memset(w->hist, 0, (w->buckets + 1) * sizeof *w->hist);
}

static void reset_all(struct evrt_map *map) {
    size_t at = 0;
    for (struct host_observed *w; (w = evrt_map_next(map, &at, NULL)) != NULL;)
        reset(w);
}

static struct host_observed *watch(struct evrt_map *map, struct evrt_slice name) {
    struct host_observed *w = evrt_map_get(map, name);
    if (w == NULL) {
        w = evrt_zalloc(sizeof *w);
        evrt_map_set(map, name, w);
    }
    w->seen = true;
    return w;
}

static void add(struct host_observed *w, const struct host_meter *t) {
    const struct evrt_series *d = t->duration;
    w->now[HOST_WATCHED_HANDLED] += t->success->v.u + t->error->v.u;
    w->now[HOST_WATCHED_ERRORS] += t->error->v.u;
    w->sum_ns += (int64_t)d->v.u;
    if (w->hist == NULL) {
        w->buckets = d->buckets->n;
        w->hist = evrt_zalloc((w->buckets + 1) * (HOST_SNAPSHOTS + 1) * sizeof *w->hist);
    }
    for (uint32_t i = 0; i <= w->buckets; i++)
        w->hist[i] += d->counts[i];
}

/* Those that nothing was added to, one at a time, as a map may not change while it is visited. */
static bool drop_one(struct evrt_map *map) {
    struct evrt_slice name;
    size_t at = 0;
    struct host_observed *w;
    while ((w = evrt_map_next(map, &at, &name)) != NULL && w->seen)
        ;
    if (w == NULL) return false;
    evrt_map_remove(map, name);
    free(w->hist);
    free(w);
    return true;
}

void host_monitor_gather(struct host_monitor *m, const struct host_meters *meters) {
    struct evrt_slice type;
    reset(&m->total);
    reset_all(&m->handlers);
    reset_all(&m->types);
    size_t at = 0;
    for (const struct host_type_meter *t;
         (t = evrt_map_next(&meters->types, &at, &type)) != NULL;) {
        watch(&m->types, type)->now[HOST_WATCHED_PUBLISHED] += t->stored->v.u;
        m->total.now[HOST_WATCHED_PUBLISHED] += t->stored->v.u;
    }
    at = 0;
    for (const struct host_meter *t; (t = evrt_map_next(&meters->deliveries, &at, NULL)) != NULL;) {
        m->buckets = t->duration->buckets;
        add(&m->total, t);
        add(watch(&m->handlers, evrt_slice_of(t->handler)), t);
        add(watch(&m->types, t->type), t);
    }
    while (drop_one(&m->handlers) || drop_one(&m->types))
        ;
}

/* ---- Samples ---- */

static void sample(struct host_observed *w, unsigned at) {
    memcpy(w->then[at], w->now, sizeof w->now);
}

static void snapshot(struct host_observed *w, unsigned at) {
    size_t n = w->buckets + 1;
    if (w->hist != NULL) memcpy(w->hist + n * (at + 1), w->hist, n * sizeof *w->hist);
}

static void each(struct host_monitor *m, void (*take)(struct host_observed *w, unsigned at),
                 unsigned at) {
    struct evrt_map *maps[] = {&m->handlers, &m->types};
    take(&m->total, at);
    for (size_t i = 0; i < 2; i++) {
        size_t next = 0;
        for (struct host_observed *w; (w = evrt_map_next(maps[i], &next, NULL)) != NULL;)
            take(w, at);
    }
}

void host_monitor_tick(struct host_monitor *m, const struct host_meters *meters, int64_t now_ns) {
    if (now_ns - m->at_ns[(m->samples - 1) % HOST_SAMPLES] < SAMPLE_NS) return;
    host_monitor_gather(m, meters);
    unsigned at = m->samples++ % HOST_SAMPLES;
    m->at_ns[at] = now_ns;
    each(m, sample, at);
    if (now_ns - m->hist_at_ns[(m->snapshots - 1) % HOST_SNAPSHOTS] < SNAPSHOT_NS) return;
    at = m->snapshots++ % HOST_SNAPSHOTS;
    m->hist_at_ns[at] = now_ns;
    each(m, snapshot, at);
}

/* ---- Asking ---- */

/* The youngest sample that is at least so old; else the oldest there is. */
static unsigned sample_of(const struct host_monitor *m, int seconds, int64_t now_ns) {
    unsigned kept = m->samples < HOST_SAMPLES ? m->samples : HOST_SAMPLES;
    for (unsigned i = 1; i < kept; i++) {
        unsigned at = (m->samples - i) % HOST_SAMPLES;
        if (now_ns - m->at_ns[at] >= seconds * INT64_C(1000000000)) return at;
    }
    return (m->samples - kept) % HOST_SAMPLES;
}

/* Counters that began anew, as a handler's that left and came back, count from their beginning. */
static uint64_t since(uint64_t now, uint64_t then) {
    return now >= then ? now - then : now;
}

uint64_t host_monitor_count(const struct host_monitor *m, const struct host_observed *w,
                            enum host_observable what, int seconds, int64_t now_ns) {
    return since(w->now[what], w->then[sample_of(m, seconds, now_ns)][what]);
}

double host_monitor_rate(const struct host_monitor *m, const struct host_observed *w,
                         enum host_observable what, int seconds, int64_t now_ns) {
    int64_t took = now_ns - m->at_ns[sample_of(m, seconds, now_ns)];
    if (took <= 0) return 0;
    return (double)host_monitor_count(m, w, what, seconds, now_ns) * 1e9 / (double)took;
}

double host_monitor_quantile(const struct host_monitor *m, const struct host_observed *w,
                             double q) {
    if (w->hist == NULL) return NAN;
    unsigned oldest = m->snapshots < HOST_SNAPSHOTS ? 0 : m->snapshots % HOST_SNAPSHOTS;
    const uint64_t *then = w->hist + (size_t)(w->buckets + 1) * (oldest + 1);
    uint64_t all = 0, below = 0, here = 0;
    for (uint32_t i = 0; i <= w->buckets; i++)
        all += since(w->hist[i], then[i]);
    if (all == 0) return NAN;
    double rank = q * (double)all;
    uint32_t i = 0;
    for (; i < w->buckets; i++) {
        here = since(w->hist[i], then[i]);
        if ((double)(below + here) >= rank) break;
        below += here;
    }
    const int64_t *at = m->buckets->at;
    if (i == w->buckets) return (double)at[i - 1] / 1e9; /* more than that, nobody knows how much */
    double low = i == 0 ? 0 : (double)at[i - 1], high = (double)at[i];
    return (low + (high - low) * (rank - (double)below) / (double)here) / 1e9;
}
