/* See server.h: the daemon on the loop.
 *
 *     socket ready ─▶ poll ─┐
 *     commit done ─▶ soon ──┼─▶ run(): MHD_run ─▶ on_access ... ─▶ handler ─▶ evrt_host_publish
 *     timeouts ──▶ timer ───┘
 *
 * A request that waits for its commit is not suspended: libmicrohttpd then asks for it again at every
 * run, which costs a function call, while suspending costs two epoll_ctl and a read that finds nothing.
 * The price is that MHD_get_timeout says 0 all that while. So "0" is believed only when a run got
 * something done; otherwise the daemon runs again in a millisecond, or with the next event or commit.
 * Requests that wait longer than a commit are parked (suspended). */
#include "http/http.h"
#include "http/server_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/error.h"
#include "host/host.h"
#include "http/listen.h"

enum {
    SWEEP_MS = 1000,
    STOP_MS = 500,  /* for answers to be read by their clients */
    LOST_MS = 5000, /* and for callbacks to come */
};

static void check_stopped(struct evrt_http_server *s);

static void on_soon(uv_idle_t *handle);
static void on_timer(uv_timer_t *handle);

static void run(struct evrt_http_server *s) {
    s->progress = false;
    for (int round = 0; round < 2; round++) { /* the second writes what the first has answered */
        s->queued = 0;
        s->mhd.run(s->daemon);
        if (s->queued == 0) break;
    }
    unsigned long long ms = 0;
    bool due = s->mhd.get_timeout(s->daemon, &ms) == MHD_YES;
    if (due && ms == 0 && s->progress)
        uv_idle_start(&s->soon, on_soon);
    else
        uv_idle_stop(&s->soon);
    if (due && ms < SWEEP_MS)
        uv_timer_start(&s->timer, on_timer, ms == 0 ? 1 : ms, 0);
    else
        uv_timer_stop(&s->timer);
    if (s->stopping) check_stopped(s);
}

static void on_soon(uv_idle_t *handle) {
    run(handle->data);
}

static void on_timer(uv_timer_t *handle) {
    run(handle->data);
}

static void on_readable(uv_poll_t *handle, int status, int events) {
    (void)status, (void)events;
    run(handle->data);
}

static void on_sweep(uv_timer_t *handle) {
    struct evrt_http_server *s = handle->data;
    evrt_http_sweep(s);
    run(s);
}

void evrt_http_server_wake(struct evrt_http_server *s) {
    if (s->daemon != NULL) uv_idle_start(&s->soon, on_soon);
}

/* ---- Creation ---- */

static void on_mhd_log(void *arg, const char *fmt, va_list ap) {
    (void)arg, (void)fmt,
        (void)ap; /* what it reports is a client's doing; refusals are logged by us */
}

static unsigned at_least(uint64_t value, unsigned minimum) {
    if (value < minimum) return minimum;
    return value > UINT32_MAX / 4 ? UINT32_MAX / 4 : (unsigned)value;
}

/* A request's memory: half of it reads at first; headers, their index and the answer's headers share it.
 * Small is fast: the daemon clears all of it after every request. */
static size_t pool_size(const struct evrt_config *config) {
    return at_least(config->http.max_header_size + config->http.max_header_size / 2, 4096);
}

/* The daemon's own timeout is for clients that do not take their answer; the sweep is for the rest. */
static unsigned stuck_seconds(const struct evrt_config *config) {
    int64_t ms = config->http.idle_timeout;
    if (ms < config->http.request_timeout) ms = config->http.request_timeout;
    return at_least((uint64_t)ms / 1000 + 2, 1);
}

static int start_daemon(struct evrt_http_server *s, int fd) {
    const struct evrt_config *c = s->config;
    s->daemon = s->mhd.start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, evrt_http_on_accept, s,
        evrt_http_on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK,
        evrt_http_on_uri, s, MHD_OPTION_NOTIFY_COMPLETED, evrt_http_on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, evrt_http_on_connection, s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, pool_size(c), MHD_OPTION_CONNECTION_LIMIT,
        at_least(c->http.max_connections, 1) + EVRT_HTTP_REFUSED, MHD_OPTION_CONNECTION_TIMEOUT,
        stuck_seconds(c), MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 0, MHD_OPTION_END);
    return s->daemon == NULL ? -EIO : 0;
}

int evrt_http_server_create(struct evrt_http_server **out, struct evrt_host *host,
                            const struct evrt_http_server_options *options,
                            struct evrt_error *err) {
    struct evrt_http_server *s = evrt_zalloc(sizeof *s);
    s->options = *options;
    s->host = host;
    s->config = evrt_host_config(host);
    s->metrics = evrt_host_metrics(host);
    s->loop = evrt_host_loop(host);
    s->port = evrt_listen_port(options->fd);
    evrt_map_init(&s->addresses);
    int rc = evrt_mhd_open(&s->mhd, err);
    if (rc == 0 && (rc = start_daemon(s, options->fd)) < 0)
        evrt_error_set(err, rc, "cannot start the HTTP server on port %u", s->port);
    if (rc < 0) {
        close(options->fd);
        free(s);
        return rc;
    }
    s->listening = true;
    *out = s;
    return 0;
}

void evrt_http_server_start(struct evrt_http_server *s) {
    const union MHD_DaemonInfo *info = s->mhd.get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    uv_poll_init(s->loop, &s->poll, info->epoll_fd);
    uv_timer_init(s->loop, &s->timer);
    uv_timer_init(s->loop, &s->sweep);
    uv_idle_init(s->loop, &s->soon);
    s->poll.data = s->timer.data = s->sweep.data = s->soon.data = s;
    uv_poll_start(&s->poll, UV_READABLE, on_readable);
    uv_timer_start(&s->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    run(s); /* puts the listening socket into the daemon's epoll set */
}

uint16_t evrt_http_server_port(const struct evrt_http_server *s) {
    return s->port;
}

void evrt_http_server_counts(const struct evrt_http_server *s, struct evrt_http_counts *out) {
    *out = s->counts;
}

/* ---- Ending ---- */

void evrt_http_server_quiesce(struct evrt_http_server *s) {
    s->quiesced = true;
    if (!s->listening) return;
    s->listening = false;
    int fd = s->mhd.quiesce_daemon(s->daemon);
    if (fd >= 0) close(fd);
}

static void on_closed(uv_handle_t *handle) {
    struct evrt_http_server *s = handle->data;
    if (--s->closing == 0) s->on_stopped(s->stopped_arg);
}

static void close_all(struct evrt_http_server *s) {
    uv_handle_t *const handles[] = {(uv_handle_t *)&s->poll, (uv_handle_t *)&s->timer,
                                    (uv_handle_t *)&s->sweep, (uv_handle_t *)&s->soon};
    if (s->closing != 0) return;
    s->closing = sizeof handles / sizeof handles[0];
    uv_poll_stop(&s->poll);
    uv_timer_stop(&s->timer);
    uv_timer_stop(&s->sweep);
    uv_idle_stop(&s->soon);
    s->mhd.stop_daemon(s->daemon);
    s->daemon = NULL;
    for (unsigned i = 0; i < sizeof handles / sizeof handles[0]; i++)
        uv_close(handles[i], on_closed);
}

/* The daemon ends with none suspended. */
static void resume_all(struct evrt_http_server *s) {
    for (struct evrt_http_peer *p = s->peers; p != NULL; p = p->next) {
        if (p->request == NULL || !p->request->parked) continue;
        p->request->parked = false;
        s->mhd.resume_connection(p->request->connection);
    }
}

/* Callbacks to come are waited for. But the store is closed by now: of a commit that a full disk did not take
 * none comes, and whoever waits for it is cut off. */
static void check_stopped(struct evrt_http_server *s) {
    if (s->closing != 0) return;
    int64_t late = (int64_t)uv_now(s->loop) - s->stop_deadline;
    bool waits = s->holds != 0 ? late < LOST_MS : s->answering != 0 && late < 0;
    if (!waits) {
        resume_all(s);
        close_all(s);
        return;
    }
    uv_timer_start(&s->timer, on_timer, 10, 0);
}

void evrt_http_server_stop(struct evrt_http_server *s, void (*cb)(void *arg), void *arg) {
    s->on_stopped = cb;
    s->stopped_arg = arg;
    evrt_http_server_quiesce(s);
    s->stopping = true;
    s->stop_deadline = (int64_t)uv_now(s->loop) + STOP_MS;
    for (struct evrt_http_peer *p = s->peers; p != NULL; p = p->next)
        if (p->request != NULL && p->request->cancel != NULL) p->request->cancel(p->request);
    evrt_http_server_wake(s);
}

void evrt_http_server_destroy(struct evrt_http_server *s) {
    if (s == NULL) return;
    if (s->daemon != NULL) s->mhd.stop_daemon(s->daemon);
    while (s->orphans != NULL) { /* nobody calls back any more */
        struct evrt_http_request *r = s->orphans;
        s->orphans = r->next;
        evrt_http_request_free(r);
    }
    while (s->spare != NULL) {
        struct evrt_http_request *r = s->spare;
        s->spare = r->next;
        evrt_http_request_free(r);
    }
    evrt_http_metrics_finish(s);
    evrt_map_finish(&s->addresses);
    free(s);
}
