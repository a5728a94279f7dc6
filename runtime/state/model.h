/* What the journal says about handlers, in memory: the one place that gives records their meaning.
 * Pure (no SQLite, no clock): the content after group G depends on the records up to G alone, however
 * they were cut into calls and commits. The tables (state/tables.c) hold a committed copy of it.
 * Embedded (init/finish); the state thread's, and the opening thread's before that thread starts. */
#ifndef EVRT_STATE_MODEL_H
#define EVRT_STATE_MODEL_H

#include "state/ended.h"
#include "state/model_jobs.h"
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
    struct evrt_buf dead; /* u32 sub, u32 length, as evrt_dead_put writes; repeated */
    size_t dead_count;
    struct evrt_buf
        retries; /* u32 sub, u32 length, as evrt_retry_put writes, or a u64 seq; repeated */
    size_t retry_count;
};

void evrt_model_init(struct evrt_model *m);
void evrt_model_finish(struct evrt_model *m);

/* Does a record of this kind change anything? */
bool evrt_model_wants(uint32_t kind);
/* Applies one record. -EBADMSG when it does not decode: the journal's checksum held, so this is a record
 * of another version, or a defect; nothing was changed. */
EVRT_MUST_CHECK int evrt_model_apply(struct evrt_model *m, uint32_t kind,
                                     struct evrt_slice payload);
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

/* Steps through dead deliveries not in the tables yet: *at starts at 0; false at the end. */
bool evrt_model_next_dead(const struct evrt_model *m, size_t *at, uint32_t *sub,
                          struct evrt_record_dead *out);
/* The same with changes of retries. *ended: the one of out->seq is no more (the rest of *out is not set). */
bool evrt_model_next_retry(const struct evrt_model *m, size_t *at, uint32_t *sub, bool *ended,
                           struct evrt_record_retry *out);

#endif
