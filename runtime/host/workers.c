/* Worker processes: one slot each, started on the snapshot of their generation, fed by least outstanding,
 * replaced when they die while it serves. A process is known by its instance number, which is never used
 * again, so that an answer of a dead one cannot be taken for its successor's (D8).
 *
 *     NONE ──spawn──▶ LOADING ──READY──▶ READY ──stop──▶ ENDING ──exit──▶ NONE
 *       ▲                │ death           │ death                        │
 *       └── restart timer (backs off) ◀────┴──────── deliveries again ◀───┘
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/jobs.h"
#include "host/node.h"
#include "host/process.h"

#include "core/clock.h"
#include "core/error.h"

enum {
    BACKLOG_MAX = 4 << 20, /* bytes a worker has not taken; then it gets nothing more */
    QUICK_DEATH_MS = 1000, /* a worker that lives longer was fine */
    BACKOFF_MS = 50,       /* after the second quick death, doubling */
    BACKOFF_MAX_MS = 10000,
    COMPANY_NS = 1000000, /* of work that one wake-up of a worker may bring, though others idle */
};

static void restart_later(struct host_worker *w);

/* ---- Ends of a process ---- */

static void maybe_restart(struct host_worker *w) {
    if (w->process_open || w->channel_open) return;
    w->state = HOST_WORKER_NONE;
    if (w->generation->state == HOST_GENERATION_SERVING)
        restart_later(w);
    else
        host_generation_progress(w->generation);
}

static void on_channel_closed(void *arg) {
    struct host_worker *w = arg;
    w->channel_open = false;
    maybe_restart(w);
}

static void close_channel(struct host_worker *w) {
    if (w->channel_open && !uv_is_closing((uv_handle_t *)&w->channel.poll))
        evrt_channel_close(&w->channel, on_channel_closed);
}

static void describe_exit(struct host_worker *w, int64_t status, int signal) {
    if (w->reason[0] != '\0') return;
    if (signal != 0)
        snprintf(w->reason, sizeof w->reason, "killed by signal %d (%s)", signal,
                 strsignal(signal));
    else
        snprintf(w->reason, sizeof w->reason, "exited with code %lld", (long long)status);
}

/* Only now that the process is reaped are its deliveries made again: until then it might still act. */
static void on_exit_of(struct host_worker *w, int status, int signal) {
    struct evrt_host *h = w->host;
    w->process_open = false;
    w->aside = false;
    uv_timer_stop(&w->restart);
    /* A crash is none of what it was told to do. */
    bool expected = w->told && w->reason[0] == '\0' && (signal == SIGKILL || status == 0);
    /* What it said before it died counts. */
    if (w->channel_open && !w->channel.ended) evrt_channel_read_rest(&w->channel);
    host_kv_force(w);
    host_meter_own_forget(w);
    bool charged =
        host_contain_died(w, !w->told || (signal != SIGKILL && status != 0), status, signal);
    host_notices_gone(w);
    uint64_t again = h->bus == NULL ? 0 : evrt_bus_worker_gone(h->bus, w->instance);
    if (again != 0) host_jobs_again(h);
    host_generation_lost(w, status, signal);
    w->generation->redelivered += again;
    describe_exit(w, status, signal);
    bool refused = w->generation->refused; /* that is told once, with the reason; nobody restarts */
    if (!expected && !refused) host_meter_died(h, w, status, signal, again);
    w->died_ns = evrt_mono_ns();
    bool quick = w->died_ns - w->started_ns < (int64_t)QUICK_DEATH_MS * 1000000;
    /* Where a delivery is to blame, its handler is held back and not the worker. */
    w->failures = quick && !charged ? w->failures + 1 : 0;
    if (expected || refused)
        evrt_log_event(
            h->log, WORKER_EXITED, EVRT_F_U64("worker", w->slot), EVRT_F_I64("worker_pid", w->pid),
            EVRT_F_U64("generation", w->generation->number), EVRT_F_CSTR("status", w->reason));
    else
        evrt_log_event(h->log, WORKER_DIED, EVRT_F_U64("worker", w->slot),
                       EVRT_F_I64("worker_pid", w->pid),
                       EVRT_F_U64("generation", w->generation->number),
                       EVRT_F_CSTR("reason", w->reason), EVRT_F_U64("redelivered", again));
    w->state = HOST_WORKER_ENDING;
    w->outstanding = w->lent = 0;
    close_channel(w);
    maybe_restart(w);
    host_reload_progress(h);
}

void host_workers_reap(struct evrt_host *h) {
    int status, signal;
    for (struct host_generation *g = h->generations, *next; g != NULL; g = next) {
        next = g->next;
        for (uint32_t i = 0; i < g->count; i++)
            if (g->workers[i].process_open &&
                host_process_ended(g->workers[i].pid, &status, &signal))
                on_exit_of(&g->workers[i], status, signal);
    }
}

void host_worker_signal(struct host_worker *w, int signal) {
    if (!w->process_open) return;
    host_gentle_end(w); /* dying takes some CPU, too */
    kill(w->pid, signal);
}

/* The other side hung up, or said what cannot be understood. One that dies with something unread hangs up
 * by a reset; why it died is what its exit says. */
static void on_channel_end(void *arg, int status) {
    struct host_worker *w = arg;
    bool gone = status == -ECONNRESET || status == -EPIPE;
    if (status < 0 && !gone && w->reason[0] == '\0')
        snprintf(w->reason, sizeof w->reason, "broke the protocol (%s)", strerror(-status));
    host_worker_signal(w, SIGKILL);
    w->state = HOST_WORKER_ENDING;
    close_channel(w);
}

static int64_t on_data(void *arg, struct evrt_slice bytes) {
    struct host_worker *w = arg;
    host_contain_heard(w);
    return host_worker_says(w, bytes);
}

static const struct evrt_channel_events channel_events = {on_data, on_channel_end};

/* ---- Starts ---- */

int host_worker_start(struct host_worker *w) {
    struct evrt_host *h = w->host;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
    w->instance = ++h->next_instance;
    w->started_ns = evrt_mono_ns();
    w->reason[0] = '\0';
    w->told = false;
    w->outstanding = w->lent = 0;
    bool gentle = host_gentle_for(w);
    int page = -1, rc = host_contain_open(w, &page);
    const int fds[] = {pair[1], w->generation->scripts.snapshot, page, host_kv_share(h)};
    if (rc == 0) rc = host_process_start(&w->pid, h->worker_path, fds, 4, gentle);
    if (page >= 0) close(page);
    close(pair[1]);
    if (rc < 0) {
        close(pair[0]);
        return rc;
    }
    w->process_open = true;
    w->state = HOST_WORKER_LOADING;
    if (gentle) host_gentle_start(w);
    rc = evrt_channel_init(&w->channel, h->loop, pair[0], &channel_events, w);
    if (rc < 0) {
        host_worker_signal(w, SIGKILL);
        return rc;
    }
    w->channel_open = true;
    struct evrt_frame_hello hello = w->generation->hello;
    hello.worker = w->slot;
    hello.steady_ms = h->ages.begin_ms;
    hello.log_level = (uint8_t)evrt_log_level(h->log);
    evrt_frame_put_hello(evrt_channel_out(&w->channel), &hello);
    host_share_greet(w);
    evrt_log_event(h->log, WORKER_STARTED, EVRT_F_U64("worker", w->slot),
                   EVRT_F_I64("worker_pid", w->pid),
                   EVRT_F_U64("generation", w->generation->number));
    return 0;
}

static void on_restart(uv_timer_t *timer) {
    struct host_worker *w = timer->data;
    w->host->restarts++;
    int rc = host_worker_start(w);
    if (rc == 0) return;
    evrt_log_event(w->host->log, WORKER_NOT_STARTED, EVRT_F_U64("worker", w->slot),
                   EVRT_F_CSTR("error", uv_strerror(rc)));
    w->failures++;
    restart_later(w);
}

static void restart_later(struct host_worker *w) {
    int64_t wait = 0;
    if (w->failures > 1) wait = (int64_t)BACKOFF_MS << (w->failures < 10 ? w->failures - 2 : 8);
    if (wait > BACKOFF_MAX_MS) wait = BACKOFF_MAX_MS;
    uv_timer_start(&w->restart, on_restart, (uint64_t)wait, 0);
}

/* ---- Work ---- */

static uint32_t load(const struct host_worker *w) {
    return w->outstanding - w->lent;
}

/* A worker that has just been given something, while that is little and quickly done: one wake-up for
 * both, where the other worker would cost one of its own. */
static struct host_worker *companion(struct evrt_host *h, const struct evrt_sub *s) {
    struct host_worker *w = h->fed;
    if (w == NULL || w->state != HOST_WORKER_READY || s->typical_ns == 0) return NULL;
    return load(w) * s->typical_ns < COMPANY_NS ? w : NULL;
}

static struct host_worker *least_busy(struct host_generation *g) {
    struct host_worker *best = NULL;
    for (uint32_t i = 0; i < g->count; i++) {
        struct host_worker *w = &g->workers[i];
        if (w->state != HOST_WORKER_READY || w->watch.slow ||
            evrt_channel_backlog(&w->channel) > BACKLOG_MAX)
            continue;
        if (best == NULL || load(w) < load(best)) best = w;
    }
    return best;
}

uint32_t host_workers_send(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                           unsigned attempt, struct evrt_slice event) {
    if (h->state_behind) return 0;
    struct host_worker *w = companion(h, s);
    if (w == NULL) w = h->fed = least_busy(h->serving);
    if (w == NULL || h->phase != HOST_SERVING) return 0;
    bool aside = evrt_sub_is_aside(position);
    const struct evrt_delivery *d = aside ? evrt_sub_at(s, position) : NULL;
    struct evrt_frame_deliver f = {
        .handler = s->handler,
        .attempt = attempt,
        .purpose = aside ? d->purpose : EVRT_PURPOSE_HANDLE,
        .info = aside ? evrt_sub_aside_info(d) : (struct evrt_slice){NULL, 0},
        .delivery = (uint64_t)s->id << 40 | position,
        .timeout_ms = s->timeout_ms,
        .event = event,
    };
    evrt_frame_put_deliver(evrt_channel_out(&w->channel), &f);
    w->outstanding++;
    return w->instance;
}

static void flush(struct host_generation *g) {
    for (uint32_t i = 0; i < g->count; i++)
        if (g->workers[i].channel_open && evrt_channel_backlog(&g->workers[i].channel) != 0)
            evrt_channel_flush(&g->workers[i].channel);
}

void host_workers_flush(struct evrt_host *h) {
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        flush(g);
    h->fed = NULL;
}

struct host_worker *host_worker_find(struct evrt_host *h, uint32_t instance) {
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        for (uint32_t i = 0; i < g->count; i++)
            if (g->workers[i].instance == instance) return &g->workers[i];
    return NULL;
}

/* ---- Ends that are wanted ---- */

void host_worker_kill(struct host_worker *w) {
    w->told = true;
    host_worker_signal(w, SIGKILL);
}

/* It stays READY: what it still has may end, wait and publish. */
void host_worker_drain(struct host_worker *w) {
    if (!w->process_open) {
        uv_timer_stop(&w->restart);
        return;
    }
    if (w->state != HOST_WORKER_READY) {
        host_worker_kill(w);
        return;
    }
    w->told = true;
    if (w->outstanding == 0) host_gentle_start(w); /* else when it has drained */
    evrt_frame_put_text(evrt_channel_out(&w->channel), EVRT_FRAME_DRAIN, EVRT_STR(""));
}

void host_worker_stop(struct host_worker *w) {
    bool idle = w->state == HOST_WORKER_READY && w->outstanding == 0;
    if (idle && !w->told)
        host_worker_drain(w);
    else if (!idle)
        host_worker_kill(w);
    if (!w->process_open) uv_timer_stop(&w->restart);
    w->state = HOST_WORKER_ENDING;
}

void host_workers_stop(struct evrt_host *h) {
    for (struct host_generation *g = h->generations, *next; g != NULL; g = next) {
        next = g->next;
        host_generation_end(g);
    }
    host_workers_flush(h);
}

bool host_workers_gone(const struct evrt_host *h) {
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        if (g->state != HOST_GENERATION_ENDING || g->timers != 0) return false;
    return true;
}
