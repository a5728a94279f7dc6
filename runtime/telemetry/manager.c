/* See manager.h. */
#include "telemetry/manager.h"

#include "telemetry/log_events.h"

static void on_ignored(void *arg, const char *name, const char *why) {
    const struct evrt_telemetry *t = arg;
    evrt_log_event(t->log, TRACING_IGNORED, EVRT_F_CSTR("key", name), EVRT_F_CSTR("error", why));
}

int evrt_telemetry_start(struct evrt_telemetry *t, const struct evrt_telemetry_options *options,
                         struct evrt_error *err) {
    t->level = options->log.level;
    int rc = evrt_log_create(&t->log, &options->log, err);
    if (rc < 0) return rc;
    evrt_trace_options_init(&t->trace, &options->trace, options->environment, on_ignored, t);
    t->trace.hook = options->span;
    return evrt_tracer_create(&t->tracer, &t->trace, t->log, err);
}

bool evrt_telemetry_apply(struct evrt_telemetry *t, const struct evrt_telemetry_options *options) {
    struct evrt_trace_options trace;
    evrt_trace_options_init(&trace, &options->trace, options->environment, NULL, NULL);
    evrt_tracer_set(t->tracer, trace.ratio, trace.max_spans_per_second);
    evrt_trace_options_finish(&trace);
    evrt_log_set(t->log, &options->log);
    bool changed = options->log.level != t->level;
    t->level = options->log.level;
    return changed;
}

void evrt_telemetry_stop(struct evrt_telemetry *t, int64_t ms) {
    evrt_tracer_destroy(t->tracer, ms);
    evrt_trace_options_finish(&t->trace);
    evrt_log_destroy(t->log);
    *t = (struct evrt_telemetry){0};
}
