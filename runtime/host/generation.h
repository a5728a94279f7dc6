/* A generation: one frozen snapshot of the scripts and the workers that run it. A reload makes the next
 * one beside it; events go to the one that serves, and the one before finishes what it has.
 *
 *     LOADING ──every worker ready, nothing else drains──▶ SERVING ──the next one serves──▶ DRAINING
 *        └──refused──▶ ENDING ◀──nothing left, or workers.drain_timeout────────────────────────┘
 *
 * Owner: the host, which keeps all of them in a list until their last process is reaped and their last
 * handle closed. Included by host/node.h; the loop's thread. */
#ifndef EVRT_HOST_GENERATION_H
#define EVRT_HOST_GENERATION_H

#include <uv.h>

#include "core/error.h"
#include "frame/frame.h"
#include "host/scripts.h"
#include "loop/channel.h"

struct evrt_host;
struct evrt_page;
struct host_generation;
struct host_own;

enum host_worker_state {
    HOST_WORKER_NONE,
    HOST_WORKER_LOADING,
    HOST_WORKER_READY,
    HOST_WORKER_ENDING
};

/* What is known of a process that may be stuck; kept by contain.c. */
struct host_watch {
    struct evrt_page *page; /* shared with it; NULL: not watched, or not there */
    uint64_t turn;          /* as last seen there */
    int64_t unchanged_ns;   /* for how long, while it should have changed */
    uint64_t reads;         /* as last seen there */
    bool slow;              /* it did not turn between two looks: it gets nothing new */
    bool stalled;           /* and was killed for it */
};

/* A slot for one worker process; the process in it changes, the generation does not. */
struct host_worker {
    struct evrt_host *host;
    struct host_generation *generation;
    uint32_t slot;
    uint32_t
        instance; /* number of this process, from 1, never used again: what fences answers (D8) */
    enum host_worker_state state;
    pid_t pid;
    bool process_open; /* started and not reaped yet */
    bool channel_open; /* its handle is not closed yet */
    struct evrt_channel channel;
    struct host_watch watch;
    uv_timer_t restart;   /* of the process that ended; while there is one, of gentle.c */
    bool aside;           /* it gives way to others: gentle.c */
    uint32_t outstanding; /* deliveries it has */
    uint32_t lent;        /* of those, that wait for others */
    int64_t started_ns, died_ns;
    bool told;            /* it was told to end */
    unsigned failures;    /* quick deaths in a row: the restart backs off */
    char reason[128];     /* why it is being ended, for the log */
    struct host_own *own; /* metrics that its scripts define: meter_own.c */
};

enum host_generation_state {
    HOST_GENERATION_LOADING,
    HOST_GENERATION_SERVING,
    HOST_GENERATION_DRAINING,
    HOST_GENERATION_ENDING
};

/* Why it was refused: every error that its first workers told, up to a number. */
struct host_errors {
    struct evrt_error *v;
    size_t n;
};
void host_errors_add(struct host_errors *e, const struct evrt_error *err);
void host_errors_finish(struct host_errors *e);

struct host_generation {
    struct evrt_host *host;
    struct host_generation *next; /* in the host's list, newest first */
    uint64_t number;
    enum host_generation_state state;
    struct evrt_scripts scripts;
    struct evrt_frame_hello hello; /* what its workers are told at their start */
    struct host_worker *workers;
    uint32_t count;       /* of workers */
    uint32_t started;     /* of them, first start */
    unsigned timers;      /* restart timers that are not closed yet */
    bool declared;        /* the handlers are known */
    uint64_t declaration; /* hash of the text that declared them */
    bool refused;
    struct host_errors errors;
    int64_t began_ns;     /* when it began to load, then when it began to drain */
    uint64_t redelivered; /* deliveries taken from it while it drained */
};

/* Makes one of the host's and takes over the scripts; nothing runs yet. `config` has its settings; it need
 * not outlive the call. */
struct host_generation *host_generation_create(struct evrt_host *h, struct evrt_scripts *scripts,
                                               const struct evrt_config *config);
/* Starts `first` of its workers on the snapshot; the others follow when one has loaded it. One is what a bad
 * script then costs; all is the quickest. */
void host_generation_load(struct host_generation *g, uint32_t first);
/* Blocks until every worker has loaded or one was refused. Before the loop runs. */
void host_generation_await(struct host_generation *g);
/* How long loading may take; 0: for ever. A worker says itself where it is stuck when
 * workers.stall_timeout is over: this is for one that does not. */
enum { HOST_LOAD_GRACE_MS = 1000 };
int64_t host_generation_timeout(const struct host_generation *g);
/* That is over. */
void host_generation_late(struct host_generation *g);
/* Workers that have loaded the scripts. */
uint32_t host_generation_ready(const struct host_generation *g);
bool host_generation_loaded(const struct host_generation *g);
/* No delivery comes to it any more: its workers end when they have finished what they have. */
void host_generation_drain(struct host_generation *g);
/* What is left in them now goes to others. */
void host_generation_kill(struct host_generation *g);
/* Ends its workers: politely when nothing is in flight, else by signal. It closes its handles itself once
 * they are gone, and is freed then unless it is the one in service. */
void host_generation_end(struct host_generation *g);
/* Called when a process was reaped or a handle closed: takes the next step of an end. */
void host_generation_progress(struct host_generation *g);
/* Frees what no handle uses any more. */
void host_generation_destroy(struct host_generation *g);

/* ---- What its workers say while they load ---- */

/* READY. -EPROTO: it declares what the others do not. */
EVRT_MUST_CHECK int host_generation_declared(struct host_worker *w, struct evrt_slice json);
void host_generation_refuse(struct host_generation *g, const struct evrt_error *err);
/* Its process was reaped. */
void host_generation_lost(struct host_worker *w, int64_t status, int signal);

#endif
