/* Rows of what failed, between the files that read and write them. Same thread as the database. */
#ifndef EVRT_STATE_TABLES_FAILED_H
#define EVRT_STATE_TABLES_FAILED_H

#include "state/rows.h"
#include "state/tables.h"

struct evrt_failed_retry {
    uint32_t sub;
    struct evrt_record_retry retry;
    struct evrt_slice history;
};

/* The row that a statement stands on, its sum checked: slices are valid until the next step. */
EVRT_MUST_CHECK int evrt_failed_get_retry(struct evrt_db *db, struct sqlite3_stmt *row,
                                          struct evrt_buf *scratch, struct evrt_failed_retry *out,
                                          struct evrt_error *err);
EVRT_MUST_CHECK int evrt_failed_get_dead(struct evrt_db *db, struct sqlite3_stmt *row,
                                         struct evrt_buf *scratch, struct evrt_state_letter *out,
                                         struct evrt_error *err);

#endif
