/* The last quarter of an hour of what the meters count, by handler, by type and in all: what the dashboard's
 * rates and quantiles are made of. Owner: the host, while metrics are on; the loop's thread.
 *
 *     meters ──every 15 s──▶ counts, one of a ring of samples ──▶ a rate: (now - then) / (now - then)
 *            ──every 5 min─▶ histograms, likewise             ──▶ quantiles of what came since */
#ifndef EVRT_HOST_MONITOR_H
#define EVRT_HOST_MONITOR_H

#include "core/map.h"
#include "telemetry/metrics.h"

struct host_meters;

enum {
    HOST_SAMPLES = 64,  /* of counts: 16 minutes */
    HOST_SNAPSHOTS = 4, /* of histograms: 15 to 20 minutes */
};

/* X(id, member): what is counted, and the rate's name. */
#define HOST_WATCHED(X) X(PUBLISHED, "published") X(HANDLED, "handled") X(ERRORS, "errors")
enum host_observable {
#define X(id, name) HOST_WATCHED_##id,
    HOST_WATCHED(X)
#undef X
        HOST_WATCHED_COUNT
};

struct host_observed {
    uint64_t now[HOST_WATCHED_COUNT];
    uint64_t then[HOST_SAMPLES][HOST_WATCHED_COUNT];
    bool seen; /* when it was gathered last */
    uint32_t buckets;
    uint64_t
        *hist; /* now, then HOST_SNAPSHOTS of them, of buckets + 1 counts each; NULL: not yet */
    int64_t sum_ns; /* of all durations, now */
};

struct host_monitor {
    struct host_observed total;
    struct evrt_map handlers, types;    /* name -> struct host_observed */
    const struct evrt_buckets *buckets; /* of handling durations; NULL: none came yet */
    int64_t at_ns[HOST_SAMPLES], hist_at_ns[HOST_SNAPSHOTS];
    unsigned samples, snapshots; /* taken, ever */
};

/* Begins with a sample in which nothing has been counted yet. */
void host_monitor_init(struct host_monitor *m, int64_t now_ns);
void host_monitor_finish(struct host_monitor *m);
/* Takes a sample when it is time to. */
void host_monitor_tick(struct host_monitor *m, const struct host_meters *meters, int64_t now_ns);
/* Brings `now` of every watch up to date; those whose meters are gone go. */
void host_monitor_gather(struct host_monitor *m, const struct host_meters *meters);

/* Counts a second over the last `seconds`, or since the start when that is less. */
double host_monitor_rate(const struct host_monitor *m, const struct host_observed *w,
                         enum host_observable what, int seconds, int64_t now_ns);
/* Counts over the same time. */
uint64_t host_monitor_count(const struct host_monitor *m, const struct host_observed *w,
                            enum host_observable what, int seconds, int64_t now_ns);
/* Seconds below which the share `q` of the deliveries of the last 15 to 20 minutes stayed, as
 * histogram_quantile() estimates it. NaN: there were none. */
double host_monitor_quantile(const struct host_monitor *m, const struct host_observed *w, double q);

#endif
