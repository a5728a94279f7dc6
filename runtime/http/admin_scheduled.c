/* The admin API's events for later: listed, cancelled. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "host/host.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"

enum { LIMIT_MAX = 1000, LIMIT_DEFAULT = 100 };

struct parameters {
    uint64_t after_ms, after_number, limit;
    bool has_after;
};

static int bad(struct evrt_http_request *r, const char *name, const char *expected) {
    evrt_request_fail(r, 400, "bad_parameter", "%s: expected %s", name, expected);
    return -EINVAL;
}

static bool parse_after(struct evrt_slice s, struct parameters *p) {
    const char *dash = s.n == 0 ? NULL : memchr(s.p, '-', s.n);
    if (dash == NULL) return false;
    size_t n = (size_t)(dash - s.p);
    p->has_after = true;
    return evrt_parameter_u64((struct evrt_slice){s.p, n}, &p->after_ms) &&
           p->after_ms <= INT64_MAX &&
           evrt_parameter_u64((struct evrt_slice){dash + 1, s.n - n - 1}, &p->after_number);
}

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    struct parameters *p = arg;
    if (evrt_slice_eq(name, EVRT_STR("after"))) {
        if (!parse_after(value, p)) return bad(r, "after", "what next said");
    } else if (!evrt_parameter_u64(value, &p->limit) || p->limit < 1 || p->limit > LIMIT_MAX) {
        return bad(r, "limit", "a number from 1 to 1000");
    }
    return 0;
}

static void fail(struct evrt_http_request *r, int status, struct evrt_slice why) {
    int n = (int)why.n;
    if (status == -ENOENT) {
        evrt_request_fail(r, 404, "not_found", "%.*s", n, why.p);
    } else if (status == -EBUSY) {
        evrt_request_fail(r, 409, "in_use", "%.*s", n, why.p);
    } else if (status == -ESHUTDOWN) {
        r->retry_after = 1;
        evrt_request_fail(r, 503, "shutting_down", "this node is shutting down");
    } else {
        evrt_request_fail(r, 500, "internal", "reading scheduled events failed: %.*s", n, why.p);
    }
}

static void on_list(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    if (status == 0) {
        evrt_buf_put(&r->out, json.p, json.n);
        evrt_buf_putc(&r->out, '\n');
        evrt_request_answer(r, 200);
    } else {
        fail(r, status, json);
    }
    evrt_request_release(r);
}

void evrt_get_scheduled(struct evrt_http_request *r) {
    struct parameters p = {.limit = LIMIT_DEFAULT};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_scheduled(evrt_request_host(r), p.has_after ? (int64_t)p.after_ms : INT64_MIN,
                        p.after_number, (uint32_t)p.limit, on_list, r);
}

static void on_cancelled(void *arg, uint64_t unused) {
    struct evrt_http_request *r = arg;
    (void)unused;
    evrt_request_answer(r, 200);
    evrt_request_release(r);
}

void evrt_delete_scheduled(struct evrt_http_request *r) {
    struct evrt_error err;
    uint64_t number;
    char id[32];
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    if (!evrt_parameter_u64(r->match.params[0], &number)) {
        evrt_request_fail(r, 400, "bad_request", "one is named by its id, as in the list");
        return;
    }
    snprintf(id, sizeof id, "%llu", (unsigned long long)number);
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_buf_printf(&r->out, "{\"id\":\"%s\",\"state\":\"cancelled\"}\n", id);
    size_t n = r->out.n;
    int rc = evrt_host_unschedule(evrt_request_host(r), number, on_cancelled, r, &err);
    evrt_request_audit(r, "cancel scheduled event", id, rc < 0 ? err.message : "cancelled");
    if (rc == 0) return;
    r->out.n -= n;
    fail(r, rc, evrt_slice_of(err.message));
    evrt_request_release(r);
}
