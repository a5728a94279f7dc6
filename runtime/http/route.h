/* Routes: one table per listener, read by the dispatcher, by help and by tests. Pure; any thread. */
#ifndef EVRT_HTTP_ROUTE_H
#define EVRT_HTTP_ROUTE_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_http_request;

struct evrt_route {
    const char *method;
    const char *pattern; /* segments; {name} is one segment that is not empty */
    void (*handle)(struct evrt_http_request *r);
    /* Bytes of body that are read for this request; NULL: none are expected. Of which key, if of one, it
     * says in r->body_key (enum evrt_limit_id). */
    uint64_t (*body_limit)(struct evrt_http_request *r);
    bool open;         /* answers without a token */
    const char *query; /* parameters it takes, comma-separated; "" none */
    const char *help;
};

enum {
    EVRT_ROUTE_PARAMS = 4,
};
struct evrt_route_match {
    const struct evrt_route *route;
    struct evrt_slice params[EVRT_ROUTE_PARAMS]; /* in the pattern's order, not decoded */
};

/* Finds the route; a HEAD is answered by the GET of its path. -ENOENT: no route has that path; -ENOTSUP:
 * some have, with other methods: they are appended to `allow` ("GET, HEAD"). */
EVRT_MUST_CHECK int evrt_route_find(const struct evrt_route *routes, size_t n,
                                    struct evrt_slice method, struct evrt_slice path,
                                    struct evrt_route_match *out, struct evrt_buf *allow);

/* Whether `name` is in a comma-separated list such as evrt_route.query. */
bool evrt_route_takes(const char *list, struct evrt_slice name);

#endif
