/* One request, from its first line to its answer: what route handlers see. They know nothing of
 * libmicrohttpd. Owner: the server, which reuses requests; the loop thread.
 *
 * A handler answers at once, or later from a callback; then it counts itself in with
 * evrt_request_hold() and the callback out with evrt_request_release(). The client may go away in
 * between: answering is harmless then. */
#ifndef EVRT_HTTP_REQUEST_H
#define EVRT_HTTP_REQUEST_H

#include "host/host.h"
#include "http/envelope.h"
#include "http/refusal.h"
#include "http/route.h"

struct MHD_Connection;
struct evrt_http;
struct evrt_http_server;

/* What was published for a request: one event, or one of a batch. */
struct evrt_http_item {
    struct evrt_http_request *request;
    uint64_t seq;        /* once durable */
    size_t text, text_n; /* in request->text: the id, or the reason for refusal */
    int what;            /* EVRT_DUPLICATE */
    const struct evrt_refusal_answer *refusal; /* NULL: it was accepted */
};

struct evrt_http_request {
    struct evrt_http_server *server;
    struct evrt_http_peer *peer;       /* the connection, while it lives */
    struct MHD_Connection *connection; /* NULL: the client has gone, or has its answer */

    /* The request. The slices are good until it is answered. */
    struct evrt_slice method, path, query;
    struct evrt_route_match match;
    struct evrt_header headers[EVRT_HEADERS_MAX];
    size_t header_count;
    struct evrt_buf uri, body;

    /* The answer. */
    struct evrt_buf out;
    unsigned status; /* 0: none yet */
    unsigned retry_after;
    const char *content_encoding; /* NULL: none */
    struct evrt_buf allow;        /* Allow header, when not empty */
    struct evrt_slice origin;     /* WebHook-Allowed-Origin, when not empty */
    const char *content_type;     /* NULL: JSON */
    bool close;                   /* end the connection after the answer */
    bool authenticate;            /* add WWW-Authenticate */
    bool vary;                    /* the answer depends on Accept and Accept-Encoding */

    /* Where it stands, kept by the server. */
    const char *raw_uri; /* where the target stood in the server's memory */
    bool begun, complete, queued, park, parked, dropped;
    uint64_t body_limit, drained;
    unsigned body_key;                         /* of body_limit; EVRT_LIMIT_COUNT: it is no key's */
    unsigned holds;                            /* callbacks that are still to come */
    struct evrt_http_request *next, *previous; /* among those to be used again, or orphans */

    /* An answer that goes on: `out` is what is still to be sent, from out_at on. */
    const struct evrt_stream_events *stream_events; /* NULL: it is none */
    void *stream;                                   /* of who streams */
    size_t out_at;
    bool stream_ended, stream_lost;
    char peer_name[64]; /* outlives the connection */
    int64_t begun_ns;   /* when its first line was in */

    /* What POST /events keeps; embedded so that nothing is allocated per request. */
    struct evrt_host_request_span span;
    struct evrt_buf state; /* tracestate of several headers */
    struct evrt_envelope envelope;
    struct evrt_batch batch;
    struct evrt_http_item one, *items;
    size_t item_count, item_cap, waiting;
    int64_t batch_ns; /* when a batch had come whole */
    struct evrt_buf text;
    int64_t wait_ms; /* of ?wait=handled; negative: not asked for */
    struct evrt_host_wait *wait;
    /* When set and the server stops: answers what r still waits for. */
    void (*cancel)(struct evrt_http_request *r);
};

struct evrt_http *evrt_request_http(const struct evrt_http_request *r);
struct evrt_host *evrt_request_host(const struct evrt_http_request *r);
const struct evrt_config *evrt_request_config(const struct evrt_http_request *r);

/* The body of the answer is what was appended to r->out before. Once per request. */
void evrt_request_answer(struct evrt_http_request *r, unsigned status);
/* The same with {"error":{"code","message"}} as the body. */
void evrt_request_fail(struct evrt_http_request *r, enum evrt_refusal why, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A limit came to bear (enum evrt_limit_id): counts it. */
void evrt_request_limit(struct evrt_http_request *r, unsigned limit);
/* Appends that object. */
void evrt_request_error_json(struct evrt_buf *out, const char *code, struct evrt_slice message);

/* ---- An answer that goes on: 200, and lines of JSON as they come ---- */

struct evrt_stream_events {
    /* All that was put has been taken: more may be. */
    void (*drained)(struct evrt_http_request *r);
    /* The client has gone before evrt_request_end. Called once, and drained no more. */
    void (*gone)(struct evrt_http_request *r);
};
/* Begins it, with what is in r->out; the caller holds the request. */
void evrt_request_stream(struct evrt_http_request *r, const struct evrt_stream_events *events,
                         void *stream);
/* Kept in memory until it is sent: who streams waits for drained. */
void evrt_request_put(struct evrt_http_request *r, struct evrt_slice lines);
/* No event is called any more. */
void evrt_request_end(struct evrt_http_request *r);

/* Whether nobody waits for the answer any more. A system call. A client that closed its own side only
 * counts as gone, too. */
bool evrt_request_gone(const struct evrt_http_request *r);

/* Logs what an operator did, or was refused. */
void evrt_request_audit(struct evrt_http_request *r, const char *action, const char *target,
                        const char *outcome);

/* The answer takes long (more than one commit): the connection is taken off the server's list. Only
 * while the handler runs. */
void evrt_request_park(struct evrt_http_request *r);
void evrt_request_hold(struct evrt_http_request *r);
/* May free the request: the last thing that a callback does with it. */
void evrt_request_release(struct evrt_http_request *r);

/* Walks the query; refuses parameters that the route does not take or that come twice, with 400.
 * `each` gets the decoded value (NUL-terminated, good until r is answered) and returns 0, or answers
 * itself and returns a negative value. -EINVAL: the request has its answer. */
EVRT_MUST_CHECK int evrt_request_query(struct evrt_http_request *r,
                                       int (*each)(void *arg, struct evrt_http_request *r,
                                                   struct evrt_slice name, struct evrt_slice value),
                                       void *arg);

#endif
