/* The admin API's changes to a handler: paused, resumed, forgotten. Each is an operator's action and is
 * logged as one. */
#include "core/jsonout.h"
#include "host/host.h"
#include "http/admin_answer.h"
#include "http/admin_routes.h"
#include "http/request.h"

static void put_done(struct evrt_http_request *r, const char *what, struct evrt_slice name) {
    evrt_buf_printf(&r->out, "{\"%s\":", what);
    evrt_json_quote(&r->out, name);
    evrt_buf_puts(&r->out, "}\n");
}

void evrt_delete_handler(struct evrt_http_request *r) {
    struct evrt_error err;
    struct evrt_buf name;
    if (evrt_admin_name(r, &name) < 0) return;
    int rc = evrt_host_forget(evrt_request_host(r), evrt_buf_slice(&name), &err);
    evrt_request_audit(r, "forget handler", evrt_buf_cstr(&name),
                       rc == 0 ? "forgotten" : err.message);
    if (rc == 0) {
        put_done(r, "forgotten", evrt_buf_slice(&name));
        evrt_request_answer(r, 200);
    } else {
        evrt_admin_fail(r, rc, evrt_slice_of(err.message));
    }
    evrt_buf_finish(&name);
}

static void pause(struct evrt_http_request *r, bool paused) {
    struct evrt_error err;
    struct evrt_buf name;
    if (evrt_admin_name(r, &name) < 0) return;
    const char *done = paused ? "paused" : "resumed";
    put_done(r, done, evrt_buf_slice(&name));
    size_t n = r->out.n;
    evrt_request_hold(r);
    evrt_request_park(r);
    int rc = evrt_host_pause(evrt_request_host(r), evrt_buf_slice(&name), paused, evrt_admin_done,
                             r, &err);
    evrt_request_audit(r, paused ? "pause handler" : "resume handler", evrt_buf_cstr(&name),
                       rc == 0 ? done : err.message);
    if (rc < 0) {
        r->out.n -= n;
        evrt_admin_fail(r, rc, evrt_slice_of(err.message));
        evrt_request_release(r);
    }
    evrt_buf_finish(&name);
}

void evrt_post_pause(struct evrt_http_request *r) {
    pause(r, true);
}

void evrt_post_resume(struct evrt_http_request *r) {
    pause(r, false);
}
