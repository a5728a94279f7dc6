/* The admin API's jobs: listed, looked at, cancelled. What begins one has a route of its own. */
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/parameter.h"
#include "http/request.h"

void evrt_get_jobs(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_host_jobs(evrt_request_host(r), NULL, &r->out);
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, 200);
}

void evrt_admin_job(struct evrt_http_request *r, struct evrt_slice name, bool cancel) {
    struct evrt_error err;
    struct evrt_buf target;
    uint64_t id;
    if (!evrt_parameter_u64(name, &id)) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "a job is named by its number");
        return;
    }
    evrt_buf_init(&target);
    evrt_buf_put(&target, name.p, name.n);
    int rc = cancel ? evrt_host_job_cancel(evrt_request_host(r), id, &r->out, &err)
                    : evrt_host_job(evrt_request_host(r), id, &r->out, &err);
    if (cancel)
        evrt_request_audit(r, "cancel job", evrt_buf_cstr(&target),
                           rc < 0 ? err.message : "cancelled");
    evrt_buf_finish(&target);
    if (rc < 0) {
        evrt_admin_fail(r, rc, evrt_slice_of(err.message));
        return;
    }
    evrt_buf_putc(&r->out, '\n');
    evrt_request_answer(r, 200);
}

void evrt_get_job(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_admin_job(r, r->match.params[0], false);
}

void evrt_delete_job(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    evrt_admin_job(r, r->match.params[0], true);
}
