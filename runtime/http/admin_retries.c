/* The admin API's retries: listed, made due, discarded. One is named by its handler's number and its event's
 * sequence: "3-1207". */
#include "core/error.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"

struct id {
    uint64_t sub, seq;
};

static bool parse_id(struct evrt_slice s, struct id *out) {
    return evrt_parameter_pair(s, &out->sub, &out->seq) && out->sub <= UINT32_MAX;
}

/* ---- List ---- */

struct parameters {
    struct evrt_slice handler;
    struct id after;
    uint32_t limit;
};

static int take_parameter(void *arg, struct evrt_http_request *r, struct evrt_slice name,
                          struct evrt_slice value) {
    struct parameters *p = arg;
    if (evrt_slice_eq(name, EVRT_STR("handler"))) {
        if (value.n == 0) return evrt_admin_bad(r, "handler", "a name");
        p->handler = value;
    } else if (evrt_slice_eq(name, EVRT_STR("after"))) {
        if (!parse_id(value, &p->after))
            return evrt_admin_bad(r, "after", "what next said, as 3-1207");
    } else {
        return evrt_admin_limit(r, value, &p->limit);
    }
    return 0;
}

void evrt_get_retries(struct evrt_http_request *r) {
    struct parameters p = {.limit = EVRT_ADMIN_LIMIT_DEFAULT};
    if (evrt_request_query(r, take_parameter, &p) < 0) return;
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_host_retries(evrt_request_host(r), p.handler, (uint32_t)p.after.sub, p.after.seq, p.limit,
                      evrt_admin_json, r);
}

/* ---- One ---- */

static void change(struct evrt_http_request *r, bool discard) {
    struct evrt_error err;
    struct evrt_buf id;
    struct id one;
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    if (!parse_id(r->match.params[0], &one)) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "a retry is named as in the list, as 3-1207");
        return;
    }
    evrt_buf_init(&id);
    evrt_buf_put(&id, r->match.params[0].p, r->match.params[0].n);
    evrt_request_hold(r);
    evrt_request_park(r);
    evrt_buf_printf(&r->out, "{\"id\":\"%s\",\"state\":\"%s\"}\n", evrt_buf_cstr(&id),
                    discard ? "discarded" : "due");
    size_t n = r->out.n;
    int rc = evrt_host_retry(evrt_request_host(r), (uint32_t)one.sub, one.seq, discard,
                             evrt_admin_done, r, &err);
    evrt_request_audit(r, discard ? "discard retry" : "run retry", evrt_buf_cstr(&id),
                       rc < 0    ? err.message
                       : discard ? "discarded"
                                 : "due");
    if (rc < 0) {
        r->out.n -= n;
        evrt_admin_fail(r, rc, evrt_slice_of(err.message));
        evrt_request_release(r);
    }
    evrt_buf_finish(&id);
}

void evrt_post_retry_run(struct evrt_http_request *r) {
    change(r, false);
}

void evrt_delete_retry(struct evrt_http_request *r) {
    change(r, true);
}
