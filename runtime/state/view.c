/* See view.h. Subscriptions are read from the model, not from the tables, so a job sees every record
 * given before it also while the disk is full, and looking costs no commit. */
#include "state/view.h"

#include <errno.h>

#include "core/jsonout.h"

int evrt_state_each_sub(struct evrt_state_view *v,
                        void (*fn)(void *, const struct evrt_state_sub *), void *arg) {
    if (v->failed < 0) return v->failed;
    evrt_model_normalise(v->model);
    for (size_t i = 0; i < v->model->count; i++) {
        struct evrt_state_sub row = v->model->subs[i]->row;
        evrt_buf_clear(&v->scratch);
        evrt_ended_put(&v->model->subs[i]->ended, &v->scratch);
        row.settled = evrt_buf_slice(&v->scratch);
        fn(arg, &row);
    }
    return 0;
}

int evrt_state_each_epoch(struct evrt_state_view *v,
                          void (*fn)(void *, const struct evrt_state_epoch *), void *arg) {
    if (v->failed < 0) return v->failed;
    evrt_model_normalise(v->model);
    for (size_t i = 0; i < v->model->count; i++) {
        const struct evrt_model_sub *s = v->model->subs[i];
        for (size_t k = 0; k < s->epoch_count; k++)
            fn(arg, &(struct evrt_state_epoch){s->row.sub, s->epochs[k].from_seq,
                                               s->epochs[k].patterns});
    }
    return 0;
}

int evrt_state_each_job(struct evrt_state_view *v,
                        void (*fn)(void *, const struct evrt_record_job *), void *arg) {
    if (v->failed < 0) return v->failed;
    for (size_t i = 0; i < v->model->jobs.count; i++)
        fn(arg, &v->model->jobs.all[i].r);
    return 0;
}

/* ---- Dead deliveries: rows, less what the model has undone or replaced, then the model's ---- */

struct dead_merge {
    const struct evrt_model *model;
    uint64_t seq;
    void (*fn)(void *, uint32_t, const struct evrt_record_dead *);
    void *arg;
};

static bool is_forgotten(const struct evrt_model *m, uint32_t sub) {
    for (size_t i = 0; i < m->forgotten_count; i++) {
        if (m->forgotten[i] == sub) return true;
    }
    return false;
}

/* Does a later one of the same delivery wait for the tables? */
static bool is_replaced(const struct evrt_model *m, size_t from, uint32_t sub, uint64_t seq) {
    uint32_t other;
    struct evrt_record_dead dead;
    while (evrt_model_next_dead(m, &from, &other, &dead)) {
        if (other == sub && dead.seq == seq) return true;
    }
    return false;
}

static void give_row(void *arg, uint32_t sub, const struct evrt_record_dead *dead) {
    const struct dead_merge *to = arg;
    if (!is_forgotten(to->model, sub) && !is_replaced(to->model, 0, sub, to->seq))
        to->fn(to->arg, sub, dead);
}

int evrt_state_each_dead(struct evrt_state_view *v, uint64_t seq,
                         void (*fn)(void *, uint32_t, const struct evrt_record_dead *), void *arg) {
    if (v->failed < 0) return v->failed;
    struct dead_merge merge = {v->model, seq, fn, arg};
    int rc = evrt_tables_dead(v->db, seq, give_row, &merge, &v->error);
    if (rc < 0) return rc;
    uint32_t sub;
    struct evrt_record_dead dead;
    for (size_t at = 0; evrt_model_next_dead(v->model, &at, &sub, &dead);) {
        if (dead.seq == seq && !is_replaced(v->model, at, sub, seq)) fn(arg, sub, &dead);
    }
    return 0;
}

int evrt_state_each_dead_in(struct evrt_state_view *v, uint32_t sub, uint64_t from, uint64_t to,
                            void (*fn)(void *, uint64_t), void *arg) {
    if (v->failed < 0) return v->failed;
    if (!is_forgotten(v->model, sub)) {
        int rc = evrt_tables_dead_in(v->db, sub, from, to, fn, arg, &v->error);
        if (rc < 0) return rc;
    }
    uint32_t other;
    struct evrt_record_dead dead;
    for (size_t at = 0; evrt_model_next_dead(v->model, &at, &other, &dead);) {
        if (other == sub && dead.seq >= from && dead.seq < to) fn(arg, dead.seq);
    }
    return 0;
}

/* ---- Retries: committed first, so that the tables have all of them; where that cannot be (no space),
 * the rows, less what the model has ended or replaced, then the model's ---- */

struct retry_merge {
    const struct evrt_model *model;
    uint32_t sub; /* 0: all */
    evrt_state_retry_fn fn;
    void *arg;
};

static bool has_change(const struct evrt_model *m, size_t from, uint32_t sub, uint64_t seq) {
    uint32_t other;
    bool ended;
    struct evrt_record_retry r;
    while (evrt_model_next_retry(m, &from, &other, &ended, &r)) {
        if (other == sub && r.seq == seq) return true;
    }
    return false;
}

static void give_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    const struct retry_merge *to = arg;
    if (to->sub != 0 && to->sub != sub) return;
    if (!is_forgotten(to->model, sub) && !has_change(to->model, 0, sub, r->seq))
        to->fn(to->arg, sub, r);
}

static void give_changes(const struct retry_merge *to, uint32_t after_sub, uint64_t after_seq,
                         uint64_t only_seq) {
    uint32_t sub;
    bool ended;
    struct evrt_record_retry r;
    for (size_t at = 0; evrt_model_next_retry(to->model, &at, &sub, &ended, &r);) {
        if (ended || (to->sub != 0 && to->sub != sub)) continue;
        if (only_seq != 0 && only_seq != r.seq) continue;
        if (sub < after_sub || (sub == after_sub && r.seq <= after_seq)) continue;
        if (!has_change(to->model, at, sub, r.seq)) to->fn(to->arg, sub, &r);
    }
}

static void commit_retries(struct evrt_state_view *v) {
    struct evrt_error ignored;
    if (v->model->retry_count == 0) return;
    int rc = evrt_tables_commit(v->db, v->model, &ignored);
    (void)rc; /* tried again by the thread, which tells */
}

int evrt_state_each_retry(struct evrt_state_view *v, const struct evrt_state_retries *which,
                          evrt_state_retry_fn fn, void *arg) {
    if (v->failed < 0) return v->failed;
    commit_retries(v);
    struct retry_merge merge = {v->model, which->sub, fn, arg};
    uint32_t after_sub = which->after_sub;
    uint64_t after_seq = which->after_seq;
    if (which->sub > after_sub) {
        after_sub = which->sub;
        after_seq = 0;
    }
    int rc = evrt_tables_retries(v->db, after_sub, after_seq, which->limit, give_retry, &merge,
                                 &v->error);
    if (rc == 0) give_changes(&merge, after_sub, after_seq, 0);
    return rc;
}

int evrt_state_retry(struct evrt_state_view *v, uint32_t sub, uint64_t seq, evrt_state_retry_fn fn,
                     void *arg) {
    if (v->failed < 0) return v->failed;
    struct retry_merge merge = {v->model, sub, fn, arg};
    int rc = evrt_tables_retry(v->db, sub, seq, give_retry, &merge, &v->error);
    if (rc == 0) give_changes(&merge, 0, 0, seq);
    return rc;
}

/* ---- As text ---- */

int evrt_state_open_snapshot(struct evrt_state_view *v, uint64_t *group) {
    return v->failed < 0 ? v->failed : evrt_snapshots_open(v->snapshots, group);
}

int evrt_state_dump(struct evrt_state_view *v, struct evrt_buf *out) {
    if (v->failed < 0) return v->failed;
    int rc = 0;
    if (evrt_model_changed(v->model)) rc = evrt_tables_commit(v->db, v->model, &v->error);
    return rc < 0 ? rc : evrt_tables_dump(v->db, out, &v->error);
}

static void field(struct evrt_jsonout *o, const char *key, uint64_t value) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_u64(o, value);
}

static void text(struct evrt_jsonout *o, const char *key, struct evrt_slice value) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_str(o, value);
}

static void report_sub(void *arg, const struct evrt_state_sub *s) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    field(o, "sub", s->sub);
    text(o, "name", evrt_slice_of(s->name));
    field(o, "from_seq", s->from_seq);
    field(o, "orphaned_ms", (uint64_t)s->orphaned_ms);
    field(o, "paused_ms", (uint64_t)s->paused_ms);
    field(o, "cursor", s->cursor);
    field(o, "seen", s->seen);
    field(o, "matched", s->matched);
    field(o, "done", s->done);
    field(o, "dead", s->dead);
    field(o, "discarded", s->discarded);
    field(o, "retrying", s->retrying);
    evrt_jsonout_key(o, "settled");
    evrt_ranges_json(o, s->settled);
    evrt_jsonout_end(o);
}

static void report_epoch(void *arg, const struct evrt_state_epoch *e) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    field(o, "sub", e->sub);
    field(o, "from_seq", e->from_seq);
    text(o, "patterns", e->patterns);
    evrt_jsonout_end(o);
}

static void report_dead(void *arg, uint32_t sub, const struct evrt_record_dead *d) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    field(o, "sub", sub);
    field(o, "seq", d->seq);
    field(o, "attempt", d->attempt);
    field(o, "at_ms", (uint64_t)d->at_ms);
    text(o, "error_type", d->error_type);
    text(o, "message", d->message);
    text(o, "traceback", d->traceback);
    evrt_jsonout_end(o);
}

static void report_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    field(o, "sub", sub);
    field(o, "seq", r->seq);
    field(o, "attempt", r->attempt);
    field(o, "crashes", r->crashes);
    field(o, "due_ms", (uint64_t)r->due_ms);
    field(o, "delay_ms", (uint64_t)r->delay_ms);
    field(o, "first_failed_ms", (uint64_t)r->first_failed_ms);
    field(o, "last_failed_ms", (uint64_t)r->last_failed_ms);
    field(o, "key", r->key);
    text(o, "error_type", r->error_type);
    text(o, "message", r->message);
    evrt_jsonout_end(o);
}

int evrt_state_report(struct evrt_state_view *v, uint64_t seq, struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    field(&o, "applied", v->model->applied);
    evrt_jsonout_key(&o, "subs");
    evrt_jsonout_array(&o);
    int rc = evrt_state_each_sub(v, report_sub, &o);
    evrt_jsonout_end(&o);
    evrt_jsonout_key(&o, "epochs");
    evrt_jsonout_array(&o);
    if (rc == 0) rc = evrt_state_each_epoch(v, report_epoch, &o);
    evrt_jsonout_end(&o);
    evrt_jsonout_key(&o, "dead");
    evrt_jsonout_array(&o);
    if (rc == 0) rc = evrt_state_each_dead(v, seq, report_dead, &o);
    evrt_jsonout_end(&o);
    evrt_jsonout_key(&o, "retries");
    evrt_jsonout_array(&o);
    struct evrt_state_retries all = {.limit = INT64_MAX};
    if (rc == 0) rc = evrt_state_each_retry(v, &all, report_retry, &o);
    evrt_jsonout_end(&o);
    evrt_jsonout_end(&o);
    return rc;
}
