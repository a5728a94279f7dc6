/* See admin.h. What the host answers is passed on as it is. */
#include "http/admin.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "core/units.h"
#include "host/host.h"
#include "http/http.h"
#include "http/request.h"
#include "http/uri.h"

static void get_livez(struct evrt_http_request *r) {
    evrt_buf_puts(&r->out, "{\"status\":\"ok\"}\n");
    evrt_request_answer(r, 200);
}

static void get_readyz(struct evrt_http_request *r) {
    const char *why = "";
    bool ready = evrt_host_ready(evrt_request_host(r), &why);
    evrt_buf_puts(&r->out, ready ? "{\"status\":\"ready\",\"reasons\":["
                                 : "{\"status\":\"not_ready\",\"reasons\":[");
    if (!ready) evrt_json_quote(&r->out, evrt_slice_of(why));
    evrt_buf_puts(&r->out, "]}\n");
    if (!ready) r->retry_after = 1;
    evrt_request_answer(r, ready ? 200 : 503);
}

static int no_parameters(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                         struct evrt_slice value) {
    (void)arg, (void)r, (void)name, (void)value;
    return 0; /* not reached: the route takes none */
}

static void get_handlers(struct evrt_http_request *r) {
    if (evrt_request_query(r, no_parameters, NULL) < 0) return;
    evrt_host_handlers(evrt_request_host(r), &r->out);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, 200);
}

static void get_stats(struct evrt_http_request *r) {
    if (evrt_request_query(r, no_parameters, NULL) < 0) return;
    evrt_host_stats(evrt_request_host(r), &r->out);
    r->out.n--; /* the object goes on */
    evrt_buf_puts(&r->out, ",\"http\":");
    evrt_http_counts(evrt_request_http(r), &r->out);
    evrt_buf_puts(&r->out, "}\n");
    evrt_request_answer(r, 200);
}

static void delete_handler(struct evrt_http_request *r) {
    struct evrt_error err;
    struct evrt_buf name;
    size_t bad = 0;
    if (evrt_request_query(r, no_parameters, NULL) < 0) return;
    evrt_buf_init(&name);
    if (evrt_percent_decode(r->match.params[0], &name, &bad) < 0) {
        evrt_request_fail(r, 400, "bad_request",
                          "the path is malformed: '%%' without two hex digits");
    } else {
        int rc = evrt_host_forget(evrt_request_host(r), evrt_buf_slice(&name), &err);
        if (rc == 0) {
            evrt_buf_puts(&r->out, "{\"forgotten\":");
            evrt_json_quote(&r->out, evrt_buf_slice(&name));
            evrt_buf_puts(&r->out, "}\n");
            evrt_request_answer(r, 200);
        } else if (rc == -ENOENT) {
            evrt_request_fail(r, 404, "not_found", "%s", err.message);
        } else {
            evrt_request_fail(r, rc == -EBUSY ? 409 : 500, rc == -EBUSY ? "in_use" : "internal",
                              "%s", err.message);
        }
    }
    evrt_buf_finish(&name);
}

/* ---- Reload ---- */

static void on_reloaded(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    evrt_buf_put(&r->out, json.p, json.n);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, status == 0 ? 200 : status == -EINVAL ? 422 : 503);
    evrt_request_release(r);
}

static void post_reload(struct evrt_http_request *r) {
    if (evrt_request_query(r, no_parameters, NULL) < 0) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_reload(evrt_request_host(r), on_reloaded, r);
}

/* ---- Events ---- */

static bool parse_u64(struct evrt_slice s, uint64_t *out) {
    uint64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') return false;
        if (__builtin_mul_overflow(v, 10, &v)) return false;
        if (__builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v)) return false;
    }
    *out = v;
    return s.n > 0;
}

/* RFC 3339, or a duration: that long ago. */
static bool parse_time(struct evrt_slice s, int64_t *ms) {
    size_t bad;
    int64_t ago;
    if (evrt_rfc3339_parse(s, ms, &bad) == 0) return true;
    if (evrt_duration_parse(s, &ago) < 0) return false;
    *ms = evrt_wall_ms() - ago;
    return true;
}

static int bad_parameter(struct evrt_http_request *r, struct evrt_slice name,
                         const char *expected) {
    evrt_request_fail(r, 400, "bad_parameter", "%.*s: expected %s", (int)name.n, name.p, expected);
    return -EINVAL;
}

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    static const char time_form[] = "a time as in 2025-01-07T10:30:45Z, or how long ago as in 1h";
    struct evrt_host_query *q = arg;
    uint64_t number;
    if (value.n == 0) return bad_parameter(r, name, "a value");
    switch (name.p[0]) { /* the route takes no two that begin alike but these */
    case 'f': return parse_time(value, &q->from_ms) ? 0 : bad_parameter(r, name, time_form);
    case 'a': return parse_u64(value, &q->after) ? 0 : bad_parameter(r, name, "a sequence number");
    case 'l':
        if (!parse_u64(value, &number) || number < 1 || number > 1000)
            return bad_parameter(r, name, "a number from 1 to 1000");
        q->limit = (uint32_t)number;
        return 0;
    case 's': q->source = value; return 0;
    default:
        if (evrt_slice_eq(name, EVRT_STR("to")))
            return parse_time(value, &q->to_ms) ? 0 : bad_parameter(r, name, time_form);
        q->type = value;
        return 0;
    }
}

static void on_json(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    if (status == 0) {
        evrt_buf_put(&r->out, json.p, json.n);
        evrt_buf_putc(&r->out, '\n');
        evrt_request_answer(r, 200);
    } else if (status == -ENOENT) {
        evrt_request_fail(r, 404, "not_found",
                          "no such event: it was never stored, or retention has dropped it");
    } else if (status == -EINVAL) {
        evrt_request_fail(r, 400, "bad_parameter",
                          "type: expected a pattern as handlers have it, as in comment.*");
    } else {
        evrt_request_fail(r, 500, "internal", "reading events failed: %s", strerror(-status));
    }
    evrt_request_release(r);
}

static void get_events(struct evrt_http_request *r) {
    struct evrt_host_query q = {.limit = 100};
    if (evrt_request_query(r, take_parameter, &q) < 0) return;
    if (q.from_ms != 0 && q.to_ms != 0 && q.from_ms >= q.to_ms) {
        evrt_request_fail(r, 400, "bad_parameter", "from: expected a time before that of to");
        return;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_events(evrt_request_host(r), &q, on_json, r);
}

static void get_event(struct evrt_http_request *r) {
    uint64_t seq;
    if (evrt_request_query(r, no_parameters, NULL) < 0) return;
    if (!parse_u64(r->match.params[0], &seq)) {
        evrt_request_fail(r, 400, "bad_request", "an event is named by its sequence number");
        return;
    }
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_event(evrt_request_host(r), seq, on_json, r);
}

const struct evrt_route evrt_admin_routes[EVRT_ADMIN_ROUTES] = {
    {"GET", "/livez", get_livez, NULL, true, "", "200 while the process turns its loop."},
    {"GET", "/readyz", get_readyz, NULL, true, "",
     "200 when events are taken in and handled, else 503 with the reasons."},
    {"GET", "/api/v1/handlers", get_handlers, NULL, false, "",
     "Every handler: its patterns, state and counts; those that left the scripts too."},
    {"DELETE", "/api/v1/handlers/{name}", delete_handler, NULL, false, "",
     "Forgets a handler that left the scripts; what it had pending is discarded and counted."},
    {"POST", "/api/v1/reload", post_reload, NULL, false, "",
     "Reloads configuration and scripts; answers once decided: 200 what changed, 422 the errors."},
    {"GET", "/api/v1/stats", get_stats, NULL, false, "", "Counts of the node, store and workers."},
    {"GET", "/api/v1/events", get_events, NULL, false, "type,source,from,to,after,limit",
     "Stored events in order. type is a pattern; from and to are times, or how long ago."},
    {"GET", "/api/v1/events/{seq}", get_event, NULL, false, "",
     "One event, with what became of it per handler."},
};
