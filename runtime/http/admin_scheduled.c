/* The admin API's events for later: listed, cancelled. */
#include <stdio.h>

#include "core/error.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"

struct parameters {
    uint64_t after_ms, after_number;
    uint32_t limit;
    bool has_after;
};

static bool parse_after(struct evrt_slice s, struct parameters *p) {
    p->has_after = true;
    return evrt_parameter_pair(s, &p->after_ms, &p->after_number) && p->after_ms <= INT64_MAX;
}

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    struct parameters *p = arg;
    if (evrt_slice_eq(name, EVRT_STR("after"))) {
        if (!parse_after(value, p)) return evrt_admin_bad(r, "after", "what next said");
    } else {
        return evrt_admin_limit(r, value, &p->limit);
    }
    return 0;
}

void evrt_get_scheduled(struct evrt_http_request *r) {
    struct parameters p = {.limit = EVRT_ADMIN_LIMIT_DEFAULT};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_scheduled(evrt_request_host(r), p.has_after ? (int64_t)p.after_ms : INT64_MIN,
                        p.after_number, p.limit, evrt_admin_json, r);
}

void evrt_delete_scheduled(struct evrt_http_request *r) {
    struct evrt_error err;
    uint64_t number;
    char id[32];
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    if (!evrt_parameter_u64(r->match.params[0], &number)) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "one is named by its id, as in the list");
        return;
    }
    snprintf(id, sizeof id, "%llu", (unsigned long long)number);
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_buf_printf(&r->out, "{\"id\":\"%s\",\"state\":\"cancelled\"}\n", id);
    size_t n = r->out.n;
    int rc = evrt_host_unschedule(evrt_request_host(r), number, evrt_admin_done, r, &err);
    evrt_request_audit(r, "cancel scheduled event", id, rc < 0 ? err.message : "cancelled");
    if (rc == 0) return;
    r->out.n -= n;
    evrt_admin_fail(r, rc, evrt_slice_of(err.message));
    evrt_request_release(r);
}
