/* The worker's side of the key-value store: bind_kv.c. */
#ifndef EVRT_WORKER_KV_H
#define EVRT_WORKER_KV_H

#include "core/buf.h"

struct evrt_worker;

/* A VALUE frame. */
int evrt_kv_says(struct evrt_worker *w, struct evrt_slice payload);

#endif
