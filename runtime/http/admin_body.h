/* Small JSON objects as the admin API takes them: a route names the members it knows, in a table. Owner of
 * what is filled in is the caller. */
#ifndef EVRT_HTTP_ADMIN_BODY_H
#define EVRT_HTTP_ADMIN_BODY_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_http_request;

/* One of the three says what the member is and where it goes; what is not in the body is left as it was. */
struct evrt_admin_member {
    const char *name;
    struct evrt_buf *text;
    bool *flag;
    uint64_t *number; /* whole, from 0 to 2^63 - 1 */
};

/* For routes: bytes of body that one of these may have. */
uint64_t evrt_admin_body(struct evrt_http_request *r);
/* Fills the members (a table that ends with a NULL name) from the body. Answers 400, naming the member, and
 * returns a negative value when the body is no object, has a member that is not in the table or one of
 * another kind. No body at all is an empty object. */
EVRT_MUST_CHECK int evrt_admin_read_body(struct evrt_http_request *r,
                                         const struct evrt_admin_member *members);

#endif
