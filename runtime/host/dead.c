/* A delivery dies: it becomes a dead letter in the record that settles it, and whoever asked for it is told.
 *
 *     host_dead ─▶ the event evrt.dead_letter, when a handler wants it ─▶ journal ┐ at the latest
 *               └▶ entry of the next SETTLE record ──────────────────────▶ journal ┘ in this group
 *
 * The event comes first: a crash between the two has the delivery made, and told, once more; never is one dead
 * and not told. What handlers of evrt.* fail with is not told, so that none is told of itself.
 *
 *     host_dead ─▶ a notice ─the letter is durable─▶ its event is read ─▶ on_dead_letter, once at most
 *
 * A crash before it is durable has the delivery made once more, and nobody was told. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "host/fetch.h"
#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"

enum {
    NOTICES_MAX = 1000,       /* whose letters are being written and events read */
    WAITING_MAX = 10000,      /* of one handler's, that wait for its credit beside its jobs, */
    WAITING_BYTES = 32 << 20, /* and of their events */
};

static const struct evrt_slice told_type = EVRT_STR("evrt.dead_letter");

uint64_t host_script_of(const struct host_generation *g, const struct evrt_sub *s) {
    const struct evrt_scripts *scripts = &g->scripts;
    if (s->handler < scripts->count && strcmp(scripts->handlers[s->handler].name, s->name) == 0)
        return scripts->handlers[s->handler].script;
    for (size_t i = 0; i < scripts->count; i++)
        if (strcmp(scripts->handlers[i].name, s->name) == 0) return scripts->handlers[i].script;
    return 0;
}

/* ---- The event evrt.dead_letter ---- */

static void describe(struct evrt_buf *out, const struct host_dead *d) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    char id[HOST_DELIVERY_ID_SIZE];
    evrt_jsonout_object(&o);
    evrt_jsonout_put_cstr(&o, "id", host_delivery_id(d->sub->id, d->seq, id));
    evrt_jsonout_put_str(&o, "handler", evrt_slice_of(d->sub->name));
    evrt_jsonout_put_str(&o, "reason", evrt_slice_of(evrt_dead_reason_name(d->reason)));
    evrt_jsonout_put_u64(&o, "attempts", d->attempt);
    host_error_json(&o, d->error_type, d->message, (struct evrt_slice){NULL, 0});
    evrt_jsonout_key(&o, "event");
    evrt_jsonout_object(&o);
    evrt_jsonout_put_str(&o, "id", d->id);
    evrt_jsonout_put_str(&o, "type", d->type);
    evrt_jsonout_put_u64(&o, "seq", d->seq);
    evrt_jsonout_end(&o);
    evrt_jsonout_end(&o);
}

static void tell(struct evrt_host *h, const struct host_dead *d) {
    if (evrt_type_own(d->type) || evrt_bus_route(h->bus, told_type)->count == 0) return;
    struct evrt_error err = {0};
    struct evrt_host_scratch scratch;
    struct evrt_buf data;
    evrt_buf_init(&data);
    describe(&data, d);
    struct evrt_event e = {
        .type = told_type,
        .data = evrt_buf_slice(&data),
        .flags = EVRT_EVENT_JSON | EVRT_EVENT_HAS_DATA,
        .hops = d->hops < UINT8_MAX ? (uint8_t)(d->hops + 1) : UINT8_MAX,
        .cause_seq = d->seq,
        .cause_handler = d->sub->id,
    };
    int rc = 0;
    if (e.hops > h->config->bus.max_hops)
        rc = evrt_error_set(&err, -ELOOP,
                            "hop limit (bus.max_hops): handlers of evrt.dead_letter "
                            "lead to dead letters in a circle");
    if (rc == 0) rc = host_complete(h, &e, &scratch, &err);
    if (rc == 0) rc = host_publish(h, &e, NULL, NULL, &err);
    if (rc < 0)
        evrt_log_event(h->log, DEAD_NOTICE_FAILED, EVRT_F_CSTR("handler", d->sub->name),
                       EVRT_F_STR("event_type", d->type), EVRT_F_STR("event_id", d->id),
                       EVRT_F_U64("seq", d->seq), EVRT_F_CSTR("error", err.message));
    evrt_buf_finish(&data);
}

/* ---- on_dead_letter: told at most once, and what it does changes nothing ---- */

struct host_notice {
    struct evrt_host *host;
    struct host_notice *next;
    uint32_t sub;
    uint16_t attempt;
    uint64_t seq;
    struct evrt_buf info;
};

static void drop(struct host_notice *n) {
    n->host->notices--;
    evrt_buf_finish(&n->info);
    free(n);
}

/* They come as fast as the handler fails, and go as fast as its on_dead_letter is. */
static bool has_room(const struct evrt_host *h, const struct evrt_sub *s, struct evrt_slice event) {
    if (s->aside_live < WAITING_MAX && s->own_bytes < WAITING_BYTES) return true;
    evrt_log_event(h->log, DEAD_NOTICE_FAILED, EVRT_F_CSTR("handler", s->name),
                   EVRT_F_STR("event_type", evrt_event_field(event.p, EVRT_FIELD_TYPE)),
                   EVRT_F_STR("event_id", evrt_event_field(event.p, EVRT_FIELD_ID)),
                   EVRT_F_U64("seq", evrt_event_seq(event.p)),
                   EVRT_F_CSTR("error", "too many wait"));
    return false;
}

static void on_fetched(void *arg, const struct host_fetch *f) {
    struct host_notice *n = arg;
    struct evrt_host *h = n->host;
    struct evrt_sub *s = evrt_bus_by_id(h->bus, n->sub);
    if (s != NULL && s->active && f->rc == 0 && f->items[0].n != 0 && h->phase == HOST_SERVING &&
        has_room(h, s, host_fetched(f, 0))) {
        evrt_bus_aside(h->bus, s,
                       &(struct evrt_aside){.purpose = EVRT_PURPOSE_NOTICE,
                                            .attempt = n->attempt,
                                            .event = host_fetched(f, 0),
                                            .info = evrt_buf_slice(&n->info)});
        uv_async_send(&h->wake);
    }
    drop(n);
}

static void on_durable(void *arg, uint64_t unused) {
    (void)unused;
    for (struct host_notice *n = arg, *next; n != NULL; n = next) {
        next = n->next;
        if (n->host->phase != HOST_SERVING) {
            drop(n);
            continue;
        }
        struct host_fetch_item *item = evrt_zalloc(sizeof *item);
        *item = (struct host_fetch_item){.sub = n->sub, .seq = n->seq};
        host_fetch(n->host, item, 1, on_fetched, n);
    }
}

void host_notices_turn(struct evrt_host *h) {
    struct host_notice *first = NULL;
    if (h->noticed == NULL) return;
    for (struct host_notice *n; (n = h->noticed) != NULL;) { /* the newest is the first */
        h->noticed = n->next;
        n->next = first;
        first = n;
    }
    if (h->appended == h->committed)
        on_durable(first, 0);
    else
        host_waiters_push(&h->barriers, (struct host_waiter){h->appended, 0, on_durable, first});
}

void host_notices_drop(struct evrt_host *h) {
    for (struct host_waiters *w = &h->barriers; w->head < w->tail; w->head++) {
        const struct host_waiter *waiter = &w->ring[w->head & w->mask];
        if (waiter->cb == on_durable) on_durable(waiter->arg, 0); /* it serves no more */
    }
}

static void notify(struct evrt_host *h, const struct host_dead *d) {
    const struct evrt_sub *s = d->sub;
    if (!s->active || h->phase != HOST_SERVING) return;
    if (!h->serving->scripts.handlers[s->handler].on_dead_letter) return;
    if (h->notices >= NOTICES_MAX) {
        evrt_log_event(h->log, DEAD_NOTICE_FAILED, EVRT_F_CSTR("handler", s->name),
                       EVRT_F_STR("event_type", d->type), EVRT_F_STR("event_id", d->id),
                       EVRT_F_U64("seq", d->seq), EVRT_F_CSTR("error", "too many at once"));
        return;
    }
    struct host_notice *n = evrt_zalloc(sizeof *n);
    *n = (struct host_notice){.host = h,
                              .next = h->noticed,
                              .sub = s->id,
                              .attempt = (uint16_t)d->attempt,
                              .seq = d->seq};
    describe(&n->info, d);
    h->noticed = n;
    h->notices++;
}

/* For `evrt why`, which looks for what it published until it finds this. */
static void note_told(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                      const struct evrt_frame_failed *f) {
    struct evrt_buf text = {0};
    evrt_buf_puts(&text, f == NULL ? "on_dead_letter: done" : "on_dead_letter: failed: ");
    if (f != NULL) evrt_buf_put(&text, f->message.p, f->message.n);
    host_note(h, s->id, d->seq, d->attempt, evrt_buf_slice(&text));
    evrt_buf_finish(&text);
}

void host_notice_ended(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                       const struct evrt_frame_failed *f) {
    struct evrt_delivery_names names = evrt_delivery_names(d);
    note_told(h, s, d, f);
    if (f == NULL) return;
    evrt_log_event(h->log, DEAD_NOTICE_FAILED, EVRT_F_CSTR("handler", s->name),
                   EVRT_F_STR("event_type", names.type), EVRT_F_STR("event_id", names.id),
                   EVRT_F_U64("seq", d->seq), EVRT_F_STR("error", f->message));
}

void host_notices_gone(struct host_worker *w) {
    static const struct evrt_frame_failed gone = {
        .error_type = EVRT_STR("cancelled"),
        .message = EVRT_STR("its worker ended before it returned, or before it began"),
    };
    struct evrt_host *h = w->host;
    for (size_t i = 0; h->bus != NULL && i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        const struct evrt_delivery *at;
        struct evrt_delivery d;
        while ((at = evrt_sub_aside_at(s, EVRT_PURPOSE_NOTICE, w->instance)) != NULL) {
            int rc = evrt_bus_end(h->bus, s, at->position, w->instance, EVRT_OUTCOME_DEAD, &d);
            assert(rc == 0); /* it is in flight */
            host_notice_ended(h, s, &d, &gone);
        }
    }
}

/* ---- The letter ---- */

void host_dead(struct evrt_host *h, const struct host_dead *d) {
    int64_t now = evrt_wall_ms();
    tell(h, d);
    evrt_dead_put(&d->sub->dead_list,
                  &(struct evrt_record_dead){
                      .seq = d->seq,
                      .attempt = d->unmade ? 0 : d->attempt,
                      .at_ms = now,
                      .error_type = d->error_type,
                      .message = d->message,
                      .traceback = d->traceback,
                      .reason = (uint8_t)d->reason,
                      .first_failed_ms = d->first_failed_ms != 0 ? d->first_failed_ms : now,
                      .generation = d->generation,
                      .script = d->script,
                      .type = d->type,
                      .id = d->id,
                  });
    evrt_log_event(h->log, EVENT_DEAD, EVRT_F_STR("event_type", d->type),
                   EVRT_F_STR("event_id", d->id), EVRT_F_CSTR("handler", d->sub->name),
                   EVRT_F_U64("attempt", d->attempt),
                   EVRT_F_CSTR("reason", evrt_dead_reason_name(d->reason)),
                   EVRT_F_STR("error", d->message), EVRT_F_STR("error_type", d->error_type),
                   EVRT_F_STR("event_time", d->time), EVRT_F_U64("seq", d->seq),
                   EVRT_F_STR("trace_id", d->trace_id), EVRT_F_STR("span_id", d->span_id));
    notify(h, d);
}
