/* See trace.h. */
#include "worker/trace.h"

#include "core/event.h"
#include "frame/frame.h"
#include "worker/process.h"

void evrt_spans_begin(struct evrt_worker *w, struct evrt_delivery *d,
                      const struct evrt_frame_deliver *f) {
    struct evrt_delivery_spans *s = &d->spans;
    struct evrt_event_trace t;
    const char *event = f->event.p;
    bool keep = w->hello.tracing == EVRT_TRACING_KEEP_ERRORS;
    s->on = w->hello.tracing != EVRT_TRACING_OFF;
    s->known = s->hold = false;
    if (!s->on) return;
    bool unsampled = evrt_event_is_unsampled(event) && !keep;
    if (unsampled && !evrt_event_has_extensions(event)) return;
    evrt_event_trace(event, w->hello.trace_threshold, &t);
    bool sampled = evrt_trace_is_sampled(&t.context);
    s->context = t.context;
    s->known = sampled || t.given || keep;
    s->hold = !sampled && f->attempt == 1;
    s->handle = s->context.span = evrt_handle_span_id(&t.context, d->id, f->attempt);
    evrt_buf_clear(&s->state);
    evrt_buf_put(&s->state, t.tracestate.p, t.tracestate.n);
}

void evrt_spans_end(struct evrt_worker *w, struct evrt_delivery *d, bool failed) {
    struct evrt_buf *held = &d->spans.held;
    if (held->n == 0) return;
    if (failed) evrt_buf_put(evrt_worker_out(w), held->p, held->n);
    evrt_buf_clear(held);
}

void evrt_spans_finish(struct evrt_delivery *d) {
    evrt_buf_finish(&d->spans.state);
    evrt_buf_finish(&d->spans.held);
}

void evrt_spans_extend(const struct evrt_worker *w, struct evrt_event *e, struct evrt_buf *out,
                       bool given) {
    const struct evrt_delivery_spans *s = &w->deliveries.running->spans;
    char text[EVRT_TRACEPARENT_SIZE];
    if (!s->on || given) return;
    if (!s->known) {
        e->flags |= EVRT_EVENT_UNSAMPLED;
        return;
    }
    struct evrt_slice parent = evrt_slice_of(evrt_traceparent_format(&s->context, text));
    int rc = evrt_extensions_add(out, EVRT_STR("traceparent"), 's', parent);
    if (rc == 0 && s->state.n != 0)
        rc = evrt_extensions_add(out, EVRT_STR("tracestate"), 's', evrt_buf_slice(&s->state));
    (void)rc; /* the names are good ones */
}
