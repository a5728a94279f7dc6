/* One POST to the collector. Private to the exporter; its thread, but for wake. */
#ifndef EVRT_TELEMETRY_TRACE_SEND_H
#define EVRT_TELEMETRY_TRACE_SEND_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_trace_options;
struct evrt_trace_sender;

/* Opens libcurl. -ENOENT: it is not there. */
EVRT_MUST_CHECK int evrt_trace_sender_create(struct evrt_trace_sender **out,
                                             const struct evrt_trace_options *options,
                                             struct evrt_error *err);
void evrt_trace_sender_destroy(struct evrt_trace_sender *s);
/* Whether bodies are to be compressed. */
bool evrt_trace_sender_zips(const struct evrt_trace_sender *s);

enum evrt_trace_verdict { EVRT_TRACE_SENT, EVRT_TRACE_AGAIN, EVRT_TRACE_REFUSED };
struct evrt_trace_answer {
    enum evrt_trace_verdict verdict;
    int64_t retry_after_ms; /* the collector's wish; -1: it has none */
    struct evrt_slice body; /* valid until the next call */
};
/* Blocks until it is answered, at most tracing.timeout or until `stop` says so (asked after a wake, and now and
 * then). err says why it was not SENT. */
struct evrt_trace_answer evrt_trace_send(struct evrt_trace_sender *s, struct evrt_slice body,
                                         bool (*stop)(void *arg), void *arg,
                                         struct evrt_error *err);
/* Any thread: `stop` is asked soon. */
void evrt_trace_sender_wake(struct evrt_trace_sender *s);

#endif
