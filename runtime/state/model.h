/* What the journal says about handlers, in memory: the one place that gives records their meaning.
 * Pure (no SQLite, no clock): the content after group G depends on the records up to G alone, however
 * they were cut into calls and commits. The tables (state/tables.c) hold a committed copy of it.
 * Embedded (init/finish); the state thread's, and the opening thread's before that thread starts. */
#ifndef EVRT_STATE_MODEL_H
#define EVRT_STATE_MODEL_H

#include "state/ended.h"
#include "state/kv.h"
#include "state/model_failed.h"
#include "state/model_jobs.h"
#include "state/scheduled.h"
#include "state/state.h"

struct evrt_model_epoch {
    uint64_t from_seq;
    struct evrt_slice patterns; /* owned */
};

struct evrt_model_sub {
    struct evrt_state_sub row;       /* row.name is owned; row.settled is not used here */
    struct evrt_ended ended;         /* above the cursor */
    struct evrt_model_epoch *epochs; /* ascending */
    size_t epoch_count;
    bool changed, epochs_changed; /* since the last commit */
    uint64_t sum;                 /* of the committed rows (tables.c) */
};

struct evrt_model {
    struct evrt_model_jobs jobs;
    struct evrt_model_sub **subs; /* by number, ascending */
    size_t count, cap;
    size_t last;        /* index of the sub found last */
    uint64_t applied;   /* every record up to this group is in */
    uint64_t committed; /* ... in the tables */
    /* Not in the tables yet. Rows of a forgotten sub go before anything of the same number comes. */
    uint32_t *forgotten;
    size_t forgotten_count;
    struct evrt_model_failed failed;
    struct evrt_state_scheduled scheduled;
    uint64_t group, letters; /* of what is applied now; dead letters in it so far */
    bool any_copies;         /* there may be copied events in the tables */
    struct evrt_state_kv kv;
};

void evrt_model_init(struct evrt_model *m);
void evrt_model_finish(struct evrt_model *m);

/* Does a record of this kind change anything? */
bool evrt_model_wants(uint32_t kind);
/* Applies one record. -EBADMSG when it does not decode: the journal's checksum held, so this is a record
 * of another version, or a defect; nothing was changed. */
EVRT_MUST_CHECK int evrt_model_apply(struct evrt_model *m, uint32_t kind,
                                     struct evrt_slice payload);
/* What is applied from now on is of this group of the journal: dead letters are numbered by it. */
void evrt_model_enter(struct evrt_model *m, uint64_t group);
/* Brings everything to the form that is stored and shown. */
void evrt_model_normalise(struct evrt_model *m);
/* Is anything not in the tables yet? */
bool evrt_model_changed(const struct evrt_model *m);
/* The tables now hold all of it. */
void evrt_model_committed(struct evrt_model *m);

/* The sub of that number, or NULL. */
struct evrt_model_sub *evrt_model_find(struct evrt_model *m, uint32_t sub);
/* For loading: adds an empty sub (no such one yet), one epoch (copied, replaces one of that from_seq). */
struct evrt_model_sub *evrt_model_add(struct evrt_model *m, uint32_t sub, struct evrt_slice name);
void evrt_model_add_epoch(struct evrt_model_sub *s, uint64_t from_seq, struct evrt_slice patterns);

#endif
