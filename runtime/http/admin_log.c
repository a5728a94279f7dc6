/* The admin API's view of the log: its level, seen and set. Setting is an operator's action. */
#include <stdio.h>

#include "core/error.h"
#include "core/jsonout.h"
#include "host/host.h"
#include "http/admin_body.h"
#include "http/admin_routes.h"
#include "http/request.h"
#include "telemetry/log.h"

static void answer_level(struct evrt_http_request *r) {
    struct evrt_log *log = evrt_host_log(evrt_request_host(r));
    evrt_buf_printf(&r->out, "{\"level\":\"%s\"}\n", evrt_log_level_name(evrt_log_level(log)));
    evrt_request_answer(r, 200);
}

void evrt_get_log_level(struct evrt_http_request *r) {
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0) return;
    answer_level(r);
}

void evrt_put_log_level(struct evrt_http_request *r) {
    struct evrt_host *h = evrt_request_host(r);
    struct evrt_buf name;
    evrt_buf_init(&name);
    const struct evrt_admin_member members[] = {{"level", .text = &name}, {NULL}};
    if (evrt_request_query(r, evrt_no_parameters, NULL) < 0 || evrt_admin_read_body(r, members) < 0)
        goto out;
    int level = evrt_log_level_parse(evrt_buf_slice(&name));
    if (level < 0) {
        evrt_request_fail(r, EVRT_REFUSE_BAD_REQUEST, "level: expected debug, info, warn or error");
        goto out;
    }
    char change[32];
    snprintf(change, sizeof change, "%s to %s",
             evrt_log_level_name(evrt_log_level(evrt_host_log(h))), evrt_buf_cstr(&name));
    /* The line about it is written at the level that lets more through. */
    bool fewer = level > (int)evrt_log_level(evrt_host_log(h));
    if (!fewer) evrt_host_set_log_level(h, level);
    evrt_request_audit(r, "set log level", "log", change);
    if (fewer) evrt_host_set_log_level(h, level);
    answer_level(r);
out:
    evrt_buf_finish(&name);
}
