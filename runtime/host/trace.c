/* See trace.h. Ids are hashes of what they are about (core/trace_context.h): nothing of a trace needs to be kept
 * but what is in the journal, and a worker knows its delivery's span without being told. */
#include "host/trace.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/event.h"
#include "host/node.h"

enum {
    PENDING_START = 256,
    HELD_MAX = 1 << 16, /* events whose publishing is remembered; some 2 MiB */
    KNOWN = 0x80,       /* in a label's flags: the trace is known */
};

struct host_tracing *host_tracing_create(struct evrt_tracer *tracer) {
    struct host_tracing *t = evrt_zalloc(sizeof *t);
    t->tracer = tracer;
    if (evrt_tracer_keeps_errors(tracer)) t->held = evrt_zalloc(HELD_MAX * sizeof *t->held);
    return t;
}

void host_tracing_destroy(struct host_tracing *t) {
    if (t == NULL) return;
    free(t->pending);
    free(t->held);
    evrt_buf_finish(&t->extensions);
    evrt_buf_finish(&t->state);
    free(t);
}

void host_trace_hello(const struct evrt_host *h, struct evrt_frame_hello *hello) {
    if (h->tracing == NULL) return;
    hello->tracing = h->tracing->held != NULL ? EVRT_TRACING_KEEP_ERRORS : EVRT_TRACING_SAMPLED;
    hello->trace_threshold = evrt_tracer_threshold(h->tracing->tracer);
}

/* As much of it as may be passed on; valid until the next call. */
static struct evrt_slice checked_state(struct host_tracing *t, struct evrt_slice state) {
    evrt_buf_clear(&t->state);
    if (state.n == 0 || evrt_tracestate_put(&t->state, state) < 0 || t->state.n == 0)
        return (struct evrt_slice){NULL, 0};
    return evrt_buf_slice(&t->state);
}

/* ---- Requests ---- */

bool evrt_host_traces(const struct evrt_host *h) {
    return h->tracing != NULL;
}

void evrt_host_request_begin(struct evrt_host *h, struct evrt_slice traceparent,
                             struct evrt_slice tracestate, struct evrt_host_request_span *span) {
    *span = (struct evrt_host_request_span){.on = h->tracing != NULL};
    if (!span->on) return;
    span->start_ns = evrt_mono_ns();
    if (evrt_traceparent_parse(traceparent, &span->context) < 0) return;
    span->given = traceparent;
    span->parent = span->context.span;
    span->state = tracestate;
}

void evrt_host_request_around(struct evrt_host *h, struct evrt_host_request_span *span) {
    if (h->tracing != NULL) h->tracing->around = span;
}

/* `given`: the trace of the one event that it brings, when the request itself has none. */
static void decide_request(struct evrt_host *h, struct evrt_host_request_span *span,
                           const struct evrt_trace_context *given) {
    struct host_tracing *t = h->tracing;
    struct evrt_trace_context *c = &span->context;
    if (span->decided) return;
    span->decided = true;
    if (!evrt_trace_is_set(c) && given != NULL && evrt_trace_is_set(given) && span->single) {
        *c = *given;
        span->parent = given->span;
    }
    if (evrt_trace_is_set(c)) {
        span->sampled = evrt_tracer_join(t->tracer, c);
    } else {
        span->begun = true;
        span->sampled = evrt_tracer_begin(t->tracer, &h->random, span->start_ns, c);
    }
    c->span = evrt_random_u64(&h->random) | 1;
}

/* Of a trace that is sampled; the rest is its kind's. */
static struct evrt_span begun_as(const struct evrt_trace_context *c, uint64_t parent,
                                 int64_t start_ns, int64_t end_ns) {
    return (struct evrt_span){
        .high = c->high,
        .low = c->low,
        .id = c->span,
        .parent = parent,
        .flags = EVRT_TRACE_SAMPLED,
        .start_ns = start_ns,
        .end_ns = end_ns,
    };
}

void evrt_host_request_end(struct evrt_host *h, struct evrt_host_request_span *span,
                           unsigned status, const char *peer) {
    if (!span->on || h->tracing == NULL) return;
    span->on = false;
    decide_request(h, span, NULL);
    if (!span->sampled) return;
    char code[16];
    bool failed = status >= 500;
    struct evrt_span s = begun_as(&span->context, span->parent, span->start_ns, evrt_mono_ns());
    s.kind = EVRT_SPAN_SERVER;
    s.number = status;
    s.status = failed ? EVRT_SPAN_ERROR : EVRT_SPAN_UNSET;
    s.name = evrt_slice_of(peer);
    s.state = checked_state(h->tracing, span->state);
    s.error_type.p = code;
    s.error_type.n = failed ? (size_t)snprintf(code, sizeof code, "%u", status) : 0;
    evrt_tracer_put(h->tracing->tracer, &s);
}

/* ---- Publishing ---- */

static void find_extensions(const struct evrt_event *e, struct evrt_slice *parent,
                            struct evrt_slice *state) {
    struct evrt_extension x;
    *parent = *state = (struct evrt_slice){NULL, 0};
    if (e->extensions.n == 0) return; /* most events */
    for (size_t at = 0; evrt_extensions_next(e->extensions, &at, &x);) {
        if (evrt_slice_eq(x.name, EVRT_STR("traceparent"))) *parent = x.value;
        if (evrt_slice_eq(x.name, EVRT_STR("tracestate"))) *state = x.value;
    }
}

static void extend(struct evrt_buf *out, struct evrt_slice name, struct evrt_slice value) {
    int rc = evrt_extensions_add(out, name, 's', value);
    (void)rc; /* the names are good ones */
}

/* The event gets a traceparent, and a tracestate unless it has one of its own; as long as there is room. */
static void add_extensions(struct host_tracing *t, struct evrt_event *e, struct evrt_slice parent,
                           struct evrt_slice state, bool has_state) {
    struct evrt_buf *out = &t->extensions;
    enum { ROOM = EVRT_TRACEPARENT_SIZE + EVRT_TRACESTATE_MAX + 64 };
    if (e->extensions.n + ROOM > EVRT_EXTENSIONS_MAX) return;
    evrt_buf_clear(out);
    evrt_buf_put(out, e->extensions.p, e->extensions.n);
    extend(out, EVRT_STR("traceparent"), parent);
    if (!has_state) state = checked_state(t, state);
    if (state.n != 0 && !has_state) extend(out, EVRT_STR("tracestate"), state);
    e->extensions = evrt_buf_slice(out);
}

static struct evrt_slice traceparent_of(const struct evrt_trace_context *c,
                                        char text[EVRT_TRACEPARENT_SIZE]) {
    return (struct evrt_slice){evrt_traceparent_format(c, text), EVRT_TRACEPARENT_SIZE - 1};
}

static void push_pending(struct host_tracing *t, struct host_pending_span p) {
    if (t->pending == NULL || t->pending_tail - t->pending_head > t->pending_mask) {
        size_t size = t->pending == NULL ? PENDING_START : (t->pending_mask + 1) * 2;
        struct host_pending_span *ring = evrt_alloc(size * sizeof *ring);
        for (uint64_t i = t->pending_head; i < t->pending_tail; i++)
            ring[i & (size - 1)] = t->pending[i & t->pending_mask];
        free(t->pending);
        t->pending = ring;
        t->pending_mask = size - 1;
    }
    if (t->pending_head == t->pending_tail) t->next_pending = p.seq;
    t->pending[t->pending_tail++ & t->pending_mask] = p;
}

/* The oldest; its place stays as it is until the next push. */
static void pop_pending(struct host_tracing *t) {
    bool more = ++t->pending_head != t->pending_tail;
    t->next_pending = more ? t->pending[t->pending_head & t->pending_mask].seq : 0;
}

/* What an event's trace is, and who says so. */
struct decision {
    struct evrt_trace_context context;
    uint64_t parent;
    bool sampled, extend;
    struct evrt_slice as, state; /* extend: with this; `as` empty: with the event's own span */
};

/* It came with a trace: that is its own, whatever the request that brought it belongs to. */
static void join_given(struct host_tracing *t, struct decision *d,
                       const struct evrt_trace_context *given) {
    const struct evrt_host_request_span *around = t->around;
    d->context = *given;
    d->parent = given->span;
    if (around != NULL && around->context.high == given->high &&
        around->context.low == given->low) {
        d->parent = around->sampled ? around->context.span : given->span;
        d->sampled = around->sampled;
    } else {
        d->sampled = evrt_tracer_join(t->tracer, given);
    }
}

static void join_request(struct host_tracing *t, struct decision *d) {
    const struct evrt_host_request_span *around = t->around;
    d->context = around->context;
    d->sampled = around->sampled;
    d->parent = around->sampled ? around->context.span : around->parent;
    d->as = around->given;
    d->state = around->state;
    d->extend = around->sampled || !around->begun;
}

/* What was decided before, where it was put aside or by the script that publishes it, stays. */
static void decide(struct evrt_host *h, const struct evrt_event *e, int64_t now_ns,
                   const struct evrt_trace_context *given, struct decision *d) {
    struct host_tracing *t = h->tracing;
    if (t->around != NULL) decide_request(h, t->around, given);
    if (evrt_trace_is_set(given)) {
        join_given(t, d, given);
        if (e->flags & EVRT_EVENT_UNSAMPLED) d->sampled = false;
    } else if (t->around != NULL) {
        join_request(t, d);
    } else if ((e->flags & EVRT_EVENT_UNSAMPLED) == 0) {
        d->sampled = evrt_tracer_begin(t->tracer, &h->random, now_ns, &d->context);
        d->extend = d->sampled;
    }
}

/* `begun`: decided, as the event came with nothing; else NULL. Apart from what most events need. */
static __attribute__((noinline)) void publish_traced(struct evrt_host *h, struct evrt_event *e,
                                                     uint64_t seq, bool fixed,
                                                     const struct evrt_trace_context *begun) {
    struct host_tracing *t = h->tracing;
    struct evrt_slice parent, state;
    struct evrt_trace_context given = {0};
    struct decision d = {0};
    find_extensions(e, &parent, &state);
    if (parent.n != 0 && evrt_traceparent_parse(parent, &given) < 0) given.span = 0;
    if (begun == NULL) {
        decide(h, e, (int64_t)uv_now(h->loop) * 1000000, &given, &d);
    } else {
        d.context = *begun;
        d.sampled = d.extend = evrt_trace_is_set(begun);
    }
    if (!d.sampled) e->flags |= EVRT_EVENT_UNSAMPLED;
    if (!d.sampled && !d.extend && t->held == NULL) return;
    int64_t now = evrt_mono_ns();
    if (fixed && !evrt_trace_is_set(&given)) evrt_trace_derive(e, seq, &d.context);
    uint64_t id = evrt_publish_span_id(&d.context, seq);
    if (d.extend && parent.n == 0 && !fixed) {
        char text[EVRT_TRACEPARENT_SIZE];
        struct evrt_trace_context own = d.context;
        own.span = id;
        if (d.as.n == 0) d.as = traceparent_of(&own, text);
        add_extensions(t, e, d.as, d.state, state.n != 0);
    }
    d.context.span = id;
    if (d.sampled)
        push_pending(t, (struct host_pending_span){d.context, seq, d.parent, now,
                                                   state.n != 0 || d.state.n != 0});
    else if (t->held != NULL)
        t->held[seq % HELD_MAX] = (struct host_held_span){seq, d.parent, now, 0};
}

void host_trace_publish(struct evrt_host *h, struct evrt_event *e, uint64_t seq, bool fixed) {
    struct host_tracing *t = h->tracing;
    struct evrt_trace_context begun;
    e->flags |= EVRT_EVENT_TRACED;
    bool bare = e->extensions.n == 0 && t->around == NULL && (e->flags & EVRT_EVENT_UNSAMPLED) == 0;
    if (!bare) {
        publish_traced(h, e, seq, fixed, NULL);
    } else if (evrt_tracer_begin(t->tracer, &h->random, (int64_t)uv_now(h->loop) * 1000000,
                                 &begun) ||
               t->held != NULL) {
        publish_traced(h, e, seq, fixed, &begun);
    } else {
        e->flags |= EVRT_EVENT_UNSAMPLED; /* most events */
    }
}

void host_trace_schedule(struct evrt_host *h, struct evrt_event *e) {
    struct host_tracing *t = h->tracing;
    struct evrt_slice parent, state;
    struct evrt_trace_context given = {0};
    struct decision d = {0};
    if (t->around == NULL) return; /* it is decided then */
    find_extensions(e, &parent, &state);
    if (parent.n != 0 && evrt_traceparent_parse(parent, &given) < 0) given.span = 0;
    decide(h, e, 0, &given, &d);
    if (!d.sampled) e->flags |= EVRT_EVENT_UNSAMPLED;
    if (!d.extend || parent.n != 0) return;
    char text[EVRT_TRACEPARENT_SIZE];
    if (d.as.n == 0) d.as = traceparent_of(&t->around->context, text);
    add_extensions(t, e, d.as, d.state, state.n != 0);
}

void host_trace_refused(struct evrt_host *h, const struct evrt_event *e, uint64_t seq, int rc,
                        const char *why) {
    struct host_tracing *t = h->tracing;
    if (t->held != NULL && t->held[seq % HELD_MAX].seq == seq) t->held[seq % HELD_MAX].seq = 0;
    if (t->pending_head == t->pending_tail) return;
    const struct host_pending_span *p = &t->pending[(t->pending_tail - 1) & t->pending_mask];
    if (p->seq != seq) return;
    t->pending_tail--;
    if (t->pending_head == t->pending_tail) t->next_pending = 0;
    struct evrt_span s = begun_as(&p->context, p->parent, p->start_ns, evrt_mono_ns());
    s.kind = EVRT_SPAN_PUBLISH;
    s.status = EVRT_SPAN_ERROR;
    s.type = e->type;
    s.source = e->source;
    s.event_id = e->id;
    s.error_type = evrt_slice_of(uv_err_name(rc));
    s.message = evrt_slice_of(why);
    evrt_tracer_put(t->tracer, &s);
}

void host_trace_batch(struct evrt_host *h) {
    struct host_tracing *t = h->tracing;
    if (t->pending_head != t->pending_tail || t->held != NULL) t->committed_ns = evrt_mono_ns();
}

static struct evrt_slice state_of(struct host_tracing *t, const char *event) {
    struct evrt_event_trace trace;
    evrt_event_trace(event, 0, &trace);
    return checked_state(t, trace.tracestate);
}

void host_trace_committed(struct evrt_host *h, const char *event) {
    struct host_tracing *t = h->tracing;
    uint64_t seq = evrt_event_seq(event);
    if (t->held != NULL && t->held[seq % HELD_MAX].seq == seq)
        t->held[seq % HELD_MAX].end_ns = t->committed_ns;
    if (seq != t->next_pending) return;
    const struct host_pending_span *p = &t->pending[t->pending_head & t->pending_mask];
    pop_pending(t);
    struct evrt_span s = begun_as(&p->context, p->parent, p->start_ns, t->committed_ns);
    s.kind = EVRT_SPAN_PUBLISH;
    s.stores = true;
    s.status = EVRT_SPAN_OK;
    s.seq = seq;
    s.type = evrt_event_field(event, EVRT_FIELD_TYPE);
    s.source = evrt_event_field(event, EVRT_FIELD_SOURCE);
    s.event_id = evrt_event_field(event, EVRT_FIELD_ID);
    if (p->has_state) s.state = state_of(t, event);
    evrt_tracer_put(t->tracer, &s);
}

/* ---- Handling ---- */

void host_trace_sent(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                     const char *event) {
    struct host_tracing *t = h->tracing;
    struct evrt_event_trace trace;
    evrt_event_trace(event, evrt_tracer_threshold(t->tracer), &trace);
    const struct evrt_trace_context *c = &trace.context;
    if (!evrt_trace_is_sampled(c) && !trace.given && t->held == NULL) return;
    struct evrt_delivery_label *label = evrt_sub_at(s, position)->label;
    label->trace = (struct evrt_delivery_trace){c->high, c->low, c->span};
    label->trace_flags = (uint8_t)(c->flags | KNOWN);
}

static struct evrt_trace_context context_of(const struct evrt_delivery *d) {
    const struct evrt_delivery_trace *t = &d->label->trace;
    return (struct evrt_trace_context){t->high, t->low, t->parent, d->label->trace_flags & 3};
}

static uint64_t span_of(const struct evrt_sub *s, const struct evrt_delivery *d) {
    struct evrt_trace_context c = context_of(d);
    return evrt_handle_span_id(&c, (uint64_t)s->id << 40 | d->position, d->attempt);
}

/* A failure's event was not sampled: what is still known of its publishing. */
static void put_held(struct evrt_host *h, const struct evrt_delivery *d,
                     const struct evrt_span *handle) {
    struct host_held_span *held = &h->tracing->held[d->seq % HELD_MAX];
    if (held->seq != d->seq || held->end_ns == 0) return;
    struct evrt_span s = *handle;
    s.kind = EVRT_SPAN_PUBLISH;
    s.stores = true;
    s.id = d->label->trace.parent;
    s.parent = held->parent;
    s.start_ns = held->start_ns;
    s.end_ns = held->end_ns;
    s.status = EVRT_SPAN_OK;
    s.link = 0;
    s.handler = s.error_type = s.message = s.stack = (struct evrt_slice){NULL, 0};
    evrt_tracer_put(h->tracing->tracer, &s);
    held->seq = 0;
}

/* An attempt after the first is in a span of its own, which links to the publishing; so does one that an operator
 * had made again. */
static void put_attempt(struct evrt_host *h, const struct evrt_delivery *d, struct evrt_span *s) {
    uint64_t publish = d->label->trace.parent;
    bool aside = evrt_sub_is_aside(d->position);
    s->parent = publish;
    if (d->attempt > 1 || aside) s->link = publish;
    if (d->attempt > 1 && !aside) {
        struct evrt_span retry = *s;
        retry.kind = EVRT_SPAN_RETRY;
        retry.id = s->id * 0x9e3779b97f4a7c15u | 1;
        evrt_tracer_put(h->tracing->tracer, &retry);
        s->parent = retry.id;
        s->link = 0;
    }
    s->kind = EVRT_SPAN_HANDLE;
    evrt_tracer_put(h->tracing->tracer, s);
}

void host_trace_handled(struct evrt_host *h, const struct evrt_sub *s,
                        const struct evrt_delivery *d, int64_t now_ns,
                        const struct evrt_frame_failed *f) {
    struct host_tracing *t = h->tracing;
    const struct evrt_delivery_trace *trace = &d->label->trace;
    bool sampled = (d->label->trace_flags & EVRT_TRACE_SAMPLED) != 0;
    if ((d->label->trace_flags & KNOWN) == 0) return;
    if (!sampled && (t->held == NULL || (f == NULL && d->attempt == 1))) return;
    struct evrt_delivery_names names = evrt_delivery_names(d);
    struct evrt_span span = {
        .high = trace->high,
        .low = trace->low,
        .id = span_of(s, d),
        .flags = d->label->trace_flags & EVRT_TRACE_SAMPLED,
        .start_ns = d->sent_ns,
        .end_ns = now_ns,
        .number = d->attempt,
        .seq = d->seq,
        .status = f == NULL ? EVRT_SPAN_OK : EVRT_SPAN_ERROR,
        .type = names.type,
        .event_id = names.id,
        .handler = evrt_slice_of(s->name),
    };
    if (f != NULL) {
        span.error_type = f->error_type;
        span.message = f->message;
        span.stack = f->traceback;
    }
    if (!sampled) put_held(h, d, &span);
    put_attempt(h, d, &span);
}

void host_trace_script(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                       const struct evrt_frame_span *f) {
    const struct evrt_delivery_trace *trace = &d->label->trace;
    bool sampled = (d->label->trace_flags & EVRT_TRACE_SAMPLED) != 0;
    if ((d->label->trace_flags & KNOWN) == 0 || (!sampled && h->tracing->held == NULL)) return;
    evrt_tracer_put(h->tracing->tracer, &(struct evrt_span){
                                            .kind = EVRT_SPAN_SCRIPT,
                                            .high = trace->high,
                                            .low = trace->low,
                                            .id = f->id,
                                            .parent = f->parent != 0 ? f->parent : span_of(s, d),
                                            .flags = d->label->trace_flags & EVRT_TRACE_SAMPLED,
                                            .start_ns = f->start_ns,
                                            .end_ns = f->end_ns,
                                            .status = f->failed ? EVRT_SPAN_ERROR : EVRT_SPAN_UNSET,
                                            .name = f->name,
                                            .error_type = f->error_type,
                                            .message = f->message,
                                            .attributes = f->attributes,
                                        });
}

/* ---- Turns ---- */

/* The turn does the work, before the loop waits again. */
static void on_timer(uv_timer_t *timer) {
    (void)timer;
}

void host_trace_turn(struct evrt_host *h) {
    int64_t ms = evrt_tracer_turn(h->tracing->tracer, (int64_t)uv_now(h->loop) * 1000000);
    if (ms < 0 || uv_is_active((uv_handle_t *)&h->trace_timer)) return;
    uv_timer_start(&h->trace_timer, on_timer, (uint64_t)ms + 1, 0);
}

/* ---- Ids ---- */

struct evrt_slice host_trace_id(const struct evrt_delivery *d, struct host_trace_text *text) {
    const struct evrt_delivery_trace *t = &d->label->trace;
    if ((d->label->trace_flags & KNOWN) == 0) return (struct evrt_slice){NULL, 0};
    return (struct evrt_slice){evrt_trace_id_format(t->high, t->low, text->trace),
                               EVRT_TRACE_ID_SIZE - 1};
}

struct evrt_slice host_span_id(const struct evrt_sub *s, const struct evrt_delivery *d,
                               struct host_trace_text *text) {
    if ((d->label->trace_flags & KNOWN) == 0) return (struct evrt_slice){NULL, 0};
    return (struct evrt_slice){evrt_span_id_format(span_of(s, d), text->span),
                               EVRT_SPAN_ID_SIZE - 1};
}

static bool find_trace(const struct evrt_host *h, const char *event, struct evrt_event_trace *t) {
    if (h->tracing == NULL || !evrt_event_has_extensions(event)) return false;
    evrt_event_trace(event, 0, t);
    return t->given;
}

struct evrt_slice host_event_trace_id(const struct evrt_host *h, const char *event,
                                      struct host_trace_text *text) {
    struct evrt_event_trace t;
    if (!find_trace(h, event, &t)) return (struct evrt_slice){NULL, 0};
    return evrt_slice_of(evrt_trace_id_format(t.context.high, t.context.low, text->trace));
}

struct evrt_slice host_event_span_id(const struct evrt_host *h, const char *event,
                                     struct host_trace_text *text) {
    struct evrt_event_trace t;
    if (!find_trace(h, event, &t)) return (struct evrt_slice){NULL, 0};
    return evrt_slice_of(evrt_span_id_format(t.context.span, text->span));
}
