/* Rows of deliveries that failed: retries, dead letters, and the events that they keep. See tables.h.
 *
 * Each row's own failure is its last; those before are in its history, which grows as rows are replaced:
 *
 *     retry of attempt 2 ─▶ retry of attempt 3 ─▶ dead letter ─▶ (reprocessed, failed) dead letter
 *     history: none         attempt 1             attempts 1, 2  attempts 1, 2, 3
 */
#include "state/tables_failed.h"

#include <errno.h>
#include <sqlite3.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/hash.h"

/* Dead letters may be many; the start does not wait longer than this for their check. */
#define DEAD_CHECK_NS (500 * INT64_C(1000000))

/* ---- Sums ---- */

static uint64_t dead_sum(uint64_t n, uint32_t sub, const struct evrt_record_dead *d,
                         struct evrt_slice history, struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    evrt_sum_u64(scratch, n);
    evrt_sum_u64(scratch, sub);
    evrt_dead_put(scratch, d);
    evrt_sum_slice(scratch, history);
    return evrt_hash64(scratch->p, scratch->n, 2);
}

static uint64_t retry_sum(uint32_t sub, const struct evrt_record_retry *r,
                          struct evrt_slice history, struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    evrt_sum_u64(scratch, sub);
    evrt_retry_put(scratch, r);
    evrt_sum_slice(scratch, history);
    return evrt_hash64(scratch->p, scratch->n, 3);
}

static uint64_t copy_sum(uint32_t sub, struct evrt_slice event) {
    return evrt_hash64(event.p, event.n, sub);
}

/* ---- Loading ---- */

int evrt_failed_get_dead(struct evrt_db *db, sqlite3_stmt *row, struct evrt_buf *scratch,
                         struct evrt_state_letter *out, struct evrt_error *err) {
    out->n = evrt_column_u64(row, 0);
    out->sub = (uint32_t)evrt_column_u64(row, 2);
    out->dead = (struct evrt_record_dead){
        .seq = evrt_column_u64(row, 1),
        .attempt = (uint32_t)evrt_column_u64(row, 3),
        .at_ms = sqlite3_column_int64(row, 4),
        .first_failed_ms = sqlite3_column_int64(row, 5),
        .reason = (uint8_t)evrt_column_u64(row, 6),
        .type = evrt_column_slice(row, 7),
        .id = evrt_column_slice(row, 8),
        .generation = evrt_column_u64(row, 9),
        .script = evrt_column_u64(row, 10),
        .error_type = evrt_column_slice(row, 11),
        .message = evrt_column_slice(row, 12),
        .traceback = evrt_column_slice(row, 13),
    };
    out->history = evrt_column_slice(row, 14);
    return dead_sum(out->n, out->sub, &out->dead, out->history, scratch) == evrt_column_u64(row, 15)
               ? 0
               : evrt_rows_damaged(db, "sum of a row in dead", err);
}

struct dead_check {
    struct evrt_buf scratch;
    int64_t deadline;
    unsigned rows;
};

static int check_dead(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct dead_check *check = arg;
    struct evrt_state_letter ignored;
    if (++check->rows % 256 == 0 && evrt_mono_ns() > check->deadline) return 1;
    return evrt_failed_get_dead(db, row, &check->scratch, &ignored, err);
}

int evrt_failed_get_retry(struct evrt_db *db, sqlite3_stmt *row, struct evrt_buf *scratch,
                          struct evrt_failed_retry *out, struct evrt_error *err) {
    out->sub = (uint32_t)evrt_column_u64(row, 0);
    out->retry = (struct evrt_record_retry){
        .seq = evrt_column_u64(row, 1),
        .attempt = (uint32_t)evrt_column_u64(row, 2),
        .crashes = (uint32_t)evrt_column_u64(row, 3),
        .due_ms = sqlite3_column_int64(row, 4),
        .delay_ms = sqlite3_column_int64(row, 5),
        .first_failed_ms = sqlite3_column_int64(row, 6),
        .last_failed_ms = sqlite3_column_int64(row, 7),
        .key = evrt_column_u64(row, 8),
        .error_type = evrt_column_slice(row, 9),
        .message = evrt_column_slice(row, 10),
        .generation = evrt_column_u64(row, 11),
        .script = evrt_column_u64(row, 12),
        .type = evrt_column_slice(row, 13),
    };
    out->history = evrt_column_slice(row, 14);
    return retry_sum(out->sub, &out->retry, out->history, scratch) == evrt_column_u64(row, 15)
               ? 0
               : evrt_rows_damaged(db, "sum of a row in retries", err);
}

/* They come by sub: each one's are counted, and are as many as its own row says. */
struct retry_check {
    struct evrt_buf scratch;
    const struct evrt_model *model;
    size_t next; /* sub */
    uint64_t count;
};

static int check_counts(struct evrt_db *db, struct retry_check *c, uint32_t sub,
                        struct evrt_error *err) {
    for (; c->next < c->model->count && c->model->subs[c->next]->row.sub < sub; c->next++) {
        if (c->model->subs[c->next]->row.retrying != c->count)
            return evrt_rows_damaged(db, "number of rows in retries", err);
        c->count = 0;
    }
    return c->next < c->model->count || sub == UINT32_MAX
               ? 0
               : evrt_rows_damaged(db, "retries of no sub", err);
}

static int check_retry(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct retry_check *c = arg;
    struct evrt_failed_retry r;
    int rc = evrt_failed_get_retry(db, row, &c->scratch, &r, err);
    if (rc == 0) rc = check_counts(db, c, r.sub, err);
    if (rc == 0 && c->model->subs[c->next]->row.sub != r.sub)
        return evrt_rows_damaged(db, "retries of no sub", err);
    c->count++;
    return rc;
}

static int check_retries(struct evrt_db *db, const struct evrt_model *m, struct evrt_error *err) {
    struct retry_check check = {.model = m};
    int rc = evrt_rows_each(db, EVRT_DB_ALL_RETRIES, check_retry, &check, err);
    if (rc == 0) rc = check_counts(db, &check, UINT32_MAX, err);
    evrt_buf_finish(&check.scratch);
    return rc;
}

int evrt_tables_check_failed(struct evrt_db *db, struct evrt_model *m, struct evrt_error *err) {
    struct dead_check check = {.deadline = evrt_mono_ns() + DEAD_CHECK_NS};
    uint64_t copies = 0;
    int rc = check_retries(db, m, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_ANY_COPY, evrt_rows_number, &copies, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_CHECK_DEAD, check_dead, &check, err);
    evrt_buf_finish(&check.scratch);
    m->any_copies = copies != 0;
    return rc < 0 ? rc : 0;
}

/* ---- Committing ---- */

/* What there is of (sub, seq) before it is replaced: its history and its own failure, as one. */
struct past {
    struct evrt_buf history, type, scratch;
    uint32_t attempt; /* the last that was made */
    int64_t first_failed_ms;
    uint64_t generation, script;
    bool found;
    int rc;
};

static int add_retry(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct past *p = arg;
    struct evrt_failed_retry r;
    int rc = evrt_failed_get_retry(db, row, &p->scratch, &r, err);
    if (rc < 0) return rc;
    evrt_buf_put(&p->history, r.history.p, r.history.n);
    evrt_history_add(&p->history, &(struct evrt_record_attempt){
                                      .attempt = r.retry.attempt - 1,
                                      .at_ms = r.retry.last_failed_ms,
                                      .generation = r.retry.generation,
                                      .script = r.retry.script,
                                      .error_type = r.retry.error_type,
                                      .message = r.retry.message,
                                  });
    evrt_buf_clear(&p->type);
    evrt_buf_put(&p->type, r.retry.type.p, r.retry.type.n);
    p->attempt = r.retry.attempt - 1;
    p->first_failed_ms = r.retry.first_failed_ms;
    p->generation = r.retry.generation;
    p->script = r.retry.script;
    p->found = true;
    return 0;
}

static int add_dead(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct past *p = arg;
    struct evrt_state_letter l;
    int rc = evrt_failed_get_dead(db, row, &p->scratch, &l, err);
    if (rc < 0) return rc;
    evrt_buf_put(&p->history, l.history.p, l.history.n);
    evrt_history_add(&p->history, &(struct evrt_record_attempt){
                                      .attempt = l.dead.attempt,
                                      .at_ms = l.dead.at_ms,
                                      .generation = l.dead.generation,
                                      .script = l.dead.script,
                                      .error_type = l.dead.error_type,
                                      .message = l.dead.message,
                                  });
    p->found = true;
    return 0;
}

static int look(struct evrt_db *db, enum evrt_db_statement which, uint64_t first, uint64_t second,
                evrt_row_fn fn, struct past *p, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[which]};
    evrt_bind_u64(&b, first);
    evrt_bind_u64(&b, second);
    return evrt_bind_each(db, &b, which, fn, p, err);
}

static int read_past(struct evrt_db *db, uint32_t sub, uint64_t seq, struct past *p,
                     struct evrt_error *err) {
    evrt_buf_clear(&p->history);
    p->attempt = 0;
    p->found = false;
    int rc = look(db, EVRT_DB_RETRY_OF, sub, seq, add_retry, p, err);
    if (rc == 0 && !p->found) rc = look(db, EVRT_DB_DEAD_ONE, seq, sub, add_dead, p, err);
    return rc;
}

static int put_dead(struct evrt_db *db, uint64_t n, uint32_t sub, const struct evrt_record_dead *d,
                    struct past *p) {
    struct evrt_slice history = evrt_buf_slice(&p->history);
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_DEAD]};
    evrt_bind_u64(&b, n);
    evrt_bind_u64(&b, d->seq);
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, d->attempt);
    evrt_bind_u64(&b, (uint64_t)d->at_ms);
    evrt_bind_u64(&b, (uint64_t)d->first_failed_ms);
    evrt_bind_u64(&b, d->reason);
    evrt_bind_text(&b, d->type);
    evrt_bind_text(&b, d->id);
    evrt_bind_u64(&b, d->generation);
    evrt_bind_u64(&b, d->script);
    evrt_bind_text(&b, d->error_type);
    evrt_bind_text(&b, d->message);
    evrt_bind_text(&b, d->traceback);
    evrt_bind_blob(&b, history);
    evrt_bind_u64(&b, dead_sum(n, sub, d, history, &p->scratch));
    return evrt_bind_run(db, &b, EVRT_DB_PUT_DEAD);
}

static int put_retry(struct evrt_db *db, uint32_t sub, const struct evrt_record_retry *r,
                     struct past *p) {
    struct evrt_slice history = evrt_buf_slice(&p->history);
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_RETRY]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, r->seq);
    evrt_bind_u64(&b, r->attempt);
    evrt_bind_u64(&b, r->crashes);
    evrt_bind_u64(&b, (uint64_t)r->due_ms);
    evrt_bind_u64(&b, (uint64_t)r->delay_ms);
    evrt_bind_u64(&b, (uint64_t)r->first_failed_ms);
    evrt_bind_u64(&b, (uint64_t)r->last_failed_ms);
    evrt_bind_u64(&b, r->key);
    evrt_bind_text(&b, r->error_type);
    evrt_bind_text(&b, r->message);
    evrt_bind_u64(&b, r->generation);
    evrt_bind_u64(&b, r->script);
    evrt_bind_text(&b, r->type);
    evrt_bind_blob(&b, history);
    evrt_bind_u64(&b, retry_sum(sub, r, history, &p->scratch));
    return evrt_bind_run(db, &b, EVRT_DB_PUT_RETRY);
}

static int put_copy(struct evrt_db *db, uint32_t sub, struct evrt_slice event) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_COPY]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, evrt_event_seq(event.p));
    evrt_bind_blob(&b, event);
    evrt_bind_u64(&b, copy_sum(sub, event));
    return evrt_bind_run(db, &b, EVRT_DB_PUT_COPY);
}

static int run_pair(struct evrt_db *db, enum evrt_db_statement which, uint64_t first,
                    uint64_t second) {
    struct evrt_binder b = {.to = db->statements[which]};
    evrt_bind_u64(&b, first);
    evrt_bind_u64(&b, second);
    return evrt_bind_run(db, &b, which);
}

static int end_failed(struct evrt_db *db, const struct evrt_model *m, const struct evrt_failed *f) {
    int code = f->op == EVRT_FAILED_RETRY_GONE ? run_pair(db, EVRT_DB_END_RETRY, f->sub, f->seq)
                                               : run_pair(db, EVRT_DB_END_DEAD, f->seq, f->sub);
    if (code == SQLITE_OK && m->any_copies) code = run_pair(db, EVRT_DB_END_COPY, f->sub, f->seq);
    return code;
}

/* One that died without another attempt has what it was from its retry. */
static int put_unmade(struct evrt_db *db, const struct evrt_failed *f, struct past *p) {
    struct evrt_record_dead d = f->dead;
    if (p->found && p->attempt != 0) {
        d.attempt = p->attempt;
        d.first_failed_ms = p->first_failed_ms;
        d.generation = p->generation;
        d.script = p->script;
        d.type = evrt_buf_slice(&p->type);
    }
    return put_dead(db, f->n, f->sub, &d, p);
}

/* The first attempt has no past. */
static int put_failed(struct evrt_db *db, const struct evrt_failed *f, struct past *p,
                      struct evrt_error *err) {
    bool dead = f->op == EVRT_FAILED_DEAD;
    evrt_buf_clear(&p->history);
    if (dead ? f->dead.attempt != 1 : f->retry.attempt > 2)
        p->rc = read_past(db, f->sub, f->seq, p, err);
    if (p->rc < 0) return SQLITE_OK;
    if (dead && f->dead.attempt == 0) return put_unmade(db, f, p);
    return dead ? put_dead(db, f->n, f->sub, &f->dead, p) : put_retry(db, f->sub, &f->retry, p);
}

int evrt_tables_put_failed(struct evrt_db *db, const struct evrt_model *m, int *code,
                           struct evrt_error *err) {
    struct past past = {0};
    struct evrt_failed f;
    *code = SQLITE_OK;
    for (size_t at = 0;
         *code == SQLITE_OK && past.rc == 0 && evrt_failed_next(&m->failed, &at, &f);)
        *code = f.op == EVRT_FAILED_COPY ? put_copy(db, f.sub, f.event)
                : f.op == EVRT_FAILED_RETRY || f.op == EVRT_FAILED_DEAD
                    ? put_failed(db, &f, &past, err)
                    : end_failed(db, m, &f);
    evrt_buf_finish(&past.history);
    evrt_buf_finish(&past.type);
    evrt_buf_finish(&past.scratch);
    return past.rc;
}

/* ---- Copies ---- */

struct copy_read {
    uint32_t sub;
    struct evrt_buf *out;
    bool found;
};

static int take_copy(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct copy_read *c = arg;
    struct evrt_slice event = evrt_column_slice(row, 0);
    if (copy_sum(c->sub, event) != evrt_column_u64(row, 1))
        return evrt_rows_damaged(db, "sum of a row in copies", err);
    evrt_buf_put(c->out, event.p, event.n);
    c->found = true;
    return 0;
}

int evrt_tables_copy(struct evrt_db *db, uint32_t sub, uint64_t seq, struct evrt_buf *out,
                     struct evrt_error *err) {
    struct copy_read c = {sub, out, false};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_COPY_OF]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, seq);
    int rc = evrt_bind_each(db, &b, EVRT_DB_COPY_OF, take_copy, &c, err);
    return rc < 0 ? rc : c.found ? 0 : -ENOENT;
}

struct bare_walk {
    evrt_state_bare_fn fn;
    void *arg;
};

static int give_bare(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    const struct bare_walk *walk = arg;
    (void)db, (void)err;
    walk->fn(walk->arg, (uint32_t)evrt_column_u64(row, 0), evrt_column_u64(row, 1));
    return 0;
}

int evrt_tables_bare(struct evrt_db *db, const struct evrt_model *m, uint64_t from, uint64_t to,
                     evrt_state_bare_fn fn, void *arg, struct evrt_error *err) {
    struct bare_walk walk = {fn, arg};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_BARE_DEAD]};
    evrt_bind_u64(&b, from);
    evrt_bind_u64(&b, to);
    int rc = evrt_bind_each(db, &b, EVRT_DB_BARE_DEAD, give_bare, &walk, err);
    for (size_t i = 0; rc == 0 && i < m->count; i++) {
        if (m->subs[i]->row.retrying == 0) continue;
        b = (struct evrt_binder){.to = db->statements[EVRT_DB_BARE_RETRIES]};
        evrt_bind_u64(&b, from);
        evrt_bind_u64(&b, to);
        evrt_bind_u64(&b, m->subs[i]->row.sub);
        rc = evrt_bind_each(db, &b, EVRT_DB_BARE_RETRIES, give_bare, &walk, err);
    }
    return rc;
}
