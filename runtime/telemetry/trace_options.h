/* What tracing is told: the configuration's keys, and before them the standard OTEL_ variables. Filled once, then
 * read-only. */
#ifndef EVRT_TELEMETRY_TRACE_OPTIONS_H
#define EVRT_TELEMETRY_TRACE_OPTIONS_H

#include <stdbool.h>

#include "core/buf.h"

enum evrt_trace_exporter { EVRT_TRACE_NONE, EVRT_TRACE_OTLP, EVRT_TRACE_STDOUT };
enum evrt_trace_compression { EVRT_TRACE_AUTO, EVRT_TRACE_GZIP, EVRT_TRACE_PLAIN };

struct evrt_span;
/* Someone who is shown each span as it is put, on the loop's thread. */
struct evrt_trace_hook {
    void (*cb)(void *arg, const struct evrt_span *span); /* NULL: nobody */
    void *arg;
};

struct evrt_trace_options {
    struct evrt_trace_hook hook;
    enum evrt_trace_exporter exporter;
    struct evrt_buf url;     /* of the collector, NUL-terminated */
    struct evrt_buf headers; /* "Name: value" lines, each with a NUL; may hold secrets */
    struct evrt_buf ca, certificate, key; /* files; NUL-terminated, empty: none */
    struct evrt_buf resource;             /* core/attributes.h */
    double ratio;
    bool parent_based; /* a trace that was begun elsewhere is as it was decided there */
    bool keep_errors;
    enum evrt_trace_compression compression;
    uint64_t max_spans_per_second, batch_size, queue_size;
    int64_t batch_delay_ms, timeout_ms;
};

/* The configuration's part, borrowed for the call. */
struct evrt_trace_config {
    const char *exporter, *endpoint, *keep, *compression;
    const char *service, *version, *environment;
    double sample_rate;
    uint64_t max_spans_per_second, batch_size, queue_size;
    int64_t batch_delay_ms, timeout_ms;
};

/* `environment`: "NAME=value", NULL-terminated, may be NULL. `each` (may be NULL) is told of every variable that
 * was not understood, which then counts as not set. */
void evrt_trace_options_init(struct evrt_trace_options *o, const struct evrt_trace_config *config,
                             const char *const *environment,
                             void (*each)(void *arg, const char *name, const char *why), void *arg);
void evrt_trace_options_finish(struct evrt_trace_options *o);

#endif
