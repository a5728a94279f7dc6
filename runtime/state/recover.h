/* From whatever is on disk to an open database and the model of its content. */
#ifndef EVRT_STATE_RECOVER_H
#define EVRT_STATE_RECOVER_H

#include "state/snapshots.h"
#include "state/tables.h"

/* Opens STORE/state.db; when it is missing, damaged or (next_group > 0) of a group that the journal does
 * not have, it is set aside and the newest good snapshot takes its place, else an empty one. `restored`
 * says why, for the log; "" when state.db stands as it was or nothing was ever there. On error nothing
 * is open. Opening thread. */
EVRT_MUST_CHECK int evrt_state_recover(const char *store, uint64_t next_group,
                                       struct evrt_snapshots *snapshots, struct evrt_db **db,
                                       struct evrt_model *model, char restored[160],
                                       struct evrt_error *err);

#endif
