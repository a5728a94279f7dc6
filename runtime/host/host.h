/* The host: store, bus and workers as one running node. What HTTP, the C API and the commands build on.
 * Owner: the composition root (runtime/evrt.c). Everything is on the loop thread. */
#ifndef EVRT_HOST_HOST_H
#define EVRT_HOST_HOST_H

#include <limits.h>
#include <stdbool.h>

#include "core/trace_context.h"

struct uv_loop_s;
struct evrt_config;
struct evrt_log;
struct evrt_tracer;
struct evrt_host;

struct evrt_config_change;

/* What a reload asks of the host's owner. */
struct evrt_host_reload_ops {
    /* Reads and checks the configuration anew into *out, against the one in force, and whatever else the
     * owner keeps in files. On a thread of the pool; the loop goes on meanwhile. Negative: every reason was
     * told to `each`. */
    int (*read)(void *arg, struct evrt_config *out,
                void (*each)(void *each_arg, const struct evrt_error *err),
                void (*changed)(void *each_arg, const struct evrt_config_change *change),
                void *each_arg);
    /* What was read is in force from now on. */
    void (*apply)(void *arg);
    void (*begun)(void *arg);
    /* As evrt_host_json_cb. */
    void (*decided)(void *arg, int status, struct evrt_slice json);
};

struct evrt_host_options {
    struct evrt_config *config; /* outlives the host, which a reload lets change it */
    struct evrt_log *log;       /* outlives the host */
    struct evrt_tracer *tracer; /* outlives the host; NULL: tracing is off */
    const char *worker_path;    /* NULL: this executable */
    const struct evrt_host_reload_ops *reload; /* NULL: only scripts are read anew */
    void *reload_arg;
};

/* Opens and recovers the store, loads the scripts, starts the workers. See evrt_start() for errors. */
EVRT_MUST_CHECK int evrt_host_create(struct evrt_host **out,
                                     const struct evrt_host_options *options,
                                     struct uv_loop_s *loop, struct evrt_error *err);
/* After evrt_host_drain's callback. */
void evrt_host_destroy(struct evrt_host *h);
/* Refuses new events, lets deliveries finish, commits, ends the workers, closes the store and the
 * handles. Called again: does not wait for deliveries any longer. */
void evrt_host_drain(struct evrt_host *h, void (*cb)(void *arg), void *arg);

struct evrt_log *evrt_host_log(const struct evrt_host *h);
/* Of the log and of what scripts log, in all workers. `level` as enum evrt_log_level. */
void evrt_host_set_log_level(struct evrt_host *h, int level);
const struct evrt_config *evrt_host_config(const struct evrt_host *h);
struct uv_loop_s *evrt_host_loop(const struct evrt_host *h);

struct evrt_metrics;
/* The registry, for who counts on the loop; NULL: metrics are off. */
struct evrt_metrics *evrt_host_metrics(const struct evrt_host *h);
/* Brings what is looked at rather than counted up to now. */
void evrt_host_collect(struct evrt_host *h);

/* ---- Publishing ---- */

/* Called once, on the loop thread, when the event is durable. */
typedef void (*evrt_host_publish_cb)(void *arg, uint64_t seq);
/* Journals an event whose attributes are complete and checked (evrt_event_defaults, evrt_event_check).
 * The event is copied. It is committed at the end of this loop turn's batch.
 * 0, or EVRT_DUPLICATE: nothing is stored, and cb is called with the first one's seq once that is durable;
 * EVRT_SCHEDULED: it is for later, and cb is called with its number (both: the first one is); or -EINVAL,
 * -ENOSPC, -EAGAIN, -EMSGSIZE, -ESHUTDOWN with the reason: cb is not called then. */
EVRT_MUST_CHECK int evrt_host_publish(struct evrt_host *h, const struct evrt_event *e,
                                      evrt_host_publish_cb cb, void *arg, struct evrt_error *err);
/* Fills in id, time and source, then checks, types of evrt's own included. The slices point into `scratch`. -EINVAL. */
struct evrt_host_scratch {
    char id[40], time[32];
};
EVRT_MUST_CHECK int evrt_host_complete(struct evrt_host *h, struct evrt_event *e,
                                       struct evrt_host_scratch *scratch, struct evrt_error *err);
/* Checks data that should be JSON (no datacontenttype, or a JSON one) and sets the event's flags. For
 * events that come from elsewhere than HTTP, which checks for itself. -EINVAL with the position. */
EVRT_MUST_CHECK int evrt_host_check_data(struct evrt_event *e, struct evrt_error *err);
/* "fsync", "os" or "memory"; static. */
const char *evrt_host_durability(const struct evrt_host *h);

/* Waits until the first attempt of every handler that event `seq` matched has settled, or for
 * `timeout_ms`. cb is called once, with pending = how many had not settled and `outcomes`, a JSON array
 * [{"handler":..,"outcome":"success|retrying|dead|discarded|pending","error":{"type","message"}?}],
 * valid during the call. EVRT_PENDING_UNKNOWN, and no outcomes: which handlers it matched was not found out in
 * time.
 * To be called from the publish callback of that event, or for one that was published before. */
#define EVRT_PENDING_UNKNOWN UINT_MAX
typedef void (*evrt_host_settled_cb)(void *arg, unsigned pending, struct evrt_slice outcomes);
struct evrt_host_wait;
struct evrt_host_wait *evrt_host_wait_settled(struct evrt_host *h, uint64_t seq, int64_t timeout_ms,
                                              evrt_host_settled_cb cb, void *arg);
/* The caller went away: cb will not be called. */
void evrt_host_wait_cancel(struct evrt_host_wait *w);

/* A request that brings events, as a span (nothing when tracing is off): begun before they are published, put
 * around them, ended when it is answered. The texts are its headers, or {NULL, 0}, valid until then. */
struct evrt_host_request_span {
    bool on;
    bool single;         /* it brings one event, whose trace may be its own; set by the caller */
    bool decided;        /* the rest is set */
    bool sampled, begun; /* begun: the trace begins here */
    struct evrt_trace_context context;
    uint64_t parent;
    int64_t start_ns;
    struct evrt_slice given, state;
};
bool evrt_host_traces(const struct evrt_host *h);
void evrt_host_request_begin(struct evrt_host *h, struct evrt_slice traceparent,
                             struct evrt_slice tracestate, struct evrt_host_request_span *span);
/* From now on; NULL: not any more. */
void evrt_host_request_around(struct evrt_host *h, struct evrt_host_request_span *span);
void evrt_host_request_end(struct evrt_host *h, struct evrt_host_request_span *span,
                           unsigned status, const char *peer);

/* ---- Looking ---- */

/* Ready: recovered, every worker has loaded its scripts, intake is open. `why` says what is missing. */
bool evrt_host_ready(const struct evrt_host *h, const char **why);

/* Counts over all handlers, since the store was made. */
void evrt_host_totals(const struct evrt_host *h, struct evrt_totals *out);

/* The JSON of the admin API, appended to out. */
void evrt_host_stats(struct evrt_host *h, struct evrt_buf *out); /* GET /api/v1/stats */
void evrt_host_handlers(struct evrt_host *h,
                        struct evrt_buf *out); /* {"items":[...],"next":null} */
/* Forgets a handler that is no longer in the scripts: what it had pending is discarded and counted.
 * -ENOENT unknown, -EBUSY still in the scripts, -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_forget(struct evrt_host *h, struct evrt_slice name,
                                     struct evrt_error *err);
/* Pauses a handler until it is resumed, whatever starts and reloads come between: what is in flight ends,
 * nothing more is delivered. cb is called once that is durable. -ENOENT unknown, -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_pause(struct evrt_host *h, struct evrt_slice name, bool paused,
                                    evrt_host_publish_cb cb, void *arg, struct evrt_error *err);

/* A retry is made due, or discarded and counted: cb is called once that is durable. -ENOENT: it is none (any
 * more); -EBUSY: it is being handled; -ESHUTDOWN. cb is not called then. */
EVRT_MUST_CHECK int evrt_host_retry(struct evrt_host *h, uint32_t sub, uint64_t seq, bool discard,
                                    evrt_host_publish_cb cb, void *arg, struct evrt_error *err);

/* ---- The key-value store ---- */

/* A key (limit 0), those that begin with it and come behind `after`, or (ns empty) the namespaces. */
struct evrt_host_kv_range {
    struct evrt_slice ns, key, after;
    uint32_t limit;
};
/* Of a key its value (core/kv.h), n 0 when it has none; else a SET for each and, when there are `more`, a DELETE
 * whose key is where to go on. status < 0: value is the reason. */
typedef void (*evrt_host_kv_cb)(void *arg, int status, bool more, struct evrt_slice value);
void evrt_host_kv_read(struct evrt_host *h, const struct evrt_host_kv_range *range,
                       evrt_host_kv_cb cb, void *arg);
/* One operation; cb is called once it is durable. -EINVAL, -EMSGSIZE; -EBUSY, -ENOSPC: no room now; -ESTALE: a
 * CAS found another value; -ESHUTDOWN. cb is not called then. */
EVRT_MUST_CHECK int evrt_host_kv_write(struct evrt_host *h, struct evrt_slice op,
                                       evrt_host_publish_cb cb, void *arg, struct evrt_error *err);

/* The handlers of the scripts loaded as a node would, in a worker of its own, with a loop of its own; nothing
 * else is opened. `each` is told every error. */
EVRT_MUST_CHECK int evrt_host_check(const struct evrt_host_options *options,
                                    void (*each)(void *arg, const struct evrt_error *err),
                                    void *arg, unsigned *handlers);

/* Reading events runs off the loop; cb is called once, on it. status 0 or a negative errno (-ENOENT: no
 * such event or handler; -EINVAL: the query is wrong; -EAGAIN: too many at once), json, or the reason, is
 * valid during the call. */
typedef void (*evrt_host_json_cb)(void *arg, int status, struct evrt_slice json);
/* GET /api/v1/dashboard: counts, rates, quantiles, ranks. -ESHUTDOWN, or why the journal cannot be read. */
void evrt_host_dashboard(struct evrt_host *h, evrt_host_json_cb cb, void *arg);
/* Reads configuration and scripts anew. cb (may be NULL) is called once, on the loop, when that is decided:
 * status 0 and what changed, -EINVAL and why not, -ESHUTDOWN. Triggers that come during a reload are served
 * by one more. */
void evrt_host_reload(struct evrt_host *h, evrt_host_json_cb cb, void *arg);

/* ---- Jobs: what takes long, in the background and over restarts ---- */

/* {"items":[JOB...],"next":null}, newest first; kind NULL: of all kinds. */
void evrt_host_jobs(struct evrt_host *h, const char *kind, struct evrt_buf *out);
/* {"id","kind","state":"running|done|failed|cancelled","created","ended","duration_ms","total","done","failed",
 * "skipped","in_flight","error"?,...}. -ENOENT: there is none (any more). */
EVRT_MUST_CHECK int evrt_host_job(struct evrt_host *h, uint64_t id, struct evrt_buf *out,
                                  struct evrt_error *err);
/* Nothing more is delivered; what is in flight ends. One that has ended stays as it is. The same, and -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_job_cancel(struct evrt_host *h, uint64_t id, struct evrt_buf *out,
                                         struct evrt_error *err);

/* Calls cb once with the job's JSON: when it has ended, or (`ended` false) when it is durable that it was
 * begun. -ENOENT, -ESHUTDOWN and the reason. */
void evrt_host_job_wait(struct evrt_host *h, uint64_t id, bool ended, evrt_host_json_cb cb,
                        void *arg);
/* Whether it is of that kind. */
bool evrt_host_job_is(struct evrt_host *h, uint64_t id, const char *kind);

/* What keys expire by: the wall clock as it was at the start, and the time that has passed since. */
int64_t evrt_host_kv_now(const struct evrt_host *h);

/* Retries by handler's number and sequence, those after the two given; handler {NULL,0}: of all. */
void evrt_host_retries(struct evrt_host *h, struct evrt_slice handler, uint32_t after_sub,
                       uint64_t after_seq, uint32_t limit, evrt_host_json_cb cb, void *arg);

/* Events for later, soonest first: those after the time and number given. {"items":[{"id","deliver_at",
 * "accepted","kind":"at|after|timer","event":CloudEvent}],"next":"MS-NUMBER"|null} */
void evrt_host_scheduled(struct evrt_host *h, int64_t after_ms, uint64_t after_number,
                         uint32_t limit, evrt_host_json_cb cb, void *arg);
/* Cancels one: cb is called once that is durable. -ENOENT, -EBUSY: it is being published; -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_unschedule(struct evrt_host *h, uint64_t number,
                                         evrt_host_publish_cb cb, void *arg,
                                         struct evrt_error *err);

struct evrt_host_filter {
    struct evrt_slice type;            /* a pattern as in handlers; {NULL,0}: all */
    struct evrt_slice source, subject; /* equal; {NULL,0}: all */
    int64_t from_ms, to_ms;            /* stored time, [from, to); 0: open */
};
struct evrt_host_query {
    struct evrt_host_filter filter;
    struct evrt_slice handler; /* only what it matched, with what became of that; {NULL,0}: all */
    struct evrt_slice state;   /* ... and only pending, running, done or dead; {NULL,0}: any */
    uint64_t after;            /* seq greater than this */
    uint32_t limit;            /* 1 to 1000 */
    bool script;               /* asks: a page is short, and others limit how many there are */
    bool (*gone)(void *arg);   /* asked now and then whether nobody waits any more; may be NULL */
};
/* What became of an event for a handler, as `state` names it; an outcome may also be "ended": done or discarded, and
 * which one was not found in time. */
#define EVRT_HOST_EVENT_STATES(X) \
    X(PENDING, "pending")         \
    X(RUNNING, "running")         \
    X(RETRYING, "retrying") X(DONE, "done") X(DEAD, "dead") X(DISCARDED, "discarded")
/* {"items":[EVENT...],"next":"SEQ"|null}, oldest first; an EVENT is the CloudEvent as JSON plus seq and
 * stored, with a handler also "delivery":{"handler","outcome"}. The page may be short though there is a
 * next one: a scan that finds little ends after some seconds. */
void evrt_host_events(struct evrt_host *h, const struct evrt_host_query *q, evrt_host_json_cb cb,
                      void *arg);
/* One event with "handlers":[{"handler","outcome":"pending|running|retrying|done|dead|discarded|ended","error"?}]. */
void evrt_host_event(struct evrt_host *h, uint64_t seq, evrt_host_json_cb cb, void *arg);

/* Why it became what it did, by sequence or, when `id` is given, the newest event of that id: {"event",
 * "caused_by":[...],"handlers":[{"handler","outcome","policies","retry","attempts":[...],"published":[...]}],
 * "published_count","complete"}. -EAGAIN: too many queries at once. */
void evrt_host_why(struct evrt_host *h, uint64_t seq, struct evrt_slice id, evrt_host_json_cb cb,
                   void *arg);

/* ---- Replay ---- */

/* Delivers stored events once more to one handler, with ctx.replay true: those that the filter and the
 * handler's patterns match, within the sequences, oldest first. */
struct evrt_host_replay {
    struct evrt_slice handler;
    struct evrt_host_filter filter;
    uint64_t from_seq, to_seq; /* both included; 0: open, to what is stored now */
    uint64_t limit;            /* events at most; 0: all */
    uint64_t rate;             /* a second at most; 0: as fast as live events let it */
    bool dry_run;              /* only counts them */
};
/* *id is its job's number. -ENOENT: no such handler; -EINVAL; -EAGAIN: jobs.max; -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_replay(struct evrt_host *h, const struct evrt_host_replay *want,
                                     uint64_t *id, struct evrt_error *err);

/* ---- Dead letters ---- */

struct evrt_host_letter_filter {
    struct evrt_slice handler; /* {NULL,0}: all, as below */
    struct evrt_slice type;    /* a pattern */
    struct evrt_slice reason;  /* "exhausted" and its like (core/record.h) */
    int64_t from_ms, to_ms;    /* when they died, [from, to); 0: open */
};
struct evrt_host_letters {
    struct evrt_host_letter_filter which;
    uint64_t after; /* what `next` of the page before said; 0: from the newest */
    uint32_t limit;
    bool full; /* with event, history and traceback, as one alone is shown */
};
/* {"items":[{"id","handler","state":"dead|orphaned|reprocessing","seq","type","event_id","reason","attempts",
 * "error":{"type","message"},"dead_at","first_failed"}...],"next":"N"|null}, newest first; the page may be short
 * though there is a next one. -EINVAL, -ENOENT (no such handler), -ENOSPC, -ESHUTDOWN. */
void evrt_host_letters(struct evrt_host *h, const struct evrt_host_letters *q, evrt_host_json_cb cb,
                       void *arg);
/* One, with "trace_id", "event" (null: it is in the store no more) and "history":[{"attempt","at","error",
 * "generation","script"}...]. -ENOENT. */
void evrt_host_letter(struct evrt_host *h, uint32_t sub, uint64_t seq, evrt_host_json_cb cb,
                      void *arg);
/* Gives up one (seq not 0), or all that the filter wants: discarded, and counted. `done` is called once when that
 * is durable: `count` went; `held` are being reprocessed and stay. -EINVAL, -ENOENT, -ESHUTDOWN: not called. */
EVRT_MUST_CHECK int
evrt_host_letters_delete(struct evrt_host *h, const struct evrt_host_letter_filter *f, uint32_t sub,
                         uint64_t seq,
                         void (*done)(void *arg, int status, uint64_t count, uint64_t held),
                         void *arg, struct evrt_error *err);
/* Gives dead letters once more to the handlers they failed at: one (seq not 0), or those that the filter wants and
 * that are there now, oldest first. `begun` is called once: 0 and its job's number; or why not: -ENOENT, -EBUSY
 * (it is being handled, or its handler is gone), -EAGAIN (jobs.max), -ESHUTDOWN. Errors as above. */
struct evrt_host_reprocess {
    struct evrt_host_letter_filter which;
    uint32_t sub;
    uint64_t seq;
    uint64_t limit, rate; /* letters at most; deliveries a second at most; 0: no such limit */
};
EVRT_MUST_CHECK int evrt_host_reprocess(struct evrt_host *h, const struct evrt_host_reprocess *want,
                                        void (*begun)(void *arg, int status, uint64_t job,
                                                      const char *why),
                                        void *arg, struct evrt_error *err);
/* 0, -EINVAL, -ENOENT, -ESHUTDOWN and the reason. */
EVRT_MUST_CHECK int evrt_host_letters_check(struct evrt_host *h,
                                            const struct evrt_host_letter_filter *f,
                                            struct evrt_error *err);

/* ---- Following ---- */

/* Follows events as they become durable. The journal is read off the loop, no faster than lines are taken;
 * a tail that is admin.tail_lag events behind now passes over them, and over what retention has dropped,
 * and says so: {"gap":{"skipped":N,"from":SEQ,"to":SEQ,"reason":"slow|dropped"}}. */
struct evrt_host_tail;
struct evrt_host_tail_options {
    struct evrt_host_filter filter; /* to_ms is not used */
    uint64_t from_seq;              /* 0: with from_ms from there, else from now */
    /* Whole lines of JSON, one event or gap each; no more come until evrt_host_tail_more. */
    void (*lines)(void *arg, struct evrt_slice lines);
    /* The host closes, or the journal cannot be read: why. The last call; the tail is gone. */
    void (*ended)(void *arg, const char *reason);
    void *arg;
};
/* -EINVAL: type is no pattern; -EAGAIN: admin.max_tails; -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_tail_open(struct evrt_host_tail **out, struct evrt_host *h,
                                        const struct evrt_host_tail_options *options,
                                        struct evrt_error *err);
void evrt_host_tail_more(struct evrt_host_tail *t);
/* No call comes any more. */
void evrt_host_tail_close(struct evrt_host_tail *t);

/* ---- The store ---- */

/* Drops whole segments that ended before `before_ms` and that nobody needs; or only says which. status 0,
 * -ESHUTDOWN, -EBUSY (one is running). json: {"dry_run","before","dropped":{"segments","events","bytes"},
 * "kept":{...},"pins":[{"reason","handler"?,"seq"?,"not_ended"?}]}; kept are those of the same age that
 * something pins. */
void evrt_host_cleanup(struct evrt_host *h, int64_t before_ms, bool dry_run, evrt_host_json_cb cb,
                       void *arg);

/* Copies the store into `dir`, an absolute path that does not exist or is an empty folder, while the node
 * goes on: what it held at one group of the journal, ready to be run or verified. Segments that are closed
 * become hard links where that is possible, unless `copy`. */
struct evrt_host_backup;
struct evrt_host_backup_options {
    const char *dir;
    bool copy;
    void (*progress)(void *arg, uint64_t bytes, uint64_t total); /* now and then */
    /* The last call: 0 and the manifest, or a negative errno and the reason; what was made is removed. */
    void (*done)(void *arg, int status, struct evrt_slice json);
    void *arg;
};
/* -EBUSY: one is running; -ENOTSUP: there is nothing on disk; -EINVAL: dir; -ESHUTDOWN. */
EVRT_MUST_CHECK int evrt_host_backup_start(struct evrt_host_backup **out, struct evrt_host *h,
                                           const struct evrt_host_backup_options *options,
                                           struct evrt_error *err);
/* It ends soon, with done (-ECANCELED) as ever. */
void evrt_host_backup_cancel(struct evrt_host_backup *b);

#endif
