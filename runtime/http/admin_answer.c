/* See admin_answer.h. */
#include "http/admin_answer.h"

#include <errno.h>

#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"
#include "http/uri.h"

int evrt_admin_bad(struct evrt_http_request *r, const char *name, const char *expected) {
    evrt_request_fail(r, EVRT_REFUSE_BAD_PARAMETER, "%s: expected %s", name, expected);
    return -EINVAL;
}

int evrt_admin_flag(struct evrt_http_request *r, const char *name, struct evrt_slice value,
                    bool *to) {
    *to = evrt_slice_eq(value, EVRT_STR("true"));
    return *to || evrt_slice_eq(value, EVRT_STR("false"))
               ? 0
               : evrt_admin_bad(r, name, "true or false");
}

int evrt_admin_name(struct evrt_http_request *r, struct evrt_buf *name) {
    size_t bad;
    evrt_buf_init(name);
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return -EINVAL;
    if (evrt_percent_decode(r->match.params[0], name, &bad) == 0) return 0;
    evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST,
                      "the path is malformed: '%%' without two hex digits");
    evrt_buf_finish(name);
    return -EINVAL;
}

int evrt_admin_limit(struct evrt_http_request *r, struct evrt_slice value, uint32_t *to) {
    uint64_t n;
    if (!evrt_parameter_u64(value, &n) || n < 1 || n > EVRT_ADMIN_LIMIT_MAX)
        return evrt_admin_bad(r, "limit", "a number from 1 to 1000");
    *to = (uint32_t)n;
    return 0;
}

void evrt_admin_fail(struct evrt_http_request *r, int status, struct evrt_slice why) {
    enum evrt_refusal is = evrt_refusal_of(status);
    /* What the host does not like of a request is in its body, when it has one. */
    if (status == -EINVAL && r->match.route->body_limit != NULL) is = EVRT_REFUSE_BAD_REQUEST;
    if (status == -ECANCELED || status == -ESHUTDOWN) why = EVRT_STR("this node is shutting down");
    evrt_request_fail(r, is, "%.*s", (int)why.n, why.p);
}

void evrt_admin_done(void *arg, uint64_t unused) {
    struct evrt_http_request *r = arg;
    (void)unused;
    evrt_request_answer(r, 200);
    evrt_request_release(r);
}

void evrt_admin_put(struct evrt_http_request *r, unsigned status, struct evrt_slice json) {
    evrt_buf_put(&r->out, json.p, json.n);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, status);
}

void evrt_admin_json(void *arg, int status, struct evrt_slice json) {
    struct evrt_http_request *r = arg;
    if (status == 0)
        evrt_admin_put(r, 200, json);
    else
        evrt_admin_fail(r, status, json);
    evrt_request_release(r);
}
