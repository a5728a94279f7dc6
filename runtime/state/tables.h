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
/* Of rows that failed, for the two above: the sums, of dead letters as far as time allows; and what changed: *code
 * is an SQLite code, the errno one of a row that could not be read. */
EVRT_MUST_CHECK int evrt_tables_check_failed(struct evrt_db *db, struct evrt_model *m,
                                             struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_put_failed(struct evrt_db *db, const struct evrt_model *m,
                                           int *code, struct evrt_error *err);
/* Dead letters of one event that are in the tables; sequences of one handler's in [from, to), in any order. */
EVRT_MUST_CHECK int evrt_tables_dead(struct evrt_db *db, uint64_t seq, evrt_state_letter_fn fn,
                                     void *arg, struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_dead_in(struct evrt_db *db, uint32_t sub, uint64_t from,
                                        uint64_t to, void (*fn)(void *, uint64_t seq), void *arg,
                                        struct evrt_error *err);
/* As evrt_state_letters and its like, of those in the tables. */
EVRT_MUST_CHECK int evrt_tables_letters(struct evrt_db *db, const struct evrt_state_letters *which,
                                        evrt_state_letter_fn fn, void *arg,
                                        struct evrt_state_letters_end *end, struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_letter(struct evrt_db *db, uint32_t sub, uint64_t seq,
                                       evrt_state_letter_fn fn, void *arg, struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_last_letter(struct evrt_db *db, uint64_t *n,
                                            struct evrt_error *err);
/* Copied events: one, appended to out (-ENOENT: there is none); what failed in [from, to) and has none. */
EVRT_MUST_CHECK int evrt_tables_copy(struct evrt_db *db, uint32_t sub, uint64_t seq,
                                     struct evrt_buf *out, struct evrt_error *err);
EVRT_MUST_CHECK int evrt_tables_bare(struct evrt_db *db, const struct evrt_model *m, uint64_t from,
                                     uint64_t to, evrt_state_bare_fn fn, void *arg,
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
