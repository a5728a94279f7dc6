/* Inside of the registry, shared by metrics.c, metrics_own.c and metrics_render.c. */
#ifndef EVRT_TELEMETRY_METRICS_INTERNAL_H
#define EVRT_TELEMETRY_METRICS_INTERNAL_H

#include "core/map.h"
#include "telemetry/metrics.h"

enum { EVRT_LABEL_VALUE_MAX = 256 };

struct evrt_family {
    struct evrt_metrics *metrics;
    char *name, *help, *label_names; /* the table's, or its own when `own` */
    const char *labels[EVRT_LABELS_MAX];
    uint8_t label_n[EVRT_LABELS_MAX];
    uint32_t label_count;
    enum evrt_metric_type type;
    bool seconds; /* integers of nanoseconds */
    bool own;     /* of scripts: values are doubles */
    const struct evrt_buckets *buckets;
    struct evrt_map by_key;
    struct evrt_series **list;
    size_t count, cap;
    struct evrt_series *overflow;
    struct evrt_series *overflowed; /* counts what went there */

    /* Of scripts. */
    struct evrt_family *next;
    struct evrt_buckets *own_buckets;
    uint64_t generation;
    uint32_t users;    /* workers that have it */
    int64_t unused_ns; /* since when none has; 0: one has */
    bool shown;        /* the newest of its name */
};

struct evrt_metrics {
    uint32_t max_series;
    struct evrt_family table[EVRT_METRIC_COUNT];
    struct evrt_series *plain[EVRT_METRIC_COUNT]; /* those without labels */
    struct evrt_series *limits[EVRT_LIMIT_COUNT];
    struct evrt_family *own; /* list, newest first */
    uint32_t own_count;
    struct evrt_buckets seconds, count;

    /* What a shot may still read is freed when there is none. */
    uint32_t shots;
    struct evrt_series **dead;
    size_t dead_n, dead_cap;
    struct evrt_family *dead_families;
};

void evrt_buckets_init(struct evrt_buckets *b);
void evrt_family_init(struct evrt_metrics *m, struct evrt_family *f);
void evrt_family_finish(struct evrt_family *f);
struct evrt_series *evrt_family_series(struct evrt_family *f, const struct evrt_slice *values);
/* The series for what has no room of its own; `n` went there. */
struct evrt_series *evrt_family_overflow(struct evrt_family *f, uint64_t n);
void evrt_family_clear(struct evrt_family *f);
/* Frees what was dropped, unless a shot is there. */
void evrt_metrics_bury(struct evrt_metrics *m);
void evrt_family_destroy_own(struct evrt_family *f);

#endif
