/* Reload: from a trigger to an outcome, one at a time.
 *
 *     trigger ─▶ READING ─────▶ LOADING ─────────▶ WAITING ───────────────▶ switch
 *                config and      workers of the     while the generation
 *                scripts, in     new generation     before still drains
 *                the pool
 *         nothing changed, or refused: no switch ◀─┘
 *
 * Triggers that come meanwhile are remembered as one, and served by one more round; so are those that come thick and
 * fast (reload.interval). Kept in the host; the loop's thread, but for the reading. Included by host/node.h. */
#ifndef EVRT_HOST_RELOAD_H
#define EVRT_HOST_RELOAD_H

#include "config/config.h"
#include "host/generation.h"
#include "host/host.h"

enum host_reload_step {
    HOST_RELOAD_IDLE,
    HOST_RELOAD_READING,
    HOST_RELOAD_LOADING,
    HOST_RELOAD_WAITING
};

enum host_reload_outcome {
    HOST_RELOAD_NONE,
    HOST_RELOAD_DONE,
    HOST_RELOAD_UNCHANGED,
    HOST_RELOAD_REFUSED,
    HOST_RELOAD_OUTCOMES
};

/* Those who are told the outcome. */
struct host_askers {
    struct host_asker {
        evrt_host_json_cb cb;
        void *arg;
    } * v;
    size_t n;
};

/* A key of the configuration that differs from the one in force. */
struct host_change {
    const char *key;
    char *from, *to;
    bool reloadable;
};
struct host_changes {
    struct host_change *v;
    size_t n;
};
void host_changes_finish(struct host_changes *c);

struct host_folder;

struct host_reload {
    const struct evrt_host_reload_ops *ops;
    void *ops_arg;
    enum host_reload_step step;
    bool again; /* a trigger came since this round began to read */
    bool asked; /* this round is not only the watch's: someone wants to know what comes of it */
    bool asked_again;
    struct host_askers now, later;
    struct host_generation *loading, *draining;
    struct evrt_config fresh; /* of this round, once read; its file is NULL before */
    struct host_changes changes;
    int64_t began_ns;
    uv_timer_t deadline; /* of loading */
    uv_timer_t patience; /* of draining */
    uv_timer_t pace;     /* of what was put off */
    int64_t paid_ns;     /* when the reloads so far would have come at one in reload.interval */

    /* The last one that was decided. */
    enum host_reload_outcome outcome;
    int64_t decided_ms;
    struct host_errors errors;
    uint64_t counts[HOST_RELOAD_OUTCOMES];
    uint64_t refused_hash; /* of scripts that do not load */

    /* watch.c */
    struct host_folder *folders; /* watched */
    uv_timer_t quiet;            /* until no change has come for a moment */
    uv_timer_t rescan;
    int64_t disturbed_ns; /* first change that was not acted on; 0: none */
    uint64_t signature;   /* of what was read last */
    bool looking;         /* a rescan is in the pool */
};

/* ---- reload.c ---- */

/* Something may have changed. */
void host_reload_look(struct evrt_host *h);
/* A worker of the generation being loaded became ready, was refused or died. */
void host_reload_progress(struct evrt_host *h);
/* The generation that drained has no process left. */
void host_reload_drained(struct host_generation *g);
/* Begins what was triggered, when nothing is in its way (any more). */
void host_reload_start(struct evrt_host *h);
/* The host drains: what is being loaded is given up. */
void host_reload_stop(struct evrt_host *h);
void host_reload_finish(struct evrt_host *h);

/* ---- reload_report.c ---- */

/* Logs the outcome and appends it as JSON; `old` and `fresh` with HOST_RELOAD_DONE. */
void host_reload_report(struct evrt_host *h, const struct evrt_scripts *old,
                        const struct evrt_scripts *fresh, struct evrt_buf *out);
/* "generation", "files" and "reload" of GET /api/v1/handlers: the members, without braces. */
struct evrt_jsonout;
void host_reload_state(const struct evrt_host *h, struct evrt_jsonout *o);

/* ---- watch.c ---- */

/* Watches these folders, and no others; the reading that named them had this signature. */
void host_watch(struct evrt_host *h, const struct evrt_scripts *read);
/* After reload.watch changed, and at the start. */
void host_watch_start(struct evrt_host *h);
void host_watch_stop(struct evrt_host *h);

#endif
