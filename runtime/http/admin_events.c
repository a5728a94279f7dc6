/* The admin API's events: those that are stored, one of them, and those to come. */
#include "core/error.h"
#include "core/jsonout.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"

/* ---- Parameters ---- */

struct parameters {
    struct evrt_host_query query;
    bool has_after;
};

static int take_text(struct evrt_slice *out, struct evrt_slice value) {
    *out = value;
    return 0;
}

static int take_time(struct evrt_http_request *r, const char *name, int64_t *out,
                     struct evrt_slice value) {
    return evrt_parameter_time(value, out) ? 0 : evrt_admin_bad(r, name, evrt_parameter_time_form);
}

static int take_after(struct evrt_http_request *r, struct parameters *p, struct evrt_slice value) {
    p->has_after = true;
    if (evrt_parameter_u64(value, &p->query.after) && p->query.after < UINT64_MAX) return 0;
    return evrt_admin_bad(r, "after", "a sequence number");
}

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    struct parameters *p = arg;
    struct evrt_host_filter *f = &p->query.filter;
    if (value.n == 0) return evrt_admin_bad(r, name.p, "a value");
    if (evrt_slice_eq(name, EVRT_STR("type"))) return take_text(&f->type, value);
    if (evrt_slice_eq(name, EVRT_STR("source"))) return take_text(&f->source, value);
    if (evrt_slice_eq(name, EVRT_STR("subject"))) return take_text(&f->subject, value);
    if (evrt_slice_eq(name, EVRT_STR("handler"))) return take_text(&p->query.handler, value);
    if (evrt_slice_eq(name, EVRT_STR("state"))) return take_text(&p->query.state, value);
    if (evrt_slice_eq(name, EVRT_STR("from"))) return take_time(r, "from", &f->from_ms, value);
    if (evrt_slice_eq(name, EVRT_STR("to"))) return take_time(r, "to", &f->to_ms, value);
    if (evrt_slice_eq(name, EVRT_STR("after"))) return take_after(r, p, value);
    return evrt_admin_limit(r, value, &p->query.limit);
}

/* ---- Stored events ---- */

static bool is_gone(void *arg) {
    return evrt_request_gone(arg);
}

void evrt_get_events(struct evrt_http_request *r) {
    struct parameters p = {.query = {.limit = EVRT_ADMIN_LIMIT_DEFAULT, .gone = is_gone}};
    const struct evrt_host_filter *f = &p.query.filter;
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    if (f->from_ms != 0 && f->to_ms != 0 && f->from_ms >= f->to_ms) {
        evrt_admin_bad(r, "from", "a time before that of to");
        return;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_events(evrt_request_host(r), &p.query, evrt_admin_json, r);
}

void evrt_get_event(struct evrt_http_request *r) {
    uint64_t seq;
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    if (!evrt_parameter_u64(r->match.params[0], &seq)) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "an event is named by its sequence number");
        return;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_event(evrt_request_host(r), seq, evrt_admin_json, r);
}

/* A number is a sequence, anything else an id. */
void evrt_get_why(struct evrt_http_request *r) {
    uint64_t seq = 0;
    struct evrt_buf id;
    if (evrt_admin_name(r, &id) < 0) return;
    bool is_seq = evrt_parameter_u64(r->match.params[0], &seq);
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_why(evrt_request_host(r), seq,
                  is_seq ? (struct evrt_slice){NULL, 0} : evrt_buf_slice(&id), evrt_admin_json, r);
    evrt_buf_finish(&id);
}

/* ---- Events to come: the request's `stream` is the host's tail ---- */

static void on_lines(void *arg, struct evrt_slice lines) {
    evrt_request_put(arg, lines);
}

static void on_drained(struct evrt_http_request *r) {
    evrt_host_tail_more(r->stream);
}

static void on_gone(struct evrt_http_request *r) {
    evrt_host_tail_close(r->stream);
    evrt_request_release(r);
}

static void on_ended(void *arg, const char *reason) {
    struct evrt_http_request *r = arg;
    struct evrt_buf line;
    evrt_buf_init(&line);
    evrt_buf_puts(&line, "{\"end\":{\"reason\":");
    evrt_json_quote(&line, evrt_slice_of(reason));
    evrt_buf_puts(&line, "}}\n");
    evrt_request_put(r, evrt_buf_slice(&line));
    evrt_buf_finish(&line);
    evrt_request_end(r);
    evrt_request_release(r);
}

void evrt_get_tail(struct evrt_http_request *r) {
    static const struct evrt_stream_events events = {on_drained, on_gone};
    struct parameters p = {0};
    struct evrt_error err;
    struct evrt_host_tail *tail;
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    struct evrt_host_tail_options options = {.filter = p.query.filter,
                                             .from_seq = p.has_after ? p.query.after + 1 : 0,
                                             .lines = on_lines,
                                             .ended = on_ended,
                                             .arg = r};
    int rc = evrt_host_tail_open(&tail, evrt_request_host(r), &options, &err);
    if (rc == 0) {
        evrt_request_hold(r);
        evrt_request_stream(r, &events, tail);
        return;
    }
    evrt_admin_fail(r, rc, evrt_slice_of(err.message));
}
