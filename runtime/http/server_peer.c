/* Connections, and those that take too long. libmicrohttpd's own timeout starts anew with every byte; a
 * client that trickles would stay for ever. So each connection's phase is timed here and looked at once
 * a second. A request line in the making is not told by any callback: the kernel's count of received
 * bytes and time of the last one show it. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/host.h"
#include "http/listen.h"
#include "http/server_internal.h"
#include "telemetry/log_events.h"
#include "telemetry/metrics.h"

enum { REFUSED_MS = 1000 };

/* ---- Limits of connections ----
 *
 * One too many is not cut off but gets an answer, 503 or 429, when its request has come, and a second for that. So
 * many of those are let in, of one address and in all; what comes beyond waits in the kernel, or is cut off. */

static struct evrt_slice address_of(const struct sockaddr *a) {
    if (a->sa_family == AF_INET6)
        return (struct evrt_slice){
            (const char *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16};
    return (struct evrt_slice){
        (const char *)&((const struct sockaddr_in *)(const void *)a)->sin_addr, 4};
}

enum MHD_Result evrt_http_on_accept(void *cls, const struct sockaddr *address, socklen_t size) {
    struct evrt_http_server *s = cls;
    const struct evrt_http_address *a = evrt_map_get(&s->addresses, address_of(address));
    (void)size;
    if (a == NULL || a->refused < EVRT_HTTP_REFUSED_PER_ADDRESS) return MHD_YES;
    evrt_metrics_limit(s->metrics, EVRT_LIMIT_MAX_CONNECTIONS_PER_ADDRESS, 1);
    return MHD_NO;
}

static const struct evrt_http_refusal *refusal_of(const struct evrt_http_server *s,
                                                  const struct evrt_http_address *a) {
    static const struct evrt_http_refusal of_address = {EVRT_REFUSE_ADDRESS,
                                                        EVRT_LIMIT_MAX_CONNECTIONS_PER_ADDRESS,
                                                        "too many connections from this address"},
                                          of_all = {EVRT_REFUSE_CONNECTIONS,
                                                    EVRT_LIMIT_MAX_CONNECTIONS,
                                                    "too many connections"};
    if (a->accepted >= s->config->http.max_connections_per_address) return &of_address;
    return s->accepted >= s->config->http.max_connections ? &of_all : NULL;
}

static void count_in(struct evrt_http_peer *p, const struct sockaddr *address) {
    struct evrt_http_server *s = p->server;
    struct evrt_http_address *a = evrt_map_get(&s->addresses, address_of(address));
    if (a == NULL) {
        a = evrt_zalloc(sizeof *a);
        evrt_map_set(&s->addresses, address_of(address), a);
    }
    p->address = a;
    p->refusal = refusal_of(s, a);
    if (p->refusal != NULL) {
        a->refused++;
        evrt_metrics_limit(s->metrics, p->refusal->limit, 1);
        return;
    }
    a->accepted++;
    s->accepted++;
}

static void count_out(struct evrt_http_peer *p, const struct sockaddr *address) {
    struct evrt_http_address *a = p->address;
    if (p->refusal != NULL) {
        a->refused--;
    } else {
        a->accepted--;
        p->server->accepted--;
    }
    if (a->accepted + a->refused == 0)
        free(evrt_map_remove(&p->server->addresses, address_of(address)));
}

/* ---- Connections ---- */

void evrt_http_on_connection(void *cls, struct MHD_Connection *connection, void **context,
                             enum MHD_ConnectionNotificationCode code) {
    struct evrt_http_server *s = cls;
    const struct sockaddr *address =
        s->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    s->progress = true;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct evrt_http_peer *p = evrt_zalloc(sizeof *p);
        p->server = s;
        p->fd =
            s->mhd.get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        p->fresh = true;
        p->since = (int64_t)uv_now(s->loop);
        p->next = s->peers;
        if (p->next != NULL) p->next->previous = p;
        s->peers = p;
        s->counts.connections++;
        count_in(p, address);
        *context = p;
        return;
    }
    struct evrt_http_peer *p = *context;
    if (p->previous != NULL)
        p->previous->next = p->next;
    else
        s->peers = p->next;
    if (p->next != NULL) p->next->previous = p->previous;
    s->counts.connections--;
    count_out(p, address);
    *context = NULL;
    free(p);
}

void evrt_http_peer_phase(struct evrt_http_peer *p, enum evrt_http_phase phase) {
    /* A request's time runs on from where its first line was seen to trickle. */
    if (!(phase == EVRT_HTTP_RECEIVING && p->trickles)) p->since = (int64_t)uv_now(p->server->loop);
    p->phase = phase;
    if (phase != EVRT_HTTP_IDLE) p->trickles = p->fresh = false;
}

char *evrt_http_peer_name(const struct evrt_http_peer *p, char *buf, size_t size) {
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char name[EVRT_PEER_SIZE] = "?";
    if (getpeername(p->fd, (struct sockaddr *)&address, &length) == 0)
        evrt_peer_format((struct sockaddr *)&address, name);
    snprintf(buf, size, "%s", name);
    return buf;
}

/* Whether part of a request line has come to an idle connection. */
static bool trickles(const struct evrt_http_peer *p, int64_t now) {
    enum { SLACK_MS = 20 }; /* the kernel's times are in ticks */
    struct evrt_received received;
    if (evrt_received(p->fd, &received) < 0) return false;
    if (p->fresh) return received.bytes > 0;
    return now - received.last_ms_ago > p->since + SLACK_MS;
}

static const char too_late[] =
    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
    "Content-Length: 101\r\n\r\n"
    "{\"error\":{\"code\":\"timeout\",\"message\":\"the request took longer than http.request_timeout to "
    "arrive\"}}\n";

static void refuse(struct evrt_http_peer *p, int64_t took) {
    char name[EVRT_PEER_SIZE];
    struct evrt_http_server *s = p->server;
    evrt_log_event(
        evrt_host_log(s->host), REQUEST_REFUSED,
        EVRT_F_CSTR("peer", evrt_http_peer_name(p, name, sizeof name)), EVRT_F_U64("status", 408),
        EVRT_F_CSTR("error", "the request took longer than http.request_timeout to arrive"),
        EVRT_F_DURATION("duration", took * 1000000));
    s->counts.late++;
    s->counts.refused++;
    evrt_metrics_limit(s->metrics, EVRT_LIMIT_REQUEST_TIMEOUT, 1);
    /* Nothing of an answer was written, so this is well-formed; if it does not fit, it is not missed. */
    ssize_t sent = send(p->fd, too_late, sizeof too_late - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
}

static void look_at(struct evrt_http_peer *p, int64_t now) {
    const struct evrt_config *c = p->server->config;
    if (p->phase == EVRT_HTTP_ANSWERING && p->request != NULL) evrt_http_stream_look(p->request);
    if (p->late || p->phase == EVRT_HTTP_ANSWERING) return;
    if (p->phase == EVRT_HTTP_IDLE && !p->trickles) {
        p->trickles = trickles(p, now);
        /* A fresh connection's first byte came about when it was opened. */
        if (p->trickles && !p->fresh) p->since = now;
    }
    bool idle = p->phase == EVRT_HTTP_IDLE && !p->trickles;
    int64_t most = idle ? c->http.idle_timeout : c->http.request_timeout;
    if (p->refusal != NULL && most > REFUSED_MS) most = REFUSED_MS;
    if (now - p->since <= most) return;
    p->late = true;
    if (p->refusal == NULL && idle)
        evrt_metrics_limit(p->server->metrics, EVRT_LIMIT_IDLE_TIMEOUT, 1);
    else if (p->refusal == NULL)
        refuse(p, now - p->since);
    shutdown(p->fd, SHUT_RDWR); /* the daemon sees the end and lets go */
}

void evrt_http_sweep(struct evrt_http_server *s) {
    int64_t now = (int64_t)uv_now(s->loop);
    for (struct evrt_http_peer *p = s->peers; p != NULL; p = p->next)
        look_at(p, now);
}
