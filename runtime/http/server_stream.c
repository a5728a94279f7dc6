/* Answers that go on. libmicrohttpd asks for the next piece; when there is none the connection is suspended
 * until something is put:
 *
 *     put ─▶ out ─▶ resume ─▶ take(): piece, piece, ... drained ─▶ take(): nothing, suspend
 *
 * A suspended connection counts, never times out, and its end is not noticed: so the sweep looks, once a
 * second. One that takes its pieces too slowly is not suspended, and the daemon's own timeout is for it. */
#include <poll.h>
#include <stdio.h>

#include "host/host.h"
#include "http/listen.h"
#include "http/server_internal.h"
#include "telemetry/log_events.h"

static void resume(struct evrt_http_request *r) {
    if (r->connection == NULL || !r->complete) return;
    if (r->parked) {
        r->parked = false;
        r->server->mhd.resume_connection(r->connection);
    }
    evrt_http_server_wake(r->server);
}

/* libmicrohttpd's callback. */
static ssize_t take(void *cls, uint64_t position, char *buf, size_t max) {
    struct evrt_http_request *r = cls;
    size_t n = r->out.n - r->out_at;
    (void)position;
    r->server->progress = true;
    if (r->stream_lost) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && r->stream_ended) return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        r->parked = true;
        r->server->mhd.suspend_connection(r->connection);
        return 0;
    }
    if (n > max) n = max;
    memcpy(buf, r->out.p + r->out_at, n);
    r->out_at += n;
    if (r->out_at < r->out.n) return (ssize_t)n;
    evrt_buf_clear(&r->out);
    r->out_at = 0;
    if (!r->stream_ended) r->stream_events->drained(r);
    return (ssize_t)n;
}

struct MHD_Response *evrt_http_stream_response(struct evrt_http_request *r) {
    enum { PIECE = 32 << 10 };
    return r->server->mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE, take, r, NULL);
}

void evrt_http_stream_gone(struct evrt_http_request *r) {
    r->stream_ended = true;
    r->stream_events->gone(r);
}

void evrt_http_stream_look(struct evrt_http_request *r) {
    if (r->stream_events == NULL || !r->parked || !evrt_request_gone(r)) return;
    r->stream_lost = true;
    resume(r);
}

void evrt_request_stream(struct evrt_http_request *r, const struct evrt_stream_events *events,
                         void *stream) {
    r->stream_events = events;
    r->stream = stream;
    r->content_type = "application/x-ndjson";
    if (r->peer != NULL) evrt_http_peer_name(r->peer, r->peer_name, sizeof r->peer_name);
    evrt_request_answer(r, 200);
}

void evrt_request_put(struct evrt_http_request *r, struct evrt_slice lines) {
    if (r->connection == NULL) return;
    evrt_buf_put(&r->out, lines.p, lines.n);
    resume(r);
}

void evrt_request_end(struct evrt_http_request *r) {
    r->stream_ended = true;
    resume(r);
}

bool evrt_request_gone(const struct evrt_http_request *r) {
    if (r->connection == NULL || r->peer == NULL) return true;
    struct pollfd p = {.fd = r->peer->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

void evrt_request_audit(struct evrt_http_request *r, const char *action, const char *target,
                        const char *outcome) {
    if (r->peer != NULL) evrt_http_peer_name(r->peer, r->peer_name, sizeof r->peer_name);
    evrt_log_event(evrt_host_log(r->server->host), OPERATOR_ACTION, EVRT_F_CSTR("action", action),
                   EVRT_F_CSTR("target", target), EVRT_F_CSTR("peer", r->peer_name),
                   EVRT_F_CSTR("outcome", outcome));
}
