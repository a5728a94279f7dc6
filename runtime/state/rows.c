/* See rows.h. */
#include "state/rows.h"

#include <errno.h>
#include <sqlite3.h>

#include "core/error.h"

void evrt_sum_u64(struct evrt_buf *out, uint64_t v) {
    evrt_buf_put(out, &v, sizeof v);
}

void evrt_sum_slice(struct evrt_buf *out, struct evrt_slice s) {
    evrt_sum_u64(out, s.n);
    evrt_buf_put(out, s.p, s.n);
}

void evrt_bind_u64(struct evrt_binder *b, uint64_t v) {
    if (b->code == SQLITE_OK) b->code = sqlite3_bind_int64(b->to, ++b->at, (int64_t)v);
}

void evrt_bind_text(struct evrt_binder *b, struct evrt_slice s) {
    if (b->code == SQLITE_OK)
        b->code =
            sqlite3_bind_text64(b->to, ++b->at, s.n ? s.p : "", s.n, SQLITE_STATIC, SQLITE_UTF8);
}

void evrt_bind_blob(struct evrt_binder *b, struct evrt_slice s) {
    if (b->code == SQLITE_OK)
        b->code = sqlite3_bind_blob64(b->to, ++b->at, s.n ? s.p : "", s.n, SQLITE_STATIC);
}

int evrt_bind_run(struct evrt_db *db, const struct evrt_binder *b, enum evrt_db_statement which) {
    return b->code == SQLITE_OK ? evrt_db_run(db, which) : b->code;
}

uint64_t evrt_column_u64(sqlite3_stmt *row, int at) {
    return (uint64_t)sqlite3_column_int64(row, at);
}

struct evrt_slice evrt_column_slice(sqlite3_stmt *row, int at) {
    const char *p = sqlite3_column_blob(row, at);
    return (struct evrt_slice){p, (size_t)sqlite3_column_bytes(row, at)};
}

int evrt_rows_each(struct evrt_db *db, enum evrt_db_statement which, evrt_row_fn fn, void *arg,
                   struct evrt_error *err) {
    sqlite3_stmt *rows = db->statements[which];
    int rc = 0, code = SQLITE_DONE;
    while (rc == 0 && (code = sqlite3_step(rows)) == SQLITE_ROW)
        rc = fn(db, rows, arg, err);
    if (rc == 0 && code != SQLITE_DONE) rc = evrt_db_error(db, code, sqlite3_sql(rows), err);
    sqlite3_reset(rows);
    return rc;
}

int evrt_bind_each(struct evrt_db *db, const struct evrt_binder *b, enum evrt_db_statement which,
                   evrt_row_fn fn, void *arg, struct evrt_error *err) {
    if (b->code != SQLITE_OK) return evrt_db_error(db, b->code, sqlite3_sql(b->to), err);
    return evrt_rows_each(db, which, fn, arg, err);
}

int evrt_rows_number(struct evrt_db *db, sqlite3_stmt *row, void *arg, struct evrt_error *err) {
    (void)db, (void)err;
    *(uint64_t *)arg = evrt_column_u64(row, 0);
    return 0;
}

int evrt_rows_damaged(struct evrt_db *db, const char *what, struct evrt_error *err) {
    return evrt_error_set(err, -EBADMSG, "%s is damaged: %s", db->file ? db->file : "state", what);
}
