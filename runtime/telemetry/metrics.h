/* The registry of metrics: families (a name, a type, labels), each with its series (a label set and what was
 * counted). What to expose and how is metrics_render.h.
 *
 *     series = evrt_metrics_series(m, id, values)   once, where a label set becomes known: a hash lookup
 *     evrt_series_add(series, 1)                     each time: an addition, no lock, no formatting
 *
 * One thread: the loop's, which owns the registry and everything counted in it; what other threads count
 * comes to it with what they hand over. A family takes `max_series` label sets; what more come are counted
 * together as one, overflow="true". */
#ifndef EVRT_TELEMETRY_METRICS_H
#define EVRT_TELEMETRY_METRICS_H

#include <stdbool.h>

#include "core/buf.h"
#include "core/metric.h"
#include "telemetry/metrics_table.h"

/* Upper bounds, ascending, of integers; the last bucket has none. `start`: the first bucket that a value of so
 * many bits may be in, so that a search is one step or two. */
struct evrt_buckets {
    uint32_t n;
    uint8_t start[65];
    int64_t at[EVRT_BUCKETS_MAX];
    char le[EVRT_BUCKETS_MAX][26]; /* as it is shown */
};

/* An event that was counted, named by its trace. */
struct evrt_exemplar {
    char trace[33]; /* 32 hex digits; "": none */
    double value;
    int64_t ms;
};

struct evrt_series {
    union {
        uint64_t u;                     /* the runtime's counters and sums */
        double d;                       /* gauges; everything of scripts */
    } v;                                /* a histogram's sum */
    const struct evrt_buckets *buckets; /* histograms */
    struct evrt_exemplar *exemplars;    /* one a bucket; NULL: none yet */
    struct evrt_family *family;
    const char *key; /* its label values, joined by NUL: the registry's */
    uint32_t key_n, labels_n;
    size_t index;      /* in the family's list */
    char *labels;      /* a="b",c="d" */
    uint64_t counts[]; /* by bucket */
};

static inline void evrt_series_add(struct evrt_series *s, uint64_t n) {
    s->v.u += n;
}
/* `n` of the same value. Returns the bucket. */
static inline uint32_t evrt_series_observe_many(struct evrt_series *s, int64_t value, uint64_t n) {
    const struct evrt_buckets *b = s->buckets;
    uint64_t v = value > 0 ? (uint64_t)value : 0;
    uint32_t i = b->start[v == 0 ? 0 : 64 - __builtin_clzll(v)];
    while (i < b->n && (int64_t)v > b->at[i])
        i++;
    s->counts[i] += n;
    s->v.u += v * n;
    return i;
}
static inline uint32_t evrt_series_observe(struct evrt_series *s, int64_t value) {
    return evrt_series_observe_many(s, value, 1);
}
/* `trace`: 32 hex digits. */
void evrt_series_exemplar(struct evrt_series *s, uint32_t bucket, const char *trace, double value,
                          int64_t ms);

struct evrt_metrics;

struct evrt_metrics *evrt_metrics_create(uint32_t max_series);
/* NULL is allowed. No shot is left. */
void evrt_metrics_destroy(struct evrt_metrics *m);

/* The series of a metric of the table that has these label values, in the order of the table; made when it is
 * new. Values are made valid UTF-8 and cut at 256 bytes. Without labels: values may be NULL. Never NULL;
 * good until it is dropped. */
struct evrt_series *evrt_metrics_series(struct evrt_metrics *m, enum evrt_metric_id id,
                                        const struct evrt_slice *values);
/* The series for what has no room of its own; for those who keep account of label sets themselves, and then
 * count METRICS_OVERFLOW, too. */
struct evrt_series *evrt_metrics_overflow(struct evrt_metrics *m, enum evrt_metric_id id);
#define EVRT_LABELS(...) ((const struct evrt_slice[]){__VA_ARGS__})
/* Shorter, for what is not on the hot path. */
void evrt_metrics_count(struct evrt_metrics *m, enum evrt_metric_id id,
                        const struct evrt_slice *values, uint64_t n);
void evrt_metrics_gauge(struct evrt_metrics *m, enum evrt_metric_id id,
                        const struct evrt_slice *values, double v);
/* A counter that is kept elsewhere. */
void evrt_metrics_total(struct evrt_metrics *m, enum evrt_metric_id id,
                        const struct evrt_slice *values, uint64_t total);
void evrt_metrics_limit(struct evrt_metrics *m, enum evrt_limit_id limit, uint64_t n);
void evrt_metrics_limit_total(struct evrt_metrics *m, enum evrt_limit_id limit, uint64_t total);

/* The configuration's key. */
const char *evrt_limit_key(enum evrt_limit_id limit);
/* EVRT_LIMIT_COUNT: there is none of that key. */
enum evrt_limit_id evrt_limit_find(struct evrt_slice key);

/* Drops every series of a metric; those of any metric, or any gauge, whose label `label` has this value. */
void evrt_metrics_clear(struct evrt_metrics *m, enum evrt_metric_id id);
void evrt_metrics_drop(struct evrt_metrics *m, const char *label, struct evrt_slice value,
                       bool gauges_only);
/* Label sets in all. */
size_t evrt_metrics_count_series(const struct evrt_metrics *m);

/* ---- Families of scripts ---- */

/* A family of scripts; the same definition gives the same family. When one of that name looks otherwise, the
 * newer generation's is shown. Counted in until evrt_metrics_undefine. NULL: there are max_series of them. */
struct evrt_family *evrt_metrics_define(struct evrt_metrics *m,
                                        const struct evrt_metric_definition *d);
/* A worker that has it is gone. */
void evrt_metrics_undefine(struct evrt_family *f, int64_t now_ns);
/* Its series with these label values, as many as it has labels; NULL: that for what has no room of its own. The
 * value and the sum are doubles. */
struct evrt_series *evrt_metrics_own(struct evrt_family *f, const struct evrt_slice *values);
uint32_t evrt_family_labels(const struct evrt_family *f);
enum evrt_metric_type evrt_family_type(const struct evrt_family *f);
/* Drops families that no worker has had since `before_ns`. */
void evrt_metrics_expire(struct evrt_metrics *m, int64_t before_ns);

#endif
