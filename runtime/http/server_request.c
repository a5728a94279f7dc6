/* Requests in libmicrohttpd's hands: its callbacks, reuse, and the answer going out.
 *
 *     on_uri ─▶ on_access (headers) ─▶ on_access (body)* ─▶ on_access (complete) ─▶ handler
 *                                                               ▲    │ answered? queue it
 *                                              asked again ─────┴────┘ else later
 *     on_completed: the daemon has let go; reused once no callback is to come. */
#include <stdlib.h>

#include "core/clock.h"
#include "host/host.h"
#include "http/server_internal.h"
#include "http/uri.h"

enum {
    SPARE_MAX = 1024,       /* requests kept for reuse */
    KEEP_BYTES = 64 * 1024, /* larger buffers are given back */
    DRAIN_BYTES = 16 << 20, /* of a refused body that are read, so that the client reads why */
};

static void trim(struct evrt_buf *b) {
    if (b->cap > KEEP_BYTES)
        evrt_buf_finish(b);
    else
        evrt_buf_clear(b);
}

static struct evrt_http_request *take(struct evrt_http_server *s) {
    struct evrt_http_request *r = s->spare;
    if (r == NULL) {
        r = evrt_zalloc(sizeof *r);
        r->server = s;
        evrt_envelope_init(&r->envelope);
        return r;
    }
    s->spare = r->next;
    s->spare_count--;
    return r;
}

void evrt_http_request_free(struct evrt_http_request *r) {
    struct evrt_buf *const bufs[] = {&r->uri, &r->body, &r->out, &r->allow, &r->text, &r->state};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        evrt_buf_finish(bufs[i]);
    evrt_envelope_finish(&r->envelope);
    free(r->batch.items);
    free(r->items);
    free(r);
}

static void give_back(struct evrt_http_request *r) {
    struct evrt_http_server *s = r->server;
    struct evrt_buf *const bufs[] = {
        &r->uri,  &r->body,  &r->out,           &r->allow,
        &r->text, &r->state, &r->envelope.text, &r->envelope.extensions};
    if (s->spare_count == SPARE_MAX) {
        evrt_http_request_free(r);
        return;
    }
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        trim(bufs[i]);
    r->status = r->retry_after = 0;
    r->content_type = r->content_encoding = NULL;
    r->vary = false;
    r->match.route = NULL;
    r->stream_events = NULL;
    r->stream = NULL;
    r->out_at = 0;
    r->stream_ended = r->stream_lost = false;
    r->peer_name[0] = '\0';
    r->origin = (struct evrt_slice){NULL, 0};
    r->close = r->authenticate = false;
    r->begun = r->complete = r->queued = r->park = r->parked = r->dropped = false;
    r->drained = 0;
    r->span.on = false;
    r->header_count = r->item_count = r->waiting = 0;
    r->wait = NULL;
    r->cancel = NULL;
    r->next = s->spare;
    s->spare = r;
    s->spare_count++;
}

static void put_orphan(struct evrt_http_request *r) {
    struct evrt_http_server *s = r->server;
    r->previous = NULL;
    r->next = s->orphans;
    if (r->next != NULL) r->next->previous = r;
    s->orphans = r;
}

static void take_orphan(struct evrt_http_request *r) {
    *(r->previous == NULL ? &r->server->orphans : &r->previous->next) = r->next;
    if (r->next != NULL) r->next->previous = r->previous;
}

void evrt_request_hold(struct evrt_http_request *r) {
    r->holds++;
    r->server->holds++;
}

void evrt_request_release(struct evrt_http_request *r) {
    struct evrt_http_server *s = r->server;
    r->holds--;
    s->holds--;
    if (r->holds == 0 && r->connection == NULL) {
        take_orphan(r);
        give_back(r);
    }
    if (s->stopping && s->holds == 0) evrt_http_server_wake(s);
}

static void end_span(struct evrt_http_request *r) {
    char peer[64] = "", *port = NULL;
    bool wanted = r->span.sampled || !r->span.decided;
    if (wanted && r->peer != NULL)
        port = strrchr(evrt_http_peer_name(r->peer, peer, sizeof peer), ':');
    if (port != NULL) *port = '\0';
    evrt_host_request_end(r->server->host, &r->span, r->status, peer);
}

void evrt_request_answer(struct evrt_http_request *r, unsigned status) {
    r->status = status;
    if (r->span.on) end_span(r);
    if (!r->complete || r->connection == NULL)
        return; /* in the daemon's callback, or nobody there */
    if (r->parked) {
        r->parked = false;
        r->server->mhd.resume_connection(r->connection);
    }
    evrt_http_server_wake(r->server);
}

void evrt_request_park(struct evrt_http_request *r) {
    r->park = true;
}

struct evrt_http *evrt_request_http(const struct evrt_http_request *r) {
    return r->server->options.http;
}

struct evrt_host *evrt_request_host(const struct evrt_http_request *r) {
    return r->server->host;
}

const struct evrt_config *evrt_request_config(const struct evrt_http_request *r) {
    return r->server->config;
}

/* ---- Answering ---- */

static void add_headers(struct evrt_http_request *r, struct MHD_Response *response) {
    __typeof__(MHD_add_response_header) *add = r->server->mhd.add_response_header;
    char number[16];
    const char *type = r->content_type != NULL ? r->content_type : "application/json";
    if (r->out.n > 0 || r->content_type != NULL) add(response, "Content-Type", type);
    if (r->content_encoding != NULL) add(response, "Content-Encoding", r->content_encoding);
    if (r->vary) add(response, "Vary", "Accept, Accept-Encoding");
    if (r->close) add(response, "Connection", "close");
    if (r->authenticate) add(response, "WWW-Authenticate", "Bearer");
    if (r->allow.n > 0) add(response, "Allow", evrt_buf_cstr(&r->allow));
    if (r->retry_after > 0) {
        snprintf(number, sizeof number, "%u", r->retry_after);
        add(response, "Retry-After", number);
    }
    if (r->origin.n > 0) {
        char *origin = evrt_strndup(r->origin.p, r->origin.n);
        add(response, "WebHook-Allowed-Origin", origin);
        add(response, "WebHook-Allowed-Rate", "*");
        free(origin);
    }
}

static enum MHD_Result queue(struct evrt_http_request *r) {
    if (r->queued) return MHD_YES;
    const struct evrt_mhd *mhd = &r->server->mhd;
    struct MHD_Response *response =
        r->stream_events != NULL
            ? evrt_http_stream_response(r)
            : mhd->create_response_from_buffer(r->out.n, r->out.p, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) return MHD_NO;
    if (r->server->quiesced) r->close = true;
    add_headers(r, response);
    enum MHD_Result rc = mhd->queue_response(r->connection, r->status, response);
    mhd->destroy_response(response);
    r->queued = true;
    r->server->queued++;
    evrt_http_metrics_answered(r);
    return rc;
}

/* ---- The daemon's callbacks ---- */

void *evrt_http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection) {
    struct evrt_http_server *s = cls;
    struct evrt_http_request *r = take(s);
    const union MHD_ConnectionInfo *info =
        r->server->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    r->connection = connection;
    r->peer = info->socket_context;
    r->peer->request = r;
    r->raw_uri = uri;
    evrt_buf_puts(&r->uri, uri);
    evrt_uri_split(evrt_buf_slice(&r->uri), &r->path, &r->query);
    evrt_http_peer_phase(r->peer, EVRT_HTTP_RECEIVING);
    s->counts.requests++;
    if (s->metrics != NULL) r->begun_ns = evrt_mono_ns();
    s->live++;
    s->progress = true;
    return r;
}

static enum MHD_Result take_body(struct evrt_http_request *r, const char *bytes, size_t n) {
    r->server->progress = true;
    if (r->status == 0 && r->body.n + n > r->body_limit) {
        evrt_http_too_large(r, (struct evrt_slice){NULL, 0});
        r->close = true; /* how long it goes on is not known */
    }
    if (r->status == 0) {
        evrt_buf_put(&r->body, bytes, n);
        return MHD_YES;
    }
    r->drained += n;
    return r->drained > DRAIN_BYTES ? MHD_NO : MHD_YES;
}

static enum MHD_Result begin(struct evrt_http_request *r, const char *method, const char *version) {
    r->begun = true;
    evrt_http_begin(r, method, version);
    if (r->status == 0) return MHD_YES;
    /* A refusal waits for the body's end, so that the connection stays good and the client, busy
     * sending, gets to read it; unless the body is not to be trusted or too long. */
    uint64_t length = 0;
    struct evrt_slice text = evrt_headers_get(r->headers, r->header_count, "content-length");
    for (size_t i = 0; i < text.n && length <= DRAIN_BYTES; i++)
        length = length * 10 + (uint64_t)(text.p[i] - '0');
    bool expects = evrt_headers_get(r->headers, r->header_count, "expect").p != NULL;
    if (r->dropped || expects || length > DRAIN_BYTES) return queue(r);
    return MHD_YES;
}

static void complete(struct evrt_http_request *r) {
    r->complete = true;
    r->server->progress = true;
    r->server->answering++;
    evrt_http_peer_phase(r->peer, EVRT_HTTP_ANSWERING);
    if (r->status == 0) r->match.route->handle(r);
}

enum MHD_Result evrt_http_on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *upload,
                                    size_t *upload_size, void **con_cls) {
    struct evrt_http_request *r = *con_cls;
    (void)cls, (void)connection, (void)url;
    if (!r->begun) return begin(r, method, version);
    if (*upload_size > 0) {
        size_t n = *upload_size;
        *upload_size = 0;
        return take_body(r, upload, n);
    }
    if (!r->complete) complete(r);
    if (r->status != 0) return queue(r);
    if (r->park && !r->parked) {
        r->parked = true;
        r->server->mhd.suspend_connection(connection);
    }
    return MHD_YES;
}

void evrt_http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                            enum MHD_RequestTerminationCode code) {
    struct evrt_http_request *r = *con_cls;
    (void)cls, (void)connection, (void)code;
    if (r == NULL) return;
    *con_cls = NULL;
    r->server->live--;
    if (r->complete) r->server->answering--;
    r->server->progress = true;
    evrt_http_peer_phase(r->peer, EVRT_HTTP_IDLE);
    r->peer->request = NULL;
    r->connection = NULL;
    r->peer = NULL;
    if (r->holds != 0) put_orphan(r);
    if (r->stream_events != NULL && !r->stream_ended)
        evrt_http_stream_gone(r);
    else if (r->holds == 0)
        give_back(r);
}
