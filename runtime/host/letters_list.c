/* Dead letters for people: listed and shown from state.db, after a barrier, with their events when these are
 * asked for; and given up by an operator. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"
#include "core/trace_context.h"
#include "host/fetch.h"
#include "host/letters.h"
#include "host/node.h"

enum {
    BUDGET_MS = 100,       /* of the state thread, for a page */
    FULL_BYTES = 16 << 20, /* of a page with events: it ends there */
    DELETE_PAGE = 1000,
};

struct row {
    uint32_t sub;
    uint64_t seq, n;
    size_t at, bytes; /* of its members */
};

struct listing {
    struct evrt_host *host;
    struct evrt_state_letters which;
    char *type;
    bool full;    /* with events, histories and tracebacks */
    uint64_t seq; /* one alone; 0: a page */
    struct evrt_buf rows, text, json;
    struct evrt_jsonout out; /* to json */
    size_t at;               /* rows below are in it */
    struct evrt_state_letters_end end;
    int rc;
    evrt_host_json_cb cb;
    void *arg;
};

/* ---- On the state thread ---- */

static void put_attempt(struct evrt_jsonout *o, const struct evrt_record_attempt *a) {
    char script[24];
    snprintf(script, sizeof script, "%016llx", (unsigned long long)a->script);
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "attempt", a->attempt);
    evrt_jsonout_put_time(o, "at", a->at_ms);
    host_error_json(o, a->error_type, a->message, (struct evrt_slice){NULL, 0});
    evrt_jsonout_put_u64(o, "generation", a->generation);
    evrt_jsonout_put_str(o, "script", evrt_slice_of(script));
    evrt_jsonout_end(o);
}

/* Attempts before the last, and the last; one that was never made is no attempt. */
static void put_history(struct evrt_jsonout *o, const struct evrt_state_letter *l) {
    const struct evrt_record_dead *d = &l->dead;
    struct evrt_record_attempt a;
    evrt_jsonout_key(o, "history");
    evrt_jsonout_array(o);
    for (size_t at = 0; evrt_history_next(l->history, &at, &a) == 1;)
        put_attempt(o, &a);
    if (d->reason != EVRT_DEAD_ORPHANED)
        put_attempt(o, &(struct evrt_record_attempt){d->attempt, d->at_ms, d->generation, d->script,
                                                     d->error_type, d->message});
    evrt_jsonout_end(o);
}

static void note(void *arg, const struct evrt_state_letter *l) {
    struct listing *to = arg;
    const struct evrt_record_dead *d = &l->dead;
    struct row row = {l->sub, d->seq, l->n, to->text.n, 0};
    struct evrt_jsonout o = evrt_jsonout_start(&to->text);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_u64(&o, "seq", d->seq);
    evrt_jsonout_put_str(&o, "type", d->type);
    evrt_jsonout_put_str(&o, "event_id", d->id);
    evrt_jsonout_put_str(&o, "reason", evrt_slice_of(evrt_dead_reason_name(d->reason)));
    evrt_jsonout_put_u64(&o, "attempts", d->attempt);
    host_error_json(&o, d->error_type, d->message,
                    to->full ? d->traceback : (struct evrt_slice){NULL, 0});
    evrt_jsonout_put_time(&o, "dead_at", d->at_ms);
    evrt_jsonout_put_time(&o, "first_failed", d->first_failed_ms);
    if (to->full) put_history(&o, l);
    evrt_jsonout_end(&o);
    row.bytes = to->text.n - row.at;
    evrt_buf_put(&to->rows, &row, sizeof row);
}

static void list_job(struct evrt_state_view *view, void *arg) {
    struct listing *l = arg;
    l->rc = l->seq != 0 ? evrt_state_letter(view, l->which.sub, l->seq, note, l)
                        : evrt_state_letters(view, &l->which, note, l, &l->end);
    if (l->rc == 0 && l->seq != 0 && l->rows.n == 0) l->rc = -ENOENT;
}

/* ---- On the loop ---- */

static void put_event(struct evrt_jsonout *o, struct evrt_slice bytes) {
    struct evrt_event e;
    struct evrt_event_trace trace;
    char id[EVRT_TRACE_ID_SIZE];
    bool known = bytes.n != 0 && evrt_event_decode(bytes.p, bytes.n, &e) == 0;
    if (known) evrt_event_trace(bytes.p, 0, &trace);
    evrt_jsonout_put_cstr(o, "trace_id",
                          known ? evrt_trace_id_format(trace.context.high, trace.context.low, id)
                                : NULL);
    evrt_jsonout_key(o, "event");
    if (known)
        host_event_json(o, &e);
    else
        evrt_jsonout_null(o);
}

static void put_row(struct listing *l, const struct row *row, struct evrt_slice event) {
    const struct evrt_sub *s = evrt_bus_by_id(l->host->bus, row->sub);
    struct evrt_jsonout *o = &l->out;
    char id[HOST_DELIVERY_ID_SIZE];
    if (s == NULL) return; /* forgotten meanwhile */
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "id", host_delivery_id(row->sub, row->seq, id));
    evrt_jsonout_put_str(o, "handler", evrt_slice_of(s->name));
    evrt_jsonout_put_str(o, "state",
                         host_letters_held(l->host, row->sub, row->seq) != NULL
                             ? EVRT_STR("reprocessing")
                         : s->active ? EVRT_STR("dead")
                                     : EVRT_STR("orphaned"));
    evrt_buf_putc(&l->json, ','); /* the members, and the object's end */
    evrt_buf_put(&l->json, l->text.p + row->at + 1, row->bytes - 2);
    if (l->full) put_event(o, event);
    evrt_jsonout_end(o);
}

static const struct row *rows_of(const struct listing *l, size_t *count) {
    *count = l->rows.n / sizeof(struct row);
    return (const struct row *)(const void *)l->rows.p;
}

static void begin(struct listing *l) {
    l->out = evrt_jsonout_start(&l->json);
    if (l->seq != 0) return;
    evrt_jsonout_object(&l->out);
    evrt_jsonout_key(&l->out, "items");
    evrt_jsonout_array(&l->out);
}

static void end(struct listing *l) {
    size_t count;
    const struct row *rows = rows_of(l, &count);
    char next[24];
    if (l->seq != 0) return;
    evrt_jsonout_end(&l->out);
    evrt_jsonout_key(&l->out, "next");
    bool cut = l->at < count;
    snprintf(next, sizeof next, "%llu", (unsigned long long)(cut ? rows[l->at - 1].n : l->end.at));
    evrt_jsonout_cstr(&l->out, cut || l->end.more ? next : NULL);
    evrt_jsonout_end(&l->out);
}

static void finish(struct listing *l) {
    const char *why = l->rc == -ENOENT
                          ? "no such dead letter: it was handled or deleted, or never was one"
                      : l->rc == -ENOSPC ? "state.db has no space; try again"
                                         : "state.db cannot be read";
    if (l->rc == 0) end(l);
    if (l->rc == 0 && l->json.n == 0) l->rc = -ENOENT;
    l->cb(l->arg, l->rc, l->rc == 0 ? evrt_buf_slice(&l->json) : evrt_slice_of(why));
    evrt_buf_finish(&l->rows);
    evrt_buf_finish(&l->text);
    evrt_buf_finish(&l->json);
    free(l->type);
    free(l);
}

static void put_rows(struct listing *l);

/* As far as they were read, and then the others. */
static void on_fetched(void *arg, const struct host_fetch *f) {
    struct listing *l = arg;
    size_t count;
    const struct row *rows = rows_of(l, &count);
    l->rc = f->rc;
    for (; l->rc == 0 && l->at < count && l->json.n < FULL_BYTES; l->at++) {
        const struct host_fetch_item *item = host_fetch_find(f, rows[l->at].sub, rows[l->at].seq);
        if (item->left) break;
        put_row(l, &rows[l->at], host_fetched(f, (size_t)(item - f->items)));
    }
    put_rows(l);
}

static void put_rows(struct listing *l) {
    size_t count;
    const struct row *rows = rows_of(l, &count);
    for (; l->rc == 0 && !l->full && l->at < count && l->json.n < FULL_BYTES; l->at++)
        put_row(l, &rows[l->at], (struct evrt_slice){NULL, 0});
    if (l->rc < 0 || l->at == count || l->json.n >= FULL_BYTES) {
        finish(l);
        return;
    }
    struct host_fetch_item *items = evrt_alloc((count - l->at) * sizeof *items);
    for (size_t i = l->at; i < count; i++)
        items[i - l->at] = (struct host_fetch_item){.sub = rows[i].sub, .seq = rows[i].seq};
    host_fetch(l->host, items, count - l->at, on_fetched, l);
}

static void on_listed(void *arg) {
    struct listing *l = arg;
    begin(l);
    put_rows(l);
}

/* ---- What is asked for ---- */

int evrt_host_letters_check(struct evrt_host *h, const struct evrt_host_letter_filter *f,
                            struct evrt_error *err) {
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    if (f->handler.p != NULL && evrt_bus_find(h->bus, f->handler) == NULL)
        return evrt_error_set(err, -ENOENT, "no handler named \"%.*s\"", (int)f->handler.n,
                              f->handler.p);
    if (f->type.p != NULL && (f->type.n == 0 || evrt_pattern_check(f->type) != f->type.n))
        return evrt_error_set(err, -EINVAL,
                              "type: expected a pattern, as order.created or order.*");
    if (f->reason.p != NULL && evrt_dead_reason_of(f->reason) < 0)
        return evrt_error_set(
            err, -EINVAL,
            "reason: expected exhausted, rejected, crashed, declined, orphaned or "
            "unknown");
    return 0;
}

static struct evrt_state_letters which_of(struct evrt_host *h,
                                          const struct evrt_host_letter_filter *f) {
    const struct evrt_sub *s = f->handler.p == NULL ? NULL : evrt_bus_find(h->bus, f->handler);
    return (struct evrt_state_letters){
        .sub = s == NULL ? 0 : s->id,
        .reason = f->reason.p == NULL ? -1 : evrt_dead_reason_of(f->reason),
        .type = f->type,
        .from_ms = f->from_ms,
        .to_ms = f->to_ms,
        .budget_ms = BUDGET_MS,
    };
}

void evrt_host_letters(struct evrt_host *h, const struct evrt_host_letters *q, evrt_host_json_cb cb,
                       void *arg) {
    struct evrt_error err;
    int rc = evrt_host_letters_check(h, &q->which, &err);
    if (rc < 0) {
        cb(arg, rc, evrt_slice_of(err.message));
        return;
    }
    struct listing *l = evrt_zalloc(sizeof *l);
    *l = (struct listing){
        .host = h, .which = which_of(h, &q->which), .full = q->full, .cb = cb, .arg = arg};
    if (q->which.type.p != NULL) {
        l->type = evrt_strndup(q->which.type.p, q->which.type.n);
        l->which.type.p = l->type;
    }
    l->which.after = q->after;
    l->which.limit = q->limit;
    host_ask_settled(h, list_job, on_listed, l, &l->rc);
}

void evrt_host_letter(struct evrt_host *h, uint32_t sub, uint64_t seq, evrt_host_json_cb cb,
                      void *arg) {
    if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    struct listing *l = evrt_zalloc(sizeof *l);
    *l = (struct listing){
        .host = h, .which = {.sub = sub}, .full = true, .seq = seq, .cb = cb, .arg = arg};
    host_ask_settled(h, list_job, on_listed, l, &l->rc);
}

/* ---- Giving up ---- */

struct deleting {
    struct evrt_host *host;
    struct evrt_state_letters which;
    char *type;
    uint64_t seq, count, held;
    int rc;
    void (*done)(void *arg, int status, uint64_t count, uint64_t held);
    void *arg;
};

static void on_durable(void *arg, uint64_t unused) {
    struct deleting *d = arg;
    (void)unused;
    if (d->count != 0) {
        d->host->letters_dropped += d->count;
        evrt_log_event(d->host->log, DEAD_GONE, EVRT_F_U64("count", d->count),
                       EVRT_F_CSTR("reason", "operator"));
    }
    d->done(d->arg, d->rc, d->count, d->held);
    free(d->type);
    free(d);
}

static void on_chosen(void *arg, const struct host_letters_chosen *c) {
    struct deleting *d = arg;
    d->rc = c->rc;
    if (d->host->phase >= HOST_CLOSING) d->rc = -ESHUTDOWN;
    for (size_t i = 0; d->rc == 0 && i < c->count; i++)
        d->count += host_letters_drop(d->host, &c->letters[i]);
    d->held += c->held;
    d->which.after = c->end.at;
    if (d->rc == 0 && d->seq == 0 && c->end.more)
        host_letters_choose(d->host, &d->which, 0, on_chosen, d);
    else
        host_barrier(d->host, on_durable, d);
}

int evrt_host_letters_delete(struct evrt_host *h, const struct evrt_host_letter_filter *f,
                             uint32_t sub, uint64_t seq,
                             void (*done)(void *arg, int status, uint64_t count, uint64_t held),
                             void *arg, struct evrt_error *err) {
    int rc = evrt_host_letters_check(h, f, err);
    if (rc < 0) return rc;
    struct deleting *d = evrt_zalloc(sizeof *d);
    *d =
        (struct deleting){.host = h, .which = which_of(h, f), .seq = seq, .done = done, .arg = arg};
    if (f->type.p != NULL) {
        d->type = evrt_strndup(f->type.p, f->type.n);
        d->which.type.p = d->type;
    }
    d->which.limit = DELETE_PAGE;
    if (seq != 0) d->which.sub = sub;
    host_letters_choose(h, &d->which, seq, on_chosen, d);
    return 0;
}
