/* The telemetry of a node, with one owner: its log and its tracer are started first, changed by reloads, and
 * stopped last, in an order in which nothing is said to what has ended. What is counted belongs to the host,
 * which shows it while its admin listener is up.
 *
 *     start: log ─▶ tracer (logs) ─▶ the node        stop: the node ─▶ tracer (sends, logs) ─▶ log (writes)
 *
 * A part that is off costs nothing: no thread, and a NULL where the others have something. */
#ifndef EVRT_TELEMETRY_MANAGER_H
#define EVRT_TELEMETRY_MANAGER_H

#include "telemetry/log.h"
#include "telemetry/trace.h"
#include "telemetry/trace_options.h"

struct evrt_telemetry_options {
    struct evrt_log_options log;
    struct evrt_trace_config trace;
    const char *const *environment; /* "NAME=value", NULL-terminated: OTEL_ variables */
    struct evrt_trace_hook span;    /* may be {NULL, NULL} */
};

struct evrt_telemetry {
    struct evrt_log *log;
    struct evrt_tracer *tracer; /* NULL: tracing is off */
    struct evrt_trace_options trace;
    enum evrt_log_level level; /* as configured; an operator may have set another */
};

/* Zeroed before. What the options point to is borrowed for the call. On an error what has begun is there, for
 * evrt_telemetry_stop. */
EVRT_MUST_CHECK int evrt_telemetry_start(struct evrt_telemetry *t,
                                         const struct evrt_telemetry_options *options,
                                         struct evrt_error *err);
/* A reload: what of it may change while the node runs, does; but for the log's level, which workers have to be
 * told as well. Returns whether that was changed: it is t->level then. */
bool evrt_telemetry_apply(struct evrt_telemetry *t, const struct evrt_telemetry_options *options);
/* Sends spans for at most `ms`, writes the log, frees. */
void evrt_telemetry_stop(struct evrt_telemetry *t, int64_t ms);

#endif
