/* See tables.h. Sums, and what each of them finds:
 *
 *     subs.sum     a sub's row, all its epochs and chunks  a flipped bit in any of them
 *     meta.digest  all subs' sums, xored               a row that is missing, doubled or from another time
 *     meta.sum     meta's own row
 *     jobs.sum     a job's row                         in the digest, as subs' sums are
 *     scheduled.sum  an event for later                checked at load, and at read
 *     retries.sum  a retry's row                       checked at load, and that none is missing
 *     dead.sum     a dead delivery's row               checked at load as far as time allows, and at read
 *
 * Rows of deliveries that failed are tables_failed.c's. */
#include "state/tables.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/jsonout.h"
#include "state/rows.h"
#include "state/tables_kv.h"

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
    evrt_sum_slice(scratch, evrt_slice_of(r->name));
    for (size_t i = 0; i < s->epoch_count; i++) {
        evrt_sum_u64(scratch, s->epochs[i].from_seq);
        evrt_sum_slice(scratch, s->epochs[i].patterns);
    }
    for (size_t i = 0; i < s->ended.count; i++) {
        evrt_sum_u64(scratch, s->ended.chunks[i].number);
        evrt_sum_u64(scratch, s->ended.chunks[i].sum);
    }
    return evrt_hash64(scratch->p, scratch->n, 1);
}

static uint64_t job_sum(struct evrt_slice record) {
    return evrt_hash64(record.p, record.n, 4);
}

static uint64_t digest(const struct evrt_model *m) {
    uint64_t all = 0;
    for (size_t i = 0; i < m->count; i++)
        all ^= m->subs[i]->sum;
    for (size_t i = 0; i < m->jobs.count; i++)
        all ^= m->jobs.all[i].sum;
    return all;
}

/* ---- Loading ---- */

static int load_sub(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct evrt_model *m = arg;
    uint64_t sub = evrt_column_u64(row, 0);
    if (sub > UINT32_MAX || evrt_model_find(m, (uint32_t)sub) != NULL)
        return evrt_rows_damaged(db, "numbers in subs", err);
    struct evrt_model_sub *s = evrt_model_add(m, (uint32_t)sub, evrt_column_slice(row, 1));
    s->row.from_seq = evrt_column_u64(row, 2);
    s->row.orphaned_ms = sqlite3_column_int64(row, 3);
    s->row.paused_ms = sqlite3_column_int64(row, 4);
    s->row.cursor = evrt_column_u64(row, 5);
    s->row.seen = evrt_column_u64(row, 6);
    s->row.matched = evrt_column_u64(row, 7);
    s->row.done = evrt_column_u64(row, 8);
    s->row.dead = evrt_column_u64(row, 9);
    s->row.discarded = evrt_column_u64(row, 10);
    s->row.retrying = evrt_column_u64(row, 11);
    s->sum = evrt_column_u64(row, 12);
    return 0;
}

static int load_ended(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    uint64_t sub = evrt_column_u64(row, 0);
    struct evrt_model_sub *s = sub <= UINT32_MAX ? evrt_model_find(arg, (uint32_t)sub) : NULL;
    if (s == NULL) return evrt_rows_damaged(db, "ended of no sub", err);
    if (evrt_ended_load(&s->ended, evrt_column_u64(row, 1), evrt_column_slice(row, 2)) < 0)
        return evrt_rows_damaged(db, "ranges in ended", err);
    return 0;
}

static int load_epoch(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    uint64_t sub = evrt_column_u64(row, 0);
    struct evrt_model_sub *s = sub <= UINT32_MAX ? evrt_model_find(arg, (uint32_t)sub) : NULL;
    if (s == NULL) return evrt_rows_damaged(db, "epochs of no sub", err);
    evrt_model_add_epoch(s, evrt_column_u64(row, 1), evrt_column_slice(row, 2));
    return 0;
}

static int load_job(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct evrt_model *m = arg;
    struct evrt_record_job r;
    struct evrt_slice record = evrt_column_slice(row, 1);
    uint64_t sum = evrt_column_u64(row, 2);
    if (job_sum(record) != sum || evrt_record_get_job(record, &r) < 0 ||
        r.id != evrt_column_u64(row, 0) || r.state == EVRT_JOB_GONE)
        return evrt_rows_damaged(db, "sum of a row in jobs", err);
    evrt_model_jobs_apply(&m->jobs, &r);
    m->jobs.all[m->jobs.count - 1].sum = sum;
    return 0;
}

static int load_meta(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    struct evrt_model *m = arg;
    m->applied = evrt_column_u64(row, 1);
    if (evrt_db_meta_sum(evrt_column_u64(row, 0), m->applied, evrt_column_u64(row, 2)) !=
        evrt_column_u64(row, 3))
        return evrt_rows_damaged(db, "sum of meta", err);
    return evrt_column_u64(row, 2) == digest(m) ? 0 : evrt_rows_damaged(db, "sum of all subs", err);
}

static int check_subs(struct evrt_db *db, struct evrt_model *m, struct evrt_buf *scratch,
                      struct evrt_error *err) {
    for (size_t i = 0; i < m->count; i++) {
        if (sub_sum(m->subs[i], scratch) != m->subs[i]->sum)
            return evrt_rows_damaged(db, "sum of a row in subs", err);
    }
    return 0;
}

int evrt_tables_load(struct evrt_db *db, struct evrt_model *m, struct evrt_error *err) {
    struct evrt_buf scratch;
    evrt_buf_init(&scratch);
    int rc = evrt_rows_each(db, EVRT_DB_ALL_SUBS, load_sub, m, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_ALL_ENDED, load_ended, m, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_ALL_EPOCHS, load_epoch, m, err);
    if (rc == 0) rc = check_subs(db, m, &scratch, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_ALL_JOBS, load_job, m, err);
    if (rc == 0) rc = evrt_rows_each(db, EVRT_DB_GET_META, load_meta, m, err);
    if (rc == 0) rc = evrt_tables_check_failed(db, m, err);
    if (rc == 0) rc = evrt_tables_check_scheduled(db, err);
    evrt_buf_finish(&scratch);
    if (rc == 0) evrt_model_committed(m);
    return rc;
}

/* ---- Committing ---- */

static int forget(struct evrt_db *db, uint32_t sub) {
    static const enum evrt_db_statement from[] = {EVRT_DB_FORGET_SUB,     EVRT_DB_FORGET_EPOCHS,
                                                  EVRT_DB_FORGET_ENDED,   EVRT_DB_FORGET_DEAD,
                                                  EVRT_DB_FORGET_RETRIES, EVRT_DB_FORGET_COPIES};
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < sizeof from / sizeof from[0]; i++) {
        struct evrt_binder b = {.to = db->statements[from[i]]};
        evrt_bind_u64(&b, sub);
        code = evrt_bind_run(db, &b, from[i]);
    }
    return code;
}

static int put_epochs(struct evrt_db *db, const struct evrt_model_sub *s) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_FORGET_EPOCHS]};
    evrt_bind_u64(&b, s->row.sub);
    int code = evrt_bind_run(db, &b, EVRT_DB_FORGET_EPOCHS);
    for (size_t i = 0; code == SQLITE_OK && i < s->epoch_count; i++) {
        b = (struct evrt_binder){.to = db->statements[EVRT_DB_PUT_EPOCH]};
        evrt_bind_u64(&b, s->row.sub);
        evrt_bind_u64(&b, s->epochs[i].from_seq);
        evrt_bind_text(&b, s->epochs[i].patterns);
        code = evrt_bind_run(db, &b, EVRT_DB_PUT_EPOCH);
    }
    return code;
}

static int drop_ended(struct evrt_db *db, uint32_t sub, uint64_t chunk) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_DROP_ENDED]};
    evrt_bind_u64(&b, sub);
    evrt_bind_u64(&b, chunk);
    return evrt_bind_run(db, &b, EVRT_DB_DROP_ENDED);
}

static int put_ended(struct evrt_db *db, uint32_t sub, const struct evrt_ended *e) {
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < e->gone_count; i++)
        code = drop_ended(db, sub, e->gone[i]);
    for (size_t i = 0; code == SQLITE_OK && i < e->count; i++) {
        const struct evrt_ended_chunk *c = &e->chunks[i];
        if (!c->changed) continue;
        struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_ENDED]};
        evrt_bind_u64(&b, sub);
        evrt_bind_u64(&b, c->number);
        evrt_bind_blob(&b, (struct evrt_slice){c->bytes, c->n});
        code = evrt_bind_run(db, &b, EVRT_DB_PUT_ENDED);
    }
    return code;
}

static int put_sub(struct evrt_db *db, struct evrt_model_sub *s, struct evrt_buf *scratch) {
    s->sum = sub_sum(s, scratch);
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_SUB]};
    evrt_bind_u64(&b, s->row.sub);
    evrt_bind_text(&b, evrt_slice_of(s->row.name));
    evrt_bind_u64(&b, s->row.from_seq);
    evrt_bind_u64(&b, (uint64_t)s->row.orphaned_ms);
    evrt_bind_u64(&b, (uint64_t)s->row.paused_ms);
    evrt_bind_u64(&b, s->row.cursor);
    evrt_bind_u64(&b, s->row.seen);
    evrt_bind_u64(&b, s->row.matched);
    evrt_bind_u64(&b, s->row.done);
    evrt_bind_u64(&b, s->row.dead);
    evrt_bind_u64(&b, s->row.discarded);
    evrt_bind_u64(&b, s->row.retrying);
    evrt_bind_u64(&b, s->sum);
    int code = evrt_bind_run(db, &b, EVRT_DB_PUT_SUB);
    if (code == SQLITE_OK) code = put_ended(db, s->row.sub, &s->ended);
    return code == SQLITE_OK && s->epochs_changed ? put_epochs(db, s) : code;
}

static int end_job(struct evrt_db *db, uint64_t id) {
    struct evrt_binder b = {.to = db->statements[EVRT_DB_END_JOB]};
    evrt_bind_u64(&b, id);
    return evrt_bind_run(db, &b, EVRT_DB_END_JOB);
}

static int put_job(struct evrt_db *db, struct evrt_model_job *j, struct evrt_buf *scratch) {
    evrt_buf_clear(scratch);
    evrt_record_put_job(scratch, &j->r);
    j->sum = job_sum(evrt_buf_slice(scratch));
    struct evrt_binder b = {.to = db->statements[EVRT_DB_PUT_JOB]};
    evrt_bind_u64(&b, j->r.id);
    evrt_bind_blob(&b, evrt_buf_slice(scratch));
    evrt_bind_u64(&b, j->sum);
    return evrt_bind_run(db, &b, EVRT_DB_PUT_JOB);
}

static int put_jobs(struct evrt_db *db, struct evrt_model_jobs *jobs, struct evrt_buf *scratch) {
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < jobs->gone_count; i++)
        code = end_job(db, jobs->gone[i]);
    for (size_t i = 0; code == SQLITE_OK && jobs->changed && i < jobs->count; i++)
        if (jobs->all[i].changed) code = put_job(db, &jobs->all[i], scratch);
    return code;
}

/* *rc: a row could not be read, and err says why; else the SQLite code counts. */
static int put_changes(struct evrt_db *db, struct evrt_model *m, struct evrt_buf *scratch, int *rc,
                       struct evrt_error *err) {
    int code = SQLITE_OK;
    for (size_t i = 0; code == SQLITE_OK && i < m->forgotten_count; i++)
        code = forget(db, m->forgotten[i]);
    for (size_t i = 0; code == SQLITE_OK && i < m->count; i++) {
        if (m->subs[i]->changed) code = put_sub(db, m->subs[i], scratch);
    }
    if (code == SQLITE_OK) *rc = evrt_tables_put_failed(db, m, &code, err);
    if (*rc < 0) return code;
    if (code == SQLITE_OK) code = put_jobs(db, &m->jobs, scratch);
    if (code == SQLITE_OK) code = evrt_tables_put_scheduled(db, &m->scheduled);
    if (code == SQLITE_OK) code = evrt_tables_kv_put(db, &m->kv);
    return code == SQLITE_OK ? evrt_db_put_meta(db, m->applied, digest(m)) : code;
}

int evrt_tables_commit(struct evrt_db *db, struct evrt_model *m, struct evrt_error *err) {
    struct evrt_buf scratch;
    evrt_buf_init(&scratch);
    evrt_model_normalise(m);
    int rc = 0, code = evrt_db_run(db, EVRT_DB_BEGIN);
    if (code == SQLITE_OK) code = put_changes(db, m, &scratch, &rc, err);
    if (code == SQLITE_OK && rc == 0) code = evrt_db_run(db, EVRT_DB_COMMIT);
    evrt_buf_finish(&scratch);
    if (code == SQLITE_OK && rc == 0) {
        evrt_model_committed(m);
        return 0;
    }
    if (rc == 0) rc = evrt_db_error(db, code, "committing", err);
    /* Some errors have rolled back already; then this is a harmless error of its own. */
    if (!sqlite3_get_autocommit(db->h)) code = evrt_db_run(db, EVRT_DB_ROLLBACK);
    return rc;
}

/* ---- Reading ---- */

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
        else if (type == SQLITE_BLOB && strcmp(to->table, "ended") == 0)
            evrt_ranges_json(&o, evrt_column_slice(row, i));
        else if (type == SQLITE_BLOB && strcmp(to->table, "job") == 0)
            evrt_jsonout_u64(&o, job_sum(evrt_column_slice(row, i)));
        else
            evrt_jsonout_str(&o, evrt_column_slice(row, i));
    }
    evrt_jsonout_end(&o);
    evrt_buf_putc(to->out, '\n');
    return 0;
}

int evrt_tables_dump(struct evrt_db *db, struct evrt_buf *out, struct evrt_error *err) {
    static const struct {
        enum evrt_db_statement rows;
        const char *table;
    } all[] = {{EVRT_DB_GET_META, "meta"},
               {EVRT_DB_ALL_SUBS, "sub"},
               {EVRT_DB_ALL_ENDED, "ended"},
               {EVRT_DB_ALL_EPOCHS, "epoch"},
               {EVRT_DB_ALL_DEAD, "dead"},
               {EVRT_DB_ALL_RETRIES, "retry"},
               {EVRT_DB_ALL_JOBS, "job"},
               {EVRT_DB_ALL_COPIES, "copy"},
               {EVRT_DB_ALL_SCHEDULED, "scheduled"},
               {EVRT_DB_ALL_KV, "kv"}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof all / sizeof all[0]; i++)
        rc = evrt_rows_each(db, all[i].rows, dump_row, &(struct dump){out, all[i].table}, err);
    return rc;
}
