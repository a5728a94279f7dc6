/* See reload.h. What serves is not touched before everything of the next generation has loaded; then config,
 * subscriptions and the generation in service change within one turn of the loop. */
#include "host/node.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"

enum {
    SETTLE_MS = 20,
    SETTLE_MAX_MS = 500,
    FREELY = 4, /* loads in a row that reload.interval does not hold back */
    MS = 1000000,
};

/* ---- Lists ---- */

static void add_asker(struct host_askers *a, evrt_host_json_cb cb, void *arg) {
    if (cb == NULL) return;
    a->v = evrt_realloc(a->v, (a->n + 1) * sizeof *a->v);
    a->v[a->n++] = (struct host_asker){cb, arg};
}

/* They may ask again while they are told. */
static void tell(struct host_askers *a, int status, struct evrt_slice json) {
    struct host_askers told = *a;
    *a = (struct host_askers){0};
    for (size_t i = 0; i < told.n; i++)
        told.v[i].cb(told.v[i].arg, status, json);
    free(told.v);
}

void host_changes_finish(struct host_changes *c) {
    for (size_t i = 0; i < c->n; i++) {
        free(c->v[i].from);
        free(c->v[i].to);
    }
    free(c->v);
    *c = (struct host_changes){0};
}

/* ---- Decided ---- */

static void forget_round(struct host_reload *r) {
    host_changes_finish(&r->changes);
    if (r->fresh.file != NULL) evrt_config_finish(&r->fresh);
    r->loading = NULL;
}

/* `old`: what served before, with HOST_RELOAD_DONE. */
static void decide(struct evrt_host *h, enum host_reload_outcome outcome,
                   const struct evrt_scripts *old) {
    struct host_reload *r = &h->reload;
    struct evrt_buf json;
    evrt_buf_init(&json);
    r->step = HOST_RELOAD_IDLE;
    r->outcome = outcome;
    r->decided_ms = evrt_wall_ms();
    r->counts[outcome]++;
    if (outcome != HOST_RELOAD_REFUSED) {
        host_errors_finish(&r->errors);
        if (r->ops != NULL) r->ops->apply(r->ops_arg);
    }
    host_reload_report(h, old, &h->serving->scripts, &json);
    forget_round(r);
    int status = outcome == HOST_RELOAD_REFUSED ? -EINVAL : 0;
    if (r->ops != NULL) r->ops->decided(r->ops_arg, status, evrt_buf_slice(&json));
    tell(&r->now, status, evrt_buf_slice(&json));
    evrt_buf_finish(&json);
    host_reload_start(h);
}

/* Nobody asked, and nothing is new: as if it had not been looked at. */
static void pass_over(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    r->step = HOST_RELOAD_IDLE;
    forget_round(r);
    if (r->ops != NULL)
        r->ops->decided(r->ops_arg, r->outcome == HOST_RELOAD_REFUSED ? -EINVAL : 0,
                        (struct evrt_slice){NULL, 0});
    host_reload_start(h);
}

/* Takes over the errors. */
static void refuse(struct evrt_host *h, struct host_errors *errors) {
    struct host_reload *r = &h->reload;
    host_errors_finish(&r->errors);
    r->errors = *errors;
    *errors = (struct host_errors){0};
    r->refused_hash = r->loading == NULL ? 0 : r->loading->scripts.hash;
    if (r->loading != NULL) host_generation_end(r->loading);
    decide(h, HOST_RELOAD_REFUSED, NULL);
}

/* ---- Switch ---- */

static void on_patience(uv_timer_t *timer) {
    struct evrt_host *h = timer->data;
    if (h->reload.draining == NULL) return;
    host_limit(h, EVRT_LIMIT_DRAIN);
    host_generation_kill(h->reload.draining);
}

static void switch_over(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    struct host_generation *old = h->serving, *g = r->loading;
    r->step = HOST_RELOAD_IDLE;
    if (r->fresh.file != NULL) evrt_config_exchange(h->config, &r->fresh);
    g->state = HOST_GENERATION_SERVING;
    h->serving = g;
    h->fed = NULL;
    host_subscribe(h);
    r->draining = old;
    /* Its list is reported below, and nothing frees it before the loop turns. */
    host_generation_drain(old);
    if (r->draining != NULL)
        uv_timer_start(&r->patience, on_patience, (uint64_t)h->config->workers.drain_timeout, 0);
    decide(h, HOST_RELOAD_DONE, &old->scripts);
    host_watch_start(h);
    uv_async_send(&h->wake); /* what waits is for the new workers */
}

void host_reload_drained(struct host_generation *g) {
    struct evrt_host *h = g->host;
    struct host_reload *r = &h->reload;
    if (r->draining != g) return;
    r->draining = NULL;
    uv_timer_stop(&r->patience);
    evrt_log_event(h->log, GENERATION_DRAINED, EVRT_F_U64("generation", g->number),
                   EVRT_F_DURATION("duration", evrt_mono_ns() - g->began_ns),
                   EVRT_F_U64("redelivered", g->redelivered));
    if (r->step == HOST_RELOAD_WAITING) switch_over(h);
}

/* ---- Pace ---- */

/* Each load costs an interval, and who is more than a few of them ahead of the clock waits. To look costs nothing. */
static void pay(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    int64_t now = evrt_mono_ns();
    if (r->paid_ns < now) r->paid_ns = now;
    r->paid_ns += h->config->reload.interval * MS;
}

static void on_pace(uv_timer_t *timer) {
    host_reload_start(timer->data);
}

static bool must_wait(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    int64_t interval = h->config->reload.interval;
    int64_t wait = (r->paid_ns - evrt_mono_ns()) / MS - (FREELY - 1) * interval;
    if (wait > interval) wait = interval; /* it was longer before */
    if (wait <= 0 || r->later.n != 0) return false;
    if (!uv_is_active((uv_handle_t *)&r->pace)) {
        host_limit(h, EVRT_LIMIT_RELOAD_INTERVAL);
        uv_timer_start(&r->pace, on_pace, (uint64_t)wait, 0);
    }
    return true;
}

/* ---- Loading ---- */

void host_reload_progress(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    struct host_generation *g = r->loading;
    /* Also one that waits to be switched to may lose a worker. */
    if (r->step < HOST_RELOAD_LOADING) return;
    if (g->refused) {
        uv_timer_stop(&r->deadline);
        refuse(h, &g->errors);
    } else if (r->step == HOST_RELOAD_LOADING && host_generation_loaded(g)) {
        uv_timer_stop(&r->deadline);
        r->step = HOST_RELOAD_WAITING;
        if (r->draining == NULL) switch_over(h);
    }
}

static void on_deadline(uv_timer_t *timer) {
    struct evrt_host *h = timer->data;
    if (h->reload.step != HOST_RELOAD_LOADING) return;
    host_generation_late(h->reload.loading);
    host_reload_progress(h);
}

static void load(struct evrt_host *h, struct evrt_scripts *scripts) {
    struct host_reload *r = &h->reload;
    const struct evrt_config *config = r->fresh.file != NULL ? &r->fresh : h->config;
    r->step = HOST_RELOAD_LOADING;
    r->loading = host_generation_create(h, scripts, config);
    pay(h);
    int64_t timeout_ms = host_generation_timeout(r->loading);
    if (timeout_ms != 0) uv_timer_start(&r->deadline, on_deadline, (uint64_t)timeout_ms, 0);
    host_generation_load(r->loading, 1);
    host_reload_progress(h);
}

/* ---- Reading, in the thread pool ---- */

struct read_job {
    uv_work_t work;
    struct evrt_host *host;
    struct evrt_config fresh;
    struct host_changes changes;
    struct evrt_scripts scripts;
    struct host_errors errors;
};

/* A file that is written in place is empty for a moment, and then a part of itself. Waits until a change at
 * `changed_ms` is a little while ago; false when it is already, or when that has gone on for long. */
static bool settle(int64_t changed_ms, int *patience_ms) {
    int64_t left = SETTLE_MS - (evrt_wall_ms() - changed_ms);
    if (left <= 0 || left > SETTLE_MS || *patience_ms <= 0) return false; /* or the clock was set */
    *patience_ms -= (int)left;
    usleep((useconds_t)left * 1000);
    return true;
}

static void settle_config(const char *path) {
    struct stat st;
    int patience_ms = SETTLE_MAX_MS;
    while (path[0] != '\0' && stat(path, &st) == 0 &&
           settle(st.st_ctim.tv_sec * 1000 + st.st_ctim.tv_nsec / 1000000, &patience_ms))
        continue;
}

static int read_settled(struct evrt_scripts *s, const struct evrt_config *config,
                        struct evrt_error *err) {
    int patience_ms = SETTLE_MAX_MS;
    for (;;) {
        int rc = evrt_scripts_read(s, config, err);
        if (rc < 0 || !settle(s->changed_ms, &patience_ms)) return rc;
        evrt_scripts_finish(s);
    }
}

static void take_error(void *arg, const struct evrt_error *err) {
    struct read_job *job = arg;
    host_errors_add(&job->errors, err);
}

static void take_change(void *arg, const struct evrt_config_change *change) {
    struct host_changes *c = &((struct read_job *)arg)->changes;
    c->v = evrt_realloc(c->v, (c->n + 1) * sizeof *c->v);
    c->v[c->n++] = (struct host_change){change->key, evrt_strdup(change->from),
                                        evrt_strdup(change->to), change->reloadable};
}

/* The configuration in force does not change while this runs: only the loop changes it, after. */
static void read_anew(uv_work_t *work) {
    struct read_job *job = work->data;
    const struct host_reload *r = &job->host->reload;
    const struct evrt_config *config = job->host->config;
    struct evrt_error err;
    if (r->ops != NULL) {
        settle_config(config->file);
        if (r->ops->read(r->ops_arg, &job->fresh, take_error, take_change, job) < 0) return;
        config = &job->fresh;
    }
    if (read_settled(&job->scripts, config, &err) < 0) host_errors_add(&job->errors, &err);
}

static bool unchanged(const struct evrt_host *h, const struct evrt_scripts *scripts) {
    for (size_t i = 0; i < h->reload.changes.n; i++)
        if (h->reload.changes.v[i].reloadable) return false;
    return scripts->hash == h->serving->scripts.hash;
}

/* Saved once and noticed twice, or noticed beside a signal. */
static bool known(const struct evrt_host *h, const struct evrt_scripts *scripts) {
    const struct host_reload *r = &h->reload;
    if (r->asked || r->changes.n != 0) return false;
    if (r->outcome == HOST_RELOAD_REFUSED) return scripts->hash == r->refused_hash;
    return scripts->hash == h->serving->scripts.hash;
}

static void take_round(struct evrt_host *h, struct read_job *job) {
    struct host_reload *r = &h->reload;
    r->fresh = job->fresh;
    r->changes = job->changes;
    job->fresh = (struct evrt_config){0};
    job->changes = (struct host_changes){0};
}

static void on_read(uv_work_t *work, int status) {
    struct read_job *job = work->data;
    struct evrt_host *h = job->host;
    (void)status;
    h->reads--;
    if (h->phase == HOST_SERVING) {
        take_round(h, job);
        host_watch(h, &job->scripts);
        if (job->errors.n != 0)
            refuse(h, &job->errors);
        else if (known(h, &job->scripts))
            pass_over(h);
        else if (unchanged(h, &job->scripts))
            decide(h, HOST_RELOAD_UNCHANGED, NULL);
        else
            load(h, &job->scripts);
    } else {
        h->reload.step = HOST_RELOAD_IDLE;
    }
    if (job->fresh.file != NULL) evrt_config_finish(&job->fresh);
    host_changes_finish(&job->changes);
    host_errors_finish(&job->errors);
    evrt_scripts_finish(&job->scripts);
    free(job);
    host_progress(h);
}

static void begin(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    struct read_job *job = evrt_zalloc(sizeof *job);
    job->work.data = job;
    job->host = h;
    job->scripts.snapshot = -1;
    uv_timer_stop(&r->pace);
    r->step = HOST_RELOAD_READING;
    r->again = false;
    r->asked = r->asked_again;
    r->asked_again = false;
    r->began_ns = evrt_mono_ns();
    r->now = r->later;
    r->later = (struct host_askers){0};
    if (r->ops != NULL) r->ops->begun(r->ops_arg);
    h->reads++;
    int rc = uv_queue_work(h->loop, &job->work, read_anew, on_read);
    if (rc < 0) on_read(&job->work, rc);
}

/* ---- From outside ---- */

static const char shutting_down[] =
    "{\"error\":{\"code\":\"shutting_down\",\"message\":\"the node is shutting down\"}}";

void host_reload_look(struct evrt_host *h) {
    h->reload.again = true;
    host_reload_start(h);
}

void evrt_host_reload(struct evrt_host *h, evrt_host_json_cb cb, void *arg) {
    struct host_reload *r = &h->reload;
    add_asker(&r->later, cb, arg);
    if (h->phase > HOST_SERVING) {
        tell(&r->later, -ESHUTDOWN, evrt_slice_of(shutting_down));
        return;
    }
    r->asked_again = true;
    host_reload_look(h);
}

void host_reload_start(struct evrt_host *h) {
    const struct host_reload *r = &h->reload;
    bool free_to = r->step == HOST_RELOAD_IDLE && !r->looking && h->phase == HOST_SERVING;
    if (r->again && free_to && !must_wait(h)) begin(h);
}

void host_reload_stop(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    host_watch_stop(h);
    uv_timer_stop(&r->pace);
    uv_timer_stop(&r->deadline);
    if (r->step >= HOST_RELOAD_LOADING) {
        host_generation_end(r->loading);
        forget_round(r);
        r->step = HOST_RELOAD_IDLE;
    }
    r->again = false;
    tell(&r->now, -ESHUTDOWN, evrt_slice_of(shutting_down));
    tell(&r->later, -ESHUTDOWN, evrt_slice_of(shutting_down));
}

void host_reload_finish(struct evrt_host *h) {
    struct host_reload *r = &h->reload;
    forget_round(r);
    host_errors_finish(&r->errors);
    free(r->now.v);
    free(r->later.v);
}
