/* An HTTP server on the uv loop: libmicrohttpd in external-epoll mode, limits, and a route table. Two
 * instances exist, ingest and admin. Owner: http/http.c; the loop thread. */
#ifndef EVRT_HTTP_SERVER_H
#define EVRT_HTTP_SERVER_H

#include "http/route.h"

struct evrt_host;
struct evrt_http;
struct evrt_http_server;

struct evrt_http_server_options {
    int fd;                       /* listening; the server's from here on, also on failure */
    const struct evrt_buf *token; /* empty: none; may change, outlives the server */
    struct evrt_http *http;       /* whose server it is */
    const struct evrt_route *routes;
    size_t route_count;
    const char *name; /* "ingest", "admin"; static */
};

/* Limits come from the host's config, http.*. Nothing is accepted before start. */
EVRT_MUST_CHECK int evrt_http_server_create(struct evrt_http_server **out, struct evrt_host *host,
                                            const struct evrt_http_server_options *options,
                                            struct evrt_error *err);
void evrt_http_server_start(struct evrt_http_server *s);
uint16_t evrt_http_server_port(const struct evrt_http_server *s);
/* Stops accepting; requests that begin from now on get 503. */
void evrt_http_server_quiesce(struct evrt_http_server *s);
/* Waits for what is being published, answers, closes; then cb, after which destroy may be called. */
void evrt_http_server_stop(struct evrt_http_server *s, void (*cb)(void *arg), void *arg);
/* NULL is allowed. Never started, or after stop's callback. */
void evrt_http_server_destroy(struct evrt_http_server *s);

/* Since creation. */
struct evrt_http_counts {
    uint64_t requests;
    uint64_t refused;     /* answered 400, 401, 403, 408 or 431 before any handler saw them */
    uint64_t late;        /* dropped at http.request_timeout */
    uint64_t connections; /* now */
};
/* Brings its gauges and totals up to now. */
void evrt_http_server_collect(struct evrt_http_server *s);
void evrt_http_server_counts(const struct evrt_http_server *s, struct evrt_http_counts *out);

#endif
