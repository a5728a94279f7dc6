/* Events for later as the journal has them: what is not in the tables yet, and their rows. Part of the model;
 * its thread. */
#ifndef EVRT_STATE_SCHEDULED_H
#define EVRT_STATE_SCHEDULED_H

#include "core/schedule.h"
#include "state/db.h"
#include "state/state.h"

struct evrt_state_scheduled {
    struct evrt_buf changes; /* u32 kind of record, u32 length, payload; in order */
};

void evrt_state_scheduled_finish(struct evrt_state_scheduled *s);
/* One of the two records. -EBADMSG. */
EVRT_MUST_CHECK int evrt_state_scheduled_apply(struct evrt_state_scheduled *s, uint32_t kind,
                                               struct evrt_slice payload);

/* Writes the changes within the transaction under way. 0 or an SQLite code. */
EVRT_MUST_CHECK int evrt_tables_put_scheduled(struct evrt_db *db,
                                              const struct evrt_state_scheduled *s);
/* The last change of this one: 1 added, *out is it; 0 none; -ENOENT ended. */
int evrt_state_scheduled_change(const struct evrt_state_scheduled *s, int64_t due_ms,
                                uint64_t number, struct evrt_record_schedule *out);
/* Checks every row. */
EVRT_MUST_CHECK int evrt_tables_check_scheduled(struct evrt_db *db, struct evrt_error *err);
/* Rows by time, those after (due, number). */
EVRT_MUST_CHECK int evrt_tables_scheduled(struct evrt_db *db, int64_t due_ms, uint64_t number,
                                          uint64_t limit, evrt_state_scheduled_fn fn, void *arg,
                                          struct evrt_error *err);
/* One, or none. */
EVRT_MUST_CHECK int evrt_tables_scheduled_one(struct evrt_db *db, int64_t due_ms, uint64_t number,
                                              evrt_state_scheduled_fn fn, void *arg,
                                              struct evrt_error *err);

#endif
