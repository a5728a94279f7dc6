/* The life of a host:
 *
 *     create ─▶ STARTING ──every worker ready──▶ SERVING ──drain──▶ DRAINING ──nothing in flight──▶
 *               CLOSING ──workers gone, reads done, all committed──▶ store and handles closed: CLOSED
 *
 * host_progress() looks whether the next step is due; whoever ends something that a step waits for calls
 * it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/node.h"

#include "bus/dedup.h"
#include "core/clock.h"
#include "core/cpu.h"
#include "core/error.h"
#include "host/jobs.h"
#include "host/letters.h"
#include "host/shared.h"

/* ---- Handles ---- */

static void on_wake(uv_async_t *handle) {
    struct evrt_host *h = handle->data;
    if (h->journal == NULL) return;
    host_commits(h);
    host_progress(h);
}

/* On the state thread, when it has taken all that it was given before. */
static void on_state_caught_up(struct evrt_state_view *view, void *arg) {
    struct evrt_host *h = arg;
    (void)view;
    atomic_store(&h->state_asked, false);
    uv_async_send(&h->wake);
}

/* What ends is one more record for state.db: while those gather there, nothing more is handed out. */
static void heed_state(struct evrt_host *h) {
    bool behind = evrt_state_behind(h->state);
    h->state_waits += behind && !h->state_behind;
    h->state_behind = behind;
    if (behind && !atomic_exchange(&h->state_asked, true))
        evrt_state_run(h->state, on_state_caught_up, h);
}

static void on_turn(uv_prepare_t *handle) {
    struct evrt_host *h = handle->data;
    if (h->phase == HOST_CLOSED || h->journal == NULL) return;
    heed_state(h);
    host_turn(h);
    host_progress(h);
}

static void on_child(uv_signal_t *handle, int signum) {
    (void)signum;
    host_workers_reap(handle->data);
}

static int open_handles(struct evrt_host *h) {
    uv_prepare_init(h->loop, &h->turn);
    uv_timer_init(h->loop, &h->tick);
    uv_timer_init(h->loop, &h->deadline);
    uv_timer_init(h->loop, &h->patience);
    uv_timer_init(h->loop, &h->watch);
    uv_timer_init(h->loop, &h->retry);
    uv_timer_init(h->loop, &h->trace_timer);
    uv_timer_init(h->loop, &h->schedule_timer);
    uv_timer_init(h->loop, &h->timers_timer);
    h->schedule_timer.data = h->timers_timer.data = h;
    h->handles += 2;
    uv_timer_init(h->loop, &h->kv.timer);
    uv_timer_init(h->loop, &h->allowance);
    uv_timer_t *const reload[] = {&h->reload.deadline, &h->reload.patience, &h->reload.pace,
                                  &h->reload.quiet, &h->reload.rescan};
    for (size_t i = 0; i < sizeof reload / sizeof reload[0]; i++) {
        uv_timer_init(h->loop, reload[i]);
        reload[i]->data = h;
        h->handles++;
    }
    int rc = uv_async_init(h->loop, &h->wake, on_wake);
    h->turn.data = h->tick.data = h->deadline.data = h->patience.data = h->watch.data =
        h->retry.data = h->trace_timer.data = h->kv.timer.data = h->allowance.data = h->wake.data =
            h->children.data = h;
    h->handles += rc < 0 ? 9 : 10;
    if (rc == 0) rc = uv_signal_init(h->loop, &h->children);
    if (rc < 0) return rc;
    h->handles++;
    return uv_signal_start(&h->children, on_child, SIGCHLD);
}

static void on_handle_closed(uv_handle_t *handle) {
    struct evrt_host *h = handle->data;
    h->handles--;
    host_progress(h);
}

static void close_handles(struct evrt_host *h) {
    uv_handle_t *own[] = {(uv_handle_t *)&h->children,
                          (uv_handle_t *)&h->turn,
                          (uv_handle_t *)&h->tick,
                          (uv_handle_t *)&h->deadline,
                          (uv_handle_t *)&h->patience,
                          (uv_handle_t *)&h->retry,
                          (uv_handle_t *)&h->trace_timer,
                          (uv_handle_t *)&h->schedule_timer,
                          (uv_handle_t *)&h->kv.timer,
                          (uv_handle_t *)&h->timers_timer,
                          (uv_handle_t *)&h->allowance,
                          (uv_handle_t *)&h->watch,
                          (uv_handle_t *)&h->wake,
                          (uv_handle_t *)&h->reload.deadline,
                          (uv_handle_t *)&h->reload.patience,
                          (uv_handle_t *)&h->reload.pace,
                          (uv_handle_t *)&h->reload.quiet,
                          (uv_handle_t *)&h->reload.rescan};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (own[i]->type != UV_UNKNOWN_HANDLE) uv_close(own[i], on_handle_closed);
}

/* ---- The store's end ---- */

static void close_store(struct evrt_host *h) {
    for (size_t i = 0; h->bus != NULL && i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (s->host != NULL) evrt_journal_reader_close(s->host);
        s->host = NULL;
    }
    host_recent_clear(h);
    evrt_bus_destroy(h->bus); /* lets go of batches, so before the journal */
    h->bus = NULL;
    host_kv_close(h);
    if (h->state != NULL) evrt_state_close(h->state);
    h->state = NULL;
    if (h->journal != NULL) evrt_journal_close(h->journal);
    h->journal = NULL;
}

/* ---- Steps ---- */

static uint64_t in_flight(const struct evrt_host *h) {
    uint64_t count = 0;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++)
        count += evrt_bus_get(h->bus, i)->flight;
    return count;
}

static void serve(struct evrt_host *h) {
    h->phase = HOST_SERVING;
    int64_t took = evrt_mono_ns() - h->created_ns;
    evrt_log_event(h->log, WORKERS_READY, EVRT_F_U64("workers", h->worker_count),
                   EVRT_F_U64("generation", h->serving->number), EVRT_F_DURATION("duration", took));
    evrt_log_event(h->log, READY, EVRT_F_U64("handlers", h->serving->scripts.count),
                   EVRT_F_U64("workers", h->worker_count), EVRT_F_DURATION("duration", took));
    host_watch_start(h);
    host_reload_start(h);
    h->schedule_changed = h->timers_changed = true;
}

static void begin_closing(struct evrt_host *h) {
    h->phase = HOST_CLOSING;
    uv_timer_stop(&h->deadline);
    uv_timer_stop(&h->reload.patience);
    h->reload.draining = NULL;
    host_waits_finish(h);
    host_tails_end(h);
    host_cleanup_look(h);
    if (h->backup != NULL) evrt_host_backup_cancel(h->backup);
    h->redeliver = in_flight(h);
    host_workers_stop(h);
    /* The next start then has nothing to count. */
    host_turn(h);
    host_jobs_stop(h);
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++)
        host_checkpoint(h, evrt_bus_get(h->bus, i));
    h->submitted = h->appended;
    (void)evrt_journal_submit(h->journal, false);
}

static void finish_closing(struct evrt_host *h) {
    h->phase = HOST_CLOSED;
    close_store(h);
    close_handles(h);
    if (h->drain_ns == 0) return; /* a start that failed */
    evrt_log_event(h->log, DRAINED, EVRT_F_DURATION("duration", evrt_mono_ns() - h->drain_ns),
                   EVRT_F_U64("redeliver", h->redeliver));
}

/* On a full disk what does not fit is not waited for: it is settled again after the next start. */
static bool is_written(const struct evrt_host *h) {
    struct evrt_journal_stats stats;
    if (h->appended == h->committed) return true;
    evrt_journal_stats(h->journal, &stats);
    return stats.space != 0;
}

void host_progress(struct evrt_host *h) {
    switch (h->phase) {
    case HOST_STARTING:
        if (h->serving != NULL) serve(h);
        break;
    case HOST_SERVING: host_reload_progress(h); break;
    case HOST_DRAINING:
        if (in_flight(h) == 0 && h->waiters.head == h->waiters.tail) begin_closing(h);
        break;
    case HOST_CLOSING:
        if (!host_workers_gone(h) || !is_written(h)) break;
        if (h->appended != h->committed) host_asks_end(h); /* which may come back to here */
        if (h->reads == 0 && h->phase == HOST_CLOSING) finish_closing(h);
        break;
    case HOST_CLOSED:
        if (h->handles == 0 && h->drain_cb != NULL) {
            void (*cb)(void *arg) = h->drain_cb;
            h->drain_cb = NULL;
            cb(h->drain_arg);
        }
        break;
    }
}

static void on_deadline(uv_timer_t *timer) {
    host_limit(timer->data, EVRT_LIMIT_DRAIN);
    begin_closing(timer->data);
}

void evrt_host_drain(struct evrt_host *h, void (*cb)(void *arg), void *arg) {
    if (h->phase >= HOST_CLOSING) return;
    if (h->phase == HOST_DRAINING) {
        begin_closing(h);
        return;
    }
    h->drain_cb = cb;
    h->drain_arg = arg;
    h->drain_ns = evrt_mono_ns();
    host_reload_stop(h);
    evrt_log_event(h->log, DRAINING, EVRT_F_U64("in_flight", in_flight(h)));
    h->phase = HOST_DRAINING;
    uv_timer_start(&h->deadline, on_deadline, (uint64_t)h->config->workers.drain_timeout, 0);
    /* Decided at the end of this turn, when what was published in it is submitted. */
}

/* ---- Create, destroy ---- */

/* What serves first: its workers load while the store is opened, and tell before anything else is whether
 * the scripts are good. */
static int begin_load(struct evrt_host *h, struct host_generation **out, struct evrt_error *err) {
    struct evrt_scripts scripts;
    int rc = evrt_scripts_read(&scripts, h->config, err);
    if (rc < 0) return rc;
    h->reload.signature = scripts.signature;
    *out = host_generation_create(h, &scripts, h->config);
    host_generation_load(*out, h->worker_count);
    return 0;
}

static int end_load(struct host_generation *g, struct evrt_error *err) {
    host_generation_await(g);
    if (g->refused) {
        *err = g->errors.v[0];
        return -EINVAL;
    }
    g->host->serving = g;
    g->state = HOST_GENERATION_SERVING;
    return 0;
}

/* A store that is there is recovered while the scripts load; a new one is not made for scripts that do
 * not. */
static int load_and_open(struct evrt_host *h, struct evrt_error *err) {
    struct host_generation *g;
    /* Workers are kept from the folder, so it has to be there when they start. */
    const char *store = h->config->store.path;
    bool is_new = mkdir(store, 0700) == 0 || errno == ENOENT;
    struct evrt_error bad = {0};
    int opened = 0, rc = begin_load(h, &g, err);
    if (rc == 0 && !is_new) opened = host_open_store(h, err);
    if (rc == 0 && (rc = end_load(g, &bad)) < 0) *err = bad;
    if (rc < 0 && is_new) (void)rmdir(store);
    if (rc == 0 && is_new) opened = host_open_store(h, err);
    return rc < 0 ? rc : opened;
}

static struct evrt_host *new_host(const struct evrt_host_options *options, uv_loop_t *loop) {
    struct evrt_host *h = evrt_zalloc(sizeof *h);
    h->config = options->config;
    h->log = options->log;
    if (options->tracer != NULL) h->tracing = host_tracing_create(options->tracer);
    h->loop = loop;
    h->worker_path = options->worker_path != NULL ? options->worker_path : "/proc/self/exe";
    h->reload.ops = options->reload;
    h->reload.ops_arg = options->reload_arg;
    h->created_ns = evrt_mono_ns();
    evrt_ages_init(&h->ages, evrt_wall_ms(), h->created_ns / 1000000);
    h->testing = getenv("EVRT_TEST") != NULL; /* which workers look for, too */
    h->waits = host_waits_create();
    h->jobs = host_jobs_create();
    h->letters = host_letters_create();
    host_share_open(h);
    host_meters_create(h);
    host_schedule_create(h);
    host_timers_create(h);
    evrt_random_init(&h->random);
    return h;
}

int evrt_host_create(struct evrt_host **out, const struct evrt_host_options *options,
                     struct uv_loop_s *loop, struct evrt_error *err) {
    struct evrt_error unasked;
    struct evrt_host *h = new_host(options, loop);
    if (err == NULL) err = &unasked;
    h->worker_count = (uint32_t)h->config->workers.count;
    if (h->worker_count == 0) h->worker_count = uv_available_parallelism();
    evrt_cpu_turns(
        EVRT_CPU_QUICK); /* workers wait for it, and the threads of the store that it starts */
    int rc = open_handles(h);
    if (rc < 0) evrt_error_set(err, rc, "cannot use the loop: %s", uv_strerror(rc));
    if (rc == 0) rc = load_and_open(h, err);
    if (rc < 0) {
        evrt_host_destroy(h);
        return rc;
    }
    host_subscribe(h);
    uv_prepare_start(&h->turn, on_turn);
    host_keep_start(h);
    host_contain_start(h);
    *out = h;
    return 0;
}

int evrt_host_check(const struct evrt_host_options *options,
                    void (*each)(void *arg, const struct evrt_error *err), void *arg,
                    unsigned *handlers) {
    uv_loop_t loop;
    struct evrt_error err;
    struct host_generation *g;
    int rc = uv_loop_init(&loop);
    if (rc < 0) return rc;
    struct evrt_host *h = new_host(options, &loop);
    h->worker_count = 1;
    rc = open_handles(h);
    if (rc < 0) evrt_error_set(&err, rc, "cannot use a loop: %s", uv_strerror(rc));
    if (rc == 0) rc = begin_load(h, &g, &err);
    if (rc < 0) {
        each(arg, &err);
    } else {
        rc = end_load(g, &err);
        for (size_t i = 0; i < g->errors.n; i++)
            each(arg, &g->errors.v[i]);
        *handlers = (unsigned)g->scripts.count;
    }
    evrt_host_destroy(h);
    uv_loop_close(&loop);
    return rc;
}

/* After a failed create: what was opened is closed by turning the loop until it is. */
static void abandon(struct evrt_host *h) {
    h->phase = HOST_CLOSING;
    host_reload_stop(h);
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        host_generation_kill(g);
    host_workers_stop(h);
    while (h->phase != HOST_CLOSED && !host_workers_gone(h))
        uv_run(h->loop, UV_RUN_ONCE);
    if (h->phase != HOST_CLOSED) { /* nothing was committed meanwhile that closed it */
        h->phase = HOST_CLOSED;
        close_store(h);
        close_handles(h);
    }
    while (h->handles != 0)
        uv_run(h->loop, UV_RUN_ONCE);
}

void evrt_host_destroy(struct evrt_host *h) {
    if (h == NULL) return;
    if (h->phase != HOST_CLOSED) abandon(h);
    while (h->generations != NULL)
        host_generation_destroy(h->generations);
    host_reload_finish(h);
    host_waits_destroy(h->waits);
    host_jobs_destroy(h->jobs);
    host_letters_destroy(h->letters);
    host_notices_drop(h);
    host_asks_destroy(h);
    host_copies_destroy(h);
    evrt_shared_destroy(h->shared);
    evrt_dedup_destroy(h->dedup);
    host_meters_destroy(h);
    host_tracing_destroy(h->tracing);
    host_schedule_destroy(h);
    host_timers_destroy(h);
    evrt_buf_finish(&h->scratch);
    evrt_buf_finish(&h->ranges);
    evrt_buf_finish(&h->settlements);
    evrt_buf_finish(&h->notes);
    evrt_cpu_turns(EVRT_CPU_NORMAL);
    free(h->waiters.ring);
    free(h->barriers.ring);
    free(h);
}

/* ---- Small things ---- */

struct evrt_log *evrt_host_log(const struct evrt_host *h) {
    return h->log;
}

void evrt_host_set_log_level(struct evrt_host *h, int level) {
    struct evrt_frame_log_level f = {(uint8_t)level};
    evrt_log_set_level(h->log, (enum evrt_log_level)level);
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        for (uint32_t i = 0; i < g->count; i++)
            if (g->workers[i].channel_open && !g->workers[i].channel.ended)
                evrt_frame_put_log_level(evrt_channel_out(&g->workers[i].channel), &f);
}

const struct evrt_config *evrt_host_config(const struct evrt_host *h) {
    return h->config;
}

struct uv_loop_s *evrt_host_loop(const struct evrt_host *h) {
    return h->loop;
}

bool evrt_host_ready(const struct evrt_host *h, const char **why) {
    const char *missing = h->phase == HOST_STARTING                ? "workers are loading scripts"
                          : h->phase != HOST_SERVING               ? "shutting down"
                          : host_generation_ready(h->serving) == 0 ? "no worker is ready"
                          : h->full                                ? "the store is full"
                                                                   : NULL;
    if (why != NULL) *why = missing;
    return missing == NULL;
}
