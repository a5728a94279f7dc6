/* How the admin API's routes answer: what the host says, passed on, or the reason with the status that belongs to
 * it. */
#ifndef EVRT_HTTP_ADMIN_ANSWER_H
#define EVRT_HTTP_ADMIN_ANSWER_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_http_request;

/* 400: "name: expected ...". Returns -EINVAL, for those who take parameters. */
int evrt_admin_bad(struct evrt_http_request *r, const char *name, const char *expected);
/* Takes "true" or "false"; else as evrt_admin_bad. */
int evrt_admin_flag(struct evrt_http_request *r, const char *name, struct evrt_slice value,
                    bool *to);
/* The name in the path, decoded, which the caller finishes; no query. Else answers 400, with nothing to finish. */
int evrt_admin_name(struct evrt_http_request *r, struct evrt_buf *name);
/* Takes how many items of a list to answer; else as evrt_admin_bad. */
enum { EVRT_ADMIN_LIMIT_DEFAULT = 100, EVRT_ADMIN_LIMIT_MAX = 1000 };
int evrt_admin_limit(struct evrt_http_request *r, struct evrt_slice value, uint32_t *to);
/* The answer for a negative errno of the host. */
void evrt_admin_fail(struct evrt_http_request *r, int status, struct evrt_slice why);
/* The JSON on its line, with this status. */
void evrt_admin_put(struct evrt_http_request *r, unsigned status, struct evrt_slice json);
/* Called once a change is durable, with a request that is held: 200, and what was put out before. */
void evrt_admin_done(void *arg, uint64_t unused);
/* An evrt_host_json_cb whose argument is a request that is held: 200 and the JSON, or the reason. */
void evrt_admin_json(void *arg, int status, struct evrt_slice json);

#endif
