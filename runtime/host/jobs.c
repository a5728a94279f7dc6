/* See jobs.h. */
#include "host/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/node.h"
#include "host/replay.h"
#include "host/reprocess.h"
#include "json/json.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/utf8.h"

enum {
    MS = 1000000,
    TICK_MS = 20,
    FAILURES_MAX = 100,
    FAILURE_MAX = 512, /* bytes of a message that are told */
};

/* Every kind there is. */
static const struct host_job_kind *const kinds[] = {&host_replay_kind, &host_reprocess_kind};

struct host_job_waiter {
    struct host_job_waiter *next;
    evrt_host_json_cb cb;
    void *arg;
};

struct host_jobs {
    struct host_job **all; /* ascending ids */
    size_t count;
    uint64_t last_id;
    unsigned running;
    bool stopped;
};

struct host_jobs *host_jobs_create(void) {
    return evrt_zalloc(sizeof(struct host_jobs));
}

static void set_text(struct evrt_slice *to, struct evrt_slice from) {
    free((char *)to->p);
    *to = (struct evrt_slice){evrt_strndup(from.p == NULL ? "" : from.p, from.n), from.n};
}

static void destroy(struct host_job *j) {
    free((char *)j->r.spec.p);
    free((char *)j->r.error.p);
    free(j->before);
    evrt_buf_finish(&j->failures);
    free(j->items);
    free(j);
}

void host_jobs_destroy(struct host_jobs *jobs) {
    if (jobs == NULL) return;
    for (size_t i = 0; i < jobs->count; i++)
        destroy(jobs->all[i]);
    free(jobs->all);
    free(jobs);
}

static struct host_job *add(struct evrt_host *h, const struct host_job_kind *kind, uint64_t id) {
    struct host_jobs *jobs = h->jobs;
    struct host_job *j = evrt_zalloc(sizeof *j);
    j->host = h;
    j->kind = kind;
    j->r.id = id;
    j->r.kind = evrt_slice_of(kind->name);
    j->limit = (uint32_t)(kind->most != NULL ? kind->most(h->config) : h->config->jobs.concurrency);
    j->items = evrt_alloc(j->limit * sizeof *j->items);
    jobs->all = evrt_realloc(jobs->all, (jobs->count + 1) * sizeof(struct host_job *));
    jobs->all[jobs->count++] = j;
    if (id > jobs->last_id) jobs->last_id = id;
    return j;
}

struct host_job *host_job_find(struct evrt_host *h, uint64_t id) {
    for (size_t i = 0; i < h->jobs->count; i++)
        if (h->jobs->all[i]->r.id == id) return h->jobs->all[i];
    return NULL;
}

/* ---- In the journal ---- */

/* What had ended before the last start, from the *at-th range on, below `key`. */
static void put_before(const struct host_job *j, size_t *at, uint64_t key, uint64_t *from,
                       struct evrt_buf *out) {
    for (; *at < j->before_count && j->before[*at].first < key; (*at)++) {
        struct evrt_range r = j->before[*at];
        uint64_t end = r.first + r.count;
        if (r.first < j->r.cursor) r.first = j->r.cursor;
        if (r.first < end) evrt_ranges_put(out, from, (struct evrt_range){r.first, end - r.first});
    }
}

/* What has ended above the cursor, now and before the last start: no key is both. */
static struct evrt_slice ended_ranges(const struct host_job *j, struct evrt_buf *out) {
    uint64_t from = 0;
    size_t before = 0;
    evrt_buf_clear(out);
    for (uint32_t i = 0; i < j->count; i++) {
        uint64_t first = j->items[i].key, count = 1;
        put_before(j, &before, first, &from, out);
        if (!j->items[i].ended) continue;
        while (i + 1 < j->count && j->items[i + 1].ended && j->items[i + 1].key == first + count)
            i++, count++;
        evrt_ranges_put(out, &from, (struct evrt_range){first, count});
    }
    put_before(j, &before, UINT64_MAX, &from, out);
    return evrt_buf_slice(out);
}

static void journal_into(struct host_job *j, struct evrt_buf *into) {
    struct evrt_host *h = j->host;
    struct evrt_record_job r = j->r;
    if (j->r.state == EVRT_JOB_RUNNING) r.ended = ended_ranges(j, &h->ranges);
    if (!j->fresh) r.spec = (struct evrt_slice){NULL, 0};
    evrt_buf_clear(&h->scratch);
    evrt_record_put_job(&h->scratch, &r);
    host_put_record(h, into, EVRT_RECORD_JOB, evrt_buf_slice(&h->scratch));
    j->changed = j->fresh = false;
}

static void journal(struct host_job *j) {
    journal_into(j, NULL);
}

void host_jobs_settle(struct evrt_host *h, struct evrt_buf *into) {
    for (size_t i = 0; i < h->jobs->count; i++)
        if (h->jobs->all[i]->changed) journal_into(h->jobs->all[i], into);
}

/* Those that ended long ago are not listed any more. */
static void forget_oldest(struct evrt_host *h) {
    struct host_jobs *jobs = h->jobs;
    for (size_t i = 0; jobs->count > h->config->jobs.keep && i < jobs->count;) {
        struct host_job *j = jobs->all[i];
        /* The last number given out must be known at the next start. */
        if (j->r.state == EVRT_JOB_RUNNING || j->in_flight != 0 || j->r.id == jobs->last_id) {
            i++;
            continue;
        }
        j->r.state = EVRT_JOB_GONE;
        host_limit(h, EVRT_LIMIT_JOBS_KEPT);
        journal(j);
        destroy(j);
        memmove(jobs->all + i, jobs->all + i + 1, (--jobs->count - i) * sizeof(struct host_job *));
    }
}

/* ---- Beginning and ending ---- */

static void tell(struct host_job *j, int status) {
    struct evrt_buf json;
    evrt_buf_init(&json);
    struct evrt_jsonout o = evrt_jsonout_start(&json);
    host_job_json_open(j, &o);
    evrt_jsonout_end(&o);
    while (j->waiters != NULL) {
        struct host_job_waiter *w = j->waiters;
        j->waiters = w->next;
        w->cb(w->arg, status, evrt_buf_slice(&json));
        free(w);
    }
    evrt_buf_finish(&json);
}

static void log_end(const struct host_job *j, const char *error) {
    if (j->kind->log != NULL) {
        j->kind->log(j);
        return;
    }
    evrt_log_event(
        j->host->log, JOB_ENDED, EVRT_F_U64("job", j->r.id), EVRT_F_CSTR("kind", j->kind->name),
        EVRT_F_CSTR("state", evrt_job_state_name(j->r.state)), EVRT_F_U64("done", j->r.done),
        EVRT_F_U64("failed", j->r.failed), EVRT_F_U64("skipped", j->r.skipped),
        EVRT_F_DURATION("duration", (j->r.ended_ms - j->r.created_ms) * MS),
        EVRT_F_CSTR("error", error == NULL ? "" : error));
}

static void end(struct host_job *j, enum evrt_job_state state, const char *error) {
    struct evrt_host *h = j->host;
    if (j->r.state != EVRT_JOB_RUNNING) return;
    j->in_flight -= evrt_bus_drop_asides(h->bus, j->r.id);
    if (j->kind->stop != NULL && !j->resume) j->kind->stop(j);
    j->own = NULL;
    j->resume = false;
    j->r.state = (uint8_t)state;
    j->r.ended_ms = evrt_wall_ms();
    if (error != NULL) set_text(&j->r.error, evrt_slice_of(error));
    j->changed = true;
    h->jobs->running--;
    log_end(j, error);
    tell(j, 0);
}

static void log_start(const struct host_job *j) {
    if (j->kind->log != NULL) {
        j->kind->log(j);
        return;
    }
    evrt_log_event(j->host->log, JOB_STARTED, EVRT_F_U64("job", j->r.id),
                   EVRT_F_CSTR("kind", j->kind->name), EVRT_F_U64("total", j->r.total),
                   EVRT_F_U64("done", j->r.done + j->r.failed + j->r.skipped));
}

static int start(struct host_job *j, struct evrt_error *err) {
    j->allowed_ns = evrt_mono_ns();
    int rc = j->kind->start(j, err);
    if (rc == 0) log_start(j);
    return rc;
}

struct host_job *host_job_begin(struct evrt_host *h, const struct host_job_kind *kind,
                                struct evrt_slice spec, uint64_t rate, uint32_t limit,
                                struct evrt_error *err) {
    if (h->phase != HOST_SERVING) {
        evrt_error_set(err, -ESHUTDOWN, "the node is starting or shutting down");
        return NULL;
    }
    if (h->jobs->running >= h->config->jobs.max) {
        host_limit(h, EVRT_LIMIT_JOBS);
        evrt_error_set(err, -EAGAIN,
                       "%u jobs run already (jobs.max); wait for one to end, or cancel it",
                       h->jobs->running);
        return NULL;
    }
    struct host_job *j = add(h, kind, h->jobs->last_id + 1);
    set_text(&j->r.spec, spec);
    set_text(&j->r.error, EVRT_STR(""));
    j->r.created_ms = evrt_wall_ms();
    j->rate = j->r.rate = rate;
    if (limit != 0 && limit < j->limit) j->limit = limit;
    j->r.limit = j->limit;
    j->changed = j->fresh = true;
    h->jobs->running++;
    if (start(j, err) < 0) end(j, EVRT_JOB_FAILED, err->message);
    h->eager = true;
    forget_oldest(h);
    return j;
}

static void restore_ended(struct host_job *j, struct evrt_slice ended) {
    struct evrt_range r;
    uint64_t from = 0;
    for (size_t at = 0; evrt_ranges_next(ended, &at, &from, &r) == 1;) {
        j->before = evrt_realloc(j->before, (j->before_count + 1) * sizeof *j->before);
        j->before[j->before_count++] = r;
    }
}

void host_jobs_restore(struct evrt_host *h, const struct evrt_record_job *r) {
    const struct host_job_kind *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i] != NULL && evrt_slice_eq(evrt_slice_of(kinds[i]->name), r->kind))
            kind = kinds[i];
    if (r->id > h->jobs->last_id) h->jobs->last_id = r->id;
    if (kind == NULL) return; /* of a newer version: it is left as it is */
    struct host_job *j = add(h, kind, r->id);
    j->r = *r;
    j->r.kind = evrt_slice_of(kind->name);
    j->r.spec = j->r.error = (struct evrt_slice){NULL, 0};
    set_text(&j->r.spec, r->spec);
    set_text(&j->r.error, r->error);
    j->r.ended = (struct evrt_slice){NULL, 0};
    restore_ended(j, r->ended);
    j->rate = r->rate;
    if (r->limit != 0 && r->limit < j->limit) j->limit = (uint32_t)r->limit;
    j->resume = r->state == EVRT_JOB_RUNNING;
    h->jobs->running += j->resume;
}

/* ---- Getting on ---- */

uint32_t host_job_room(struct host_job *j) {
    uint32_t room = j->count < j->limit ? j->limit - j->count : 0;
    if (j->rate != 0 && j->allowance < room) room = (uint32_t)j->allowance;
    return j->r.state == EVRT_JOB_RUNNING ? room : 0;
}

static void earn(struct host_job *j, int64_t now) {
    if (j->rate == 0) return;
    double most = (double)j->rate / 10 + 1;
    j->allowance += (double)(now - j->allowed_ns) * 1e-9 * (double)j->rate;
    if (j->allowance > most) j->allowance = most;
    j->allowed_ns = now;
}

void host_job_deliver(struct host_job *j, struct evrt_sub *s, uint64_t key, uint16_t attempt,
                      struct evrt_slice event) {
    j->items[j->count++] = (struct host_job_item){key, false};
    j->in_flight++;
    j->allowance -= 1;
    j->passed = key + 1;
    evrt_bus_aside(j->host->bus, s,
                   &(struct evrt_aside){.purpose = j->kind->purpose,
                                        .job = j->r.id,
                                        .key = key,
                                        .attempt = attempt,
                                        .event = event});
    j->pump = true;
}

void host_job_skip(struct host_job *j, uint64_t key) {
    if (j->count != 0) j->items[j->count++] = (struct host_job_item){key, true};
    host_job_passed(j, key + 1);
}

bool host_job_has_ended(const struct host_job *j, uint64_t key) {
    for (size_t i = 0; i < j->before_count; i++)
        if (evrt_range_has(j->before[i], key)) return true;
    return false;
}

void host_job_passed(struct host_job *j, uint64_t key) {
    if (key > j->passed) j->passed = key;
    j->changed = true;
}

void host_job_more(struct host_job *j) {
    uv_async_send(&j->host->wake);
}

void host_job_fail(struct host_job *j, const char *reason) {
    end(j, EVRT_JOB_FAILED, reason);
    uv_async_send(&j->host->wake);
}

static void move_cursor(struct host_job *j) {
    uint32_t gone = 0;
    while (gone < j->count && j->items[gone].ended)
        gone++;
    j->count -= gone;
    memmove(j->items, j->items + gone, j->count * sizeof *j->items);
    uint64_t cursor = j->count == 0 ? j->passed : j->items[0].key;
    if (cursor > j->r.cursor) j->r.cursor = cursor;
}

void host_jobs_ended(struct evrt_host *h, const struct host_job_end *e) {
    struct host_job *j = host_job_find(h, e->delivery->job);
    uint64_t key = e->delivery->job_key;
    if (j == NULL) return;
    j->in_flight--;
    uint32_t low = 0, high = j->count;
    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (j->items[mid].key < key)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < j->count && j->items[low].key == key) j->items[low].ended = true;
    j->kind->ended(j, key, e);
    j->changed = true;
}

/* Returns whether it waits for its rate. */
static bool turn(struct host_job *j, int64_t now) {
    struct evrt_error err;
    if (j->resume) {
        j->resume = false;
        j->passed = j->r.cursor;
        if (start(j, &err) < 0) end(j, EVRT_JOB_FAILED, err.message);
    }
    if (j->r.state == EVRT_JOB_RUNNING) {
        earn(j, now);
        if (!j->exhausted && host_job_room(j) != 0) j->kind->more(j);
        move_cursor(j);
        if (j->exhausted && j->count == 0) end(j, EVRT_JOB_DONE, NULL);
    }
    if (j->changed) journal(j);
    return j->r.state == EVRT_JOB_RUNNING && !j->exhausted && j->rate != 0 && j->allowance < 1;
}

/* The turn does the work, before the loop waits again. */
static void on_allowance(uv_timer_t *timer) {
    (void)timer;
}

void host_jobs_turn(struct evrt_host *h) {
    bool waits = false, pump = false;
    /* The host closes: what workers said before they ended is settled still, and so are the jobs that it is of. */
    if (h->jobs->stopped) host_jobs_settle(h, NULL);
    if (h->jobs->count == 0 || h->jobs->stopped) return;
    int64_t now = evrt_mono_ns();
    for (size_t i = 0; i < h->jobs->count; i++) {
        struct host_job *j = h->jobs->all[i];
        if (h->phase == HOST_SERVING || j->changed) waits |= turn(j, now);
        pump |= j->pump;
        j->pump = false;
    }
    if (waits && !uv_is_active((uv_handle_t *)&h->allowance))
        uv_timer_start(&h->allowance, on_allowance, TICK_MS, 0);
    if (pump) evrt_bus_pump(h->bus);
}

void host_jobs_orphaned(struct evrt_host *h, const struct evrt_sub *s) {
    for (size_t i = 0; i < h->jobs->count; i++) {
        struct host_job *j = h->jobs->all[i];
        const struct evrt_delivery *d = s->aside_first;
        if (j->r.state != EVRT_JOB_RUNNING || j->resume || h->jobs->stopped) continue;
        while (d != NULL && d->job != j->r.id)
            d = d->again_next;
        if (d != NULL) host_job_fail(j, "the handler is not in the scripts any more");
    }
}

void host_jobs_again(struct evrt_host *h) {
    for (size_t i = 0; i < h->jobs->count; i++) {
        struct host_job *j = h->jobs->all[i];
        if (j->in_flight == 0 || j->r.state == EVRT_JOB_RUNNING) continue;
        uint32_t count = evrt_bus_drop_asides(h->bus, j->r.id);
        j->in_flight -= count;
        if (count != 0 && j->kind->dropped != NULL) j->kind->dropped(j);
    }
}

uint64_t host_jobs_cursor(const struct evrt_host *h, const struct host_job_kind *kind) {
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < h->jobs->count; i++) {
        const struct host_job *j = h->jobs->all[i];
        bool runs = j->kind == kind && j->r.state == EVRT_JOB_RUNNING;
        if (runs && j->r.cursor < first) first = j->r.cursor;
    }
    return first;
}

void host_jobs_stop(struct evrt_host *h) {
    h->jobs->stopped = true;
    for (size_t i = 0; i < h->jobs->count; i++) {
        struct host_job *j = h->jobs->all[i];
        if (j->changed) journal(j);
        if (j->r.state == EVRT_JOB_RUNNING && !j->resume && j->kind->stop != NULL) j->kind->stop(j);
        j->own = NULL;
        tell(j, -ESHUTDOWN);
    }
}

/* ---- What it was asked for ---- */

struct evrt_slice host_job_text(const struct host_job *j, const char *name, struct evrt_buf *out) {
    struct evrt_slice value = evrt_json_at(j->r.spec, evrt_slice_of(name));
    if (value.n == 0) return (struct evrt_slice){NULL, 0};
    evrt_buf_clear(out);
    evrt_json_unquote(value, out);
    return evrt_buf_slice(out);
}

uint64_t host_job_number(const struct host_job *j, const char *name) {
    struct evrt_slice value = evrt_json_at(j->r.spec, evrt_slice_of(name));
    return value.n == 0 ? 0 : strtoull(value.p, NULL, 10);
}

/* ---- For people ---- */

void host_job_wait(struct host_job *j, evrt_host_json_cb cb, void *arg) {
    struct host_job_waiter *w = evrt_alloc(sizeof *w);
    *w = (struct host_job_waiter){j->waiters, cb, arg};
    j->waiters = w;
    if (j->r.state != EVRT_JOB_RUNNING) tell(j, 0);
}

void host_job_note_failure(struct host_job *j, const char *name, struct evrt_slice key,
                           struct evrt_slice type, struct evrt_slice message) {
    if (j->failure_count == FAILURES_MAX) return;
    if (j->failure_count++ > 0) evrt_buf_putc(&j->failures, ',');
    struct evrt_jsonout o = evrt_jsonout_start(&j->failures);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_raw(&o, name, key);
    host_error_json(&o, type, evrt_utf8_cut(message, FAILURE_MAX), (struct evrt_slice){NULL, 0});
    evrt_jsonout_end(&o);
}

static void put_time(struct evrt_jsonout *o, const char *key, int64_t ms) {
    if (ms == 0)
        evrt_jsonout_put_cstr(o, key, NULL);
    else
        evrt_jsonout_put_time(o, key, ms);
}

void host_job_json_open(const struct host_job *j, struct evrt_jsonout *o) {
    int64_t until = j->r.ended_ms != 0 ? j->r.ended_ms : evrt_wall_ms();
    char id[24];
    snprintf(id, sizeof id, "%llu", (unsigned long long)j->r.id);
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "id", id);
    evrt_jsonout_put_cstr(o, "kind", j->kind->name);
    evrt_jsonout_put_cstr(o, "state", evrt_job_state_name(j->r.state));
    put_time(o, "created", j->r.created_ms);
    put_time(o, "ended", j->r.ended_ms);
    evrt_jsonout_put_u64(o, "duration_ms",
                         until > j->r.created_ms ? (uint64_t)(until - j->r.created_ms) : 0);
    evrt_jsonout_key(o, "total");
    if (j->kind->purpose == EVRT_PURPOSE_REPLAY) /* finds out as it reads */
        evrt_jsonout_null(o);
    else
        evrt_jsonout_u64(o, j->r.total);
    evrt_jsonout_put_u64(o, "done", j->r.done);
    evrt_jsonout_put_u64(o, "failed", j->r.failed);
    evrt_jsonout_put_u64(o, "skipped", j->r.skipped);
    evrt_jsonout_put_u64(o, "in_flight", j->in_flight);
    evrt_jsonout_put_given_str(o, "error", j->r.error);
    if (j->kind->describe != NULL) j->kind->describe(j, o);
    evrt_jsonout_put_raw(o, "asked", j->r.spec);
    evrt_jsonout_key(o, "failures");
    evrt_jsonout_array(o);
    if (j->failures.n != 0) evrt_jsonout_raw(o, evrt_buf_slice(&j->failures));
    evrt_jsonout_end(o);
}

void evrt_host_jobs(struct evrt_host *h, const char *kind, struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "items");
    evrt_jsonout_array(&o);
    for (size_t i = h->jobs->count; i-- > 0;) {
        if (kind != NULL && strcmp(h->jobs->all[i]->kind->name, kind) != 0) continue;
        host_job_json_open(h->jobs->all[i], &o);
        evrt_jsonout_end(&o);
    }
    evrt_jsonout_end(&o);
    evrt_jsonout_put_null(&o, "next");
    evrt_jsonout_end(&o);
}

static struct host_job *known(struct evrt_host *h, uint64_t id, struct evrt_error *err) {
    struct host_job *j = host_job_find(h, id);
    if (j == NULL)
        evrt_error_set(err, -ENOENT, "no such job: it never was, or it ended long ago (jobs.keep)");
    return j;
}

int evrt_host_job(struct evrt_host *h, uint64_t id, struct evrt_buf *out, struct evrt_error *err) {
    const struct host_job *j = known(h, id, err);
    if (j == NULL) return -ENOENT;
    struct evrt_jsonout o = evrt_jsonout_start(out);
    host_job_json_open(j, &o);
    evrt_jsonout_end(&o);
    return 0;
}

int evrt_host_job_cancel(struct evrt_host *h, uint64_t id, struct evrt_buf *out,
                         struct evrt_error *err) {
    struct host_job *j = known(h, id, err);
    if (j == NULL) return -ENOENT;
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    end(j, EVRT_JOB_CANCELLED, NULL);
    uv_async_send(&h->wake);
    return evrt_host_job(h, id, out, err);
}

bool evrt_host_job_is(struct evrt_host *h, uint64_t id, const char *kind) {
    const struct host_job *j = host_job_find(h, id);
    return j != NULL && strcmp(j->kind->name, kind) == 0;
}

/* Someone who is to be told that a job is durable. */
struct begun {
    struct evrt_host *host;
    uint64_t id;
    evrt_host_json_cb cb;
    void *arg;
};

static void on_begun(void *arg, uint64_t unused) {
    struct begun *b = arg;
    struct evrt_buf json;
    struct evrt_error err = {0};
    (void)unused;
    evrt_buf_init(&json);
    int rc = evrt_host_job(b->host, b->id, &json, &err);
    b->cb(b->arg, rc, rc < 0 ? evrt_slice_of(err.message) : evrt_buf_slice(&json));
    evrt_buf_finish(&json);
    free(b);
}

void evrt_host_job_wait(struct evrt_host *h, uint64_t id, bool ended, evrt_host_json_cb cb,
                        void *arg) {
    struct evrt_error err;
    struct host_job *j = known(h, id, &err);
    if (j == NULL) {
        cb(arg, -ENOENT, evrt_slice_of(err.message));
    } else if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
    } else if (ended) {
        host_job_wait(j, cb, arg);
    } else {
        struct begun *b = evrt_alloc(sizeof *b);
        *b = (struct begun){h, id, cb, arg};
        if (j->changed) journal(j);
        host_barrier(h, on_begun, b);
    }
}
