/* Where an event stands in a trace: W3C Trace Context (traceparent, tracestate), and what follows for an event
 * from its attributes alone, so that host and worker, before and after a restart, come to the same ids.
 *
 *     a valid traceparent extension ─▶ that trace     none ─▶ a hash of source, id, time and seq
 *     span ids of publishing and handling ─▶ hashes of the trace and what they are about
 *
 * Any thread; nothing here allocates. */
#ifndef EVRT_CORE_TRACE_CONTEXT_H
#define EVRT_CORE_TRACE_CONTEXT_H

#include <stdbool.h>

#include "core/buf.h"

enum { EVRT_TRACEPARENT_SIZE = 56, EVRT_TRACE_ID_SIZE = 33, EVRT_SPAN_ID_SIZE = 17 };
enum { EVRT_TRACE_SAMPLED = 1, EVRT_TRACE_RANDOM = 2 }; /* bits of trace-flags */
enum { EVRT_TRACESTATE_MAX = 512 };                     /* bytes that are passed on */

/* Ids are numbers whose big-endian bytes are what is written. A trace whose two halves are 0 is none. */
struct evrt_trace_context {
    uint64_t high, low; /* trace-id */
    uint64_t span;      /* parent-id */
    uint8_t flags;
};

static inline bool evrt_trace_is_set(const struct evrt_trace_context *c) {
    return (c->high | c->low) != 0;
}
static inline bool evrt_trace_is_sampled(const struct evrt_trace_context *c) {
    return (c->flags & EVRT_TRACE_SAMPLED) != 0;
}

/* -EINVAL: not a traceparent that the recommendation lets one take; *c is all zero then. Versions above 00 are
 * read as 00. */
EVRT_MUST_CHECK int evrt_traceparent_parse(struct evrt_slice text, struct evrt_trace_context *c);
/* Always version 00. Returns buf. */
char *evrt_traceparent_format(const struct evrt_trace_context *c, char buf[EVRT_TRACEPARENT_SIZE]);
char *evrt_trace_id_format(uint64_t high, uint64_t low, char buf[EVRT_TRACE_ID_SIZE]);
char *evrt_span_id_format(uint64_t id, char buf[EVRT_SPAN_ID_SIZE]);

/* Appends the list with what is too much left out: empty members, and to stay under EVRT_TRACESTATE_MAX first
 * members of more than 128 bytes, then those at the end. -EINVAL: it is none (a key or value that is not allowed,
 * more than 32 members, a key twice), and nothing is appended. */
EVRT_MUST_CHECK int evrt_tracestate_put(struct evrt_buf *out, struct evrt_slice text);

/* Whether a trace is in the share that a ratio samples; evrt_trace_threshold() of it is compared. */
uint64_t evrt_trace_threshold(double ratio);
static inline bool evrt_trace_in_share(uint64_t low, uint64_t threshold) {
    return (low >> 1) < threshold;
}

/* ---- Of an event ---- */

struct evrt_event_trace {
    struct evrt_trace_context
        context; /* span: that of publishing it, the parent of handling it; 0: none */
    struct evrt_slice tracestate; /* of the extension; {NULL, 0}: none */
    bool given;                   /* the trace is that of its extension */
    bool decided; /* publishing it was traced, or not, on purpose; else `share` did */
};
/* `event` is an encoding (core/event.h), with its seq. `threshold`: for one that nobody has decided on. */
void evrt_event_trace(const char *event, uint64_t threshold, struct evrt_event_trace *out);
/* Sets the trace of an event that was given none. */
void evrt_trace_derive(const struct evrt_event *e, uint64_t seq, struct evrt_trace_context *c);
/* The span of publishing event `seq` in this trace. */
uint64_t evrt_publish_span_id(const struct evrt_trace_context *trace, uint64_t seq);
/* The span of one attempt of a delivery. */
uint64_t evrt_handle_span_id(const struct evrt_trace_context *trace, uint64_t delivery,
                             unsigned attempt);

#endif
