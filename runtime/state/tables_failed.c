/* Rows of deliveries that failed: retries and dead letters. See tables.h. */
#include <errno.h>
#include <sqlite3.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "state/rows.h"
#include "state/tables.h"

/* Dead letters may be many; the start does not wait longer than this for their check. */
#define DEAD_CHECK_NS (500 * INT64_C(1000000))

/* ---- Sums ---- */

static uint64_t dead_sum(uint32_t sub, const struct evrt_record_dead *d, struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    evrt_sum_u64(scratch, sub);
    evrt_dead_put(scratch, d);
    return evrt_hash64(scratch->p, scratch->n, 2);
}

static uint64_t retry_sum(uint32_t sub, const struct evrt_record_retry *r,
                          struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    evrt_sum_u64(scratch, sub);
    evrt_retry_put(scratch, r);
    return evrt_hash64(scratch->p, scratch->n, 3);
}

/* ---- Loading ---- */

struct dead_row {
    uint32_t sub;
    struct evrt_record_dead dead;
};

static int get_dead(struct evrt_db *db, sqlite3_stmt *row, struct evrt_buf *scratch,
                    struct dead_row *out, struct evrt_error *err) {
    out->sub = (uint32_t)evrt_column_u64(row, 1);
    out->dead = (struct evrt_record_dead){
        .seq = evrt_column_u64(row, 0),
        .attempt = (uint32_t)evrt_column_u64(row, 2),
        .at_ms = sqlite3_column_int64(row, 3),
        .error_type = evrt_column_slice(row, 4),
        .message = evrt_column_slice(row, 5),
        .traceback = evrt_column_slice(row, 6),
    };
    return dead_sum(out->sub, &out->dead, scratch) == evrt_column_u64(row, 7)
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
    struct dead_row ignored;
    if (++check->rows % 256 == 0 && evrt_mono_ns() > check->deadline) return 1;
    return get_dead(db, row, &check->scratch, &ignored, err);
}

struct retry_row {
    uint32_t sub;
    struct evrt_record_retry retry;
};

static int get_retry(struct evrt_db *db, sqlite3_stmt *row, struct evrt_buf *scratch,
                     struct retry_row *out, struct evrt_error *err) {
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
    };
    return retry_sum(out->sub, &out->retry, scratch) == evrt_column_u64(row, 11)
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
    struct retry_row r;
    int rc = get_retry(db, row, &c->scratch, &r, err);
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

int evrt_tables_check_failed(struct evrt_db *db, const struct evrt_model *m,
                             struct evrt_error *err) {
    struct dead_check check = {.deadline = evrt_mono_ns() + DEAD_CHECK_NS};
    int rc = check_retries(db, m, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_CHECK_DEAD, check_dead, &check, err);
    evrt_buf_finish(&check.scratch);
    return rc < 0 ? rc : 0;
}

/* ---- Committing ---- */

static int put_dead(struct evrt_db *db, uint32_t sub, const struct evrt_record_dead *d,
                    struct evrt_buf *scratch) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_DEAD]};
    evrt_bind_u64(&b, d->seq);
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, d->attempt);
    evrt_bind_u64(&b, (uint64_t)d->at_ms);
    evrt_bind_text(&b, d->error_type);
    evrt_bind_text(&b, d->message);
    evrt_bind_text(&b, d->traceback);
    evrt_bind_u64(&b, dead_sum(sub, d, scratch));
    return evrt_bind_run(db, &b, EVRT_DB_PUT_DEAD);
}

static int put_retry(struct evrt_db *db, uint32_t sub, const struct evrt_record_retry *r,
                     struct evrt_buf *scratch) {
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
    evrt_bind_u64(&b, retry_sum(sub, r, scratch));
    return evrt_bind_run(db, &b, EVRT_DB_PUT_RETRY);
}

static int end_retry(struct evrt_db *db, uint32_t sub, uint64_t seq) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_END_RETRY]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, seq);
    return evrt_bind_run(db, &b, EVRT_DB_END_RETRY);
}

static int put_retries(struct evrt_db *db, const struct evrt_model *m, struct evrt_buf *scratch) {
    int code = SQLITE_OK;
    uint32_t sub;
    bool ended;
    struct evrt_record_retry r;
    for (size_t at = 0; code == SQLITE_OK && evrt_model_next_retry(m, &at, &sub, &ended, &r);)
        code = ended ? end_retry(db, sub, r.seq) : put_retry(db, sub, &r, scratch);
    return code;
}

int evrt_tables_put_failed(struct evrt_db *db, const struct evrt_model *m,
                           struct evrt_buf *scratch) {
    int code = SQLITE_OK;
    uint32_t sub;
    struct evrt_record_dead dead;
    for (size_t at = 0; code == SQLITE_OK && evrt_model_next_dead(m, &at, &sub, &dead);)
        code = put_dead(db, sub, &dead, scratch);
    return code == SQLITE_OK ? put_retries(db, m, scratch) : code;
}

/* ---- Reading ---- */

struct dead_walk {
    struct evrt_buf scratch;
    void (*fn)(void *, uint32_t sub, const struct evrt_record_dead *);
    void *arg;
};

static int give_dead(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct dead_walk *walk = arg;
    struct dead_row r;
    int rc = get_dead(db, row, &walk->scratch, &r, err);
    if (rc == 0) walk->fn(walk->arg, r.sub, &r.dead);
    return rc;
}

int evrt_tables_dead(struct evrt_db *db, uint64_t seq,
                     void (*fn)(void *, uint32_t, const struct evrt_record_dead *), void *arg,
                     struct evrt_error *err) {
    struct dead_walk walk = {.fn = fn, .arg = arg};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_DEAD_OF]};
    evrt_bind_u64(&b, seq);
    int rc = b.code == SQLITE_OK ? evrt_rows_each(db, EVRT_DB_DEAD_OF, give_dead, &walk, err)
                                 : evrt_db_error(db, b.code, "reading dead", err);
    evrt_buf_finish(&walk.scratch);
    return rc;
}

struct seq_walk {
    void (*fn)(void *, uint64_t seq);
    void *arg;
};

static int give_seq(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    const struct seq_walk *walk = arg;
    (void)db, (void)err;
    walk->fn(walk->arg, evrt_column_u64(row, 0));
    return 0;
}

int evrt_tables_dead_in(struct evrt_db *db, uint32_t sub, uint64_t from, uint64_t to,
                        void (*fn)(void *, uint64_t), void *arg, struct evrt_error *err) {
    struct seq_walk walk = {fn, arg};
    struct evrt_binder b = {.to = db->statements[EVRT_DB_DEAD_IN]};
    evrt_bind_u64(&b, from);
    evrt_bind_u64(&b, to);
    evrt_bind_u64(&b, sub);
    return b.code == SQLITE_OK ? evrt_rows_each(db, EVRT_DB_DEAD_IN, give_seq, &walk, err)
                               : evrt_db_error(db, b.code, "reading dead", err);
}

struct retry_walk {
    struct evrt_buf scratch;
    evrt_state_retry_fn fn;
    void *arg;
};

static int give_retry(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct retry_walk *walk = arg;
    struct retry_row r;
    int rc = get_retry(db, row, &walk->scratch, &r, err);
    if (rc == 0) walk->fn(walk->arg, r.sub, &r.retry);
    return rc;
}

static int walk_retries(struct evrt_db *db, const struct evrt_binder *b,
                        enum evrt_db_statement which, evrt_state_retry_fn fn, void *arg,
                        struct evrt_error *err) {
    struct retry_walk walk = {.fn = fn, .arg = arg};
    int rc = b->code == SQLITE_OK ? evrt_rows_each(db, which, give_retry, &walk, err)
                                  : evrt_db_error(db, b->code, "reading retries", err);
    evrt_buf_finish(&walk.scratch);
    return rc;
}

int evrt_tables_retries(struct evrt_db *db, uint32_t sub, uint64_t seq, uint64_t limit,
                        evrt_state_retry_fn fn, void *arg, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_RETRIES_AFTER]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, seq);
    evrt_bind_u64(&b, limit);
    return walk_retries(db, &b, EVRT_DB_RETRIES_AFTER, fn, arg, err);
}

int evrt_tables_retry(struct evrt_db *db, uint32_t sub, uint64_t seq, evrt_state_retry_fn fn,
                      void *arg, struct evrt_error *err) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_RETRY_OF]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, seq);
    return walk_retries(db, &b, EVRT_DB_RETRY_OF, fn, arg, err);
}
