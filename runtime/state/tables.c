/* See tables.h. Sums, and what each of them finds:
 *
 *     subs.sum     a sub's row, all its epochs and chunks  a flipped bit in any of them
 *     meta.digest  all subs' sums, xored               a row that is missing, doubled or from another time
 *     meta.sum     meta's own row
 *     retries.sum  a retry's row                       checked at load, and that none is missing
 *     dead.sum     a dead delivery's row               checked at load as far as time allows, and at read
 */
#include "state/tables.h"

#include <errno.h>
#include <sqlite3.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/jsonout.h"

/* Dead letters may be many; the start does not wait longer than this for their check. */
#define DEAD_CHECK_NS (500 * INT64_C(1000000))

/* ---- Binding and columns ---- */

static void put_u64(struct evrt_buf *out, uint64_t v) {
    evrt_buf_put(out, &v, sizeof v);
}

static void put_slice(struct evrt_buf *out, struct evrt_slice s) {
    put_u64(out, s.n);
    evrt_buf_put(out, s.p, s.n);
}

/* Parameters in order; the first code that is not SQLITE_OK sticks. Slices must live until the run. */
struct binder {
    sqlite3_stmt *to;
    int at, code;
};

static void bind_u64(struct binder *b, uint64_t v) {
    if (b->code == SQLITE_OK) b->code = sqlite3_bind_int64(b->to, ++b->at, (int64_t)v);
}

static void bind_text(struct binder *b, struct evrt_slice s) {
    if (b->code == SQLITE_OK)
        b->code =
            sqlite3_bind_text64(b->to, ++b->at, s.n ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

static void bind_blob(struct binder *b, struct evrt_slice s) {
    if (b->code == SQLITE_OK)
        b->code = sqlite3_bind_blob64(b->to, ++b->at, s.n ? s.p : "", s.n, SQLITE_STATIC);
}

static int run_bound(struct evrt_db *db, const struct binder *b, enum evrt_db_statement which) {
    return b->code == SQLITE_OK ? evrt_db_run(db, which) : b->code;
}

static uint64_t column_u64(sqlite3_stmt *row, int at) {
    return (uint64_t)sqlite3_column_int64(row, at);
}

static struct evrt_slice column_slice(sqlite3_stmt *row, int at) {
    const char *p = sqlite3_column_blob(row, at);
    return (struct evrt_slice){p, (size_t)sqlite3_column_bytes(row, at)};
}

/* ---- Sums ---- */

static uint64_t sub_sum(const struct evrt_model_sub *s, struct evrt_buf *scratch) {
    const struct evrt_state_sub *r = &s->row;
    const uint64_t numbers[] = {r->sub,
                                r->from_seq,
                                (uint64_t)r->orphaned_ms,
                                (uint64_t)r->paused_ms,
                                r->cursor,
                                r->seen,
                                r->matched,
                                r->done,
                                r->dead,
                                r->discarded,
                                r->retrying,
                                s->epoch_count};
    evrt_buf_clear(scratch);
    evrt_buf_put(scratch, numbers, sizeof numbers);
    put_slice(scratch, evrt_slice_of(r->name));
    for (size_t i = 0; i < s->epoch_count; i++) {
        put_u64(scratch, s->epochs[i].from_seq);
        put_slice(scratch, s->epochs[i].patterns);
    }
    for (size_t i = 0; i < s->ended.count; i++) {
        put_u64(scratch, s->ended.chunks[i].number);
        put_u64(scratch, s->ended.chunks[i].sum);
    }
    return evrt_hash64(scratch->p, scratch->n, 1);
}

static uint64_t dead_sum(uint32_t sub, const struct evrt_record_dead *d, struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    put_u64(scratch, sub);
    evrt_dead_put(scratch, d);
    return evrt_hash64(scratch->p, scratch->n, 2);
}

static uint64_t retry_sum(uint32_t sub, const struct evrt_record_retry *r,
                          struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    put_u64(scratch, sub);
    evrt_retry_put(scratch, r);
    return evrt_hash64(scratch->p, scratch->n, 3);
}

static uint64_t digest(const struct evrt_model *m) {
    uint64_t all = 0;
    for (size_t i = 0; i < m->count; i++)
        all ^= m->subs[i]->sum;
    return all;
}

/* ---- Loading ---- */

static int damaged(struct evrt_db *db, const char *what, struct evrt_error *err) {
    return evrt_error_set(err, -EBADMSG, "%s is damaged: %s", db->file ? db->file : "state", what);
}

/* What each row of a statement is given to; a negative errno ends the walk. */
typedef int (*row_fn)(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err);

static int each_row(struct evrt_db *db, enum evrt_db_statement which, row_fn fn, void *arg,
                    struct evrt_error *err) {
    sqlite3_stmt *rows = db->statements[which];
    int rc = 0, code = SQLITE_DONE;
    while (rc == 0 && (code = sqlite3_step(rows)) == SQLITE_ROW)
        rc = fn(db, rows, arg, err);
    if (rc == 0 && code != SQLITE_DONE) rc = evrt_db_error(db, code, sqlite3_sql(rows), err);
    sqlite3_reset(rows);
    return rc;
}

static int load_sub(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct evrt_model *m = arg;
    uint64_t sub = column_u64(row, 0);
    if (sub > UINT32_MAX || evrt_model_find(m, (uint32_t)sub) != NULL)
        return damaged(db, "numbers in subs", err);
    struct evrt_model_sub *s = evrt_model_add(m, (uint32_t)sub, column_slice(row, 1));
    s->row.from_seq = column_u64(row, 2);
    s->row.orphaned_ms = sqlite3_column_int64(row, 3);
    s->row.paused_ms = sqlite3_column_int64(row, 4);
    s->row.cursor = column_u64(row, 5);
    s->row.seen = column_u64(row, 6);
    s->row.matched = column_u64(row, 7);
    s->row.done = column_u64(row, 8);
    s->row.dead = column_u64(row, 9);
    s->row.discarded = column_u64(row, 10);
    s->row.retrying = column_u64(row, 11);
    s->sum = column_u64(row, 12);
    return 0;
}

static int load_ended(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    uint64_t sub = column_u64(row, 0);
    struct evrt_model_sub *s = sub <= UINT32_MAX ? evrt_model_find(arg, (uint32_t)sub) : NULL;
    if (s == NULL) return damaged(db, "ended of no sub", err);
    if (evrt_ended_load(&s->ended, column_u64(row, 1), column_slice(row, 2)) < 0)
        return damaged(db, "ranges in ended", err);
    return 0;
}

static int load_epoch(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    uint64_t sub = column_u64(row, 0);
    struct evrt_model_sub *s = sub <= UINT32_MAX ? evrt_model_find(arg, (uint32_t)sub) : NULL;
    if (s == NULL) return damaged(db, "epochs of no sub", err);
    evrt_model_add_epoch(s, column_u64(row, 1), column_slice(row, 2));
    return 0;
}

static int load_meta(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct evrt_model *m = arg;
    m->applied = column_u64(row, 1);
    if (evrt_db_meta_sum(column_u64(row, 0), m->applied, column_u64(row, 2)) != column_u64(row, 3))
        return damaged(db, "sum of meta", err);
    return column_u64(row, 2) == digest(m) ? 0 : damaged(db, "sum of all subs", err);
}

struct dead_row {
    uint32_t sub;
    struct evrt_record_dead dead;
};

static int get_dead(struct evrt_db *db, sqlite3_stmt *row, struct evrt_buf *scratch,
                    struct dead_row *out, struct evrt_error *err) {
    out->sub = (uint32_t)column_u64(row, 1);
    out->dead = (struct evrt_record_dead){
        .seq = column_u64(row, 0),
        .attempt = (uint32_t)column_u64(row, 2),
        .at_ms = sqlite3_column_int64(row, 3),
        .error_type = column_slice(row, 4),
        .message = column_slice(row, 5),
        .traceback = column_slice(row, 6),
    };
    return dead_sum(out->sub, &out->dead, scratch) == column_u64(row, 7)
               ? 0
               : damaged(db, "sum of a row in dead", err);
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
    out->sub = (uint32_t)column_u64(row, 0);
    out->retry = (struct evrt_record_retry){
        .seq = column_u64(row, 1),
        .attempt = (uint32_t)column_u64(row, 2),
        .crashes = (uint32_t)column_u64(row, 3),
        .due_ms = sqlite3_column_int64(row, 4),
        .delay_ms = sqlite3_column_int64(row, 5),
        .first_failed_ms = sqlite3_column_int64(row, 6),
        .last_failed_ms = sqlite3_column_int64(row, 7),
        .key = column_u64(row, 8),
        .error_type = column_slice(row, 9),
        .message = column_slice(row, 10),
    };
    return retry_sum(out->sub, &out->retry, scratch) == column_u64(row, 11)
               ? 0
               : damaged(db, "sum of a row in retries", err);
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
            return damaged(db, "number of rows in retries", err);
        c->count = 0;
    }
    return c->next < c->model->count || sub == UINT32_MAX ? 0
                                                          : damaged(db, "retries of no sub", err);
}

static int check_retry(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct retry_check *c = arg;
    struct retry_row r;
    int rc = get_retry(db, row, &c->scratch, &r, err);
    if (rc == 0) rc = check_counts(db, c, r.sub, err);
    if (rc == 0 && c->model->subs[c->next]->row.sub != r.sub)
        return damaged(db, "retries of no sub", err);
    c->count++;
    return rc;
}

static int check_retries(struct evrt_db *db, const struct evrt_model *m, struct evrt_error *err) {
    struct retry_check check = {.model = m};
    int rc = each_row(db, EVRT_DB_ALL_RETRIES, check_retry, &check, err);
    if (rc == 0) rc = check_counts(db, &check, UINT32_MAX, err);
    evrt_buf_finish(&check.scratch);
    return rc;
}

static int check_subs(struct evrt_db *db, struct evrt_model *m, struct evrt_buf *scratch,
                      struct evrt_error *err) {
    for (size_t i = 0; i < m->count; i++) {
        if (sub_sum(m->subs[i], scratch) != m->subs[i]->sum)
            return damaged(db, "sum of a row in subs", err);
    }
    return 0;
}

int evrt_tables_load(struct evrt_db *db, struct evrt_model *m, struct evrt_error *err) {
    struct dead_check check = {.deadline = evrt_mono_ns() + DEAD_CHECK_NS};
    int rc = each_row(db, EVRT_DB_ALL_SUBS, load_sub, m, err);
    if (rc == 0) rc = each_row(db, EVRT_DB_ALL_ENDED, load_ended, m, err);
    if (rc == 0) rc = each_row(db, EVRT_DB_ALL_EPOCHS, load_epoch, m, err);
    if (rc == 0) rc = check_subs(db, m, &check.scratch, err);
    if (rc == 0) rc = each_row(db, EVRT_DB_GET_META, load_meta, m, err);
    if (rc == 0) rc = check_retries(db, m, err);
    if (rc == 0) rc = each_row(db, EVRT_DB_CHECK_DEAD, check_dead, &check, err);
    evrt_buf_finish(&check.scratch);
    if (rc >= 0) evrt_model_committed(m);
    return rc < 0 ? rc : 0;
}

/* ---- Committing ---- */

static int forget(struct evrt_db *db, uint32_t sub) {
    static const enum evrt_db_statement from[] = {EVRT_DB_FORGET_SUB, EVRT_DB_FORGET_EPOCHS,
                                                  EVRT_DB_FORGET_ENDED, EVRT_DB_FORGET_DEAD,
                                                  EVRT_DB_FORGET_RETRIES};
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof from / sizeof from[0]; i++) {
        struct binder b = {.to = db->statements[from[i]]};
        bind_u64(&b, sub);
        code = run_bound(db, &b, from[i]);
    }
    return code;
}

static int put_epochs(struct evrt_db *db, const struct evrt_model_sub *s) {
    struct binder b = {.to = db->statements[EVRT_DB_FORGET_EPOCHS]};
    bind_u64(&b, s->row.sub);
    int code = run_bound(db, &b, EVRT_DB_FORGET_EPOCHS);
    for (size_t i = 0; code == SQLITE_OK && i < s->epoch_count; i++) {
        b = (struct binder){.to = db->statements[EVRT_DB_PUT_EPOCH]};
        bind_u64(&b, s->row.sub);
        bind_u64(&b, s->epochs[i].from_seq);
        bind_text(&b, s->epochs[i].patterns);
        code = run_bound(db, &b, EVRT_DB_PUT_EPOCH);
    }
    return code;
}

static int drop_ended(struct evrt_db *db, uint32_t sub, uint64_t chunk) {
    struct binder b = {.to = db->statements[EVRT_DB_DROP_ENDED]};
    bind_u64(&b, sub);
    bind_u64(&b, chunk);
    return run_bound(db, &b, EVRT_DB_DROP_ENDED);
}

static int put_ended(struct evrt_db *db, uint32_t sub, const struct evrt_ended *e) {
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < e->gone_count; i++)
        code = drop_ended(db, sub, e->gone[i]);
    for (size_t i = 0; code == SQLITE_OK && i < e->count; i++) {
        const struct evrt_ended_chunk *c = &e->chunks[i];
        if (!c->changed) continue;
        struct binder b = {.to = db->statements[EVRT_DB_PUT_ENDED]};
        bind_u64(&b, sub);
        bind_u64(&b, c->number);
        bind_blob(&b, (struct evrt_slice){c->bytes, c->n});
        code = run_bound(db, &b, EVRT_DB_PUT_ENDED);
    }
    return code;
}

static int put_sub(struct evrt_db *db, struct evrt_model_sub *s, struct evrt_buf *scratch) {
    s->sum = sub_sum(s, scratch);
    struct binder b = {.to = db->statements[EVRT_DB_PUT_SUB]};
    bind_u64(&b, s->row.sub);
    bind_text(&b, evrt_slice_of(s->row.name));
    bind_u64(&b, s->row.from_seq);
    bind_u64(&b, (uint64_t)s->row.orphaned_ms);
    bind_u64(&b, (uint64_t)s->row.paused_ms);
    bind_u64(&b, s->row.cursor);
    bind_u64(&b, s->row.seen);
    bind_u64(&b, s->row.matched);
    bind_u64(&b, s->row.done);
    bind_u64(&b, s->row.dead);
    bind_u64(&b, s->row.discarded);
    bind_u64(&b, s->row.retrying);
    bind_u64(&b, s->sum);
    int code = run_bound(db, &b, EVRT_DB_PUT_SUB);
    if (code == SQLITE_OK) code = put_ended(db, s->row.sub, &s->ended);
    return code == SQLITE_OK && s->epochs_changed ? put_epochs(db, s) : code;
}

static int put_dead(struct evrt_db *db, uint32_t sub, const struct evrt_record_dead *d,
                    struct evrt_buf *scratch) {
    struct binder b = {.to = db->statements[EVRT_DB_PUT_DEAD]};
    bind_u64(&b, d->seq);
    bind_u64(&b, sub);
    bind_u64(&b, d->attempt);
    bind_u64(&b, (uint64_t)d->at_ms);
    bind_text(&b, d->error_type);
    bind_text(&b, d->message);
    bind_text(&b, d->traceback);
    bind_u64(&b, dead_sum(sub, d, scratch));
    return run_bound(db, &b, EVRT_DB_PUT_DEAD);
}

static int put_retry(struct evrt_db *db, uint32_t sub, const struct evrt_record_retry *r,
                     struct evrt_buf *scratch) {
    struct binder b = {.to = db->statements[EVRT_DB_PUT_RETRY]};
    bind_u64(&b, sub);
    bind_u64(&b, r->seq);
    bind_u64(&b, r->attempt);
    bind_u64(&b, r->crashes);
    bind_u64(&b, (uint64_t)r->due_ms);
    bind_u64(&b, (uint64_t)r->delay_ms);
    bind_u64(&b, (uint64_t)r->first_failed_ms);
    bind_u64(&b, (uint64_t)r->last_failed_ms);
    bind_u64(&b, r->key);
    bind_text(&b, r->error_type);
    bind_text(&b, r->message);
    bind_u64(&b, retry_sum(sub, r, scratch));
    return run_bound(db, &b, EVRT_DB_PUT_RETRY);
}

static int end_retry(struct evrt_db *db, uint32_t sub, uint64_t seq) {
    struct binder b = {.to = db->statements[EVRT_DB_END_RETRY]};
    bind_u64(&b, sub);
    bind_u64(&b, seq);
    return run_bound(db, &b, EVRT_DB_END_RETRY);
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

static int put_changes(struct evrt_db *db, struct evrt_model *m, struct evrt_buf *scratch) {
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < m->forgotten_count; i++)
        code = forget(db, m->forgotten[i]);
    for (size_t i = 0; code == SQLITE_OK && i < m->count; i++) {
        if (m->subs[i]->changed) code = put_sub(db, m->subs[i], scratch);
    }
    uint32_t sub;
    struct evrt_record_dead dead;
    for (size_t at = 0; code == SQLITE_OK && evrt_model_next_dead(m, &at, &sub, &dead);)
        code = put_dead(db, sub, &dead, scratch);
    if (code == SQLITE_OK) code = put_retries(db, m, scratch);
    return code == SQLITE_OK ? evrt_db_put_meta(db, m->applied, digest(m)) : code;
}

int evrt_tables_commit(struct evrt_db *db, struct evrt_model *m, struct evrt_error *err) {
    struct evrt_buf scratch;
    evrt_buf_init(&scratch);
    evrt_model_normalise(m);
    int code = evrt_db_run(db, EVRT_DB_BEGIN);
    if (code == SQLITE_OK) code = put_changes(db, m, &scratch);
    if (code == SQLITE_OK) code = evrt_db_run(db, EVRT_DB_COMMIT);
    evrt_buf_finish(&scratch);
    if (code == SQLITE_OK) {
        evrt_model_committed(m);
        return 0;
    }
    int rc = evrt_db_error(db, code, "committing", err);
    /* Some errors have rolled back already; then this is a harmless error of its own. */
    if (!sqlite3_get_autocommit(db->h)) code = evrt_db_run(db, EVRT_DB_ROLLBACK);
    return rc;
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
    struct binder b = {.to = db->statements[EVRT_DB_DEAD_OF]};
    bind_u64(&b, seq);
    int rc = b.code == SQLITE_OK ? each_row(db, EVRT_DB_DEAD_OF, give_dead, &walk, err)
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
    walk->fn(walk->arg, column_u64(row, 0));
    return 0;
}

int evrt_tables_dead_in(struct evrt_db *db, uint32_t sub, uint64_t from, uint64_t to,
                        void (*fn)(void *, uint64_t), void *arg, struct evrt_error *err) {
    struct seq_walk walk = {fn, arg};
    struct binder b = {.to = db->statements[EVRT_DB_DEAD_IN]};
    bind_u64(&b, from);
    bind_u64(&b, to);
    bind_u64(&b, sub);
    return b.code == SQLITE_OK ? each_row(db, EVRT_DB_DEAD_IN, give_seq, &walk, err)
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

static int walk_retries(struct evrt_db *db, const struct binder *b, enum evrt_db_statement which,
                        evrt_state_retry_fn fn, void *arg, struct evrt_error *err) {
    struct retry_walk walk = {.fn = fn, .arg = arg};
    int rc = b->code == SQLITE_OK ? each_row(db, which, give_retry, &walk, err)
                                  : evrt_db_error(db, b->code, "reading retries", err);
    evrt_buf_finish(&walk.scratch);
    return rc;
}

int evrt_tables_retries(struct evrt_db *db, uint32_t sub, uint64_t seq, uint64_t limit,
                        evrt_state_retry_fn fn, void *arg, struct evrt_error *err) {
    struct binder b = {.to = db->statements[EVRT_DB_RETRIES_AFTER]};
    bind_u64(&b, sub);
    bind_u64(&b, seq);
    bind_u64(&b, limit);
    return walk_retries(db, &b, EVRT_DB_RETRIES_AFTER, fn, arg, err);
}

int evrt_tables_retry(struct evrt_db *db, uint32_t sub, uint64_t seq, evrt_state_retry_fn fn,
                      void *arg, struct evrt_error *err) {
    struct binder b = {.to = db->statements[EVRT_DB_RETRY_OF]};
    bind_u64(&b, sub);
    bind_u64(&b, seq);
    return walk_retries(db, &b, EVRT_DB_RETRY_OF, fn, arg, err);
}

struct dump {
    struct evrt_buf *out;
    const char *table;
};

static int dump_row(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    (void)db;
    (void)err;
    const struct dump *to = arg;
    struct evrt_jsonout o = evrt_jsonout_start(to->out);
    evrt_buf_puts(to->out, to->table);
    evrt_buf_putc(to->out, ' ');
    evrt_jsonout_array(&o);
    for (int i = 0; i < sqlite3_column_count(row); i++) {
        int type = sqlite3_column_type(row, i);
        if (type == SQLITE_INTEGER)
            evrt_jsonout_i64(&o, sqlite3_column_int64(row, i));
        else if (type == SQLITE_BLOB)
            evrt_ranges_json(&o, column_slice(row, i));
        else
            evrt_jsonout_str(&o, column_slice(row, i));
    }
    evrt_jsonout_end(&o);
    evrt_buf_putc(to->out, '\n');
    return 0;
}

int evrt_tables_dump(struct evrt_db *db, struct evrt_buf *out, struct evrt_error *err) {
    static const struct {
        enum evrt_db_statement rows;
        const char *table;
    } all[] = {{EVRT_DB_GET_META, "meta"},   {EVRT_DB_ALL_SUBS, "sub"},
               {EVRT_DB_ALL_ENDED, "ended"}, {EVRT_DB_ALL_EPOCHS, "epoch"},
               {EVRT_DB_ALL_DEAD, "dead"},   {EVRT_DB_ALL_RETRIES, "retry"}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof all / sizeof all[0]; i++)
        rc = each_row(db, all[i].rows, dump_row, &(struct dump){out, all[i].table}, err);
    return rc;
}
