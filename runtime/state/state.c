/* See state.h. The owner's side: handing over and waiting. Handing over a record is a lock, a copy and,
 * for the first one after a commit, a wake-up: the state thread then sleeps until that commit is due. */
#include "state/state.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/jsonout.h"
#include "state/recover.h"
#include "state/tables_kv.h"
#include "state/thread.h"

#define FLUSH_MS 500 /* what is over by then, most retries that wait little, is never written */
#define FLUSH_RECORDS 50000
#define QUEUE_BEHIND (2 * 1024 * 1024)
#define MS_NS INT64_C(1000000)
/* When only the position moved, a commit writes it; nothing waits for that but the next snapshot. */
#define POSITION_FLUSHES 4

/* ---- Opening and closing ---- */

static int open_db(struct evrt_state *s, const char *path, char restored[160],
                   struct evrt_error *err) {
    restored[0] = '\0';
    s->in_memory = path == NULL;
    if (s->in_memory) {
        s->snapshots.verified = true;
        return evrt_db_open(&s->db, NULL, 1, err);
    }
    evrt_snapshots_init(&s->snapshots, path);
    return evrt_state_recover(&s->options, &s->snapshots, &s->db, &s->model, restored, err);
}

static void init_sync(struct evrt_state *s) {
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->wake, &clock);
    pthread_cond_init(&s->progress, &clock);
    pthread_condattr_destroy(&clock);
}

static void destroy(struct evrt_state *s) {
    evrt_snapshots_finish(&s->snapshots);
    evrt_db_close(s->db);
    evrt_model_finish(&s->model);
    evrt_buf_finish(&s->queue);
    evrt_buf_finish(&s->intake);
    pthread_cond_destroy(&s->progress);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Signals are the loop thread's. */
static int start_thread(struct evrt_state *s) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = -pthread_create(&s->thread, NULL, evrt_state_thread, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int evrt_state_open(struct evrt_state **out, const struct evrt_state_options *options,
                    uint64_t *applied_group, char restored[160], struct evrt_error *err) {
    struct evrt_state *s = evrt_zalloc(sizeof *s);
    s->options = *options;
    if (s->options.flush_ms <= 0) s->options.flush_ms = FLUSH_MS;
    if (s->options.flush_records == 0) s->options.flush_records = FLUSH_RECORDS;
    if (s->options.max_queue == 0) s->options.max_queue = QUEUE_BEHIND;
    s->deadline = EVRT_STATE_NEVER;
    s->tasks_end = &s->tasks;
    init_sync(s);
    int rc = open_db(s, options->path, restored, err);
    if (rc == 0) {
        s->model.kv.load = evrt_tables_kv_load;
        s->model.kv.arg = s->db;
        s->given = s->complete = s->advanced = s->model.applied;
        atomic_store(&s->applied, s->model.applied);
        rc = start_thread(s);
        if (rc < 0) evrt_error_set(err, rc, "cannot start the state thread: %s", strerror(-rc));
    }
    if (rc < 0) {
        destroy(s);
        s = NULL;
    }
    *applied_group = s != NULL ? s->complete : 0;
    *out = s;
    return rc;
}

void evrt_state_close(struct evrt_state *s) {
    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    destroy(s);
}

/* ---- Handing over ---- */

/* A commit is due within `ns` from now. Under the lock. */
static void commit_within(struct evrt_state *s, int64_t ns) {
    int64_t deadline = evrt_mono_ns() + ns;
    if (deadline >= s->deadline) return;
    s->deadline = deadline;
    pthread_cond_signal(&s->wake);
}

void evrt_state_apply(struct evrt_state *s, uint64_t group, uint32_t kind,
                      struct evrt_slice payload) {
    if (group <= s->complete) return;
    assert(group >= s->given);
    s->given = group;
    if (!evrt_model_wants(kind)) return;

    pthread_mutex_lock(&s->lock);
    /* Below EARLY the other side may leave it where it is. */
    size_t most = s->options.max_queue;
    if (most < EVRT_STATE_EARLY) most = EVRT_STATE_EARLY;
    while (s->queue.n >= 2 * most) {
        pthread_cond_signal(&s->wake);
        pthread_cond_wait(&s->progress, &s->lock);
    }
    bool early = s->queue.n >= EVRT_STATE_EARLY;
    char *at = evrt_buf_room(&s->queue, EVRT_STATE_HEADER + payload.n);
    evrt_set_u64(at, group);
    evrt_set_u32(at + 8, kind);
    evrt_set_u32(at + 12, (uint32_t)payload.n);
    s->queue.n += EVRT_STATE_HEADER;
    evrt_buf_put(&s->queue, payload.p, payload.n);
    s->queue_records++;
    s->fresh = true;
    if (!early && s->queue.n >= EVRT_STATE_EARLY) pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void evrt_state_advance(struct evrt_state *s, uint64_t group) {
    if (group <= s->complete) return;
    s->complete = group;
    if (group > s->given) s->given = group;

    pthread_mutex_lock(&s->lock);
    s->advanced = group;
    bool records = s->fresh;
    s->fresh = false;
    if (s->queue_records >= s->options.flush_records)
        pthread_cond_signal(&s->wake);
    else if (s->stats.error == 0 && (records || s->deadline == EVRT_STATE_NEVER))
        commit_within(s, s->options.flush_ms * MS_NS * (records ? 1 : POSITION_FLUSHES));
    pthread_mutex_unlock(&s->lock);
}

bool evrt_state_behind(struct evrt_state *s) {
    pthread_mutex_lock(&s->lock);
    bool behind = s->queue.n >= s->options.max_queue;
    pthread_mutex_unlock(&s->lock);
    return behind;
}

void evrt_state_hurry(struct evrt_state *s) {
    pthread_mutex_lock(&s->lock);
    if (s->deadline != EVRT_STATE_NEVER && s->stats.error == 0) commit_within(s, 0);
    pthread_mutex_unlock(&s->lock);
}

void evrt_state_flush(struct evrt_state *s) {
    evrt_state_advance(s, s->given);
    pthread_mutex_lock(&s->lock);
    uint64_t ticket = ++s->flush_asked;
    pthread_cond_signal(&s->wake);
    while (s->flush_done < ticket)
        pthread_cond_wait(&s->progress, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

uint64_t evrt_state_applied(struct evrt_state *s) {
    return atomic_load(&s->applied);
}

void evrt_state_snapshot(struct evrt_state *s) {
    pthread_mutex_lock(&s->lock);
    if (s->snapshot_asked == s->snapshot_done) {
        s->snapshot_asked++;
        pthread_cond_signal(&s->wake);
    }
    pthread_mutex_unlock(&s->lock);
}

int evrt_state_snapshot_now(struct evrt_state *s, struct evrt_error *err) {
    evrt_state_snapshot(s);
    pthread_mutex_lock(&s->lock);
    while (s->snapshot_asked != s->snapshot_done)
        pthread_cond_wait(&s->progress, &s->lock);
    int rc = s->snapshot_error.code;
    if (err != NULL) *err = s->snapshot_error;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

uint64_t evrt_state_snapshotted(struct evrt_state *s) {
    return atomic_load(&s->snapshotted);
}

void evrt_state_run(struct evrt_state *s, evrt_state_job job, void *arg) {
    struct evrt_state_task *task = evrt_alloc(sizeof *task);
    *task = (struct evrt_state_task){NULL, job, arg};
    pthread_mutex_lock(&s->lock);
    *s->tasks_end = task;
    s->tasks_end = &task->next;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

static void tell_damaged(struct evrt_state_view *view, void *arg) {
    struct evrt_error *err = arg;
    view->error = *err;
    free(err);
}

void evrt_state_damaged(struct evrt_state *s, const struct evrt_error *err) {
    struct evrt_error *copy = evrt_alloc(sizeof *copy);
    *copy = *err;
    evrt_state_run(s, tell_damaged, copy);
}

void evrt_state_stats(struct evrt_state *s, struct evrt_state_stats *out) {
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->queued_bytes = s->queue.n;
    pthread_mutex_unlock(&s->lock);
    out->applied = atomic_load(&s->applied);
    out->snapshotted = atomic_load(&s->snapshotted);
}

/* ---- Asking and waiting ---- */

struct question {
    struct evrt_state *s;
    evrt_state_job job;
    void *arg;
    bool answered;
};

static void answer(struct evrt_state_view *view, void *arg) {
    struct question *q = arg;
    q->job(view, q->arg);
    pthread_mutex_lock(&q->s->lock);
    q->answered = true;
    pthread_cond_broadcast(&q->s->progress);
    pthread_mutex_unlock(&q->s->lock);
}

void evrt_state_query(struct evrt_state *s, evrt_state_job job, void *arg) {
    struct question q = {s, job, arg, false};
    evrt_state_run(s, answer, &q);
    pthread_mutex_lock(&s->lock);
    while (!q.answered)
        pthread_cond_wait(&s->progress, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

struct text_query {
    struct evrt_buf *out;
    uint64_t seq;
    int rc;
};

static void dump_job(struct evrt_state_view *view, void *arg) {
    struct text_query *q = arg;
    q->rc = evrt_state_dump(view, q->out);
}

int evrt_state_dump_now(struct evrt_state *s, struct evrt_buf *out) {
    struct text_query q = {.out = out};
    evrt_state_query(s, dump_job, &q);
    return q.rc;
}

struct letters_query {
    const struct evrt_state_letters *which;
    struct evrt_buf *out;
    int rc;
};

static void put_letter(void *arg, const struct evrt_state_letter *l) {
    struct letters_query *q = arg;
    struct evrt_jsonout o = evrt_jsonout_start(q->out);
    struct evrt_record_attempt a;
    evrt_buf_printf(
        q->out, "{\"sub\":%u,\"seq\":%llu,\"after\":\"%llu\",\"attempt\":%u,\"history\":", l->sub,
        (unsigned long long)l->dead.seq, (unsigned long long)l->n, l->dead.attempt);
    evrt_jsonout_array(&o);
    for (size_t at = 0; evrt_history_next(l->history, &at, &a) == 1;) {
        evrt_jsonout_array(&o);
        evrt_jsonout_str(&o, a.message);
        evrt_jsonout_i64(&o, a.at_ms);
        evrt_jsonout_end(&o);
    }
    evrt_jsonout_end(&o);
    evrt_buf_puts(q->out, ",\"message\":");
    evrt_json_quote(q->out, l->dead.message);
    evrt_buf_puts(q->out, "}\n");
}

static void letters_job(struct evrt_state_view *view, void *arg) {
    struct letters_query *q = arg;
    struct evrt_state_letters_end end;
    q->rc = evrt_state_letters(view, q->which, put_letter, q, &end);
}

int evrt_state_letters_now(struct evrt_state *s, const struct evrt_state_letters *which,
                           struct evrt_buf *out) {
    struct letters_query q = {which, out, 0};
    evrt_state_query(s, letters_job, &q);
    return q.rc;
}

static void report_job(struct evrt_state_view *view, void *arg) {
    struct text_query *q = arg;
    q->rc = evrt_state_report(view, q->seq, q->out);
}

int evrt_state_report_now(struct evrt_state *s, uint64_t seq, struct evrt_buf *out) {
    struct text_query q = {.out = out, .seq = seq};
    evrt_state_query(s, report_job, &q);
    return q.rc;
}
