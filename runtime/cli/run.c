/* evrt run: a node on a loop of its own, until it is told to stop.
 *
 *     start ──▶ READY=1 ──▶ SIGHUP and the like: RELOADING=1, READY=1 ──▶ SIGTERM/SIGINT: drain, STOPPING=1 ──▶ a second one: no more waiting ──▶ 0
 *
 * One thread: the loop's. The runtime owns its threads and workers. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/sd_notify.h"

#define READY_POLL_MS 5

enum { ON_TERM, ON_INT, ON_USR1, ON_HUP, SIGNALS };
static const int signums[SIGNALS] = {
    [ON_TERM] = SIGTERM, [ON_INT] = SIGINT, [ON_USR1] = SIGUSR1, [ON_HUP] = SIGHUP};

struct run {
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    uv_timer_t ready;    /* asks until the node is ready */
    uv_timer_t watchdog; /* feeds systemd's */
    struct evrt *rt;
    bool stopping;
};

static void notify(const char *state) {
    int rc = evrt_sd_notify(state);
    if (rc < 0) fprintf(stderr, "evrt: cannot tell systemd %s: %s\n", state, strerror(-rc));
}

/* A connection is a descriptor, and the usual soft limit is below http.max_connections. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void block_signals(sigset_t *before) {
    sigset_t ours;
    sigemptyset(&ours);
    for (int i = 0; i < SIGNALS; i++)
        sigaddset(&ours, signums[i]);
    pthread_sigmask(SIG_BLOCK, &ours, before);
}

/* A signal's default comes back with uv_close, and one that is late would end the process as if it had failed.
 * No thread takes one until it is ignored. */
static void on_drained(void *arg) {
    struct run *r = arg;
    block_signals(NULL);
    for (int i = 0; i < SIGNALS; i++) {
        uv_close((uv_handle_t *)&r->signals[i], NULL);
        signal(signums[i], SIG_IGN);
    }
    uv_close((uv_handle_t *)&r->ready, NULL);
    uv_close((uv_handle_t *)&r->watchdog, NULL);
}

static void on_signal(uv_signal_t *handle, int signum) {
    struct run *r = handle->data;
    if (signum == SIGUSR1) {
        evrt_reopen_logs(r->rt);
    } else if (signum == SIGHUP) {
        evrt_reload(r->rt, NULL, NULL);
    } else {
        uv_timer_stop(&r->ready);
        r->stopping = true;
        notify("STOPPING=1");
        evrt_drain(r->rt, on_drained, r);
    }
}

static void notify_reloading(void) {
    struct timespec now;
    char text[80];
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu",
             (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
    notify(text);
}

/* Whatever asked for it. Before READY=1 systemd is not waiting for a reload. */
static void on_reload(void *arg, int status, struct evrt_slice json) {
    struct run *r = arg;
    (void)json;
    if (r->stopping || uv_is_active((uv_handle_t *)&r->ready)) return;
    if (status > 0)
        notify_reloading();
    else
        notify(status == 0
                   ? "READY=1\nSTATUS=Serving."
                   : "READY=1\nSTATUS=The last reload was refused; what ran before goes on.");
}

static void on_ready_poll(uv_timer_t *timer) {
    struct run *r = timer->data;
    if (!evrt_ready(r->rt, NULL)) return;
    uv_timer_stop(timer);
    notify("READY=1");
}

static void on_watchdog(uv_timer_t *timer) {
    (void)timer;
    notify("WATCHDOG=1");
}

static void no_work(uv_work_t *work) {
    (void)work;
}

/* libuv's pool starts with its first work, and its threads keep the mask that they are made with. That work is
 * over before anything can fail: a thread of the pool must not find the loop gone. */
static void keep_signals_from_pool(uv_loop_t *loop) {
    sigset_t before;
    uv_work_t first;
    block_signals(&before);
    uv_queue_work(loop, &first, no_work, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
}

/* None of these can fail but by misuse: the handles are new and the signals exist. */
static void watch(struct run *r) {
    uint64_t watchdog_ms = evrt_sd_watchdog_ms();
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&r->loop, &r->signals[i]);
        r->signals[i].data = r;
        uv_signal_start(&r->signals[i], on_signal, signums[i]);
    }
    evrt_watch_reloads(r->rt, on_reload, r);
    uv_timer_init(&r->loop, &r->ready);
    r->ready.data = r;
    uv_timer_start(&r->ready, on_ready_poll, 0, READY_POLL_MS);
    uv_timer_init(&r->loop, &r->watchdog);
    if (watchdog_ms > 0) uv_timer_start(&r->watchdog, on_watchdog, 0, watchdog_ms);
}

static int create(struct evrt_cli *cli, struct evrt **rt) {
    const char *config = evrt_cli_need_config(cli);
    struct evrt_options options = {.overrides = (const char *const *)cli->overrides};
    struct evrt_error err;
    if (config == NULL) return EVRT_EXIT_CONFIG;
    if (evrt_create(rt, config, &options, &err) < 0) return evrt_cli_error(EVRT_EXIT_CONFIG, &err);
    return EVRT_EXIT_OK;
}

int evrt_cli_run(struct evrt_cli *cli) {
    struct run r = {0};
    struct evrt_error err;
    int rc = create(cli, &r.rt);
    if (rc != EVRT_EXIT_OK) return rc;
    raise_descriptor_limit();
    if (uv_loop_init(&r.loop) < 0) {
        evrt_destroy(r.rt);
        return evrt_cli_fail(EVRT_EXIT_FAILED, "cannot make an event loop: %s", strerror(errno));
    }
    keep_signals_from_pool(&r.loop);
    if (evrt_start(r.rt, &r.loop, &err) < 0) {
        rc = evrt_cli_error(err.code == -EINVAL ? EVRT_EXIT_CONFIG : EVRT_EXIT_FAILED, &err);
        evrt_destroy(r.rt);
        uv_run(&r.loop, UV_RUN_NOWAIT); /* lets handles that a failed start closed end */
        uv_loop_close(&r.loop);
        return rc;
    }
    watch(&r);
    uv_run(&r.loop, UV_RUN_DEFAULT);
    evrt_destroy(r.rt);
    uv_loop_close(&r.loop);
    return EVRT_EXIT_OK;
}
