/* Spans of the host: what is recorded of an event's way, and with which ids. All of it is behind one test of
 * h->tracing, which is NULL when tracing is off. Included by host/node.h; the loop's thread.
 *
 *     request ─▶ begin: SERVER span ── around ──▶ publish: traceparent, flags ──▶ journal
 *                                                    └▶ pending ──commit──▶ Publish and Store spans
 *     send: the event's trace into the delivery's label ──end──▶ Handle span (EventRetry around it)
 *
 * With tracing.keep: errors, what was published without being sampled is remembered for some time (a ring), so that
 * its spans can be sent when a handler fails. */
#ifndef EVRT_HOST_TRACE_H
#define EVRT_HOST_TRACE_H

#include <uv.h>

#include "bus/sub.h"
#include "core/event.h"
#include "core/trace_context.h"
#include "telemetry/trace.h"

struct evrt_frame_failed;
struct evrt_frame_hello;
struct evrt_frame_span;
struct evrt_host;
struct evrt_host_request_span;

/* Published, and not durable yet. */
struct host_pending_span {
    struct evrt_trace_context context; /* span: that of publishing */
    uint64_t seq, parent;
    int64_t start_ns;
    bool has_state;
};

/* Published, and not sampled. */
struct host_held_span {
    uint64_t seq, parent;
    int64_t start_ns, end_ns; /* end 0: not durable yet */
};

struct host_tracing {
    struct evrt_tracer *tracer;            /* its owner outlives the host */
    struct evrt_host_request_span *around; /* what is published now belongs to it; NULL: nothing */
    struct host_pending_span *pending;     /* a ring that grows */
    uint64_t next_pending;                 /* the sequence of its oldest; 0: it is empty */
    size_t pending_mask;
    uint64_t pending_head, pending_tail;
    struct host_held_span *held; /* a ring, by sequence; NULL: nothing is held */
    struct evrt_buf extensions;  /* of what is published now */
    struct evrt_buf state;       /* a tracestate that was checked */
    int64_t committed_ns;        /* when this batch was taken */
};

struct host_tracing *host_tracing_create(struct evrt_tracer *tracer);
void host_tracing_destroy(struct host_tracing *t);
/* What workers are told. */
void host_trace_hello(const struct evrt_host *h, struct evrt_frame_hello *hello);

/* ---- Publishing ---- */

/* Before `e` is appended as event `seq`: decides, and may replace extensions and flags; `fixed`: it may not
 * grow. */
void host_trace_publish(struct evrt_host *h, struct evrt_event *e, uint64_t seq, bool fixed);
/* The same before it is put aside to be published later: it takes with it where it comes from. */
void host_trace_schedule(struct evrt_host *h, struct evrt_event *e);
/* It was not appended. */
void host_trace_refused(struct evrt_host *h, const struct evrt_event *e, uint64_t seq, int rc,
                        const char *why);
/* A batch is taken from the journal; then each event of it that is waited for. */
void host_trace_batch(struct evrt_host *h);
static inline bool host_trace_pends(const struct host_tracing *t, uint64_t seq) {
    return t != NULL && (seq == t->next_pending || t->held != NULL);
}
void host_trace_committed(struct evrt_host *h, const char *event);

/* ---- Handling ---- */

/* The delivery is at a worker; for those whose event may be in a trace. */
static inline bool host_trace_may(const struct host_tracing *t, const char *event) {
    return t != NULL &&
           (!evrt_event_is_unsampled(event) || evrt_event_has_extensions(event) || t->held != NULL);
}
void host_trace_sent(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                     const char *event);
/* An attempt ended; f NULL: well. `d` is a copy, its label still there. */
void host_trace_handled(struct evrt_host *h, const struct evrt_sub *s,
                        const struct evrt_delivery *d, int64_t now_ns,
                        const struct evrt_frame_failed *f);
/* A script's own span, in a delivery that is in flight. */
void host_trace_script(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                       const struct evrt_frame_span *f);

/* At the end of a turn: starts h->trace_timer when spans wait. */
void host_trace_turn(struct evrt_host *h);

/* ---- Ids, for log lines and exemplars: {NULL, 0} when the delivery's trace is not known ---- */

struct host_trace_text {
    char trace[EVRT_TRACE_ID_SIZE], span[EVRT_SPAN_ID_SIZE];
};
struct evrt_slice host_trace_id(const struct evrt_delivery *d, struct host_trace_text *text);
struct evrt_slice host_span_id(const struct evrt_sub *s, const struct evrt_delivery *d,
                               struct host_trace_text *text);
/* Of an event that has a traceparent: its trace, and the span of publishing it. */
struct evrt_slice host_event_trace_id(const struct evrt_host *h, const char *event,
                                      struct host_trace_text *text);
struct evrt_slice host_event_span_id(const struct evrt_host *h, const char *event,
                                     struct host_trace_text *text);

#endif
