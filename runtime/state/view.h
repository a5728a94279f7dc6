/* What a job sees: the model for subscriptions and epochs, the tables (and what waits to get there) for
 * dead deliveries. State thread. */
#ifndef EVRT_STATE_VIEW_H
#define EVRT_STATE_VIEW_H

#include "state/snapshots.h"
#include "state/tables.h"

struct evrt_state_view {
    struct evrt_db *db;
    struct evrt_model *model;
    struct evrt_snapshots *snapshots;
    struct evrt_buf scratch;
    int failed;              /* state.db failed before: every read says this */
    struct evrt_error error; /* code != 0: a read failed now */
};

#endif
