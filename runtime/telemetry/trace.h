/* Tracing: finished spans go in here, and to a collector (OTLP over HTTP) or as JSON lines beside the log.
 *
 *     loop ──put──▶ chunk of records ──full, or old──▶ bounded queue ──▶ a thread: encode, gzip, POST, retry
 *
 * Put and sampling are the loop thread's; they copy bytes, and neither block nor format. The thread alone
 * speaks to the collector; a collector that is slow or gone costs spans, which are counted, and nothing else. A
 * NULL tracer is tracing that is off. */
#ifndef EVRT_TELEMETRY_TRACE_H
#define EVRT_TELEMETRY_TRACE_H

#include <stdbool.h>

#include "core/trace_context.h"

struct evrt_log;
struct evrt_random;
struct evrt_trace_options;
struct evrt_tracer;

/* id, name, kind (as OTLP numbers them), what it covers. SCRIPT has a name of its own. */
#define EVRT_SPANS(X)                                                                          \
    X(PUBLISH, "EventBus.Publish", 4, "an event, from when it was handed over to its commit")  \
    X(STORE, "EventStore.Store", 1, "the journal's part of that")                              \
    X(HANDLE, "EventHandler.Handle", 5, "one attempt of one handler, from sending to its end") \
    X(RETRY, "EventRetry", 1, "an attempt after the first, around its handling")               \
    X(SERVER, "POST /events", 2,                                                               \
      "a request that brings events, from its first line to the answer")                       \
    X(SCRIPT, "", 1, "ctx.span of a script")

enum evrt_span_kind {
#define X(id, name, kind, help) EVRT_SPAN_##id,
    EVRT_SPANS(X)
#undef X
        EVRT_SPAN_KINDS
};

enum evrt_span_status { EVRT_SPAN_UNSET, EVRT_SPAN_OK, EVRT_SPAN_ERROR };

/* A finished span; slices are borrowed for the call, absent ones {NULL, 0}. */
struct evrt_span {
    uint64_t high, low, id, parent; /* parent 0: none */
    int64_t start_ns, end_ns;       /* CLOCK_MONOTONIC */
    uint64_t link;                  /* span of the same trace that it links to; 0: none */
    uint64_t seq;                   /* of the event; 0: none */
    uint32_t number;                /* HANDLE, RETRY: the attempt; SERVER: the status */
    uint8_t kind, status, flags;    /* enum evrt_span_kind, evrt_span_status, trace-flags */
    bool stores; /* PUBLISH: its STORE span follows from it; one record for both */
    struct evrt_slice type, source, event_id, handler;
    struct evrt_slice name;       /* SCRIPT: of the span; SERVER: the client's address */
    struct evrt_slice state;      /* tracestate */
    struct evrt_slice error_type; /* with ERROR */
    struct evrt_slice message, stack;
    struct evrt_slice attributes; /* SCRIPT: core/attributes.h */
};

/* -EINVAL, -ENOENT (no libcurl) with the reason. *out is NULL when the options say none. */
EVRT_MUST_CHECK int evrt_tracer_create(struct evrt_tracer **out,
                                       const struct evrt_trace_options *options,
                                       struct evrt_log *log, struct evrt_error *err);
/* Sends what is there, for at most `ms`, then frees. */
void evrt_tracer_destroy(struct evrt_tracer *t, int64_t ms);
/* What a reload changes. */
void evrt_tracer_set(struct evrt_tracer *t, double ratio, uint64_t max_spans_per_second);

/* ---- The loop's thread ---- */

/* Fills in trace and flags of a new trace; false: it is not sampled (*c is zero then). `now_ns` may be some
 * milliseconds old. */
bool evrt_tracer_begin(struct evrt_tracer *t, struct evrt_random *random, int64_t now_ns,
                       struct evrt_trace_context *c);
/* Whether a trace that was begun elsewhere is recorded here. */
bool evrt_tracer_join(struct evrt_tracer *t, const struct evrt_trace_context *c);
/* One that `stores` counts as two. */
void evrt_tracer_put(struct evrt_tracer *t, const struct evrt_span *s);
/* The STORE span of one that stores. */
struct evrt_span evrt_span_store(const struct evrt_span *publish);
/* Hands over what has waited long enough; to be called in each turn. Returns the milliseconds until there is
 * something to hand over again, or -1. */
int64_t evrt_tracer_turn(struct evrt_tracer *t, int64_t now_ns);
uint64_t evrt_tracer_threshold(const struct evrt_tracer *t);
/* Unsampled events' spans are held for failures (tracing.keep: errors). */
bool evrt_tracer_keeps_errors(const struct evrt_tracer *t);

/* ---- Counts; any thread ---- */

struct evrt_tracer_counts {
    uint64_t exported; /* taken by the collector, or written */
    uint64_t limited;  /* left out: tracing.max_spans_per_second */
    uint64_t queue;    /* left out: tracing.queue_size */
    uint64_t failed;   /* lost: the collector could not be reached, or refused the request */
    uint64_t rejected; /* refused one by one: partial success */
    uint64_t requests, retries;
    uint64_t waiting; /* spans in the queue now */
};
void evrt_tracer_counts(struct evrt_tracer *t, struct evrt_tracer_counts *out);

#endif
