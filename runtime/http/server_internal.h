/* Shared by the server_*.c files alone. */
#ifndef EVRT_HTTP_SERVER_INTERNAL_H
#define EVRT_HTTP_SERVER_INTERNAL_H

#include <uv.h>

#include "core/map.h"
#include "http/mhd.h"
#include "http/request.h"
#include "http/server.h"
#include "telemetry/metrics_table.h"

enum evrt_http_phase {
    EVRT_HTTP_IDLE,      /* between requests, or within a request line */
    EVRT_HTTP_RECEIVING, /* the request line is in, the rest is not */
    EVRT_HTTP_ANSWERING, /* all is in */
};

/* Connections of one address. */
struct evrt_http_address {
    unsigned accepted, refused;
};

/* Why a connection gets one answer only. */
struct evrt_http_refusal {
    enum evrt_refusal why;
    enum evrt_limit_id limit;
    const char *text;
};

/* A connection, for as long as libmicrohttpd has it. */
struct evrt_http_peer {
    struct evrt_http_server *server;
    struct evrt_http_peer *previous, *next;
    struct evrt_http_request *request; /* in progress, or NULL */
    struct evrt_http_address *address;
    const struct evrt_http_refusal *refusal; /* one too many; NULL: it is not */
    int fd;
    enum evrt_http_phase phase;
    bool fresh;    /* no request has come yet */
    bool trickles; /* idle, but bytes of a request line have come */
    bool late;     /* shut down already */
    int64_t since; /* uv_now() when the phase, or the trickling, began */
};

struct evrt_http_server {
    struct evrt_http_server_options options;
    struct evrt_host *host;
    const struct evrt_config *config;
    uv_loop_t *loop;
    struct evrt_mhd mhd;
    struct MHD_Daemon *daemon;
    uint16_t port;
    bool listening, stopping, quiesced;

    uv_poll_t poll;   /* the daemon's epoll descriptor */
    uv_timer_t timer; /* what MHD_get_timeout asks for, when it is soon */
    uv_timer_t sweep; /* once a second: late connections, and timeouts that are not soon */
    uv_idle_t soon;   /* runs the daemon at the next turn of the loop */
    bool progress;    /* the daemon did something in this run */
    unsigned queued;  /* answers handed over in this run */

    struct evrt_http_peer *peers;
    struct evrt_map addresses;       /* -> struct evrt_http_address */
    unsigned accepted;               /* of peers: not refused */
    struct evrt_http_request *spare; /* requests to reuse */
    unsigned spare_count;
    unsigned live;                     /* requests that are begun and not let go by the daemon */
    unsigned answering;                /* of them: complete, so that an answer is due */
    unsigned holds;                    /* callbacks to come, over all requests */
    struct evrt_http_request *orphans; /* that wait for theirs, and whose client is gone */
    struct evrt_http_counts counts;

    void (*on_stopped)(void *arg);
    void *stopped_arg;
    int64_t stop_deadline;
    unsigned closing; /* handles */

    struct evrt_metrics *metrics;        /* NULL: off */
    struct evrt_http_answered *answered; /* by route and status */
    size_t answered_count;
};

/* server.c */
void evrt_http_server_wake(struct evrt_http_server *s);

/* server_request.c: libmicrohttpd's callbacks. */
void *evrt_http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result evrt_http_on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                    const char *method, const char *version, const char *upload,
                                    size_t *upload_size, void **con_cls);
void evrt_http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                            enum MHD_RequestTerminationCode code);
void evrt_http_request_free(struct evrt_http_request *r);

/* server_metrics.c */
void evrt_http_metrics_answered(struct evrt_http_request *r);
void evrt_http_metrics_finish(struct evrt_http_server *s);

/* server_stream.c */
struct MHD_Response *evrt_http_stream_response(struct evrt_http_request *r);
/* The daemon has let go of it. May free the request. */
void evrt_http_stream_gone(struct evrt_http_request *r);
/* Looks whether its client is still there. */
void evrt_http_stream_look(struct evrt_http_request *r);

/* server_begin.c: what is decided when the headers are in. Answers the request when it is refused. */
void evrt_http_begin(struct evrt_http_request *r, const char *method, const char *version);
/* Refuses it for its body, of so many bytes ("": not known), and counts which limit did. */
void evrt_http_too_large(struct evrt_http_request *r, struct evrt_slice length);

/* server_peer.c */
enum {
    EVRT_HTTP_REFUSED = 64,
    EVRT_HTTP_REFUSED_PER_ADDRESS = 16
}; /* that wait for their answer */
enum MHD_Result evrt_http_on_accept(void *cls, const struct sockaddr *address, socklen_t size);
void evrt_http_on_connection(void *cls, struct MHD_Connection *connection, void **context,
                             enum MHD_ConnectionNotificationCode code);
void evrt_http_peer_phase(struct evrt_http_peer *p, enum evrt_http_phase phase);
void evrt_http_sweep(struct evrt_http_server *s);
/* "10.0.0.1:5112", or "?". Returns buf. */
char *evrt_http_peer_name(const struct evrt_http_peer *p, char *buf, size_t size);

#endif
