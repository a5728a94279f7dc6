/* This worker's copy of the values that all workers share (bind_shared.c). Its loop's thread. */
#ifndef EVRT_WORKER_SHARED_H
#define EVRT_WORKER_SHARED_H

#include "core/map.h"

struct evrt_worker;

/* A SHARED frame: a change that another worker made, or the answer to one of ours. 0 or -EBADMSG. */
EVRT_MUST_CHECK int evrt_shared_says(struct evrt_worker *w, struct evrt_slice payload);
void evrt_shared_finish(struct evrt_map *shared);

#endif
