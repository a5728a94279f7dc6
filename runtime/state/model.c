/* See model.h. Two rules make commits free to fall anywhere between groups: the cursor only grows, so
 * that trimming by it early or late leaves the same set; and an epoch is dropped only when so many newer ones
 * start at or below the cursor, which stays true. */
#include "state/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/event.h"

enum { GROUP_SHIFT = 22 }; /* a group has not room for so many dead letters */

void evrt_model_init(struct evrt_model *m) {
    *m = (struct evrt_model){0};
    evrt_state_kv_init(&m->kv);
}

static void sub_free(struct evrt_model_sub *s) {
    for (size_t i = 0; i < s->epoch_count; i++)
        free((char *)s->epochs[i].patterns.p);
    free(s->epochs);
    free((char *)s->row.name);
    evrt_ended_finish(&s->ended);
    free(s);
}

void evrt_model_finish(struct evrt_model *m) {
    for (size_t i = 0; i < m->count; i++)
        sub_free(m->subs[i]);
    free(m->subs);
    evrt_model_jobs_finish(&m->jobs);
    free(m->forgotten);
    evrt_failed_finish(&m->failed);
    evrt_state_scheduled_finish(&m->scheduled);
    evrt_state_kv_finish(&m->kv);
    *m = (struct evrt_model){0};
}

/* Index of the first sub whose number is not less. */
static size_t position(const struct evrt_model *m, uint32_t sub) {
    size_t low = 0, high = m->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (m->subs[mid]->row.sub < sub)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct evrt_model_sub *evrt_model_find(struct evrt_model *m, uint32_t sub) {
    if (m->last >= m->count || m->subs[m->last]->row.sub != sub) m->last = position(m, sub);
    if (m->last >= m->count || m->subs[m->last]->row.sub != sub) return NULL;
    return m->subs[m->last];
}

struct evrt_model_sub *evrt_model_add(struct evrt_model *m, uint32_t sub, struct evrt_slice name) {
    size_t at = position(m, sub);
    assert(at == m->count || m->subs[at]->row.sub != sub);
    m->subs = evrt_grow(m->subs, m->count, &m->cap, sizeof *m->subs);
    memmove(m->subs + at + 1, m->subs + at, (m->count - at) * sizeof *m->subs);
    struct evrt_model_sub *s = evrt_zalloc(sizeof *s);
    s->row.sub = sub;
    s->row.name = evrt_strndup(name.p ? name.p : "", name.n);
    evrt_ended_init(&s->ended);
    m->subs[at] = s;
    m->count++;
    return s;
}

void evrt_model_add_epoch(struct evrt_model_sub *s, uint64_t from_seq, struct evrt_slice patterns) {
    struct evrt_slice copy = {evrt_strndup(patterns.p ? patterns.p : "", patterns.n), patterns.n};
    size_t at = s->epoch_count;
    while (at > 0 && s->epochs[at - 1].from_seq >= from_seq)
        at--;
    if (at < s->epoch_count && s->epochs[at].from_seq == from_seq) {
        free((char *)s->epochs[at].patterns.p);
    } else {
        s->epochs = evrt_realloc(s->epochs, (s->epoch_count + 1) * sizeof *s->epochs);
        memmove(s->epochs + at + 1, s->epochs + at, (s->epoch_count - at) * sizeof *s->epochs);
        s->epoch_count++;
    }
    s->epochs[at] = (struct evrt_model_epoch){from_seq, copy};
    s->epochs_changed = s->changed = true;
}

static int apply_subscribe(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_subscribe r;
    if (evrt_record_get_subscribe(payload, &r) < 0) return -EBADMSG;
    struct evrt_model_sub *s = evrt_model_find(m, r.sub);
    if (s == NULL) {
        s = evrt_model_add(m, r.sub, r.name);
        s->row.from_seq = s->row.cursor = s->row.seen = r.from_seq;
    }
    if (s->epoch_count == 0 || !evrt_slice_eq(s->epochs[s->epoch_count - 1].patterns, r.patterns))
        evrt_model_add_epoch(s, r.from_seq, r.patterns);
    s->row.orphaned_ms = 0;
    s->changed = true;
    return 0;
}

static int apply_orphan(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_sub r;
    if (evrt_record_get_sub(payload, &r) < 0) return -EBADMSG;
    struct evrt_model_sub *s = evrt_model_find(m, r.sub);
    if (s == NULL) return 0;
    s->row.orphaned_ms = r.at_ms;
    s->changed = true;
    return 0;
}

static int set_paused(struct evrt_model *m, struct evrt_slice payload, bool paused) {
    struct evrt_record_sub r;
    if (evrt_record_get_sub(payload, &r) < 0) return -EBADMSG;
    struct evrt_model_sub *s = evrt_model_find(m, r.sub);
    if (s == NULL) return 0;
    s->row.paused_ms = paused ? r.at_ms : 0;
    s->changed = true;
    return 0;
}

static int apply_pause(struct evrt_model *m, struct evrt_slice payload) {
    return set_paused(m, payload, true);
}

static int apply_resume(struct evrt_model *m, struct evrt_slice payload) {
    return set_paused(m, payload, false);
}

static int apply_forget(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_sub r;
    if (evrt_record_get_sub(payload, &r) < 0) return -EBADMSG;
    struct evrt_model_sub *s = evrt_model_find(m, r.sub);
    if (s == NULL) return 0;
    evrt_failed_forget(&m->failed, r.sub);
    m->forgotten = evrt_realloc(m->forgotten, (m->forgotten_count + 1) * sizeof *m->forgotten);
    m->forgotten[m->forgotten_count++] = r.sub;
    sub_free(s);
    m->count--;
    memmove(m->subs + m->last, m->subs + m->last + 1, (m->count - m->last) * sizeof *m->subs);
    return 0;
}

/* A record is applied whole or not at all, so its lists are walked once before they are used. */
static int check_ranges(struct evrt_slice ranges, bool single) {
    struct evrt_range run;
    uint64_t from = 0;
    size_t at = 0;
    int rc;
    while ((rc = evrt_ranges_next(ranges, &at, &from, &run)) == 1)
        if (single && run.count != 1) return -EBADMSG;
    return rc;
}

static int check_settle(const struct evrt_record_settle *r) {
    struct evrt_record_dead dead;
    struct evrt_record_retry retry;
    size_t at = 0;
    int rc = check_ranges(r->ranges, false);
    while (rc == 0 && (rc = evrt_dead_next(r->dead, &at, &dead)) == 1)
        rc = 0;
    at = 0;
    while (rc == 0 && (rc = evrt_retry_next(r->retries, &at, &retry)) == 1)
        rc = 0;
    if (rc == 0) rc = check_ranges(r->retried, true);
    if (rc == 0) rc = check_ranges(r->left, true);
    return rc == 0 ? check_ranges(r->gone, false) : rc;
}

static void add_gone(struct evrt_model *m, uint32_t sub, struct evrt_slice seqs,
                     enum evrt_failed_op op) {
    struct evrt_range run;
    uint64_t from = 0;
    for (size_t at = 0; evrt_ranges_next(seqs, &at, &from, &run) == 1;)
        if (op != EVRT_FAILED_RETRY_GONE || m->any_copies ||
            !evrt_failed_cancel(&m->failed, sub, run.first))
            evrt_failed_add(&m->failed,
                            &(struct evrt_failed){.op = op, .sub = sub, .seq = run.first});
}

/* A dead letter takes over what its retry knew, so that comes before the retry's end. One that failed again is
 * not among those that ended. */
static void apply_failed(struct evrt_model *m, const struct evrt_record_settle *r) {
    struct evrt_failed dead = {.op = EVRT_FAILED_DEAD, .sub = r->sub};
    struct evrt_failed retry = {.op = EVRT_FAILED_RETRY, .sub = r->sub};
    add_gone(m, r->sub, r->left, EVRT_FAILED_DEAD_GONE);
    for (size_t at = 0; evrt_dead_next(r->dead, &at, &dead.dead) == 1;) {
        dead.n = (m->group << GROUP_SHIFT) + m->letters++;
        evrt_failed_add(&m->failed, &dead);
    }
    add_gone(m, r->sub, r->retried, EVRT_FAILED_RETRY_GONE);
    for (size_t at = 0; evrt_retry_next(r->retries, &at, &retry.retry) == 1;)
        evrt_failed_add(&m->failed, &retry);
}

static int apply_keep(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_keep r;
    if (evrt_record_get_keep(payload, &r) < 0 || r.event.n < EVRT_EVENT_HEADER) return -EBADMSG;
    if (evrt_model_find(m, r.sub) == NULL) return 0;
    m->any_copies = true;
    evrt_failed_add(&m->failed,
                    &(struct evrt_failed){.op = EVRT_FAILED_COPY, .sub = r.sub, .event = r.event});
    return 0;
}

static int apply_settle(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_settle r;
    if (evrt_record_get_settle(payload, &r) < 0 || check_settle(&r) < 0) return -EBADMSG;
    struct evrt_model_sub *s = evrt_model_find(m, r.sub);
    if (s == NULL) return 0;
    if (r.cursor > s->row.cursor) s->row.cursor = r.cursor;
    s->row.seen = r.seen;
    s->row.matched = r.matched;
    s->row.done = r.done;
    s->row.dead = r.dead_total;
    s->row.discarded = r.discarded;
    s->row.retrying = r.retrying;
    s->changed = true;

    struct evrt_range run;
    uint64_t from = 0;
    for (size_t at = 0; evrt_ranges_next(r.ranges, &at, &from, &run) == 1;) {
        /* Most of what ends is below the cursor that it moved. */
        if (run.first + run.count > s->row.cursor) evrt_ended_add(&s->ended, run);
    }
    apply_failed(m, &r);
    return 0;
}

static int apply_job(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_job r;
    if (evrt_record_get_job(payload, &r) < 0) return -EBADMSG;
    evrt_model_jobs_apply(&m->jobs, &r);
    return 0;
}

static int apply_schedule(struct evrt_model *m, struct evrt_slice payload) {
    return evrt_state_scheduled_apply(&m->scheduled, EVRT_RECORD_SCHEDULE, payload);
}

static int apply_unschedule(struct evrt_model *m, struct evrt_slice payload) {
    return evrt_state_scheduled_apply(&m->scheduled, EVRT_RECORD_UNSCHEDULE, payload);
}

static int apply_kv(struct evrt_model *m, struct evrt_slice payload) {
    return evrt_state_kv_apply(&m->kv, payload);
}

static int apply_sweep(struct evrt_model *m, struct evrt_slice payload) {
    return evrt_state_kv_sweep(&m->kv, payload);
}

static int (*const apply_kind[])(struct evrt_model *, struct evrt_slice) = {
    [EVRT_RECORD_SUBSCRIBE] = apply_subscribe,
    [EVRT_RECORD_FORGET] = apply_forget,
    [EVRT_RECORD_SETTLE] = apply_settle,
    [EVRT_RECORD_ORPHAN] = apply_orphan,
    [EVRT_RECORD_PAUSE] = apply_pause,
    [EVRT_RECORD_RESUME] = apply_resume,
    [EVRT_RECORD_JOB] = apply_job,
    [EVRT_RECORD_KEEP] = apply_keep,
    [EVRT_RECORD_SCHEDULE] = apply_schedule,
    [EVRT_RECORD_UNSCHEDULE] = apply_unschedule,
    [EVRT_RECORD_KV] = apply_kv,
    [EVRT_RECORD_SWEEP] = apply_sweep,
};

void evrt_model_enter(struct evrt_model *m, uint64_t group) {
    if (group == m->group) return;
    m->group = group;
    m->letters = 0;
}

bool evrt_model_wants(uint32_t kind) {
    return kind < sizeof apply_kind / sizeof apply_kind[0] && apply_kind[kind] != NULL;
}

int evrt_model_apply(struct evrt_model *m, uint32_t kind, struct evrt_slice payload) {
    return evrt_model_wants(kind) ? apply_kind[kind](m, payload) : 0;
}

/* No pending sequence can belong to an epoch before the newest one that starts at or below the cursor: drops all of
 * them but the last few. */
static void drop_epochs(struct evrt_model_sub *s) {
    size_t keep = s->epoch_count;
    while (keep > 0 && s->epochs[keep - 1].from_seq > s->row.cursor)
        keep--;
    if (keep <= 1 + EVRT_EPOCHS_KEPT) return;
    size_t drop = keep - 1 - EVRT_EPOCHS_KEPT;
    for (size_t i = 0; i < drop; i++)
        free((char *)s->epochs[i].patterns.p);
    s->epoch_count -= drop;
    memmove(s->epochs, s->epochs + drop, s->epoch_count * sizeof *s->epochs);
    s->epochs_changed = true;
}

void evrt_model_normalise(struct evrt_model *m) {
    for (size_t i = 0; i < m->count; i++) {
        if (!m->subs[i]->changed) continue;
        evrt_ended_trim(&m->subs[i]->ended, m->subs[i]->row.cursor);
        drop_epochs(m->subs[i]);
    }
}

bool evrt_model_changed(const struct evrt_model *m) {
    if (m->applied != m->committed || m->forgotten_count > 0 || m->failed.count > 0 ||
        m->scheduled.changes.n > 0 || m->jobs.changed || evrt_state_kv_changed(&m->kv))
        return true;
    for (size_t i = 0; i < m->count; i++) {
        if (m->subs[i]->changed) return true;
    }
    return false;
}

void evrt_model_committed(struct evrt_model *m) {
    for (size_t i = 0; i < m->count; i++) {
        if (m->subs[i]->changed) evrt_ended_committed(&m->subs[i]->ended);
        m->subs[i]->changed = m->subs[i]->epochs_changed = false;
    }
    evrt_model_jobs_committed(&m->jobs);
    m->forgotten_count = 0;
    evrt_failed_clear(&m->failed);
    evrt_buf_clear(&m->scheduled.changes);
    evrt_state_kv_committed(&m->kv);
    m->committed = m->applied;
}
