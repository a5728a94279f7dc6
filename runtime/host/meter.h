/* What the host counts as events pass: published, stored, handled, failed, tried again. Counted where the thing
 * itself is decided (commit, settlement), so that a scrape agrees with the queues.
 *
 *     appended ──▶ mark (a clock read per 64 events)
 *     committed ─▶ by (type, source), by type      as the one before, else from a small cache, else by a hash
 *     sent ──────▶ by (type, handler)              its address goes along in the delivery's label
 *     settled ───▶ there                           no lookup: additions
 *
 * Everything is on the loop thread. With metrics.enabled false h->meters is NULL, and each of these looks at
 * that and returns. Included by host/node.h. */
#ifndef EVRT_HOST_METER_H
#define EVRT_HOST_METER_H

#include "bus/sub.h"
#include "core/trace_context.h"
#include "frame/frame.h"
#include "host/monitor.h"
#include "telemetry/metrics.h"

struct evrt_host;
struct host_worker;

/* Why an attempt failed: error_type as handlers, policies and the host say it. */
#define HOST_ERROR_TYPES(X) \
    X(ERROR, "error")       \
    X(TIMEOUT, "timeout")   \
    X(REJECTED, "rejected") \
    X(CRASHED, "crashed")   \
    X(STALLED, "stalled")   \
    X(MEMORY, "memory")     \
    X(CANCELLED, "cancelled")
enum host_error_type {
#define X(id, name) HOST_ERROR_##id,
    HOST_ERROR_TYPES(X)
#undef X
        HOST_ERROR_TYPE_COUNT
};

enum { HOST_RETRY_NUMBERS = 10 }; /* 1 to 9, and 10+ */

/* Deliveries of one type to one handler. */
struct host_meter {
    struct evrt_meter meter; /* first: what a label points to */
    uint32_t sub;
    char *handler;
    struct evrt_slice type;
    struct evrt_series *success, *error, *duration;
    struct evrt_series *retry_queued, *retry_failed, *dead;
    struct evrt_series *errors[HOST_ERROR_TYPE_COUNT],
        *retried[HOST_RETRY_NUMBERS]; /* NULL: not yet */
    /* One delivery in flight at a time may become an exemplar. */
    uint64_t traced;       /* its position; 0: none */
    int64_t next_trace_ms; /* not before */
    char trace[EVRT_TRACE_ID_SIZE];
};

/* Events of one type; of one type from one source. */
struct host_type_meter {
    struct evrt_series *stored, *duration;
};
struct host_source_meter {
    struct evrt_slice type, source;
    struct evrt_series *published, *duration;
    struct host_type_meter *of_type;
    int64_t next_trace_ms;
};

enum { HOST_METER_CACHE = 1024 };

struct host_mark {
    uint64_t record; /* appended from this one on, */
    int64_t ns;      /* at this time */
};
/* When an event was stored: marks, ever sparser with age. */
struct host_age {
    uint64_t seq;
    int64_t ms;
};

/* Events of a batch, one behind the other, of one type and source and as old: counted together. */
struct host_stored_run {
    struct host_source_meter *of;
    uint64_t n, until; /* so many; up to this record */
    int64_t took_ns, commit_ns;
};

struct host_meters {
    /* What each event looks at stands together. */
    struct host_stored_run run;
    struct host_meter *sent;            /* the last delivery's, which is often the next one's */
    uint64_t delivers, delivered_bytes; /* not in their series yet */
    int64_t now_ms;                     /* of the last group's turn */

    struct evrt_metrics *metrics;
    uint32_t most; /* label sets of one map */
    struct evrt_map deliveries, sources, types;
    struct host_meter *delivery_cache[HOST_METER_CACHE];
    struct host_source_meter *source_cache[HOST_METER_CACHE];
    struct host_meter *overflow;
    struct host_source_meter *source_overflow;
    struct host_type_meter *type_overflow;

    struct host_mark *marks; /* ring of those not committed yet, and the one before */
    size_t mark_mask;
    uint64_t mark_head, mark_tail;
    uint32_t since_mark;

    struct host_age *ages;
    size_t age_count;

    struct evrt_series *frames[256]; /* by type; NULL: none came yet */
    struct evrt_series *bytes_in, *bytes_out, *redelivered;
    struct evrt_series *commit_duration, *batch_records;
    struct host_monitor monitor;
    struct evrt_map departed; /* names of handlers that are gone -> since when */
};

void host_meters_create(struct evrt_host *h);
void host_meters_destroy(struct evrt_host *h);

/* ---- An event's way ---- */

/* An event was appended. */
void host_meter_appended(struct evrt_host *h);
/* ... or refused by the journal. */
void host_meter_refused(struct evrt_host *h, struct evrt_slice type, int rc);
/* A group was committed; then each event of it. `now_ns`: one clock for all of them. */
void host_meter_group(struct evrt_host *h, uint32_t records, int64_t commit_ns);
void host_meter_stored(struct evrt_host *h, struct evrt_slice type, struct evrt_slice event,
                       int64_t commit_ns, int64_t now_ns);
/* ... and the group is through: what it counted is in the series. */
void host_meter_group_end(struct evrt_host *h);
/* A delivery goes to a worker. */
void host_meter_sent(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                     struct evrt_slice event);
/* An attempt succeeded; or failed, and the delivery is tried `again` or dead. `d` as the bus gave it. */
void host_meter_done(struct evrt_host *h, const struct evrt_delivery *d, int64_t now_ns);
void host_meter_failed(struct evrt_host *h, const struct evrt_delivery *d,
                       struct evrt_slice error_type, bool again);
/* A delivery became a dead letter without an attempt. */
void host_meter_dead(struct evrt_host *h, const char *handler, struct evrt_slice type);
/* A dead letter was handled once more. */
void host_meter_reprocessed(struct evrt_host *h, struct evrt_slice type, bool good);
/* A replayed delivery ended; error_type {NULL,0}: well. */
void host_meter_replayed(struct evrt_host *h, struct evrt_slice type, struct evrt_slice error_type,
                         int64_t took_ns);
/* An event with this number was stored then: for handlers that are behind. Events come in order, or from
 * before all that are known. */
void host_meter_age(struct evrt_host *h, uint64_t seq, int64_t stored_ms);

/* A limit came to bear. */
void host_limit(const struct evrt_host *h, enum evrt_limit_id limit);

/* ---- Workers ---- */

void host_meter_frame(struct evrt_host *h, unsigned type, size_t bytes);
void host_meter_no_deaths(struct host_meters *m);
/* A worker ended unasked: how it ended, for the label `cause`. */
void host_meter_died(struct evrt_host *h, const struct host_worker *w, int status, int signal,
                     uint64_t again);

/* Frames METRIC, METRIC_SERIES and METRIC_COUNTS; and the end of the worker that sent them. */
int host_meter_defines(struct host_worker *w, struct evrt_slice payload);
int host_meter_series(struct host_worker *w, struct evrt_slice payload);
int host_meter_counts(struct host_worker *w, struct evrt_slice payload);
void host_meter_own_forget(struct host_worker *w);

/* ---- Now and then ---- */

/* The subscription left the scripts and has nothing left; or is removed. Its gauges go, what was counted stays
 * for metrics.series_ttl. */
void host_meter_departed(struct evrt_host *h, const struct evrt_sub *s);
void host_meter_removed(struct evrt_host *h, const struct evrt_sub *s);
/* Lets go of what has not been there for so long. */
void host_meters_expire(struct evrt_host *h);
/* Brings the gauges, and counters that are kept elsewhere, up to now. */
void host_meters_collect(struct evrt_host *h);
/* Milliseconds since the event `seq` was stored; 0: not known. */
int64_t host_meter_age_of(const struct evrt_host *h, uint64_t seq, int64_t now_ms);

#endif
