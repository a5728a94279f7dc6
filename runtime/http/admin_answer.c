/* See admin_answer.h. */
#include "http/admin_answer.h"

#include <errno.h>

#include "http/request.h"

static const struct refusal {
    int rc;
    unsigned status;
    const char *code;
    bool later; /* to be tried again */
} refusals[] = {
    {-EINVAL, 400, "bad_parameter", false},   {-ENOENT, 404, "not_found", false},
    {-EBUSY, 409, "in_use", false},           {-EAGAIN, 429, "too_many", true},
    {-ENOSPC, 503, "no_space", true},         {-ESHUTDOWN, 503, "shutting_down", true},
    {-ECANCELED, 503, "shutting_down", true},
};

int evrt_admin_bad(struct evrt_http_request *r, const char *name, const char *expected) {
    evrt_request_fail(r, 400, "bad_parameter", "%s: expected %s", name, expected);
    return -EINVAL;
}

int evrt_admin_flag(struct evrt_http_request *r, const char *name, struct evrt_slice value,
                    bool *to) {
    *to = evrt_slice_eq(value, EVRT_STR("true"));
    return *to || evrt_slice_eq(value, EVRT_STR("false"))
               ? 0
               : evrt_admin_bad(r, name, "true or false");
}

void evrt_admin_fail(struct evrt_http_request *r, int status, struct evrt_slice why) {
    struct refusal x = {status, 500, "internal", false};
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (refusals[i].rc == status) x = refusals[i];
    if (x.later) r->retry_after = 1;
    if (status == -ECANCELED) why = EVRT_STR("this node is shutting down");
    evrt_request_fail(r, x.status, x.code, "%.*s", (int)why.n, why.p);
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
