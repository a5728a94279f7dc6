/* Operators' jobs as the journal has them: part of the model. Embedded; its thread. */
#ifndef EVRT_STATE_MODEL_JOBS_H
#define EVRT_STATE_MODEL_JOBS_H

#include <stdbool.h>

#include "core/record.h"

struct evrt_model_job {
    struct evrt_record_job r; /* its slices are owned */
    bool changed;             /* since the last commit */
    uint64_t sum;             /* of its row (tables.c) */
};

struct evrt_model_jobs {
    struct evrt_model_job *all; /* by ascending id */
    size_t count, cap;
    uint64_t *gone; /* since the last commit */
    size_t gone_count;
    bool changed;
};

void evrt_model_jobs_finish(struct evrt_model_jobs *m);
void evrt_model_jobs_apply(struct evrt_model_jobs *m, const struct evrt_record_job *r);
void evrt_model_jobs_committed(struct evrt_model_jobs *m);

#endif
