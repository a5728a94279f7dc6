/* The state thread: sleeps until something is due, takes what the owner handed over, and then, outside
 * the lock:
 *
 *     queue ─▶ intake ─▶ model (complete groups only) ─▶ commit, when due ─▶ jobs ─▶ a step of a snapshot
 *
 * Records reach the model at once and the tables at the next commit, so thousands of settlements of one
 * handler become one row written per commit.
 *
 * No space: the transaction is rolled back, the model keeps the changes and commits them a second later.
 * What can gather so is bounded by the journal, which has no space either. */
#include "state/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/error.h"
#include "state/files.h"

#define MS_NS INT64_C(1000000)
#define RETRY_NS (1000 * MS_NS)
/* Bytes of dead deliveries, retries and keys that are worth a commit before the deadline: a flood of them is then written
 * in pieces of some 100 ms, and the owner never waits for longer than one. */
#define EARLY (4 * 1024 * 1024)

/* What is done in one turn, decided under the lock. */
struct turn {
    bool commit, snapshot, closing;
    uint64_t advanced, flush, snapshots;
    struct evrt_state_task *tasks;
};

/* ---- Deciding (under the lock) ---- */

static bool commit_due(const struct evrt_state *s) {
    return s->flush_asked != s->flush_done || s->closing ||
           (s->deadline != EVRT_STATE_NEVER && evrt_mono_ns() >= s->deadline) ||
           (s->queue_records >= s->options.flush_records && !s->blocked);
}

static bool due(const struct evrt_state *s) {
    bool background = !s->failed && (s->snapshots.copy != NULL || !s->snapshots.verified);
    return background || s->tasks != NULL || s->queue.n >= EVRT_STATE_EARLY ||
           s->snapshot_asked != s->snapshot_done || commit_due(s);
}

static void wait_due(struct evrt_state *s) {
    while (!due(s)) {
        if (s->deadline == EVRT_STATE_NEVER) {
            pthread_cond_wait(&s->wake, &s->lock);
        } else {
            struct timespec until = {s->deadline / (1000 * MS_NS), s->deadline % (1000 * MS_NS)};
            pthread_cond_timedwait(&s->wake, &s->lock, &until);
        }
    }
}

static void take_queue(struct evrt_state *s) {
    if (s->intake.n == 0) {
        struct evrt_buf empty = s->intake;
        s->intake = s->queue;
        s->queue = empty;
    } else {
        evrt_buf_put(&s->intake, s->queue.p, s->queue.n);
        evrt_buf_clear(&s->queue);
    }
}

static struct turn take(struct evrt_state *s) {
    struct turn t = {
        .commit = commit_due(s),
        .snapshot = s->snapshot_asked != s->snapshot_done,
        .closing = s->closing,
        .advanced = s->advanced,
        .flush = s->flush_asked,
        .snapshots = s->snapshot_asked,
        .tasks = s->tasks,
    };
    take_queue(s);
    s->tasks = NULL;
    s->tasks_end = &s->tasks;
    if (t.commit) {
        s->deadline = EVRT_STATE_NEVER;
        s->queue_records = 0;
    }
    pthread_cond_broadcast(&s->progress);
    return t;
}

/* ---- Doing (the lock is not held) ---- */

static void fail(struct evrt_state *s, const struct evrt_error *err) {
    if (s->failed) return;
    s->failed = true;
    s->error = *err;
    /* The next start restores instead of tripping over the same damage. The file stays open here. */
    if (err->code == -EBADMSG && s->db->file != NULL && evrt_state_file_set_aside(s->db->file) < 0)
        s->error.code = -EIO;
    if (s->options.on_fatal != NULL) s->options.on_fatal(s->options.arg, &s->error);
}

static void apply_intake(struct evrt_state *s, uint64_t advanced) {
    size_t at = 0;
    while (at < s->intake.n && !s->failed) {
        const char *entry = s->intake.p + at;
        uint64_t group = evrt_get_u64(entry);
        uint32_t kind = evrt_get_u32(entry + 8), n = evrt_get_u32(entry + 12);
        if (group > advanced) break;
        evrt_model_enter(&s->model, group);
        if (evrt_model_apply(&s->model, kind, (struct evrt_slice){entry + EVRT_STATE_HEADER, n}) <
            0) {
            struct evrt_error err;
            /* Not -EBADMSG: state.db is not to blame. */
            evrt_error_set(&err, -EPROTO,
                           "a %s record in journal group %llu does not decode: it was written by "
                           "another version, or by a defect",
                           evrt_record_kind_name(kind), (unsigned long long)group);
            fail(s, &err);
        }
        at += EVRT_STATE_HEADER + n;
        s->intake_records++;
    }
    if (s->failed) at = s->intake.n;
    evrt_buf_consume(&s->intake, at);
    if (advanced > s->model.applied) s->model.applied = advanced;
}

static void commit(struct evrt_state *s) {
    if (s->failed || !evrt_model_changed(&s->model)) return;
    struct evrt_error err;
    int rc = evrt_tables_commit(s->db, &s->model, &err);
    s->blocked = rc == -ENOSPC || rc == -EBUSY;
    if (s->blocked)
        s->error = err;
    else if (rc < 0)
        fail(s, &err);
}

static void run_tasks(struct evrt_state *s, struct evrt_state_task *tasks) {
    struct evrt_state_view view = {.db = s->db, .model = &s->model, .snapshots = &s->snapshots};
    while (tasks != NULL) {
        struct evrt_state_task *task = tasks;
        tasks = task->next;
        view.failed = s->failed ? s->error.code : 0;
        view.error.code = 0;
        task->job(&view, task->arg);
        free(task);
        if (view.error.code < 0 && view.error.code != -ENOSPC && view.error.code != -EBUSY)
            fail(s, &view.error);
    }
    evrt_buf_finish(&view.scratch);
}

static void covered(struct evrt_state *s) {
    /* Without two good ones nothing is covered: the journal is the second copy. */
    atomic_store(&s->snapshotted, s->snapshots.good[1]);
}

/* One step of what may take long. True when a snapshot that was asked for has ended, with its error. */
static bool step_snapshot(struct evrt_state *s, bool asked, struct evrt_error *err) {
    struct evrt_snapshots *snapshots = &s->snapshots;
    if (s->in_memory || s->failed) {
        if (s->failed) *err = s->error;
        return asked;
    }
    if (!snapshots->verified) {
        evrt_snapshots_verify(snapshots);
        covered(s);
    }
    int rc = 1;
    if (snapshots->copy == NULL) {
        if (!asked) return false;
        commit(s);
        uint64_t group = s->model.committed;
        if (group == 0 || group == snapshots->good[0]) return true;
        rc = evrt_snapshots_begin(snapshots, s->db, err);
        if (rc == 0) rc = 1;
    }
    if (rc == 1) rc = evrt_snapshots_step(snapshots, s->model.committed, err);
    if (rc == 1) return false;
    covered(s);
    if (rc == -EBADMSG) fail(s, err);
    return true;
}

/* ---- Reporting (under the lock) ---- */

static void publish(struct evrt_state *s, const struct turn *t) {
    uint64_t before = atomic_load(&s->applied);
    atomic_store(&s->applied, s->model.committed);
    if (s->in_memory) atomic_store(&s->snapshotted, s->model.committed);
    s->stats.commits += s->model.committed != before;
    s->stats.records += s->intake_records;
    s->intake_records = 0;
    if (s->stats.not_numbers != s->model.kv.not_numbers) {
        s->stats.not_numbers = s->model.kv.not_numbers;
        memcpy(s->stats.not_number, s->model.kv.not_number, sizeof s->stats.not_number);
    }
    struct timespec cpu;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    s->stats.cpu_ns = (uint64_t)(cpu.tv_sec * 1000 * MS_NS + cpu.tv_nsec);
    bool error = s->failed || s->blocked;
    if (error || s->stats.error < 0)
        snprintf(s->stats.reason, sizeof s->stats.reason, "%.255s", error ? s->error.message : "");
    s->stats.error = error ? s->error.code : 0;
    s->flush_done = t->flush;
    if (s->blocked && !s->failed) {
        int64_t retry = evrt_mono_ns() + RETRY_NS;
        if (s->deadline == EVRT_STATE_NEVER) s->deadline = retry;
    }
    pthread_cond_broadcast(&s->progress);
}

static void publish_snapshot(struct evrt_state *s, const struct turn *t,
                             const struct evrt_error *err) {
    s->snapshot_done = t->snapshots;
    s->snapshot_error = *err;
    if (err->code < 0) {
        s->stats.snapshot_failures++;
        snprintf(s->stats.reason, sizeof s->stats.reason, "%.255s", err->message);
    } else {
        s->stats.snapshots++;
    }
    pthread_cond_broadcast(&s->progress);
}

static size_t waiting_bytes(const struct evrt_model *m) {
    return m->failed.list.n + m->kv.bytes;
}

void *evrt_state_thread(void *arg) {
    struct evrt_state *s = arg;
    pthread_setname_np(pthread_self(), "evrt-state");
    pthread_mutex_lock(&s->lock);
    for (bool closing = false; !closing;) {
        wait_due(s);
        struct turn t = take(s);
        closing = t.closing;
        pthread_mutex_unlock(&s->lock);

        struct evrt_error err = {0};
        apply_intake(s, t.advanced);
        if (t.commit || (waiting_bytes(&s->model) >= EARLY && !s->blocked)) commit(s);
        run_tasks(s, t.tasks);
        bool ended = !closing && step_snapshot(s, t.snapshot, &err);

        pthread_mutex_lock(&s->lock);
        publish(s, &t);
        if (ended) publish_snapshot(s, &t, &err);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
