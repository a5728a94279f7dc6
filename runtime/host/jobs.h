/* Jobs: work for operators that takes long and delivers many events again, beside what comes in: replays,
 * and the reprocessing of dead letters. A kind says what is delivered; this does the rest: at most so many
 * in flight, so many a second; progress, cancelling, going on after a restart; what is told and listed.
 *
 *     evrt_host_job_start ─▶ kind->start ─▶ kind->more ─▶ host_job_deliver ─▶ bus, beside the window
 *                                              ▲                                   │ ended
 *            JOB record, once a turn ◀─ counts, cursor ◀── kind->ended ◀───────────┘
 *
 * The journal has a job as of its last turn, in the group that has its deliveries' effects: what was in flight
 * at a crash is delivered once more (D4), and nothing after a clean stop.
 * One thread, the loop's. */
#ifndef EVRT_HOST_JOBS_H
#define EVRT_HOST_JOBS_H

#include "bus/bus.h"
#include "core/record.h"
#include "host/host.h"

struct evrt_jsonout;
struct host_job;

/* How a delivery of a job ended. Or of another kind that is beside the window. */
struct host_job_end {
    struct evrt_sub *sub;
    const struct evrt_delivery *delivery; /* its seq, attempt, names (evrt_delivery_names) */
    bool done;                            /* the handler succeeded; else: */
    struct evrt_slice error_type, message, traceback;
    bool declined;               /* the policy decided against another attempt */
    uint64_t generation, script; /* of the attempt */
};

struct host_job_kind {
    const char *name;          /* in the journal, for ever */
    enum evrt_purpose purpose; /* of its deliveries */
    /* So many in flight at most; NULL: jobs.concurrency. */
    uint64_t (*most)(const struct evrt_config *config);
    /* It begins, or goes on after a restart: spec, cursor, until and counts are as they were last journaled.
     * Sets j->own. A negative errno ends it as failed. */
    int (*start)(struct host_job *j, struct evrt_error *err);
    /* host_job_room(j) is not 0: to deliver that many at most. Called once a turn while there is room; a kind
     * that reads first starts to, and calls host_job_more() when it has. When nothing is left it sets
     * j->exhausted; the job ends when what is in flight has. */
    void (*more)(struct host_job *j);
    /* One of its deliveries ended; its number `key` as given to host_job_deliver. Counts it in j->r. Is called
     * for a job that was cancelled, too, when j->own is NULL. */
    void (*ended)(struct host_job *j, uint64_t key, const struct host_job_end *end);
    /* The job has ended, or the host closes: frees j->own. A read of its own that is under way must not use
     * j any more. May be NULL. */
    void (*stop)(struct host_job *j);
    /* It had ended, and some that were in flight still are not delivered again. May be NULL. */
    void (*dropped)(struct host_job *j);
    /* Members of its JSON that only this kind has, as "filter". May be NULL. */
    void (*describe)(const struct host_job *j, struct evrt_jsonout *o);
    /* It began or goes on (j->r.state RUNNING), or has ended: logs that in words of its own. May be NULL. */
    void (*log)(const struct host_job *j);
};

/* One that is in flight, or that ended while one before it has not. */
struct host_job_item {
    uint64_t key;
    bool ended;
};

struct host_job {
    struct evrt_host *host;
    const struct host_job_kind *kind;
    struct evrt_record_job r;    /* as told and journaled; its slices are owned */
    bool exhausted;              /* set by the kind */
    bool changed;                /* since it was journaled last */
    bool fresh;                  /* was never journaled */
    bool resume;                 /* goes on in the next turn */
    bool pump;                   /* has delivered in this turn */
    uint32_t limit;              /* in flight at most (as configured, unless asked for less) */
    uint64_t rate;               /* a second at most; 0: as fast as can be */
    double allowance;            /* of rate: so many may go now */
    int64_t allowed_ns;          /* as of then */
    uint64_t passed;             /* all below has been delivered or skipped */
    struct host_job_item *items; /* ascending keys: in flight, and behind the first of those */
    uint32_t count, in_flight;
    struct evrt_range *before; /* ended above the cursor before the last start */
    size_t before_count;
    struct evrt_buf failures; /* to tell while it is listed: members of a JSON array */
    unsigned failure_count;
    void *own; /* the kind's */
    struct host_job_waiter *waiters;
};

struct host_jobs; /* all of a host */
/* A new kind is named in the table at the top of jobs.c. */

/* ---- For the rest of the host ---- */

struct host_jobs *host_jobs_create(void);
void host_jobs_destroy(struct host_jobs *jobs);
/* At start, from state.db; jobs go on when the host serves. */
void host_jobs_restore(struct evrt_host *h, const struct evrt_record_job *r);
/* What got on: into a list (host_put_record), to be journaled in one group with what its deliveries left behind. */
void host_jobs_settle(struct evrt_host *h, struct evrt_buf *into);
/* Once a turn, after what ended was settled: journals what got on, lets jobs deliver. */
void host_jobs_turn(struct evrt_host *h);
/* A delivery beside the window ended: evrt_bus_end returned it as *end->delivery. */
void host_jobs_ended(struct evrt_host *h, const struct host_job_end *end);
/* The handler left the scripts: jobs that have deliveries queued for it would wait for ever, and end as failed. */
void host_jobs_orphaned(struct evrt_host *h, const struct evrt_sub *s);
/* Deliveries in flight were put back, to be made again: those of jobs that have ended are not. */
void host_jobs_again(struct evrt_host *h);
/* The lowest cursor of those of a kind that run; UINT64_MAX: none does. */
uint64_t host_jobs_cursor(const struct evrt_host *h, const struct host_job_kind *kind);
/* The host closes: they go on at its next start. */
void host_jobs_stop(struct evrt_host *h);

/* ---- For kinds ---- */

/* Begins a job: kind->start sets total and until, or does so when they are known. spec is copied; rate and
 * limit 0: none but jobs.concurrency. NULL and err: -ESHUTDOWN, or -EAGAIN (jobs.max run). It is journaled at
 * the end of this turn. */
struct host_job *host_job_begin(struct evrt_host *h, const struct host_job_kind *kind,
                                struct evrt_slice spec, uint64_t rate, uint32_t limit,
                                struct evrt_error *err);
struct host_job *host_job_find(struct evrt_host *h, uint64_t id);
/* A member of what it was asked for (its spec is a JSON object): text in *out, {NULL,0} when there is none; 0. */
struct evrt_slice host_job_text(const struct host_job *j, const char *name, struct evrt_buf *out);
uint64_t host_job_number(const struct host_job *j, const char *name);
/* How many may be delivered now. */
uint32_t host_job_room(struct host_job *j);
/* Delivers the event to `s`, outside of its order of sequence and of its counts; `key` is greater than that of
 * the one before, and moves r.cursor when all below have ended. */
void host_job_deliver(struct host_job *j, struct evrt_sub *s, uint64_t key, uint16_t attempt,
                      struct evrt_slice event);
/* That key is not delivered: it has ended already, or need not be. */
void host_job_skip(struct host_job *j, uint64_t key);
/* It ended before the last start, though one before it did not: to be skipped and not counted. */
bool host_job_has_ended(const struct host_job *j, uint64_t key);
/* Nothing to be delivered has a key below this any more (they were skipped). */
void host_job_passed(struct host_job *j, uint64_t key);
/* There is something to be delivered, found by a read that ended: asks kind->more in this turn. */
void host_job_more(struct host_job *j);
/* Ends it before its time: as failed, with the reason. */
void host_job_fail(struct host_job *j, const char *reason);
/* One that failed, to be told with the job: {<name>: key, "error": {"type", "message"}}. `key` is JSON. The first
 * ones are kept, and the beginning of a long message. */
void host_job_note_failure(struct host_job *j, const char *name, struct evrt_slice key,
                           struct evrt_slice type, struct evrt_slice message);
/* cb is called once, when it has ended or the host closes (-ESHUTDOWN), with its JSON. */
void host_job_wait(struct host_job *j, evrt_host_json_cb cb, void *arg);
/* {"id","kind","state","created","ended","total","done","failed","skipped","in_flight",...}: open, so that
 * members may follow. */
void host_job_json_open(const struct host_job *j, struct evrt_jsonout *o);

#endif
