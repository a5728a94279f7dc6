/* Rows of state.db, one at a time: binding, stepping, columns, and what goes into a row's sum. What the rows
 * mean is in tables.c and its like. Same thread as the database. */
#ifndef EVRT_STATE_ROWS_H
#define EVRT_STATE_ROWS_H

#include "core/buf.h"
#include "state/db.h"

/* Parameters in order; the first code that is not SQLITE_OK sticks. Slices must live until the run. */
struct evrt_binder {
    struct sqlite3_stmt *to;
    int at, code;
};
void evrt_bind_u64(struct evrt_binder *b, uint64_t v);
void evrt_bind_text(struct evrt_binder *b, struct evrt_slice s);
void evrt_bind_blob(struct evrt_binder *b, struct evrt_slice s);
/* Runs a statement that gives no rows. 0 or an SQLite code. */
EVRT_MUST_CHECK int evrt_bind_run(struct evrt_db *db, const struct evrt_binder *b,
                                  enum evrt_db_statement which);

uint64_t evrt_column_u64(struct sqlite3_stmt *row, int at);
/* Valid until the next step. */
struct evrt_slice evrt_column_slice(struct sqlite3_stmt *row, int at);

/* What each row of a statement is given to; what is not 0 ends the walk and is returned. */
typedef int (*evrt_row_fn)(struct evrt_db *db, struct sqlite3_stmt *row, void *arg,
                           struct evrt_error *err);
EVRT_MUST_CHECK int evrt_rows_each(struct evrt_db *db, enum evrt_db_statement which, evrt_row_fn fn,
                                   void *arg, struct evrt_error *err);
/* The same of a statement with parameters. */
EVRT_MUST_CHECK int evrt_bind_each(struct evrt_db *db, const struct evrt_binder *b,
                                   enum evrt_db_statement which, evrt_row_fn fn, void *arg,
                                   struct evrt_error *err);
/* For one number: the first column of the last row goes to the uint64_t that is arg. */
int evrt_rows_number(struct evrt_db *db, struct sqlite3_stmt *row, void *arg,
                     struct evrt_error *err);
/* -EBADMSG: "state.db is damaged: `what`". */
int evrt_rows_damaged(struct evrt_db *db, const char *what, struct evrt_error *err);

/* Bytes that are to be hashed. */
void evrt_sum_u64(struct evrt_buf *out, uint64_t v);
void evrt_sum_slice(struct evrt_buf *out, struct evrt_slice s);

#endif
