/* What workers say: one table from frame type to function. Anything malformed, out of place or unknown
 * ends that worker (the negative return), never the host. An answer for a delivery that this worker does
 * not have is only counted: it was taken away from it (D8). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/utf8.h"

enum {
    MESSAGE_MAX = 8 << 10, /* bytes of a failure's message that are kept */
    TRACEBACK_MAX = 16 << 10,
    ERROR_TYPE_MAX = 64,
    NOTE_MAX = 256,
    NOTES_MAX = 16 << 10, /* in one settlement */
};

struct evrt_sub *host_sub_of(struct evrt_host *h, uint64_t delivery, uint64_t *position) {
    *position = delivery & ((1ull << 40) - 1);
    return evrt_bus_by_id(h->bus, (uint32_t)(delivery >> 40));
}

void host_note(struct evrt_host *h, uint32_t sub, uint64_t seq, unsigned attempt,
               struct evrt_slice text) {
    if (h->notes.n > NOTES_MAX) {
        h->notes_dropped++;
        return;
    }
    evrt_note_put(&h->notes,
                  &(struct evrt_record_note){sub, seq, attempt, evrt_utf8_cut(text, NOTE_MAX)});
}

void host_cause(struct host_worker *w, uint64_t delivery, struct evrt_event *e) {
    uint64_t position;
    const struct evrt_sub *s = delivery == 0 ? NULL : host_sub_of(w->host, delivery, &position);
    const struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_in_flight(s, position, w->instance);
    e->cause_seq = d == NULL ? 0 : d->seq;
    e->cause_handler = d == NULL ? 0 : s->id;
}

/* ---- DONE, FAILED ---- */

void host_log_handled(struct host_worker *w, const struct evrt_sub *s,
                      const struct evrt_delivery *d, int64_t now) {
    struct host_trace_text ids;
    evrt_log_event_at(
        w->host->log, now, EVENT_HANDLED, EVRT_F_STR("event_type", evrt_delivery_names(d).type),
        EVRT_F_STR("event_id", evrt_delivery_names(d).id), EVRT_F_CSTR("handler", s->name),
        EVRT_F_DURATION("duration", now - d->sent_ns), EVRT_F_CSTR("status", "success"),
        EVRT_F_U64("attempt", d->attempt), EVRT_F_STR("event_time", evrt_delivery_names(d).time),
        EVRT_F_U64("seq", d->seq), EVRT_F_U64("generation", w->generation->number),
        EVRT_F_STR("purpose", host_purpose(d)), EVRT_F_STR("trace_id", host_trace_id(d, &ids)),
        EVRT_F_STR("span_id", host_span_id(s, d, &ids)));
}

void host_done(struct host_worker *w, uint64_t delivery, int64_t now_ns) {
    struct evrt_host *h = w->host;
    uint64_t position;
    struct evrt_sub *s = host_sub_of(h, delivery, &position);
    struct evrt_delivery d;
    if (s == NULL || evrt_bus_end(h->bus, s, position, w->instance, EVRT_OUTCOME_DONE, &d) < 0) {
        h->stale++;
        return;
    }
    w->outstanding--;
    w->lent -= d.lent;
    host_contain_done(s);
    s->typical_ns += (now_ns - d.sent_ns - s->typical_ns) / 8;
    if (evrt_sub_is_aside(position)) {
        host_aside_ended(w, s, &d, NULL);
        if (d.purpose == EVRT_PURPOSE_NOTICE) return;
    } else {
        host_meter_done(h, &d, now_ns);
        host_waits_settled(h, s, d.seq, EVRT_OUTCOME_DONE, EVRT_STR(""), EVRT_STR(""));
    }
    if (h->tracing != NULL && d.label->trace_flags != 0) host_trace_handled(h, s, &d, now_ns, NULL);
    host_log_handled(w, s, &d, now_ns);
    host_ended(h, 0);
}

static int on_done(struct host_worker *w, struct evrt_slice payload) {
    if (payload.n % EVRT_FRAME_DONE_ITEM != 0) return -EBADMSG;
    int64_t now = evrt_mono_ns();
    for (size_t at = 0; at < payload.n; at += EVRT_FRAME_DONE_ITEM) {
        uint64_t delivery;
        memcpy(&delivery, payload.p + at, sizeof delivery);
        host_done(w, delivery, now);
    }
    return 0;
}

void host_log_failed(struct host_worker *w, const struct evrt_sub *s, const struct evrt_delivery *d,
                     const struct evrt_frame_failed *f) {
    struct evrt_delivery_names names = evrt_delivery_names(d);
    struct host_trace_text ids;
    int64_t now = evrt_mono_ns();
    if (w->host->tracing != NULL) host_trace_handled(w->host, s, d, now, f);
    evrt_log_event(w->host->log, EVENT_HANDLE_FAILED, EVRT_F_STR("event_type", names.type),
                   EVRT_F_STR("event_id", names.id), EVRT_F_CSTR("handler", s->name),
                   EVRT_F_DURATION("duration", now - d->sent_ns), EVRT_F_CSTR("status", "error"),
                   EVRT_F_U64("attempt", d->attempt), EVRT_F_STR("error", f->message),
                   EVRT_F_STR("error_type", f->error_type), EVRT_F_STR("event_time", names.time),
                   EVRT_F_U64("seq", d->seq), EVRT_F_U64("generation", w->generation->number),
                   EVRT_F_STR("trace_id", host_trace_id(d, &ids)),
                   EVRT_F_STR("span_id", host_span_id(s, d, &ids)),
                   EVRT_F_STR("purpose", host_purpose(d)), EVRT_F_STR("stacktrace", f->traceback));
}

static int on_failed(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_failed f;
    if (evrt_frame_get_failed(payload, &f) < 0) return -EBADMSG;
    f.error_type = evrt_utf8_cut(f.error_type, ERROR_TYPE_MAX);
    f.message = evrt_utf8_cut(f.message, MESSAGE_MAX);
    f.traceback = evrt_utf8_cut(f.traceback, TRACEBACK_MAX);
    /* It used up its worker's memory, and the worker ends. */
    if (evrt_slice_eq(f.error_type, EVRT_STR("memory")))
        host_contain_charge(w, &f);
    else
        host_failed(w, &f, false);
    return 0;
}

/* ---- PUBLISH ---- */

/* A script's publish on its way to the disk and back. The worker may be gone by then. */
struct script_publish {
    struct evrt_host *host;
    uint32_t instance;
    uint64_t token, seq;
    uint64_t delivery; /* in which it is made; 0: none */
    bool wait;
    int64_t timeout_ms;
    int what;  /* EVRT_DUPLICATE */
    char id[]; /* of the event */
};

static void reply(struct evrt_host *h, uint32_t instance, const struct evrt_frame_published *f) {
    struct host_worker *w = host_worker_find(h, instance);
    if (w == NULL || !w->channel_open || w->channel.ended) return;
    evrt_frame_put_published(evrt_channel_out(&w->channel), f);
}

/* A delivery that waits for others counts against no limit, and not as its worker's load: or those it waits
 * for could wait for it. */
static void lend(struct evrt_host *h, uint64_t delivery, uint32_t instance, bool lent) {
    uint64_t position;
    struct host_worker *w = host_worker_find(h, instance);
    struct evrt_sub *s = delivery == 0 ? NULL : host_sub_of(h, delivery, &position);
    if (w == NULL || s == NULL || !evrt_bus_lend(h->bus, s, position, instance, lent)) return;
    w->lent += lent ? 1u : -1u;
}

static void on_settled(void *arg, unsigned pending, struct evrt_slice outcomes) {
    struct script_publish *p = arg;
    (void)pending;
    if (p->wait) lend(p->host, p->delivery, p->instance, false);
    reply(p->host, p->instance,
          &(struct evrt_frame_published){
              .token = p->token,
              .status = p->what,
              .seq = p->seq,
              .id = evrt_slice_of(p->id),
              .outcomes = outcomes,
          });
    free(p);
}

static void on_durable(void *arg, uint64_t seq) {
    struct script_publish *p = arg;
    p->seq = seq;
    if (p->wait && (p->what & EVRT_SCHEDULED) == 0)
        host_waits_add(p->host, seq, p->delivery, p->timeout_ms, on_settled, p);
    else
        on_settled(p, 0, (struct evrt_slice){NULL, 0});
}

/* A handler that waits for itself would wait for ever. */
static bool waits_for_itself(struct evrt_host *h, const struct evrt_frame_publish *f,
                             const struct evrt_event *e) {
    uint64_t position;
    const struct evrt_sub *s = host_sub_of(h, f->delivery, &position);
    const struct evrt_route *r = evrt_bus_route(h->bus, e->type);
    for (size_t i = 0; f->wait && f->delivery != 0 && i < r->count; i++)
        if (r->subs[i] == s) return true;
    return false;
}

/* The same by way of others: a handler's delivery waits for this one, and the event is of its key. */
static bool waits_for_its_key(struct evrt_host *h, const struct evrt_frame_publish *f,
                              const struct evrt_event *e) {
    uint64_t position;
    if (!f->wait || f->delivery == 0) return false;
    const struct evrt_sub *s = host_sub_of(h, f->delivery, &position);
    const struct evrt_route *r = evrt_bus_route(h->bus, e->type);
    for (size_t i = 0; i < r->count; i++) {
        const struct evrt_sub *to = r->subs[i];
        uint64_t key = to->ordered ? host_key_of(to->ordered_by, f->event) : 0;
        if (key != 0 && host_waits_on_key(h, s, position, to, key)) return true;
    }
    return false;
}

static int publish(struct host_worker *w, const struct evrt_frame_publish *f, struct evrt_event *e,
                   struct evrt_error *err) {
    struct evrt_host *h = w->host;
    struct evrt_host_scratch scratch;
    host_cause(w, f->delivery, e);
    int rc = evrt_host_complete(h, e, &scratch, err);
    if (rc == 0) rc = evrt_host_check_data(e, err);
    if (rc < 0) return rc;
    if (e->hops > h->config->bus.max_hops) {
        host_limit(h, EVRT_LIMIT_MAX_HOPS);
        evrt_error_set(err, -ELOOP,
                       "hop limit: %u publishes by handlers led here, at most %llu (bus.max_hops)",
                       e->hops, (unsigned long long)h->config->bus.max_hops);
        evrt_log_event(h->log, EVENT_HOP_LIMIT, EVRT_F_STR("event_type", e->type),
                       EVRT_F_U64("hops", e->hops), EVRT_F_CSTR("error", err->message));
        return -ELOOP;
    }
    if (waits_for_itself(h, f, e))
        return evrt_error_set(err, -EDEADLK,
                              "wait = \"handled\": the handler itself matches this event and "
                              "would wait for itself");
    if (waits_for_its_key(h, f, e))
        return evrt_error_set(
            err, -EDEADLK,
            "wait = \"handled\": a delivery that waits for this one holds the key that "
            "this event is ordered by, and both would wait for each other");
    struct script_publish *p = evrt_alloc(sizeof *p + e->id.n + 1);
    *p = (struct script_publish){h,           w->instance, f->token,      0,
                                 f->delivery, f->wait,     f->timeout_ms, 0};
    memcpy(p->id, e->id.p, e->id.n);
    p->id[e->id.n] = '\0';
    rc = host_publish(h, e, on_durable, p, err);
    if (rc < 0) {
        free(p);
        return rc;
    }
    p->what = rc; /* it is told later, never within that call */
    if (f->wait) lend(h, f->delivery, w->instance, true);
    return 0;
}

static int on_publish(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_publish f;
    struct evrt_event e;
    struct evrt_error err = {0};
    if (evrt_frame_get_publish(payload, &f) < 0) return -EBADMSG;
    if (evrt_event_decode(f.event.p, f.event.n, &e) < 0) return -EBADMSG;
    int rc = publish(w, &f, &e, &err);
    if (rc < 0)
        reply(w->host, w->instance,
              &(struct evrt_frame_published){
                  .token = f.token,
                  .status = rc,
                  .message = evrt_slice_of(err.message),
              });
    return 0;
}

/* ---- LOG ---- */

static int on_log(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_host *h = w->host;
    struct evrt_frame_log f;
    if (evrt_frame_get_log(payload, &f) < 0 || f.level > EVRT_LOG_ERROR) return -EBADMSG;
    if (!evrt_log_enabled(h->log, f.level)) return 0;
    char caller[256];
    snprintf(caller, sizeof caller, "%.*s", (int)f.caller.n, f.caller.p);
    uint64_t position;
    const struct evrt_sub *s = f.delivery == 0 ? NULL : host_sub_of(h, f.delivery, &position);
    const struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_in_flight(s, position, w->instance);
    struct host_trace_text ids;
    struct evrt_log_field fields[7];
    size_t count = 0;
    if (s != NULL) fields[count++] = EVRT_F_CSTR("handler", s->name);
    if (d != NULL) {
        struct evrt_delivery_names names = evrt_delivery_names(d);
        fields[count++] = EVRT_F_STR("event_type", names.type);
        fields[count++] = EVRT_F_STR("event_id", names.id);
        fields[count++] = EVRT_F_U64("seq", d->seq);
        fields[count++] = EVRT_F_STR("trace_id", host_trace_id(d, &ids));
        fields[count++] = EVRT_F_STR("span_id", host_span_id(s, d, &ids));
    }
    if (f.fields.n != 0) fields[count++] = EVRT_F_MEMBERS(f.fields);
    evrt_log_write(h->log, f.level, caller, f.message, fields, count);
    return 0;
}

/* ---- NOTE ---- */

static int on_note(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_host *h = w->host;
    struct evrt_frame_note f;
    uint64_t position;
    if (evrt_frame_get_note(payload, &f) < 0) return -EBADMSG;
    const struct evrt_sub *s = host_sub_of(h, f.delivery, &position);
    const struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_in_flight(s, position, w->instance);
    bool kept = d != NULL && !(evrt_sub_is_aside(position) && d->purpose == EVRT_PURPOSE_REPLAY);
    if (kept) host_note(h, s->id, d->seq, d->attempt, f.text);
    return 0;
}

/* ---- LIMIT ---- */

static int on_limit(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_limit f;
    if (evrt_frame_get_limit(payload, &f) < 0) return -EBADMSG;
    enum evrt_limit_id limit = evrt_limit_find(f.key);
    if (limit == EVRT_LIMIT_COUNT) return -EBADMSG;
    host_limit(w->host, limit);
    return 0;
}

/* ---- SPAN ---- */

static int on_span(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_host *h = w->host;
    struct evrt_frame_span f;
    uint64_t position;
    if (evrt_frame_get_span(payload, &f) < 0) return -EBADMSG;
    const struct evrt_sub *s = host_sub_of(h, f.delivery, &position);
    const struct evrt_delivery *d = s == NULL ? NULL : evrt_sub_in_flight(s, position, w->instance);
    if (d != NULL && h->tracing != NULL) host_trace_script(h, s, d, &f);
    return 0;
}

/* ---- READY, REFUSED, DRAINED ---- */

static int on_ready(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_host *h = w->host;
    if (w->state != HOST_WORKER_LOADING) return -EPROTO;
    int rc = host_generation_declared(w, payload);
    if (rc < 0) return rc;
    w->state = HOST_WORKER_READY;
    host_gentle_end(w);
    host_contain_ready(w);
    if (w->died_ns != 0)
        evrt_log_event(h->log, WORKER_REPLACED, EVRT_F_U64("worker", w->slot),
                       EVRT_F_I64("worker_pid", w->pid),
                       EVRT_F_U64("generation", w->generation->number),
                       EVRT_F_DURATION("duration", evrt_mono_ns() - w->died_ns));
    host_progress(h);
    return 0;
}

static void take_refusal(void *arg, const struct evrt_error *err) {
    struct host_worker *w = arg;
    if (w->generation->state == HOST_GENERATION_LOADING)
        host_generation_refuse(w->generation, err);
    else
        evrt_log_event(w->host->log, SCRIPTS_REFUSED, EVRT_F_CSTR("file", err->file),
                       EVRT_F_I64("line", err->line), EVRT_F_CSTR("error", err->message),
                       EVRT_F_U64("generation", w->generation->number));
}

static int on_refused(struct host_worker *w, struct evrt_slice payload) {
    evrt_scripts_refused(payload, take_refusal, w, NULL);
    snprintf(w->reason, sizeof w->reason, "refused the scripts");
    host_reload_progress(w->host);
    return 0;
}

static int on_drained(struct host_worker *w, struct evrt_slice payload) {
    (void)payload;
    if (w->told) host_gentle_start(w);
    return w->told ? 0 : -EPROTO;
}

static int (*const says[])(struct host_worker *w, struct evrt_slice payload) = {
    [EVRT_FRAME_READY] = on_ready,
    [EVRT_FRAME_REFUSED] = on_refused,
    [EVRT_FRAME_DONE] = on_done,
    [EVRT_FRAME_FAILED] = on_failed,
    [EVRT_FRAME_PUBLISH] = on_publish,
    [EVRT_FRAME_LOG] = on_log,
    [EVRT_FRAME_DRAINED] = on_drained,
    [EVRT_FRAME_SHARE] = host_share_says,
    [EVRT_FRAME_NOTE] = on_note,
    [EVRT_FRAME_LIMIT] = on_limit,
    [EVRT_FRAME_SPAN] = on_span,
    [EVRT_FRAME_METRIC] = host_meter_defines,
    [EVRT_FRAME_METRIC_SERIES] = host_meter_series,
    [EVRT_FRAME_METRIC_COUNTS] = host_meter_counts,
    [EVRT_FRAME_READ] = host_kv_reads,
    [EVRT_FRAME_WRITE] = host_kv_writes,
    [EVRT_FRAME_QUERY] = host_script_queries,
    [EVRT_FRAME_EFFECTS] = host_kv_effects,
};

int64_t host_worker_says(struct host_worker *w, struct evrt_slice bytes) {
    struct evrt_frame frame;
    size_t at = 0;
    for (;;) {
        struct evrt_slice rest = {bytes.p + at, bytes.n - at};
        int64_t n = evrt_frame_take(rest, '<', &frame);
        if (n < 0) return n;
        if (n == 0) return (int64_t)at;
        at += (size_t)n;
        host_meter_frame(w->host, frame.type, (size_t)n);
        int rc = says[frame.type](w, frame.payload);
        if (rc < 0) return rc;
    }
}
