/* See model.h. Two rules make commits free to fall anywhere between groups: the cursor only grows, so
 * that trimming by it early or late leaves the same set; and an epoch is dropped only when a newer one
 * starts at or below the cursor, which stays true. */
#include "state/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/bytes.h"

#define DEAD_HEADER 8          /* u32 sub, u32 length */
#define RETRY_ENDED (1u << 31) /* in the length: what follows is a sequence */

void evrt_model_init(struct evrt_model *m) {
    *m = (struct evrt_model){0};
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
    evrt_buf_finish(&m->dead);
    evrt_buf_finish(&m->retries);
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
    if (m->count == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->subs = evrt_realloc(m->subs, m->cap * sizeof *m->subs);
    }
    memmove(m->subs + at + 1, m->subs + at, (m->count - at) * sizeof *m->subs);
    struct evrt_model_sub *s = evrt_zalloc(sizeof *s);
    s->row.sub = sub;
    s->row.name = evrt_strndup(name.p ? name.p : "", name.n);
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

/* Takes the sub's entries out of those that wait for the tables. */
static void forget_entries(struct evrt_buf *entries, size_t *count, uint32_t sub) {
    size_t kept = 0;
    for (size_t at = 0; at < entries->n;) {
        char *entry = entries->p + at;
        size_t n = DEAD_HEADER + (evrt_get_u32(entry + 4) & ~RETRY_ENDED);
        at += n;
        if (evrt_get_u32(entry) == sub) {
            (*count)--;
            continue;
        }
        memmove(entries->p + kept, entry, n);
        kept += n;
    }
    entries->n = kept;
}

static int apply_forget(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_sub r;
    if (evrt_record_get_sub(payload, &r) < 0) return -EBADMSG;
    struct evrt_model_sub *s = evrt_model_find(m, r.sub);
    if (s == NULL) return 0;
    forget_entries(&m->dead, &m->dead_count, r.sub);
    forget_entries(&m->retries, &m->retry_count, r.sub);
    m->forgotten = evrt_realloc(m->forgotten, (m->forgotten_count + 1) * sizeof *m->forgotten);
    m->forgotten[m->forgotten_count++] = r.sub;
    sub_free(s);
    m->count--;
    memmove(m->subs + m->last, m->subs + m->last + 1, (m->count - m->last) * sizeof *m->subs);
    return 0;
}

static void add_dead(struct evrt_model *m, uint32_t sub, const struct evrt_record_dead *d) {
    size_t start = m->dead.n;
    evrt_buf_room(&m->dead, DEAD_HEADER);
    m->dead.n += DEAD_HEADER;
    evrt_dead_put(&m->dead, d);
    evrt_set_u32(m->dead.p + start, sub);
    evrt_set_u32(m->dead.p + start + 4, (uint32_t)(m->dead.n - start - DEAD_HEADER));
    m->dead_count++;
}

static size_t open_retry(struct evrt_model *m, uint32_t sub) {
    size_t start = m->retries.n;
    evrt_set_u32(evrt_buf_room(&m->retries, DEAD_HEADER), sub);
    m->retries.n += DEAD_HEADER;
    m->retry_count++;
    return start;
}

static void add_retry(struct evrt_model *m, uint32_t sub, const struct evrt_record_retry *r) {
    size_t start = open_retry(m, sub);
    evrt_retry_put(&m->retries, r);
    evrt_set_u32(m->retries.p + start + 4, (uint32_t)(m->retries.n - start - DEAD_HEADER));
}

static void end_retry(struct evrt_model *m, uint32_t sub, uint64_t seq) {
    size_t start = open_retry(m, sub);
    evrt_buf_put(&m->retries, &seq, sizeof seq);
    evrt_set_u32(m->retries.p + start + 4, RETRY_ENDED | (uint32_t)sizeof seq);
}

/* A record is applied whole or not at all, so its lists are walked once before they are used. */
static int check_settle(const struct evrt_record_settle *r) {
    struct evrt_range run;
    struct evrt_record_dead dead;
    uint64_t from = 0;
    size_t at = 0;
    int rc;
    while ((rc = evrt_ranges_next(r->ranges, &at, &from, &run)) == 1)
        ;
    if (rc < 0) return rc;
    at = 0;
    while ((rc = evrt_dead_next(r->dead, &at, &dead)) == 1)
        ;
    if (rc < 0) return rc;
    struct evrt_record_retry retry;
    at = from = 0;
    while ((rc = evrt_ranges_next(r->retried, &at, &from, &run)) == 1)
        if (run.count != 1) return -EBADMSG;
    if (rc < 0) return rc;
    at = 0;
    while ((rc = evrt_retry_next(r->retries, &at, &retry)) == 1)
        ;
    return rc;
}

/* One that failed again is not among those that ended. */
static void apply_retries(struct evrt_model *m, const struct evrt_record_settle *r) {
    struct evrt_range run;
    struct evrt_record_retry retry;
    uint64_t from = 0;
    for (size_t at = 0; evrt_ranges_next(r->retried, &at, &from, &run) == 1;)
        end_retry(m, r->sub, run.first);
    for (size_t at = 0; evrt_retry_next(r->retries, &at, &retry) == 1;)
        add_retry(m, r->sub, &retry);
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
    struct evrt_record_dead dead;
    uint64_t from = 0;
    size_t at = 0;
    while (evrt_ranges_next(r.ranges, &at, &from, &run) == 1) {
        /* Most of what ends is below the cursor that it moved. */
        if (run.first + run.count > s->row.cursor) evrt_ended_add(&s->ended, run);
    }
    at = 0;
    while (evrt_dead_next(r.dead, &at, &dead) == 1)
        add_dead(m, r.sub, &dead);
    apply_retries(m, &r);
    return 0;
}

static int apply_job(struct evrt_model *m, struct evrt_slice payload) {
    struct evrt_record_job r;
    if (evrt_record_get_job(payload, &r) < 0) return -EBADMSG;
    evrt_model_jobs_apply(&m->jobs, &r);
    return 0;
}

static int (*const apply_kind[])(struct evrt_model *, struct evrt_slice) = {
    [EVRT_RECORD_SUBSCRIBE] = apply_subscribe,
    [EVRT_RECORD_FORGET] = apply_forget,
    [EVRT_RECORD_SETTLE] = apply_settle,
    [EVRT_RECORD_ORPHAN] = apply_orphan,
    [EVRT_RECORD_PAUSE] = apply_pause,
    [EVRT_RECORD_RESUME] = apply_resume,
    [EVRT_RECORD_JOB] = apply_job,
};

bool evrt_model_wants(uint32_t kind) {
    return kind < sizeof apply_kind / sizeof apply_kind[0] && apply_kind[kind] != NULL;
}

int evrt_model_apply(struct evrt_model *m, uint32_t kind, struct evrt_slice payload) {
    return evrt_model_wants(kind) ? apply_kind[kind](m, payload) : 0;
}

/* Drops the epochs that no pending sequence can belong to: those before the newest one that starts at
 * or below the cursor. */
static void drop_epochs(struct evrt_model_sub *s) {
    size_t keep = s->epoch_count;
    while (keep > 0 && s->epochs[keep - 1].from_seq > s->row.cursor)
        keep--;
    if (keep <= 1) return;
    size_t drop = keep - 1;
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
    if (m->applied != m->committed || m->forgotten_count > 0 || m->dead_count > 0 ||
        m->retry_count > 0 || m->jobs.changed)
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
    m->dead_count = 0;
    evrt_buf_clear(&m->dead);
    m->retry_count = 0;
    evrt_buf_clear(&m->retries);
    m->committed = m->applied;
}

bool evrt_model_next_dead(const struct evrt_model *m, size_t *at, uint32_t *sub,
                          struct evrt_record_dead *out) {
    if (*at >= m->dead.n) return false;
    const char *entry = m->dead.p + *at;
    struct evrt_slice body = {entry + DEAD_HEADER, evrt_get_u32(entry + 4)};
    size_t inner = 0;
    *sub = evrt_get_u32(entry);
    *at += DEAD_HEADER + body.n;
    int rc = evrt_dead_next(body, &inner, out);
    assert(rc == 1);
    return true;
}

bool evrt_model_next_retry(const struct evrt_model *m, size_t *at, uint32_t *sub, bool *ended,
                           struct evrt_record_retry *out) {
    if (*at >= m->retries.n) return false;
    const char *entry = m->retries.p + *at;
    uint32_t length = evrt_get_u32(entry + 4);
    struct evrt_slice body = {entry + DEAD_HEADER, length & ~RETRY_ENDED};
    *sub = evrt_get_u32(entry);
    *ended = (length & RETRY_ENDED) != 0;
    *at += DEAD_HEADER + body.n;
    if (*ended) {
        memcpy(&out->seq, body.p, sizeof out->seq);
        return true;
    }
    size_t inner = 0;
    int rc = evrt_retry_next(body, &inner, out);
    assert(rc == 1);
    return true;
}
