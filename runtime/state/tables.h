/* The model as rows, and back. Same thread as the database. */
#ifndef EVRT_STATE_TABLES_H
#define EVRT_STATE_TABLES_H

#include "state/db.h"
#include "state/model.h"

/* Fills an empty model from the tables and checks every sum on the way. -EBADMSG: damaged. */
EVRT_MUST_CHECK int evrt_tables_load(struct evrt_db *db, struct evrt_model *m,
                                     struct evrt_error *err);
/* Writes what changed since the last commit in one transaction, applied position included. On error the
 * tables and the model are as they were. */
EVRT_MUST_CHECK int evrt_tables_commit(struct evrt_db *db, struct evrt_model *m,
                                       struct evrt_error *err);
/* Of rows that failed, for the two above: their sums, and those of retries one by one; what changed. 0 or an
 * SQLite code. */
EVRT_MUST_CHECK int evrt_tables_check_failed(struct evrt_db *db, const struct evrt_model *m,
                                             struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_put_failed(struct evrt_db *db, const struct evrt_model *m,
                                           struct evrt_buf *scratch);
/* Dead deliveries of one event that are in the tables. */
EVRT_MUST_CHECK int evrt_tables_dead(struct evrt_db *db, uint64_t seq,
                                     void (*fn)(void *, uint32_t sub,
                                                const struct evrt_record_dead *),
                                     void *arg, struct evrt_error *err);
/* Sequences of one handler's in [from, to), in any order. */
EVRT_MUST_CHECK int evrt_tables_dead_in(struct evrt_db *db, uint32_t sub, uint64_t from,
                                        uint64_t to, void (*fn)(void *, uint64_t seq), void *arg,
                                        struct evrt_error *err);
/* Retries that are in the tables: those after (sub, seq), at most `limit`; and one. */
EVRT_MUST_CHECK int evrt_tables_retries(struct evrt_db *db, uint32_t sub, uint64_t seq,
                                        uint64_t limit, evrt_state_retry_fn fn, void *arg,
                                        struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_retry(struct evrt_db *db, uint32_t sub, uint64_t seq,
                                      evrt_state_retry_fn fn, void *arg, struct evrt_error *err);
/* Everything in the tables as text, one row a line. */
EVRT_MUST_CHECK int evrt_tables_dump(struct evrt_db *db, struct evrt_buf *out,
                                     struct evrt_error *err);

#endif
