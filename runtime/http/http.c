/* See http.h: the two listeners, their addresses and tokens. */
#include "http/http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "config/config.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "host/host.h"
#include "http/admin.h"
#include "http/ingest.h"
#include "http/listen.h"
#include "http/server.h"
#include "http/token.h"
#include "telemetry/log_events.h"

struct evrt_http {
    struct evrt_host *host;
    struct evrt_http_server *ingest, *admin;
    struct evrt_http_tokens tokens;
    struct evrt_route *admin_routes;
    unsigned stopping; /* servers that have not stopped yet */
    void (*on_stopped)(void *arg);
    void *stopped_arg;
};

static int read_token(const char *path, struct evrt_buf *out, struct evrt_log *log,
                      struct evrt_error *err) {
    bool exposed = false;
    if (path == NULL || *path == '\0') return 0;
    int rc = evrt_token_load(path, out, &exposed, err);
    if (rc < 0) return -EINVAL;
    if (exposed) evrt_log_event(log, TOKEN_EXPOSED, EVRT_F_CSTR("path", path));
    return 0;
}

int evrt_http_tokens_read(struct evrt_http_tokens *t, const struct evrt_config *config,
                          struct evrt_log *log, struct evrt_error *err) {
    *t = (struct evrt_http_tokens){0};
    int rc = read_token(config->http.token_file, &t->ingest, log, err);
    if (rc == 0) rc = read_token(config->admin.token_file, &t->admin, log, err);
    if (rc < 0) evrt_http_tokens_finish(t);
    return rc;
}

static void forget(struct evrt_buf *token) {
    if (token->p != NULL) explicit_bzero(token->p, token->n);
    evrt_buf_finish(token);
}

void evrt_http_tokens_finish(struct evrt_http_tokens *t) {
    forget(&t->ingest);
    forget(&t->admin);
}

void evrt_http_tokens_exchange(struct evrt_http *h, struct evrt_http_tokens *t) {
    struct evrt_http_tokens before = h->tokens;
    h->tokens = *t;
    *t = before;
}

static int listen_on(const char *listen, int *fd, struct evrt_address *address,
                     struct evrt_error *err) {
    int rc = evrt_address_parse(evrt_slice_of(listen), address, err);
    if (rc < 0) return rc;
    *fd = evrt_listen(address, err);
    if (*fd >= 0) return 0;
    return *fd == -EADDRINUSE ? -EBUSY : *fd;
}

/* Both sockets first: a taken port is the failure to expect, and nothing runs yet then. */
static int listen_all(struct evrt_http *h, const struct evrt_config *c, int fds[2],
                      struct evrt_error *err) {
    struct evrt_address address;
    int rc = listen_on(c->http.listen, &fds[0], &address, err);
    if (rc == 0) rc = evrt_address_parse(evrt_slice_of(c->admin.listen), &address, err);
    if (rc == 0 && h->tokens.admin.n == 0 && !evrt_address_is_loopback(&address))
        rc = evrt_error_set(err, -EPERM,
                            "admin.listen: %s is reachable from outside; set admin.token_file, or "
                            "listen on 127.0.0.1",
                            c->admin.listen);
    if (rc == 0) rc = listen_on(c->admin.listen, &fds[1], &address, err);
    return rc;
}

static int serve(struct evrt_http *h, const char *name, struct evrt_http_server **out, int *fd,
                 const struct evrt_buf *token, const struct evrt_route *routes, size_t count,
                 struct evrt_error *err) {
    struct evrt_http_server_options options = {
        .fd = *fd, .token = token, .http = h, .routes = routes, .route_count = count, .name = name};
    *fd = -1;
    return evrt_http_server_create(out, h->host, &options, err);
}

/* The admin listener's table: /metrics, its first, where metrics.path says, or not at all. */
static const struct evrt_route *own_routes(struct evrt_http *h, const struct evrt_config *c) {
    h->admin_routes = evrt_alloc(evrt_admin_route_count * sizeof *h->admin_routes);
    memcpy(h->admin_routes, evrt_admin_routes, evrt_admin_route_count * sizeof *h->admin_routes);
    h->admin_routes[0].pattern = c->metrics.path;
    return h->admin_routes + !c->metrics.enabled;
}

/* "127.0.0.1:43211" with the port that was really bound. */
static const char *bound(const char *listen, uint16_t port, char *buf, size_t size) {
    struct evrt_address a;
    if (evrt_address_parse(evrt_slice_of(listen), &a, NULL) < 0) return listen;
    snprintf(buf, size, strchr(a.host, ':') == NULL ? "%s:%u" : "[%s]:%u", a.host, port);
    return buf;
}

static void log_listening(struct evrt_http *h, const struct evrt_config *c) {
    char ingest[96], admin[96];
    evrt_log_event(
        evrt_host_log(h->host), LISTENING,
        EVRT_F_CSTR("ingest",
                    bound(c->http.listen, evrt_http_ingest_port(h), ingest, sizeof ingest)),
        EVRT_F_CSTR("admin", bound(c->admin.listen, evrt_http_admin_port(h), admin, sizeof admin)));
}

int evrt_http_create(struct evrt_http **out, struct evrt_host *host, struct evrt_error *err) {
    const struct evrt_config *c = evrt_host_config(host);
    struct evrt_http *h = evrt_zalloc(sizeof *h);
    int fds[2] = {-1, -1};
    h->host = host;
    int rc = evrt_http_tokens_read(&h->tokens, c, evrt_host_log(host), err);
    if (rc == 0) rc = listen_all(h, c, fds, err);
    if (rc == 0)
        rc = serve(h, "ingest", &h->ingest, &fds[0], &h->tokens.ingest, evrt_ingest_routes,
                   EVRT_INGEST_ROUTES, err);
    if (rc == 0)
        rc = serve(h, "admin", &h->admin, &fds[1], &h->tokens.admin, own_routes(h, c),
                   evrt_admin_route_count - !c->metrics.enabled, err);
    if (rc < 0) {
        for (int i = 0; i < 2; i++)
            if (fds[i] >= 0) close(fds[i]);
        evrt_http_destroy(h);
        return rc;
    }
    evrt_http_server_start(h->ingest);
    evrt_http_server_start(h->admin);
    log_listening(h, c);
    *out = h;
    return 0;
}

void evrt_http_quiesce(struct evrt_http *h) {
    evrt_http_server_quiesce(h->ingest);
}

static void on_stopped(void *arg) {
    struct evrt_http *h = arg;
    if (--h->stopping == 0) h->on_stopped(h->stopped_arg);
}

void evrt_http_stop(struct evrt_http *h, void (*cb)(void *arg), void *arg) {
    h->on_stopped = cb;
    h->stopped_arg = arg;
    h->stopping = 2;
    evrt_http_server_stop(h->ingest, on_stopped, h);
    evrt_http_server_stop(h->admin, on_stopped, h);
}

void evrt_http_destroy(struct evrt_http *h) {
    if (h == NULL) return;
    evrt_http_server_destroy(h->ingest);
    evrt_http_server_destroy(h->admin);
    evrt_http_tokens_finish(&h->tokens);
    free(h->admin_routes);
    free(h);
}

static void put_counts(struct evrt_jsonout *o, const char *key, const struct evrt_http_server *s) {
    struct evrt_http_counts counts;
    evrt_http_server_counts(s, &counts);
    evrt_jsonout_key(o, key);
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "requests", counts.requests);
    evrt_jsonout_put_u64(o, "refused", counts.refused);
    evrt_jsonout_put_u64(o, "late", counts.late);
    evrt_jsonout_put_u64(o, "connections", counts.connections);
    evrt_jsonout_end(o);
}

void evrt_http_counts(const struct evrt_http *h, struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    put_counts(&o, "ingest", h->ingest);
    put_counts(&o, "admin", h->admin);
    evrt_jsonout_end(&o);
}

void evrt_http_collect(struct evrt_http *h) {
    evrt_http_server_collect(h->ingest);
    evrt_http_server_collect(h->admin);
}

uint16_t evrt_http_ingest_port(const struct evrt_http *h) {
    return evrt_http_server_port(h->ingest);
}

uint16_t evrt_http_admin_port(const struct evrt_http *h) {
    return evrt_http_server_port(h->admin);
}
