/* From whatever is on disk to an open database and the model of its content. */
#ifndef EVRT_STATE_RECOVER_H
#define EVRT_STATE_RECOVER_H

#include "state/snapshots.h"
#include "state/tables.h"

struct evrt_state_options;

/* Opens state.db in options->path; when it is missing, damaged or of a group that the journal does not have
 * (next_group, first_group), it is set aside and the newest good snapshot takes its place, else an empty one, if the
 * journal has all that was in it. `restored` says why, for the log; "" when state.db stands as it was or nothing was
 * ever there. On error nothing is open. Opening thread. */
EVRT_MUST_CHECK int evrt_state_recover(const struct evrt_state_options *options,
                                       struct evrt_snapshots *snapshots, struct evrt_db **db,
                                       struct evrt_model *model, char restored[160],
                                       struct evrt_error *err);

#endif
