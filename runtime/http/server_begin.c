/* What is decided when a request's headers are in: whether it can be trusted, where it goes, whether it
 * may, how much body is read. */
#include <errno.h>

#include "core/error.h"
#include "host/host.h"
#include "http/listen.h"
#include "http/server_internal.h"
#include "http/token.h"
#include "telemetry/log_events.h"
#include "telemetry/metrics.h"

static void log_refusal(struct evrt_http_request *r, const char *reason) {
    char peer[EVRT_PEER_SIZE];
    r->server->counts.refused++;
    evrt_log_event(evrt_host_log(r->server->host), REQUEST_REFUSED,
                   EVRT_F_CSTR("peer", evrt_http_peer_name(r->peer, peer, sizeof peer)),
                   EVRT_F_U64("status", r->status), EVRT_F_CSTR("error", reason));
}

/* Answers at once and ends the connection: where this request ends cannot be told. */
static int distrust(struct evrt_http_request *r, enum evrt_refusal why, const char *reason) {
    r->dropped = r->close = true;
    evrt_request_fail(r, why, "%s", reason);
    log_refusal(r, reason);
    return -EINVAL;
}

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_n,
                                 const char *value, size_t value_n) {
    struct evrt_http_request *r = cls;
    (void)kind;
    if (r->header_count < EVRT_HEADERS_MAX)
        r->headers[r->header_count] =
            (struct evrt_header){{key, key_n}, {value == NULL ? key + key_n : value, value_n}};
    r->header_count++;
    return MHD_YES;
}

/* Whether request line and header lines lie end to end, as they do when each was ended by CRLF. */
static bool contiguous(const struct evrt_http_request *r, const char *method, const char *version,
                       size_t size) {
    return method + r->method.n + 1 == r->raw_uri && r->raw_uri + r->uri.n + 1 == version &&
           evrt_headers_contiguous(r->headers, r->header_count, version + sizeof "HTTP/1.1" - 1 + 2,
                                   method + size);
}

static int take_headers(struct evrt_http_request *r, const char *method, const char *version) {
    struct evrt_error err;
    size_t size =
        r->server->mhd.get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)
            ->header_size;
    r->method = evrt_slice_of(method);
    r->server->mhd.get_connection_values_n(r->connection, MHD_HEADER_KIND, on_header, r);
    if (r->header_count > EVRT_HEADERS_MAX || size > r->server->config->http.max_header_size) {
        r->header_count = 0;
        evrt_request_limit(r, EVRT_LIMIT_MAX_HEADER_SIZE);
        return distrust(
            r, EVRT_REFUSE_HEADERS,
            "more header fields, or more bytes of them (http.max_header_size), than are "
            "accepted");
    }
    if (!contiguous(r, method, version, size))
        return distrust(r, EVRT_REFUSE_BAD_REQUEST,
                        "malformed request: a line does not end with CRLF, a header is folded, or "
                        "there are stray spaces or NUL bytes");
    bool http10 = strcmp(version, "HTTP/1.0") == 0;
    if (evrt_headers_check(r->headers, r->header_count, http10, &err) < 0)
        return distrust(r, EVRT_REFUSE_BAD_REQUEST, err.message);
    return 0;
}

static int find_route(struct evrt_http_request *r) {
    const struct evrt_http_server_options *o = &r->server->options;
    int rc = evrt_route_find(o->routes, o->route_count, r->method, r->path, &r->match, &r->allow);
    if (rc == 0) return 0;
    if (rc == -ENOENT) {
        evrt_request_fail(r, EVRT_REFUSE_NOT_FOUND, "there is nothing at %.*s on the %s listener",
                          (int)(r->path.n < 200 ? r->path.n : 200), r->path.p, o->name);
    } else if (evrt_slice_eq(r->method, EVRT_STR("OPTIONS"))) {
        evrt_buf_puts(&r->allow, ", OPTIONS");
        evrt_request_answer(r, 204);
    } else {
        evrt_request_fail(r, EVRT_REFUSE_METHOD, "%.*s answers to %.*s",
                          (int)(r->path.n < 200 ? r->path.n : 200), r->path.p, (int)r->allow.n,
                          r->allow.p);
    }
    return rc;
}

static int authorize(struct evrt_http_request *r) {
    struct evrt_slice token = evrt_buf_slice(r->server->options.token);
    if (token.n == 0 || r->match.route->open) return 0;
    struct evrt_slice given =
        evrt_token_bearer(evrt_headers_get(r->headers, r->header_count, "authorization"));
    if (given.n > 0 && evrt_token_equal(token, given)) return 0;
    r->authenticate = given.n == 0;
    if (given.n == 0)
        evrt_request_fail(r, EVRT_REFUSE_UNAUTHORIZED,
                          "a token is required: send the header Authorization: Bearer TOKEN");
    else
        evrt_request_fail(r, EVRT_REFUSE_FORBIDDEN, "that token is not the right one");
    log_refusal(r, given.n == 0 ? "no token" : "wrong token");
    return -EACCES;
}

/* After its body, as any answer, so that the client gets to read it. */
static void refuse_connection(struct evrt_http_request *r) {
    const struct evrt_http_refusal *why = r->peer->refusal;
    r->close = true;
    evrt_request_fail(r, why->why, "%s (%s)", why->text, evrt_limit_key(why->limit));
    log_refusal(r, why->text);
}

void evrt_http_too_large(struct evrt_http_request *r, struct evrt_slice length) {
    const char *key = r->body_key == EVRT_LIMIT_COUNT ? NULL : evrt_limit_key(r->body_key);
    if (length.n == 0) length = EVRT_STR("too many");
    if (key != NULL) evrt_request_limit(r, r->body_key);
    evrt_request_fail(r, EVRT_REFUSE_TOO_LARGE,
                      "the body has %.*s bytes, at most %llu are accepted%s%s%s", (int)length.n,
                      length.p, (unsigned long long)r->body_limit, key == NULL ? "" : " (",
                      key == NULL ? "" : key, key == NULL ? "" : ")");
}

void evrt_http_begin(struct evrt_http_request *r, const char *method, const char *version) {
    if (take_headers(r, method, version) < 0) return;
    if (r->peer->refusal != NULL) {
        refuse_connection(r);
        return;
    }
    if (r->server->quiesced) {
        evrt_request_fail(r, EVRT_REFUSE_SHUTTING_DOWN, "this node is shutting down");
        return;
    }
    if (find_route(r) < 0 || authorize(r) < 0) return;
    r->body_key = EVRT_LIMIT_COUNT;
    r->body_limit = r->match.route->body_limit == NULL ? 0 : r->match.route->body_limit(r);
    struct evrt_slice length = evrt_headers_get(r->headers, r->header_count, "content-length");
    uint64_t n = 0;
    for (size_t i = 0; i < length.n && n <= r->body_limit; i++)
        n = n * 10 + (uint64_t)(length.p[i] - '0');
    if (n > r->body_limit) evrt_http_too_large(r, length);
}
