/* See generation.h. */
#include "host/generation.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/hash.h"
#include "core/units.h"
#include "json/json.h"

enum { ERRORS_MAX = 100 };

/* ---- Errors ---- */

void host_errors_add(struct host_errors *e, const struct evrt_error *err) {
    if (e->n == ERRORS_MAX) return;
    e->v = evrt_realloc(e->v, (e->n + 1) * sizeof *e->v);
    e->v[e->n++] = *err;
}

void host_errors_finish(struct host_errors *e) {
    free(e->v);
    *e = (struct host_errors){0};
}

/* ---- Start ---- */

/* The service's name and the like need a restart, so the configuration in force has them for as long as
 * any generation lives. */
static struct evrt_frame_hello hello_of(const struct evrt_host *h,
                                        const struct evrt_config *config) {
    struct evrt_frame_hello hello = evrt_scripts_hello(config);
    hello.service = evrt_slice_of(h->config->service.name);
    hello.service_version = evrt_slice_of(h->config->service.version);
    hello.environment = evrt_slice_of(h->config->service.environment);
    hello.user = evrt_slice_of(h->config->workers.user);
    hello.store = evrt_slice_of(h->config->store.path);
    host_trace_hello(h, &hello);
    hello.max_series = h->meters == NULL ? 0 : h->meters->most;
    hello.testing = h->testing;
    hello.kv_writers = evrt_slice_of(h->config->kv.writers);
    return hello;
}

struct host_generation *host_generation_create(struct evrt_host *h, struct evrt_scripts *scripts,
                                               const struct evrt_config *config) {
    struct host_generation *g = evrt_zalloc(sizeof *g);
    g->host = h;
    g->number = ++h->last_generation;
    g->scripts = *scripts;
    *scripts = (struct evrt_scripts){.snapshot = -1};
    g->hello = hello_of(h, config);
    g->hello.generation = g->number;
    g->began_ns = evrt_mono_ns();
    g->count = h->worker_count;
    g->workers = evrt_zalloc(g->count * sizeof *g->workers);
    for (uint32_t i = 0; i < g->count; i++) {
        struct host_worker *w = &g->workers[i];
        w->host = h;
        w->generation = g;
        w->slot = i;
        uv_timer_init(h->loop, &w->restart);
        w->restart.data = w;
        g->timers++;
    }
    g->next = h->generations;
    h->generations = g;
    return g;
}

static void start_one(struct host_generation *g) {
    struct evrt_error err;
    int rc = host_worker_start(&g->workers[g->started++]);
    if (rc == 0) return;
    evrt_error_set(&err, rc, "cannot start a worker (%s): %s", g->host->worker_path,
                   uv_strerror(rc));
    host_generation_refuse(g, &err);
}

static void start_to(struct host_generation *g, uint32_t count) {
    while (!g->refused && g->started < count)
        start_one(g);
}

static void on_next(uv_timer_t *timer);

/* A spawn stops the loop until the new process runs its program: one in a turn, and what waits goes between. */
static void start_others(struct host_generation *g) {
    if (g->host->phase == HOST_STARTING)
        start_to(g, g->count);
    else if (g->started < g->count)
        uv_timer_start(&g->workers[g->started].restart, on_next, 1, 0);
}

static void on_next(uv_timer_t *timer) {
    const struct host_worker *w = timer->data;
    struct host_generation *g = w->generation;
    if (g->state != HOST_GENERATION_LOADING || g->refused) return;
    start_one(g);
    start_others(g);
    host_reload_progress(g->host);
}

void host_generation_load(struct host_generation *g, uint32_t first) {
    start_to(g, first);
}

uint32_t host_generation_ready(const struct host_generation *g) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->count; i++)
        count += g->workers[i].state == HOST_WORKER_READY;
    return count;
}

bool host_generation_loaded(const struct host_generation *g) {
    return !g->refused && host_generation_ready(g) == g->count;
}

/* ---- Loading ---- */

void host_generation_refuse(struct host_generation *g, const struct evrt_error *err) {
    g->refused = true;
    host_errors_add(&g->errors, err);
}

static bool same_handlers(const struct evrt_scripts *a, const struct evrt_scripts *b) {
    if (a->count != b->count) return false;
    for (size_t i = 0; i < a->count; i++)
        if (!evrt_handler_same(&a->handlers[i], &b->handlers[i])) return false;
    return true;
}

/* Deliveries name a handler by its number in the list, so every worker must have the same list. */
static int agree(struct host_worker *w, const struct evrt_scripts *other) {
    struct host_generation *g = w->generation;
    struct evrt_error err;
    if (same_handlers(&g->scripts, other)) return 0;
    evrt_error_set(&err, -EINVAL,
                   "the scripts declare other handlers in one worker than in another: what they "
                   "declare must not depend on time, chance or the process");
    if (g->state == HOST_GENERATION_LOADING)
        host_generation_refuse(g, &err);
    else
        snprintf(w->reason, sizeof w->reason, "declared other handlers than its generation has");
    return g->state == HOST_GENERATION_LOADING ? 0 : -EPROTO;
}

int host_generation_declared(struct host_worker *w, struct evrt_slice json) {
    struct host_generation *g = w->generation;
    struct evrt_slice list = evrt_json_at(json, EVRT_STR("handlers"));
    uint64_t hash = evrt_hash64(list.p, list.n, 0);
    struct evrt_error err;
    struct evrt_scripts other = {.snapshot = -1};
    int rc = 0;
    if (g->declared && g->declaration == hash) return 0;
    const struct host_generation *serving = g->host->serving;
    if (!g->declared && serving != NULL && serving->declared && serving->declaration == hash)
        evrt_scripts_declare_same(&g->scripts, &serving->scripts);
    else
        rc = evrt_scripts_declared(g->declared ? &other : &g->scripts, json, &err);
    if (rc == 0 && g->declared) rc = agree(w, &other);
    evrt_scripts_finish(&other);
    if (rc < 0) return rc;
    g->declared = true;
    g->declaration = hash;
    if (g->state == HOST_GENERATION_LOADING) start_others(g);
    return 0;
}

void host_generation_lost(struct host_worker *w, int64_t status, int signal) {
    struct host_generation *g = w->generation;
    struct evrt_error err;
    if (g->state != HOST_GENERATION_LOADING || g->refused) return;
    if (w->reason[0] != '\0')
        evrt_error_set(&err, -EINVAL, "a worker was lost while it loaded the scripts: it %s",
                       w->reason);
    else if (signal != 0)
        evrt_error_set(&err, -EINVAL, "a script killed its worker while it was loaded (%s)",
                       strsignal(signal));
    else
        evrt_error_set(&err, -EINVAL,
                       "a script ended its worker while it was loaded (exit code %lld)",
                       (long long)status);
    host_generation_refuse(g, &err);
}

/* ---- Loading before the loop runs ---- */

/* Its socket has ended: how is known once it can be reaped, which is left to the loop. */
static void lost_now(struct host_worker *w) {
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)w->pid, &info, WEXITED | WNOWAIT) < 0) return;
    bool exited = info.si_code == CLD_EXITED;
    host_generation_lost(w, exited ? info.si_status : 0, exited ? 0 : info.si_status);
}

/* One round over the workers that are loading: -ETIMEDOUT, or 0 when some spoke. */
static int await_some(struct host_generation *g, int ms) {
    uint32_t count = g->started; /* the first one that is ready starts more */
    struct pollfd *fds = evrt_zalloc(count * sizeof *fds);
    for (uint32_t i = 0; i < count; i++) {
        bool loading = g->workers[i].state == HOST_WORKER_LOADING;
        fds[i] = (struct pollfd){loading ? g->workers[i].channel.fd : -1, POLLIN, 0};
    }
    int n = poll(fds, count, ms);
    for (uint32_t i = 0; n > 0 && i < count; i++) {
        struct host_worker *w = &g->workers[i];
        if (fds[i].fd < 0 || fds[i].revents == 0) continue;
        evrt_channel_read(&w->channel);
        if (w->state == HOST_WORKER_ENDING) lost_now(w);
    }
    free(fds);
    return n == 0 ? -ETIMEDOUT : 0;
}

int64_t host_generation_timeout(const struct host_generation *g) {
    return g->hello.load_timeout_ms == 0 ? 0 : g->hello.load_timeout_ms + HOST_LOAD_GRACE_MS;
}

void host_generation_late(struct host_generation *g) {
    char limit[EVRT_UNITS_SIZE];
    struct evrt_error err;
    evrt_error_set(&err, -EINVAL,
                   "the scripts did not load within %s (workers.stall_timeout): a script loops or "
                   "waits while it is loaded",
                   evrt_duration_format(g->hello.load_timeout_ms, limit));
    host_generation_refuse(g, &err);
}

void host_generation_await(struct host_generation *g) {
    int64_t timeout_ms = host_generation_timeout(g);
    int64_t until = timeout_ms == 0 ? INT64_MAX : evrt_mono_ns() + timeout_ms * 1000000;
    int rc = 0;
    while (rc == 0 && !g->refused && !host_generation_loaded(g)) {
        int64_t left = (until - evrt_mono_ns()) / 1000000;
        host_workers_flush(g->host); /* the greetings */
        rc = await_some(g, left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left);
    }
    if (rc < 0) host_generation_late(g);
}

/* ---- Its end ---- */

void host_generation_drain(struct host_generation *g) {
    g->state = HOST_GENERATION_DRAINING;
    g->began_ns = evrt_mono_ns();
    for (uint32_t i = 0; i < g->count; i++)
        host_worker_drain(&g->workers[i]);
    host_generation_progress(g);
}

void host_generation_kill(struct host_generation *g) {
    for (uint32_t i = 0; i < g->count; i++)
        host_worker_kill(&g->workers[i]);
}

void host_generation_end(struct host_generation *g) {
    if (g->state == HOST_GENERATION_ENDING) return;
    g->state = HOST_GENERATION_ENDING;
    for (uint32_t i = 0; i < g->count; i++)
        host_worker_stop(&g->workers[i]);
    host_generation_progress(g);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct host_worker *w = handle->data;
    struct host_generation *g = w->generation;
    struct evrt_host *h = g->host;
    if (--g->timers != 0) return;
    if (g != h->serving) host_generation_destroy(g);
    host_progress(h);
}

static bool gone(const struct host_generation *g) {
    for (uint32_t i = 0; i < g->count; i++)
        if (g->workers[i].process_open || g->workers[i].channel_open) return false;
    return true;
}

void host_generation_progress(struct host_generation *g) {
    if (g->state < HOST_GENERATION_DRAINING || !gone(g)) return;
    if (g->state == HOST_GENERATION_DRAINING) {
        g->state = HOST_GENERATION_ENDING;
        host_reload_drained(g);
    }
    for (uint32_t i = 0; i < g->count; i++)
        if (!uv_is_closing((uv_handle_t *)&g->workers[i].restart))
            uv_close((uv_handle_t *)&g->workers[i].restart, on_timer_closed);
}

void host_generation_destroy(struct host_generation *g) {
    struct host_generation **at = &g->host->generations;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    evrt_scripts_finish(&g->scripts);
    host_errors_finish(&g->errors);
    free(g->workers);
    free(g);
}
