/* Failed deliveries as the journal tells of them: what changed of retries, dead letters and copied events since
 * the last commit, in order. Part of the model; the rows are in the tables alone. Embedded; its thread. */
#ifndef EVRT_STATE_MODEL_FAILED_H
#define EVRT_STATE_MODEL_FAILED_H

#include <stdbool.h>

#include "core/record.h"

enum evrt_failed_op {
    EVRT_FAILED_RETRY,      /* there is one, or another one than before */
    EVRT_FAILED_RETRY_GONE, /* it ended */
    EVRT_FAILED_DEAD,       /* there is a dead letter, or another one than before */
    EVRT_FAILED_DEAD_GONE,
    EVRT_FAILED_COPY, /* of the event, if any of these still needs it */
    EVRT_FAILED_NONE, /* was cancelled; never seen */
};

struct evrt_failed {
    enum evrt_failed_op op;
    uint32_t sub;
    uint64_t seq;
    uint64_t n; /* DEAD: its number among all */
    struct evrt_record_retry retry;
    struct evrt_record_dead dead;
    struct evrt_slice event;
};

/* A first retry: where it is, +1; 0 when a later entry is about it, too. */
struct evrt_failed_fresh {
    uint64_t seq; /* 0: a free slot */
    uint32_t sub, at;
};

struct evrt_model_failed {
    struct evrt_buf list;            /* u32 sub, u32 op, u32 length, body; repeated */
    size_t count, retries, dead;     /* entries; of those, about retries; and about dead letters */
    struct evrt_failed_fresh *fresh; /* by sub and sequence */
    size_t fresh_count, fresh_mask;
};

/* Only what the op has is read. */
void evrt_failed_add(struct evrt_model_failed *m, const struct evrt_failed *f);
/* Steps through: *at starts at 0; false at the end. Slices point into the list. */
bool evrt_failed_next(const struct evrt_model_failed *m, size_t *at, struct evrt_failed *out);
/* A retry ended. true: it came since the last commit, and is as if it had never been, as there was nothing of it
 * before; false: the end has to be added. */
bool evrt_failed_cancel(struct evrt_model_failed *m, uint32_t sub, uint64_t seq);
/* Takes out what is of that sub. */
void evrt_failed_forget(struct evrt_model_failed *m, uint32_t sub);
void evrt_failed_clear(struct evrt_model_failed *m);
void evrt_failed_finish(struct evrt_model_failed *m);

#endif
