/* A span as a line of JSON, for people: marked "kind":"span", so that it can stand among log lines. */
#ifndef EVRT_TELEMETRY_TRACE_JSON_H
#define EVRT_TELEMETRY_TRACE_JSON_H

#include "telemetry/trace.h"

/* Appends it with its newline. `unix_ns` is what CLOCK_REALTIME is ahead of the monotonic one. */
void evrt_span_json(struct evrt_buf *out, const struct evrt_span *s, struct evrt_slice service,
                    int64_t unix_ns);

#endif
