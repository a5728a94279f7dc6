/* How the admin API's routes answer: what the host says, passed on, or the reason with the status that belongs to
 * it. */
#ifndef EVRT_HTTP_ADMIN_ANSWER_H
#define EVRT_HTTP_ADMIN_ANSWER_H

#include "core/buf.h"

struct evrt_http_request;

/* 400: "name: expected ...". Returns -EINVAL, for those who take parameters. */
int evrt_admin_bad(struct evrt_http_request *r, const char *name, const char *expected);
/* The answer for a negative errno of the host. */
void evrt_admin_fail(struct evrt_http_request *r, int status, struct evrt_slice why);
/* An evrt_host_json_cb whose argument is a request that is held: 200 and the JSON, or the reason. */
void evrt_admin_json(void *arg, int status, struct evrt_slice json);

#endif
