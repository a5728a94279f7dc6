/* Records as the body of an OTLP request, and what is said of it in the answer. Private to the exporter; its
 * thread. */
#ifndef EVRT_TELEMETRY_TRACE_OTLP_H
#define EVRT_TELEMETRY_TRACE_OTLP_H

#include "core/buf.h"

struct evrt_otlp;

/* `resource`: core/attributes.h. */
struct evrt_otlp *evrt_otlp_create(struct evrt_slice resource);
void evrt_otlp_destroy(struct evrt_otlp *o);
/* The request of these records (trace_record.h), valid until the next call. `unix_ns` is what CLOCK_REALTIME is
 * ahead of the monotonic one. */
struct evrt_slice evrt_otlp_encode(struct evrt_otlp *o, struct evrt_slice records, int64_t unix_ns);
/* How many spans the collector refused though it took the request; *why is its text, appended. */
uint64_t evrt_otlp_rejected(struct evrt_slice answer, struct evrt_buf *why);

#endif
