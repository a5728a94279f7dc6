/* The trace of a delivery, as scripts see it and pass it on. What the host records of it has the same ids
 * (core/trace_context.h); here they are worked out from the event's bytes. The worker's loop's thread. */
#ifndef EVRT_WORKER_TRACE_H
#define EVRT_WORKER_TRACE_H

#include <stdbool.h>

#include "core/trace_context.h"

struct evrt_delivery;
struct evrt_event;
struct evrt_frame_deliver;
struct evrt_worker;

/* Part of a delivery. */
struct evrt_delivery_spans {
    struct evrt_trace_context
        context;           /* span: the innermost that is open, a script's or the handling */
    uint64_t handle;       /* the span of the handling */
    bool on;               /* tracing is; else nothing here is set */
    bool known;            /* the trace is worth passing on: sampled, given, or held for failures */
    bool hold;             /* spans are sent only if the delivery fails */
    struct evrt_buf state; /* tracestate */
    struct evrt_buf held;  /* frames */
};

/* The delivery is taken: `f` is what came. */
void evrt_spans_begin(struct evrt_worker *w, struct evrt_delivery *d,
                      const struct evrt_frame_deliver *f);
/* It ended; a failure's held spans go before it. */
void evrt_spans_end(struct evrt_worker *w, struct evrt_delivery *d, bool failed);
void evrt_spans_finish(struct evrt_delivery *d);
/* What is published in the running delivery belongs to its trace. `out` holds the event's extensions, and they
 * alone; `given`: a traceparent is among them. */
void evrt_spans_extend(const struct evrt_worker *w, struct evrt_event *e, struct evrt_buf *out,
                       bool given);

#endif
