/* HTTP: the ingest listener (POST /events) and the admin listener, both libmicrohttpd driven by the uv
 * loop. Owner: the composition root (runtime/evrt.c). Everything is on the loop thread. */
#ifndef EVRT_HTTP_HTTP_H
#define EVRT_HTTP_HTTP_H

#include "core/buf.h"

struct evrt_config;
struct evrt_host;
struct evrt_http;
struct evrt_log;

/* What publishers and operators must show; empty: nothing. */
struct evrt_http_tokens {
    struct evrt_buf ingest, admin;
};
/* Reads the token files of the configuration. -EINVAL. Any thread. */
EVRT_MUST_CHECK int evrt_http_tokens_read(struct evrt_http_tokens *t,
                                          const struct evrt_config *config, struct evrt_log *log,
                                          struct evrt_error *err);
void evrt_http_tokens_finish(struct evrt_http_tokens *t);
/* Asks for these from the next request on; the old ones are in *t afterwards. */
void evrt_http_tokens_exchange(struct evrt_http *h, struct evrt_http_tokens *t);

/* Listens on http.listen and admin.listen of the host's config. -EBUSY: a port is taken (err names it);
 * -EINVAL: a bad address or token file; -EPERM: admin not on loopback and no token. */
EVRT_MUST_CHECK int evrt_http_create(struct evrt_http **out, struct evrt_host *host,
                                     struct evrt_error *err);
/* Stops accepting on the ingest listener; requests in progress are answered; new ones on kept
 * connections get 503. The admin listener goes on. */
void evrt_http_quiesce(struct evrt_http *h);
/* Answers what is suspended (503), closes every connection and handle, then calls cb, after which
 * evrt_http_destroy may be called. */
void evrt_http_stop(struct evrt_http *h, void (*cb)(void *arg), void *arg);
void evrt_http_destroy(struct evrt_http *h);

/* Appends {"ingest":{"requests","refused","late","connections"},"admin":{...}}. */
struct evrt_buf;
void evrt_http_counts(const struct evrt_http *h, struct evrt_buf *out);

/* Brings the listeners' figures in the registry of metrics up to now. */
void evrt_http_collect(struct evrt_http *h);

/* libmicrohttpd's version. */
const char *evrt_http_library(void);

/* The port really bound (0 in the config asks for any). */
uint16_t evrt_http_ingest_port(const struct evrt_http *h);
uint16_t evrt_http_admin_port(const struct evrt_http *h);

#endif
