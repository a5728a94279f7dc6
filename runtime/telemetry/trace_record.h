/* A span as bytes in a chunk: copied once by who made it, read by the exporter. Private to tracing. */
#ifndef EVRT_TELEMETRY_TRACE_RECORD_H
#define EVRT_TELEMETRY_TRACE_RECORD_H

#include "telemetry/trace.h"

/* Slices of a span, in the order in which their bytes stand. */
#define EVRT_SPAN_TEXTS(X) \
    X(type)                \
    X(source)              \
    X(event_id) X(handler) X(name) X(state) X(error_type) X(message) X(stack) X(attributes)

enum { EVRT_SPAN_TEXT_MAX = 16384 }; /* bytes of one of them */

void evrt_span_put(struct evrt_buf *out, const struct evrt_span *s);
/* Steps through records: *at starts at 0; the slices point into them. One that `stores` stands for two spans. */
bool evrt_span_next(struct evrt_slice records, size_t *at, struct evrt_span *s);

/* What the span is called: the name of its kind, or what a script called it. */
struct evrt_slice evrt_span_name(const struct evrt_span *s);
int evrt_span_otlp_kind(enum evrt_span_kind kind);

/* The attributes of a span, each told to `each`: what both exporters show. First those that every span of its
 * kind, type, source and handler has, then its own. */
struct evrt_attribute;
typedef void (*evrt_span_attribute_cb)(void *arg, const struct evrt_attribute *a);
void evrt_span_shared_attributes(const struct evrt_span *s, evrt_span_attribute_cb each, void *arg);
void evrt_span_own_attributes(const struct evrt_span *s, evrt_span_attribute_cb each, void *arg);

#endif
