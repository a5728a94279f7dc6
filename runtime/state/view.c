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

/* ---- Events for later: the same ---- */

static void commit_scheduled(struct evrt_state_view *v) {
    struct evrt_error ignored;
    if (v->model->scheduled.changes.n == 0) return;
    int rc = evrt_tables_commit(v->db, v->model, &ignored);
    (void)rc; /* tried again by the thread, which tells */
}

int evrt_state_each_scheduled(struct evrt_state_view *v, int64_t due_ms, uint64_t number,
                              uint64_t limit, evrt_state_scheduled_fn fn, void *arg) {
    if (v->failed < 0) return v->failed;
    commit_scheduled(v);
    return evrt_tables_scheduled(v->db, due_ms, number, limit, fn, arg, &v->error);
}

int evrt_state_scheduled(struct evrt_state_view *v, int64_t due_ms, uint64_t number,
                         evrt_state_scheduled_fn fn, void *arg) {
    struct evrt_record_schedule r;
    if (v->failed < 0) return v->failed;
    int found = evrt_state_scheduled_change(&v->model->scheduled, due_ms, number, &r);
    if (found < 0) return 0;
    if (found == 0) return evrt_tables_scheduled_one(v->db, due_ms, number, fn, arg, &v->error);
    fn(arg, &r);
    return 0;
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

static void report_sub(void *arg, const struct evrt_state_sub *s) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "sub", s->sub);
    evrt_jsonout_put_str(o, "name", evrt_slice_of(s->name));
    evrt_jsonout_put_u64(o, "from_seq", s->from_seq);
    evrt_jsonout_put_u64(o, "orphaned_ms", (uint64_t)s->orphaned_ms);
    evrt_jsonout_put_u64(o, "paused_ms", (uint64_t)s->paused_ms);
    evrt_jsonout_put_u64(o, "cursor", s->cursor);
    evrt_jsonout_put_u64(o, "seen", s->seen);
    evrt_jsonout_put_u64(o, "matched", s->matched);
    evrt_jsonout_put_u64(o, "done", s->done);
    evrt_jsonout_put_u64(o, "dead", s->dead);
    evrt_jsonout_put_u64(o, "discarded", s->discarded);
    evrt_jsonout_put_u64(o, "retrying", s->retrying);
    evrt_jsonout_key(o, "settled");
    evrt_ranges_json(o, s->settled);
    evrt_jsonout_end(o);
}

static void report_epoch(void *arg, const struct evrt_state_epoch *e) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "sub", e->sub);
    evrt_jsonout_put_u64(o, "from_seq", e->from_seq);
    evrt_jsonout_put_str(o, "patterns", e->patterns);
    evrt_jsonout_end(o);
}

static void report_dead(void *arg, const struct evrt_state_letter *l) {
    const struct evrt_record_dead *d = &l->dead;
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "sub", l->sub);
    evrt_jsonout_put_u64(o, "seq", d->seq);
    evrt_jsonout_put_u64(o, "attempt", d->attempt);
    evrt_jsonout_put_u64(o, "at_ms", (uint64_t)d->at_ms);
    evrt_jsonout_put_str(o, "error_type", d->error_type);
    evrt_jsonout_put_str(o, "message", d->message);
    evrt_jsonout_put_str(o, "traceback", d->traceback);
    evrt_jsonout_end(o);
}

static void report_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    struct evrt_jsonout *o = arg;
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "sub", sub);
    evrt_jsonout_put_u64(o, "seq", r->seq);
    evrt_jsonout_put_u64(o, "attempt", r->attempt);
    evrt_jsonout_put_u64(o, "crashes", r->crashes);
    evrt_jsonout_put_u64(o, "due_ms", (uint64_t)r->due_ms);
    evrt_jsonout_put_u64(o, "delay_ms", (uint64_t)r->delay_ms);
    evrt_jsonout_put_u64(o, "first_failed_ms", (uint64_t)r->first_failed_ms);
    evrt_jsonout_put_u64(o, "last_failed_ms", (uint64_t)r->last_failed_ms);
    evrt_jsonout_put_u64(o, "key", r->key);
    evrt_jsonout_put_str(o, "error_type", r->error_type);
    evrt_jsonout_put_str(o, "message", r->message);
    evrt_jsonout_end(o);
}

int evrt_state_report(struct evrt_state_view *v, uint64_t seq, struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_u64(&o, "applied", v->model->applied);
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
