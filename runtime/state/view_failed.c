/* What failed, as a job sees it: committed first, so that the tables have all of it. Retries and the dead letters
 * of one event are seen also where that cannot be (no space): the rows, less what the model has ended or
 * replaced, then the model's. See state.h. */
#include "state/view.h"

#include <errno.h>

static bool is_forgotten(const struct evrt_model *m, uint32_t sub) {
    for (size_t i = 0; i < m->forgotten_count; i++) {
        if (m->forgotten[i] == sub) return true;
    }
    return false;
}

static bool is_about(const struct evrt_failed *f, bool dead) {
    return dead ? f->op == EVRT_FAILED_DEAD || f->op == EVRT_FAILED_DEAD_GONE
                : f->op == EVRT_FAILED_RETRY || f->op == EVRT_FAILED_RETRY_GONE;
}

/* Does a later change of the same one wait for the tables? */
static bool has_change(const struct evrt_model *m, size_t from, bool dead, uint32_t sub,
                       uint64_t seq) {
    struct evrt_failed f;
    while (evrt_failed_next(&m->failed, &from, &f)) {
        if (is_about(&f, dead) && f.sub == sub && f.seq == seq) return true;
    }
    return false;
}

static int commit(struct evrt_state_view *v) {
    struct evrt_error err;
    if (v->model->failed.count == 0 && v->model->forgotten_count == 0) return 0;
    return evrt_tables_commit(v->db, v->model, &err); /* tried again by the thread, which tells */
}

/* ---- Dead letters ---- */

struct dead_merge {
    const struct evrt_model *model;
    evrt_state_letter_fn fn;
    void *arg;
};

static void give_row(void *arg, const struct evrt_state_letter *l) {
    const struct dead_merge *to = arg;
    if (!is_forgotten(to->model, l->sub) && !has_change(to->model, 0, true, l->sub, l->dead.seq))
        to->fn(to->arg, l);
}

int evrt_state_each_dead(struct evrt_state_view *v, uint64_t seq, evrt_state_letter_fn fn,
                         void *arg) {
    if (v->failed < 0) return v->failed;
    struct dead_merge merge = {v->model, fn, arg};
    struct evrt_failed f;
    int rc = evrt_tables_dead(v->db, seq, give_row, &merge, &v->error);
    if (rc < 0) return rc;
    for (size_t at = 0; evrt_failed_next(&v->model->failed, &at, &f);) {
        if (f.op != EVRT_FAILED_DEAD || f.seq != seq) continue;
        if (!has_change(v->model, at, true, f.sub, seq))
            fn(arg, &(struct evrt_state_letter){.sub = f.sub, .dead = f.dead});
    }
    return 0;
}

int evrt_state_each_dead_in(struct evrt_state_view *v, uint32_t sub, uint64_t from, uint64_t to,
                            void (*fn)(void *, uint64_t), void *arg) {
    if (v->failed < 0) return v->failed;
    int rc = commit(v);
    if (rc == 0) return evrt_tables_dead_in(v->db, sub, from, to, fn, arg, &v->error);
    struct evrt_failed f;
    if (!is_forgotten(v->model, sub)) {
        rc = evrt_tables_dead_in(v->db, sub, from, to, fn, arg, &v->error);
        if (rc < 0) return rc;
    }
    for (size_t at = 0; evrt_failed_next(&v->model->failed, &at, &f);) {
        if (f.op == EVRT_FAILED_DEAD && f.sub == sub && f.seq >= from && f.seq < to) fn(arg, f.seq);
    }
    return 0;
}

int evrt_state_letters(struct evrt_state_view *v, const struct evrt_state_letters *which,
                       evrt_state_letter_fn fn, void *arg, struct evrt_state_letters_end *end) {
    *end = (struct evrt_state_letters_end){.at = which->after};
    int rc = v->failed < 0 ? v->failed : commit(v);
    return rc < 0 ? rc : evrt_tables_letters(v->db, which, fn, arg, end, &v->error);
}

int evrt_state_letter(struct evrt_state_view *v, uint32_t sub, uint64_t seq,
                      evrt_state_letter_fn fn, void *arg) {
    int rc = v->failed < 0 ? v->failed : commit(v);
    return rc < 0 ? rc : evrt_tables_letter(v->db, sub, seq, fn, arg, &v->error);
}

int evrt_state_last_letter(struct evrt_state_view *v, uint64_t *n) {
    int rc = v->failed < 0 ? v->failed : commit(v);
    return rc < 0 ? rc : evrt_tables_last_letter(v->db, n, &v->error);
}

/* ---- Copies ---- */

/* Those that wait for their transaction have their segment yet, or the newest is the one in the model. */
int evrt_state_copy(struct evrt_state_view *v, uint32_t sub, uint64_t seq, struct evrt_buf *out) {
    if (v->failed < 0) return v->failed;
    struct evrt_failed f;
    for (size_t at = 0; evrt_failed_next(&v->model->failed, &at, &f);) {
        if (f.op != EVRT_FAILED_COPY || f.sub != sub || f.seq != seq) continue;
        evrt_buf_put(out, f.event.p, f.event.n);
        return 0;
    }
    return evrt_tables_copy(v->db, sub, seq, out, &v->error);
}

int evrt_state_bare(struct evrt_state_view *v, uint64_t from, uint64_t to, evrt_state_bare_fn fn,
                    void *arg) {
    int rc = v->failed < 0 ? v->failed : commit(v);
    return rc < 0 ? rc : evrt_tables_bare(v->db, v->model, from, to, fn, arg, &v->error);
}

/* ---- Retries ---- */

struct retry_merge {
    const struct evrt_model *model;
    uint32_t sub; /* 0: all */
    evrt_state_retry_fn fn;
    void *arg;
};

static void give_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    const struct retry_merge *to = arg;
    if (to->sub != 0 && to->sub != sub) return;
    if (!is_forgotten(to->model, sub) && !has_change(to->model, 0, false, sub, r->seq))
        to->fn(to->arg, sub, r);
}

static void give_changes(const struct retry_merge *to, uint32_t after_sub, uint64_t after_seq,
                         uint64_t only_seq) {
    struct evrt_failed f;
    for (size_t at = 0; evrt_failed_next(&to->model->failed, &at, &f);) {
        if (f.op != EVRT_FAILED_RETRY || (to->sub != 0 && to->sub != f.sub)) continue;
        if (only_seq != 0 && only_seq != f.seq) continue;
        if (f.sub < after_sub || (f.sub == after_sub && f.seq <= after_seq)) continue;
        if (!has_change(to->model, at, false, f.sub, f.seq)) to->fn(to->arg, f.sub, &f.retry);
    }
}

int evrt_state_each_retry(struct evrt_state_view *v, const struct evrt_state_retries *which,
                          evrt_state_retry_fn fn, void *arg) {
    if (v->failed < 0) return v->failed;
    struct retry_merge merge = {v->model, which->sub, fn, arg};
    bool committed = commit(v) == 0;
    uint32_t after_sub = which->after_sub;
    uint64_t after_seq = which->after_seq;
    if (which->sub > after_sub) {
        after_sub = which->sub;
        after_seq = 0;
    }
    int rc = evrt_tables_retries(v->db, after_sub, after_seq, which->limit, give_retry, &merge,
                                 &v->error);
    if (rc == 0 && !committed) give_changes(&merge, after_sub, after_seq, 0);
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
