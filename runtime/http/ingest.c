/* See ingest.h. POST /events: envelope ─▶ evrt_host_publish ─▶ (commit) ─▶ answer. An answer of 202
 * means that the event is as durable as the answer says; a refused event has left no trace. */
#include "http/ingest.h"

#include <errno.h>
#include <stdlib.h>

#include "config/config.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "core/units.h"
#include "host/host.h"
#include "http/request.h"
#include "http/uri.h"
#include "telemetry/log_events.h"
#include "telemetry/metrics_table.h"

/* ---- Refusals ---- */

static enum evrt_refusal refusal_of(int rc) {
    return rc == -EINVAL ? EVRT_REFUSE_BAD_EVENT : evrt_refusal_of(rc);
}

static void refuse(struct evrt_http_request *r, int rc, const struct evrt_error *err) {
    evrt_request_fail(r, refusal_of(rc), "%s", err->message);
}

/* ---- Answers ---- */

static struct evrt_slice item_text(const struct evrt_http_item *item) {
    return (struct evrt_slice){item->request->text.p + item->text, item->text_n};
}

/* "id":..,"seq":..,"durability":..,"duplicate":true?; of one for later "seq":null,"scheduled":"ID" */
static void put_accepted(struct evrt_http_request *r, const struct evrt_http_item *item) {
    evrt_buf_puts(&r->out, "\"id\":");
    evrt_json_quote(&r->out, item_text(item));
    bool later = (item->what & EVRT_SCHEDULED) != 0;
    evrt_buf_puts(&r->out, later ? ",\"seq\":null,\"scheduled\":\"" : ",\"seq\":");
    evrt_buf_put_u64(&r->out, item->seq);
    evrt_buf_puts(&r->out, later ? "\",\"durability\":\"" : ",\"durability\":\"");
    evrt_buf_puts(&r->out, evrt_host_durability(evrt_request_host(r)));
    evrt_buf_puts(&r->out, item->what & EVRT_DUPLICATE ? "\",\"duplicate\":true" : "\"");
}

static void answer_one(struct evrt_http_request *r) {
    evrt_buf_putc(&r->out, '{');
    put_accepted(r, &r->one);
    evrt_buf_puts(&r->out, "}\n");
    evrt_request_answer(r, 202);
}

static void answer_settled(struct evrt_http_request *r, bool known, unsigned pending,
                           struct evrt_slice outcomes) {
    evrt_buf_putc(&r->out, '{');
    put_accepted(r, &r->one);
    evrt_buf_puts(&r->out, ",\"pending\":");
    if (known)
        evrt_buf_put_u64(&r->out, pending);
    else
        evrt_buf_puts(&r->out, "null");
    evrt_buf_puts(&r->out, ",\"handlers\":");
    evrt_buf_put(&r->out, outcomes.p, outcomes.n);
    evrt_buf_puts(&r->out, "}\n");
    evrt_request_answer(r, known && pending == 0 ? 200 : 202);
}

static void on_settled(void *arg, unsigned pending, struct evrt_slice outcomes) {
    struct evrt_http_request *r = arg;
    r->wait = NULL;
    r->cancel = NULL;
    answer_settled(r, pending != EVRT_PENDING_UNKNOWN, pending, outcomes);
    evrt_request_release(r);
}

/* The node stops: the event is durable, what becomes of it is not known here any more. */
static void cancel_wait(struct evrt_http_request *r) {
    evrt_host_wait_cancel(r->wait);
    r->wait = NULL;
    r->cancel = NULL;
    answer_settled(r, false, 0, EVRT_STR("[]"));
    evrt_request_release(r);
}

static void start_wait(struct evrt_http_request *r) {
    evrt_request_hold(r);
    struct evrt_host_wait *wait =
        evrt_host_wait_settled(evrt_request_host(r), r->one.seq, r->wait_ms, on_settled, r);
    if (r->status != 0) return; /* told already */
    r->wait = wait;
    r->cancel = cancel_wait;
}

static unsigned item_status(const struct evrt_http_item *item) {
    return item->refusal == NULL ? 202 : item->refusal->status;
}

static size_t accepted_items(const struct evrt_http_request *r) {
    size_t accepted = 0;
    for (size_t i = 0; i < r->item_count; i++)
        accepted += r->items[i].refusal == NULL;
    return accepted;
}

/* 202 when all were accepted, 207 when some; when none, what they have in common, else 400. */
static unsigned batch_status(const struct evrt_http_request *r, size_t accepted) {
    unsigned common = r->item_count == 0 ? 202 : item_status(&r->items[0]);
    for (size_t i = 0; i < r->item_count; i++)
        if (item_status(&r->items[i]) != common) common = 400;
    return accepted > 0 && accepted < r->item_count ? 207 : common;
}

/* The longest of those with this status. */
static unsigned batch_retry_after(const struct evrt_http_request *r, unsigned status) {
    unsigned most = 0;
    for (size_t i = 0; i < r->item_count; i++) {
        const struct evrt_refusal_answer *why = r->items[i].refusal;
        if (why != NULL && why->status == status && why->retry_after > most)
            most = why->retry_after;
    }
    return most;
}

static void answer_batch(struct evrt_http_request *r) {
    size_t accepted = accepted_items(r);
    evrt_log_event(evrt_host_log(evrt_request_host(r)), BATCH_COMPLETED,
                   EVRT_F_U64("events", r->item_count), EVRT_F_U64("accepted", accepted),
                   EVRT_F_U64("refused", r->item_count - accepted),
                   EVRT_F_DURATION("duration", evrt_mono_ns() - r->batch_ns));
    evrt_buf_room(&r->out, r->item_count * 128);
    evrt_buf_putc(&r->out, '[');
    for (size_t i = 0; i < r->item_count; i++) {
        const struct evrt_http_item *item = &r->items[i];
        evrt_buf_puts(&r->out, i == 0 ? "{\"status\":" : ",\n{\"status\":");
        evrt_buf_put_u64(&r->out, item_status(item));
        evrt_buf_putc(&r->out, ',');
        if (item->refusal == NULL) {
            put_accepted(r, item);
            evrt_buf_putc(&r->out, '}');
            continue;
        }
        size_t at = r->out.n;
        evrt_request_error_json(&r->out, item->refusal->code, item_text(item));
        memmove(r->out.p + at, r->out.p + at + 1, r->out.n - at - 1); /* one object, not two */
        r->out.n--;
    }
    evrt_buf_puts(&r->out, "]\n");
    unsigned status = batch_status(r, accepted);
    r->retry_after = batch_retry_after(r, status);
    evrt_request_answer(r, status);
}

static void all_durable(struct evrt_http_request *r) {
    if (r->connection == NULL) return; /* nobody to tell */
    if (r->item_count > 0)
        answer_batch(r);
    else if (r->wait_ms >= 0 && (r->one.what & EVRT_SCHEDULED) == 0)
        start_wait(r);
    else
        answer_one(r);
}

static void on_durable(void *arg, uint64_t seq) {
    struct evrt_http_item *item = arg;
    struct evrt_http_request *r = item->request;
    item->seq = seq;
    if (--r->waiting == 0) all_durable(r);
    evrt_request_release(r);
}

/* ---- Publishing ---- */

/* Journals what the envelope holds. The item keeps the id, for the answer. */
static int publish(struct evrt_http_request *r, struct evrt_http_item *item,
                   struct evrt_error *err) {
    struct evrt_host *host = evrt_request_host(r);
    struct evrt_host_scratch scratch;
    struct evrt_event *e = &r->envelope.event;
    uint64_t most = evrt_request_config(r)->http.max_event_size;
    int rc = evrt_host_complete(host, e, &scratch, err);
    if (rc < 0) return rc;
    size_t size = evrt_event_size(e) - EVRT_EVENT_HEADER;
    if (size > most) {
        evrt_request_limit(r, EVRT_LIMIT_MAX_EVENT_SIZE);
        return evrt_error_set(err, -EMSGSIZE,
                              "the event has %zu bytes, at most %llu are accepted "
                              "(http.max_event_size)",
                              size, (unsigned long long)most);
    }
    *item = (struct evrt_http_item){.request = r, .text = r->text.n, .text_n = e->id.n};
    evrt_buf_put(&r->text, e->id.p, e->id.n);
    r->waiting++;
    evrt_request_hold(r);
    rc = evrt_host_publish(host, e, on_durable, item, err);
    if (rc >= 0) {
        item->what = rc;
        return 0;
    }
    r->waiting--;
    evrt_request_release(r);
    return rc;
}

static void publish_single(struct evrt_http_request *r, enum evrt_envelope_mode mode) {
    struct evrt_error err;
    struct evrt_slice body = evrt_buf_slice(&r->body);
    int rc = mode == EVRT_ENVELOPE_BINARY
                 ? evrt_envelope_binary(&r->envelope, r->headers, r->header_count, body, &err)
                 : evrt_envelope_structured(&r->envelope, body, &err);
    if (rc == 0) rc = publish(r, &r->one, &err);
    if (rc < 0)
        refuse(r, rc, &err);
    else if (r->wait_ms >= 0)
        evrt_request_park(r);
}

static void publish_item(struct evrt_http_request *r, size_t i) {
    struct evrt_error err;
    struct evrt_http_item *item = &r->items[i];
    int rc = evrt_envelope_structured(&r->envelope, r->batch.items[i].value, &err);
    if (rc == 0) rc = publish(r, item, &err);
    if (rc == 0) return;
    *item = (struct evrt_http_item){.request = r,
                                    .text = r->text.n,
                                    .text_n = strlen(err.message),
                                    .refusal = evrt_refusal_answer(refusal_of(rc))};
    evrt_buf_puts(&r->text, err.message);
}

static void publish_batch(struct evrt_http_request *r) {
    struct evrt_error err;
    if (r->wait_ms >= 0) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER, "wait=handled is for a single event");
        return;
    }
    int rc = evrt_envelope_batch(&r->batch, evrt_buf_slice(&r->body),
                                 evrt_request_config(r)->http.max_batch, &err);
    if (rc < 0) {
        if (rc == -E2BIG) evrt_request_limit(r, EVRT_LIMIT_MAX_BATCH);
        refuse(r, rc, &err);
        return;
    }
    if (r->batch.count > r->item_cap) {
        r->item_cap = r->batch.count;
        r->items = evrt_realloc(r->items, r->item_cap * sizeof *r->items);
    }
    r->item_count = r->batch.count;
    evrt_buf_clear(&r->text);
    r->batch_ns = evrt_mono_ns();
    evrt_log_event(evrt_host_log(evrt_request_host(r)), BATCH_STARTED,
                   EVRT_F_U64("events", r->item_count));
    r->waiting = 1; /* until every item is handed over */
    for (size_t i = 0; i < r->item_count; i++)
        publish_item(r, i);
    if (--r->waiting == 0) answer_batch(r);
}

/* ---- POST /events ---- */

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    bool *has_timeout = arg;
    if (evrt_slice_eq(name, EVRT_STR("wait"))) {
        if (evrt_slice_eq(value, EVRT_STR("handled"))) {
            if (r->wait_ms < 0) r->wait_ms = 30000;
            return 0;
        }
        evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER, "wait: expected \"handled\"");
        return -EINVAL;
    }
    int64_t ms;
    if (evrt_duration_parse(value, &ms) == 0 && ms >= 1 && ms <= 600000) {
        *has_timeout = true;
        r->wait_ms = ms;
        return 0;
    }
    evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER,
                      "timeout: expected a duration from 1ms to 10m, as in 5s");
    return -EINVAL;
}

static bool asks_wait(struct evrt_slice query) {
    struct evrt_slice name, value;
    for (size_t at = 0; evrt_query_next(query, &at, &name, &value);)
        if (evrt_slice_eq(name, EVRT_STR("wait"))) return true;
    return false;
}

static int take_query(struct evrt_http_request *r) {
    bool has_timeout = false;
    r->wait_ms = -1;
    if (r->query.n == 0) return 0;
    int rc = evrt_request_query(r, take_parameter, &has_timeout);
    if (rc < 0) return rc;
    if (!has_timeout || asks_wait(r->query)) return 0;
    evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER, "timeout: only together with wait=handled");
    return -EINVAL;
}

static void publish_body(struct evrt_http_request *r) {
    enum evrt_envelope_mode mode;
    struct evrt_error err;
    if (take_query(r) < 0) return;
    int rc = evrt_envelope_detect(r->headers, r->header_count, &mode, &err);
    r->span.single = rc == 0 && mode != EVRT_ENVELOPE_BATCH;
    if (rc < 0)
        refuse(r, rc, &err);
    else if (mode == EVRT_ENVELOPE_BATCH)
        publish_batch(r);
    else
        publish_single(r, mode);
}

/* A second traceparent makes both of them worthless; tracestate may stand in several headers. */
static struct evrt_slice take_trace(struct evrt_http_request *r, struct evrt_slice *state) {
    struct evrt_slice parent = {NULL, 0};
    unsigned parents = 0;
    evrt_buf_clear(&r->state);
    for (size_t i = 0; i < r->header_count; i++) {
        const struct evrt_header *h = &r->headers[i];
        if (h->name.n < 10 || (h->name.p[0] | 0x20) != 't') continue;
        if (evrt_caseless_eq(h->name, "traceparent") && ++parents == 1) parent = h->value;
        if (!evrt_caseless_eq(h->name, "tracestate")) continue;
        if (r->state.n != 0) evrt_buf_putc(&r->state, ',');
        evrt_buf_put(&r->state, h->value.p, h->value.n);
    }
    *state = evrt_buf_slice(&r->state);
    return parents == 1 ? parent : (struct evrt_slice){NULL, 0};
}

static void post_events(struct evrt_http_request *r) {
    struct evrt_host *host = evrt_request_host(r);
    if (!evrt_host_traces(host)) {
        publish_body(r);
        return;
    }
    struct evrt_slice state, parent = take_trace(r, &state);
    evrt_host_request_begin(host, parent, state, &r->span);
    evrt_host_request_around(host, &r->span);
    publish_body(r);
    evrt_host_request_around(host, NULL);
}

static uint64_t events_limit(struct evrt_http_request *r) {
    const struct evrt_config *c = evrt_request_config(r);
    enum evrt_envelope_mode mode;
    bool batch = evrt_envelope_detect(r->headers, r->header_count, &mode, NULL) == 0 &&
                 mode == EVRT_ENVELOPE_BATCH;
    r->body_key = batch ? EVRT_LIMIT_MAX_BODY_SIZE : EVRT_LIMIT_MAX_EVENT_SIZE;
    return batch ? c->http.max_body_size : c->http.max_event_size;
}

/* The webhook handshake: a sender asks whether it may send here, before it does. */
static void options_events(struct evrt_http_request *r) {
    evrt_buf_puts(&r->allow, "POST, OPTIONS");
    r->origin = evrt_headers_get(r->headers, r->header_count, "webhook-request-origin");
    evrt_request_answer(r, 200);
}

const struct evrt_route evrt_ingest_routes[EVRT_INGEST_ROUTES] = {
    {"POST", "/events", post_events, events_limit, false, "wait,timeout",
     "Publishes a CloudEvent (binary or structured) or a batch; answers once it is durable."},
    {"OPTIONS", "/events", options_events, NULL, true, "",
     "CloudEvents' webhook handshake: says that events may be posted here."},
};
