/* Copies of state.db that let journal segments go: STORE/snapshots/<16 hex digits of the group>.db with
 * a checksum beside it (.db.sum). A copy counts when both are there and agree. Embedded (init/finish);
 * same thread as the database.
 *
 *     begin ─▶ step ─▶ step ─▶ ... copied ─▶ opened and checked ─▶ synced, sum written, renamed
 *              (commits to state.db may come between steps: they reach the copy too) */
#ifndef EVRT_STATE_SNAPSHOTS_H
#define EVRT_STATE_SNAPSHOTS_H

#include <stdbool.h>

#include "state/db.h"

struct sqlite3_backup;

struct evrt_snapshots {
    char *folder;
    char *temp;           /* where a copy grows */
    uint64_t good[2];     /* groups of the newest two that were read and agreed; 0: none */
    bool verified;        /* good[] is known */
    struct sqlite3 *copy; /* while one is made */
    struct sqlite3_backup *backup;
};

void evrt_snapshots_init(struct evrt_snapshots *s, const char *store);
/* Abandons what is being made. */
void evrt_snapshots_finish(struct evrt_snapshots *s);

/* Copies the newest good snapshot of a group below `before` to `to` (synced), and tells its group.
 * -ENOENT: there is none. */
EVRT_MUST_CHECK int evrt_snapshots_restore(struct evrt_snapshots *s, uint64_t before,
                                           const char *to, uint64_t *group);
/* Renames snapshots of groups from `from` on, so that they are never used. */
void evrt_snapshots_set_aside(struct evrt_snapshots *s, uint64_t from);
/* Reads the newest ones until two are found good. */
void evrt_snapshots_verify(struct evrt_snapshots *s);

/* Opens the newest good one for reading and tells its group. -ENOENT: there is none. */
int evrt_snapshots_open(const struct evrt_snapshots *s, uint64_t *group);

EVRT_MUST_CHECK int evrt_snapshots_begin(struct evrt_snapshots *s, struct evrt_db *db,
                                         struct evrt_error *err);
/* 1: call again. 0: done; `group` must be the last committed one. Negative: abandoned; -EBADMSG means
 * that state.db itself is damaged. */
EVRT_MUST_CHECK int evrt_snapshots_step(struct evrt_snapshots *s, uint64_t group,
                                        struct evrt_error *err);

#endif
