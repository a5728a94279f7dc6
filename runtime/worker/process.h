/* The parts of a worker process, and what they ask of each other. One loop, one thread. */
#ifndef EVRT_WORKER_PROCESS_H
#define EVRT_WORKER_PROCESS_H

#include <uv.h>

#include "core/map.h"
#include "core/random.h"
#include "frame/frame.h"
#include "frame/page.h"
#include "loop/channel.h"
#include "worker/delivery.h"
#include "worker/load_guard.h"
#include "worker/memory.h"
#include "worker/reads.h"
#include "worker/runner.h"
#include "worker/unheard.h"

struct evrt_counts;
struct lua_State;

enum evrt_worker_phase {
    EVRT_WORKER_GREETING, /* until HELLO */
    EVRT_WORKER_SERVING,
    EVRT_WORKER_DRAINING, /* takes what it has, then says DRAINED */
    EVRT_WORKER_LEAVING,  /* only writes what it has put; then the process ends */
};

struct evrt_worker {
    struct evrt_memory memory; /* first: evrt_worker_of() */
    uv_loop_t loop;
    struct evrt_channel channel;
    uv_check_t turn;
    uv_prepare_t flush;
    uv_idle_t again; /* keeps the loop from sleeping while the inbox holds something */
    struct evrt_slice snapshot;
    struct evrt_page *page;        /* the host's view of this process; NULL: none */
    struct evrt_frame_hello hello; /* its slices point into hello_bytes */
    char *hello_bytes;
    struct lua_State *L;
    struct evrt_deliveries deliveries;
    struct evrt_runners runners;
    struct evrt_counts *counts; /* metrics of scripts: bind_metrics.c; NULL: none */
    struct evrt_reads reads;
    struct evrt_map shared; /* copy of the values that all workers share: bind_shared.c */
    struct evrt_random random;
    struct evrt_buf scratch; /* for what a binding encodes; cleared by each that uses it */
    size_t done;             /* the open DONE frame in the channel's output, or SIZE_MAX */
    unsigned settled;        /* since the last flush */
    bool urgent;             /* of what is not written yet: before the next of a flood */
    struct evrt_unheard unheard;
    unsigned taken; /* deliveries in this turn */
    struct evrt_load_guard guard;
    uint32_t handlers; /* how many were declared */
    enum evrt_worker_phase phase;
    int exit_code;
};

/* The worker that a state belongs to. */
static inline struct evrt_worker *evrt_worker_of(struct lua_State *L) {
    return (struct evrt_worker *)(void *)evrt_memory_of(L);
}

/* Where to put any frame but DONE. */
struct evrt_buf *evrt_worker_out(struct evrt_worker *w);
/* Tells that a limit came to bear, by its key in the configuration. */
void evrt_worker_limit(struct evrt_worker *w, const char *key);
/* Whether the delivery may keep so many bytes more of effects (kv.max_effects); -EMSGSIZE: counted as well. */
EVRT_MUST_CHECK int evrt_worker_has_room(struct evrt_worker *w, const struct evrt_delivery *d,
                                         size_t n, struct evrt_error *err);
/* The running delivery succeeded, or failed; it is ended. */
void evrt_worker_settle_done(struct evrt_worker *w);
void evrt_worker_settle_failed(struct evrt_worker *w, const struct evrt_frame_failed *f);
/* Writes what was put. */
void evrt_worker_flush(struct evrt_worker *w);
/* Ends the process once what was put is written. The first exit code stays. */
void evrt_worker_leave(struct evrt_worker *w, int exit_code);

#endif
