/* The inside of struct evrt_state, shared by its two sides: state.c (owner thread) and thread.c (state
 * thread). Every field says who may touch it. */
#ifndef EVRT_STATE_THREAD_H
#define EVRT_STATE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "state/snapshots.h"
#include "state/view.h"

#define EVRT_STATE_NEVER INT64_MAX
#define EVRT_STATE_HEADER 16 /* of a record in the queue: u64 group, u32 kind, u32 length */
#define EVRT_STATE_EARLY (1024 * 1024) /* bytes in the queue that are taken before the deadline */

struct evrt_state_task {
    struct evrt_state_task *next;
    evrt_state_job job;
    void *arg;
};

struct evrt_state {
    /* Set by open, then only read. */
    struct evrt_state_options options; /* defaults filled in; path is not used after open */
    bool in_memory;
    pthread_t thread;

    /* Owner thread. */
    uint64_t given;    /* newest group of which a record was given */
    uint64_t complete; /* every group up to it was given whole */
    bool fresh;        /* a record came since the last advance */

    /* Under `lock`: what the owner hands over. */
    pthread_mutex_t lock;
    pthread_cond_t wake;     /* the state thread waits here */
    pthread_cond_t progress; /* the owner waits here */
    struct evrt_buf queue;   /* header and payload, repeated */
    uint64_t queue_records;
    uint64_t advanced; /* groups up to it may be applied */
    int64_t deadline;  /* CLOCK_MONOTONIC ns of the next commit, or EVRT_STATE_NEVER */
    struct evrt_state_task *tasks, **tasks_end;
    uint64_t flush_asked, flush_done;
    uint64_t snapshot_asked, snapshot_done;
    struct evrt_error snapshot_error; /* of the last one; code 0: it is there */
    bool closing;
    struct evrt_state_stats stats;

    /* State thread. */
    struct evrt_db *db;
    struct evrt_model model;
    struct evrt_snapshots snapshots;
    struct evrt_buf intake; /* taken from the queue; groups not complete yet stay */
    uint64_t intake_records;
    bool blocked; /* the last commit found no space, or the database held */
    bool failed;
    struct evrt_error error; /* of `blocked` or `failed` */

    /* Any thread. */
    _Atomic uint64_t applied, snapshotted;
};

/* Body of the state thread; arg is the struct evrt_state. */
void *evrt_state_thread(void *arg);

#endif
