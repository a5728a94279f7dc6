/* Inside of the host: what its files share. Nothing outside runtime/host includes this.
 *
 *     publish.c   an event into the journal, the caller told when it is durable
 *     dedup.c     what was published before
 *     schedule.c  what is to be published later (due.c: what next); scheduled.c lists it
 *     timers.c    handlers that want an event at certain times
 *     turn.c      the end of a loop turn: settle, submit, send; and what a commit sets off
 *     subs.c      subscriptions against the scripts: added, changed, orphaned, forgotten
 *     key.c       what an event is ordered by
 *     catchup.c   reading the journal for subscriptions that are behind
 *     generation.c  the scripts in service, the ones being loaded, the ones that drain
 *     reload.c    from one generation to the next; watch.c sees when, reload_report.c tells what
 *     workers.c   worker processes: started, fed, replaced, ended
 *     contain.c   workers that are stuck or died, and the delivery that is to blame
 *     retry.c     failures: tried again, when, or dead; retries.c lists them
 *     dead.c      dead letters made; letters.c lists and changes them, reprocess.c gives them once more
 *     jobs.c      what takes long and delivers again: throttled, resumed, cancelled; aside.c: what ended
 *     replay.c    the kind of job that delivers stored events once more
 *     scripts.c   what scripts declare; scripts_read.c freezes their folders
 *     recover.c   opening: journal, state, counts
 *     copies.c    events that failed, copied before their segment goes; fetch.c reads them
 *     keeper.c    from time to time: snapshots, retention, orphans
 *     kv.c        the key-value store: what is written; accept.c what deliveries leave behind; read.c
 *     share.c     values that all workers share: changed by one, told to all
 *     wait.c      publish(..., wait = handled)
 *     trace.c     spans of all that
 *     list.c      stored events for people; query.c one of them; tail.c those to come (filter.c: which)
 *     why.c       why one became what it did: gathered from the journal, told by why_json.c
 *     cleanup.c   dropping old segments on demand; backup.c a copy of the store while it is in use
 *     meter.c     what is counted of events; meter_collect.c looked at, meter_own.c of scripts, meter_life.c
 *     monitor.c   the last quarter of an hour of what meters count; dashboard.c shows it
 *     ask.c       state.db asked without waiting; report.c what the node says of itself
 *
 * One thread, the loop's, except where a function says otherwise. */
#ifndef EVRT_HOST_NODE_H
#define EVRT_HOST_NODE_H

#include <stdatomic.h>
#include <uv.h>

#include "bus/bus.h"
#include "config/config.h"
#include "core/ages.h"
#include "core/hash.h"
#include "core/random.h"
#include "host/generation.h"
#include "host/host.h"
#include "host/kv.h"
#include "host/meter.h"
#include "host/reload.h"
#include "host/trace.h"
#include "journal/journal.h"
#include "state/state.h"
#include "telemetry/log_events.h"

struct evrt_dedup;
struct evrt_jsonout;
struct evrt_shared;
struct evrt_journal_oldest;
struct host_cleanup;
struct host_schedule;
struct host_timers;
struct host_jobs;
struct host_letters;
struct host_copies;
struct host_tails;
struct host_wait_table;

/* Someone to be told once the `record`-th appended record is durable. */
struct host_waiter {
    uint64_t record;
    uint64_t seq;
    evrt_host_publish_cb cb;
    void *arg;
};

/* A queue of waiters in order of record: a ring that grows. */
struct host_waiters {
    struct host_waiter *ring;
    size_t mask;
    uint64_t head, tail;
};

enum { HOST_SEGMENT_BYTES = 64 << 20 }; /* store.max_size is at least three */

/* Snapshots of state.db, as far as they were asked for. */
struct host_snapshots {
    uint64_t asked;        /* so many have ended when the last one has */
    uint64_t bytes, group; /* of the journal, when it was asked for */
    uint64_t failures;
    int64_t not_before_ns;
};

/* What containment counts and plans. */
struct host_contained {
    uint64_t crashed, stalled, memory; /* deliveries charged, by cause */
    unsigned held;                     /* subscriptions that wait after a crash */
    int64_t looked_ns;                 /* when workers were last looked at */
    bool told;                         /* what confines workers was logged */
};

/* From which event on handlers need the journal, as it would be after a crash: a cursor moves when the
 * settlement is appended, and is where it was before until that is durable. */
struct host_needed {
    uint64_t safe;   /* so it is on the disk */
    uint64_t from;   /* and so when this record, */
    uint64_t record; /* counted as h->appended is, is committed */
};

enum host_phase { HOST_STARTING, HOST_SERVING, HOST_DRAINING, HOST_CLOSING, HOST_CLOSED };

struct evrt_host {
    struct evrt_config *config;
    struct evrt_log *log;
    struct host_tracing *tracing; /* NULL: off */
    const char *worker_path;
    uv_loop_t *loop;
    enum host_phase phase;
    int64_t created_ns;
    struct evrt_ages ages;
    bool testing; /* `evrt test`: specs publish timers' events, too */

    struct evrt_journal *journal;
    struct evrt_state *state;
    struct evrt_bus *bus;
    struct evrt_random random;

    uv_signal_t children;   /* one has ended */
    uv_async_t wake;        /* the writer and the state thread: something was committed */
    uv_prepare_t turn;      /* before the loop waits */
    uv_timer_t tick;        /* the keeper's */
    uv_timer_t deadline;    /* of draining */
    uv_timer_t patience;    /* of settlements that wait to be submitted */
    uv_timer_t watch;       /* of workers: contain.c */
    uv_timer_t retry;       /* the next one that is due: retry.c */
    uv_timer_t trace_timer; /* spans are to be handed over */
    uv_timer_t allowance;   /* of a job that is throttled: jobs.c */
    int64_t retry_due_ns;
    uv_timer_t schedule_timer; /* the next event for later: schedule.c */
    uv_timer_t timers_timer;   /* the next time of a handler's timer: timers.c */
    unsigned handles;          /* handles of the host itself that are not closed yet */

    uint64_t appended, submitted, committed; /* records, since start */
    bool eager;                   /* someone waits for what was appended since the last submit */
    struct host_waiters waiters;  /* publishers: told before the bus has the event */
    struct host_waiters barriers; /* told when state.db was given everything, too */
    struct evrt_sub *dirty;       /* list: something ended since the last turn */
    size_t ended_bytes;           /* that it takes of a settlement, at most */
    struct evrt_buf scratch, ranges, settlements;
    struct host_kv kv;
    struct evrt_buf notes;  /* of the next settlement */
    uint64_t notes_dropped; /* for want of room */
    bool full;              /* intake is refused for want of space, and that was logged */
    uint64_t refused_full, refused_backlog; /* events: no space; store.max_backlog */
    struct evrt_dedup *dedup;               /* NULL: dedup.max is 0 */
    uint64_t duplicates;                    /* told so */
    struct host_schedule *schedule;
    bool schedule_changed; /* something may be due sooner */
    struct host_timers *timers;
    bool timers_changed;

    struct host_generation *generations; /* all that have a handle or process left, newest first */
    struct host_generation *serving;     /* new deliveries are its; kept until the host is freed */
    uint64_t last_generation;            /* numbers given out */
    struct host_reload reload;
    uint32_t next_sub;

    uint32_t worker_count;   /* of each generation */
    struct host_worker *fed; /* in this turn, last */
    uint32_t next_instance;
    uint64_t restarts;
    enum host_gentle { HOST_GENTLE_UNKNOWN, HOST_GENTLE_YES, HOST_GENTLE_NO } gentle;
    uint64_t stale;             /* answers refused (D8) */
    struct host_meters *meters; /* NULL: metrics are off */
    struct host_contained contained;

    unsigned
        reads; /* jobs in the thread pool, and whatever else must end before the store closes */
    unsigned lists, script_lists;    /* queries of events */
    struct host_tails *tails;        /* NULL: nobody follows events */
    struct host_cleanup *cleanup;    /* NULL: none is asked for */
    struct evrt_host_backup *backup; /* NULL: none is being made */
    struct host_wait_table *waits;
    struct evrt_shared *shared;
    struct host_jobs *jobs;
    struct host_letters *letters;
    struct host_settled *asks;   /* that wait for a commit */
    struct host_recent *recent;  /* NULL: nothing failed of late */
    struct host_copies *copies;  /* NULL: no segment was looked at */
    struct host_notice *noticed; /* of this turn; the others: */
    unsigned notices;            /* of dead letters, until their event was read */
    bool expiring;               /* retries of vanished handlers, whose events are being read */
    uint64_t letters_dropped;    /* dead letters given up: by age, number, operators */
    struct host_snapshots snapshots;
    struct host_needed needed;
    bool state_behind;        /* state.db has enough to do: nothing is handed out */
    uint64_t state_waits;     /* how often it came to that */
    _Atomic bool state_asked; /* to tell when it has caught up; any thread */
    int64_t dropped_ns;       /* when the last segment was */

    void (*drain_cb)(void *arg);
    void *drain_arg;
    int64_t drain_ns;
    uint64_t redeliver; /* deliveries that did not finish in time */
};

/* ---- recent.c ---- */

/* While there is h->recent: of each batch that was committed its events, then the batch. */
void host_recent_event(struct evrt_host *h, uint64_t seq, struct evrt_slice event);
void host_recent_batch(struct evrt_host *h, struct evrt_hold *hold);
/* A copy of the event's bytes, one reference; NULL: there is none to be had, or no need. */
struct evrt_kept *host_recent_keep(struct evrt_host *h, uint64_t seq, int64_t delay_ms,
                                   int64_t now_ns);
void host_recent_tidy(struct evrt_host *h, int64_t now_ns);
void host_recent_clear(struct evrt_host *h);

/* ---- publish.c ---- */

/* evrt_host_complete for events of the host's own. */
EVRT_MUST_CHECK int host_complete(struct evrt_host *h, struct evrt_event *e,
                                  struct evrt_host_scratch *scratch, struct evrt_error *err);
/* evrt_host_publish for scripts too: they may publish while the host drains. */
EVRT_MUST_CHECK int host_publish(struct evrt_host *h, const struct evrt_event *e,
                                 evrt_host_publish_cb cb, void *arg, struct evrt_error *err);

/* Appends an event for which the journal holds room. */
void host_emit(struct evrt_host *h, const struct evrt_event *e);
struct evrt_deliver;
/* Whether it may be published, but for room; and when it is to be delivered. */
EVRT_MUST_CHECK int host_publish_check(struct evrt_host *h, const struct evrt_event *e,
                                       struct evrt_deliver *when, struct evrt_error *err);
/* Publishes one that may be, and for which the journal holds room. */
void host_publish_held(struct evrt_host *h, const struct evrt_event *e,
                       const struct evrt_deliver *when);
/* Calls cb when everything that has ended or was appended so far is durable. */
void host_barrier(struct evrt_host *h, evrt_host_publish_cb cb, void *arg);
void host_waiters_push(struct host_waiters *w, struct host_waiter waiter);
/* Tells those whose record is committed. */
void host_waiters_run(struct evrt_host *h, struct host_waiters *w);
/* Appends a record that is not an event; it always finds room. */
void host_append(struct evrt_host *h, enum evrt_record_kind kind, struct evrt_slice payload);
/* Into a list of records that are journaled in one group (u32 length, u32 kind, payload each); NULL: as above. */
void host_put_record(struct evrt_host *h, struct evrt_buf *into, enum evrt_record_kind kind,
                     struct evrt_slice payload);
/* Into such a list one whose n bytes are to be written there. */
char *host_record_room(struct evrt_buf *into, enum evrt_record_kind kind, size_t n);

/* ---- dedup.c ---- */

EVRT_MUST_CHECK int host_dedup_open(struct evrt_host *h, struct evrt_error *err);
/* What a complete event of the same source and id was added with; 0: none was lately, and *hash is for
 * adding it. */
uint64_t host_dedup_find(struct evrt_host *h, const struct evrt_event *e,
                         struct evrt_hash128 *hash);
void host_dedup_add(struct evrt_host *h, const struct evrt_event *e, struct evrt_hash128 hash,
                    uint64_t value);
/* One that is published whatever was before: it was scheduled, or a timer made it. */
void host_dedup_emitted(struct evrt_host *h, const struct evrt_event *e, uint64_t seq);
void host_dedup_expire(struct evrt_host *h);
/* In what an event was added with: it has no seq yet, the rest is its number among those for later. */
#define HOST_SCHEDULED (UINT64_C(1) << 63)

/* ---- schedule.c ---- */

struct evrt_deliver;
struct evrt_record_schedule;

struct host_schedule_stats {
    uint64_t pending, fired, cancelled;
};

void host_schedule_create(struct evrt_host *h);
void host_schedule_destroy(struct evrt_host *h);
/* Whether one may be scheduled: -EINVAL, -EAGAIN. */
EVRT_MUST_CHECK int host_schedule_check(const struct evrt_host *h, const struct evrt_deliver *d,
                                        struct evrt_error *err);
/* A SCHEDULE's payload for a complete event, to be appended at once. */
void host_schedule_prepare(struct evrt_host *h, const struct evrt_event *e,
                           const struct evrt_deliver *d, uint64_t *number, struct evrt_buf *out);
/* Of a row that is not in the heaps. */
uint64_t host_schedule_number(struct evrt_host *h);
/* It was not appended. */
void host_schedule_unprepare(struct evrt_host *h);
/* A SCHEDULE is durable. */
void host_schedule_committed(struct evrt_host *h, struct evrt_slice payload);
/* A row of state.db, at start. */
void host_schedule_restore(struct evrt_host *h, const struct evrt_record_schedule *r);
/* At the end of a turn, and when the node begins to serve. */
void host_schedule_turn(struct evrt_host *h);
void host_schedule_note_cancelled(struct evrt_host *h, uint64_t number);
bool host_schedule_is_cancelled(const struct evrt_host *h, uint64_t number);
void host_schedule_stats(const struct evrt_host *h, struct host_schedule_stats *out);

/* ---- timers.c ---- */

void host_timers_create(struct evrt_host *h);
void host_timers_destroy(struct evrt_host *h);
/* A row of state.db, at start. */
void host_timers_restore(struct evrt_host *h, const struct evrt_record_schedule *r);
/* Makes timers agree with the scripts, as subscriptions do by now. */
void host_timers_update(struct evrt_host *h);
void host_timers_forget(struct evrt_host *h, uint32_t sub);
void host_timers_turn(struct evrt_host *h);
/* The member "timer" of a handler that has one. */
void host_timer_json(const struct evrt_host *h, const struct evrt_sub *s, struct evrt_jsonout *o);

/* ---- turn.c ---- */

extern const struct evrt_bus_ops host_bus_ops;
void host_turn(struct evrt_host *h);
/* Appends a settlement for each subscription of which something ended. */
void host_settle(struct evrt_host *h);
/* A delivery ended, with so many bytes of a failure: settles when it is enough for one group. */
enum { HOST_SETTLE_BYTES = 512 << 10, HOST_ENDED_BYTES = 32 };
void host_ended(struct evrt_host *h, size_t failure);
/* Takes what the journal committed. */
void host_commits(struct evrt_host *h);
/* Journals where a subscription stands, though nothing ended. */
void host_checkpoint(struct evrt_host *h, struct evrt_sub *s);

/* ---- subs.c ---- */

/* Makes the subscriptions agree with the scripts; journals what changed. */
void host_subscribe(struct evrt_host *h);
/* Whether nothing of one that left the scripts is at a worker or being read. */
bool host_may_forget(const struct evrt_sub *s);
/* Whether it left the scripts so long ago, by a clock that does not jump while the node runs. */
bool host_orphaned_for(const struct evrt_sub *s, int64_t ttl_ms);
void host_forget(struct evrt_host *h, struct evrt_sub *s, const char *reason);
/* Only what it has pending: its dead letters stay for as long as they would anyhow. `s` is another one then. */
void host_give_up(struct evrt_host *h, struct evrt_sub *s);

/* ---- key.c ---- */

/* The value of a handler's ordered_by in an event, hashed; 0: it has none, or it is null. */
uint64_t host_key_of(const char *ordered_by, struct evrt_slice event);

/* ---- catchup.c ---- */

void host_catch_up(struct evrt_host *h);

/* ---- workers.c ---- */

EVRT_MUST_CHECK int host_worker_start(struct host_worker *w);
/* Takes leave of those that have ended. */
void host_workers_reap(struct evrt_host *h);
void host_worker_signal(struct host_worker *w, int signal);
/* Ends when it has finished what it has. */
void host_worker_drain(struct host_worker *w);
void host_worker_kill(struct host_worker *w);
/* Politely when it has nothing to do, else by signal. */
void host_worker_stop(struct host_worker *w);
/* The worker whose process has, or had last, this number; NULL: its slot has another by now. */
struct host_worker *host_worker_find(struct evrt_host *h, uint32_t instance);
uint32_t host_workers_send(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                           unsigned attempt, struct evrt_slice event);
void host_workers_flush(struct evrt_host *h);
/* Ends every generation. */
void host_workers_stop(struct evrt_host *h);
/* Whether every process is gone and every handle closed. */
bool host_workers_gone(const struct evrt_host *h);

/* ---- gentle.c ---- */

/* Whether this worker is to be started standing aside: it loads beside others that serve. */
bool host_gentle_for(const struct host_worker *w);
/* The worker's process gives way to all others for a moment, where the machine lets it; ended also when the moment
 * is over. */
void host_gentle_start(struct host_worker *w);
void host_gentle_end(struct host_worker *w);

/* ---- contain.c ---- */

void host_contain_start(struct evrt_host *h);
/* Before a worker is spawned: *fd is the page it inherits, -1 for none; the caller closes it. */
EVRT_MUST_CHECK int host_contain_open(struct host_worker *w, int *fd);
/* It said something; it is told by its page that this was heard. */
void host_contain_heard(struct host_worker *w);
/* The effects that it left were taken, or refused: it is told by its page. */
void host_contain_effects(struct host_worker *w);
/* It has loaded its scripts. */
void host_contain_ready(struct host_worker *w);
/* Its process was reaped, and says it itself when `blame`: charges the delivery that ran, before the rest is
 * made again. Returns whether there was one. */
bool host_contain_died(struct host_worker *w, bool blame, int64_t status, int signal);
/* The delivery cost its worker (error_type crashed, stalled or memory): it fails, and at the third time is
 * not tried again. The worker still has it. */
void host_contain_charge(struct host_worker *w, const struct evrt_frame_failed *f);
/* One of the handler's deliveries succeeded. */
static inline void host_contain_done(struct evrt_sub *s) {
    s->strikes /= 2;
}

/* ---- messages.c: what workers say ---- */

/* A delivery succeeded, if this worker has it. */
void host_done(struct host_worker *w, uint64_t delivery, int64_t now_ns);
/* Its line in the log. */
void host_log_handled(struct host_worker *w, const struct evrt_sub *s,
                      const struct evrt_delivery *d, int64_t now);

/* An attempt failed: its log line and span. */
void host_log_failed(struct host_worker *w, const struct evrt_sub *s, const struct evrt_delivery *d,
                     const struct evrt_frame_failed *f);
/* The subscription and position that a delivery's number means; NULL: it is gone. */
struct evrt_sub *host_sub_of(struct evrt_host *h, uint64_t delivery, uint64_t *position);
/* Sets what caused an event that this worker's delivery publishes (0, or one it does not have: nothing). */
void host_cause(struct host_worker *w, uint64_t delivery, struct evrt_event *e);

/* Keeps for people what was done with a delivery, while there is room: it goes into the journal with the next
 * settlement. */
void host_note(struct evrt_host *h, uint32_t sub, uint64_t seq, unsigned attempt,
               struct evrt_slice text);

/* Frames that arrived; as evrt_channel_events.on_data. */
int64_t host_worker_says(struct host_worker *w, struct evrt_slice bytes);

/* ---- retry.c ---- */

/* An attempt failed, if this worker has it: it will be tried again, or is dead. `died`: it cost the worker. */
void host_failed(struct host_worker *w, const struct evrt_frame_failed *f, bool died);
/* Lets those go on that are due, and sees to the next. What ended is settled. */
void host_retries_turn(struct evrt_host *h);
/* One was sent to a worker. */
void host_retries_sent(struct evrt_host *h, const struct evrt_sub *s, unsigned attempt,
                       struct evrt_slice event);
/* What holds when a delivery of this type fails, as a JSON object. */
void host_retries_describe(const struct evrt_host *h, const struct evrt_sub *s,
                           struct evrt_slice type, struct evrt_jsonout *o);
/* At start. */
void host_retries_restore(struct evrt_host *h, uint32_t sub, const struct evrt_record_retry *r);
/* Those of handlers that left the scripts long ago are dead. */
void host_retries_expire(struct evrt_host *h);

/* ---- dead.c ---- */

/* A delivery that is not tried again. */
struct host_dead {
    struct evrt_sub *sub;
    uint64_t seq;
    uint32_t attempt; /* the last that was made */
    bool unmade;      /* and it dies of something else than that one: state.db knows how it ended */
    enum evrt_dead_reason reason;
    int64_t first_failed_ms;    /* 0: now */
    struct evrt_slice type, id; /* of the event; {NULL,0}: not at hand */
    struct evrt_slice time;
    struct evrt_slice error_type, message, traceback;
    uint64_t generation, script;         /* of the attempt */
    uint8_t hops;                        /* of the event */
    struct evrt_slice trace_id, span_id; /* of the attempt; {NULL,0}: none */
};
/* Makes it a dead letter with the next settlement, or that one anew; logs and tells it. */
void host_dead(struct evrt_host *h, const struct host_dead *d);
/* Those of letters that the turn settled: told when that is durable. */
void host_notices_turn(struct evrt_host *h);
/* At the end: those whose letter a full disk did not take. */
void host_notices_drop(struct evrt_host *h);
/* Its process was reaped: what it was telling is told no more, so that none is twice. */
void host_notices_gone(struct host_worker *w);
/* on_dead_letter returned (f NULL) or failed. */
void host_notice_ended(struct evrt_host *h, const struct evrt_sub *s, const struct evrt_delivery *d,
                       const struct evrt_frame_failed *f);
/* Hash of the handler's file in that generation; 0: it is not in it. */
uint64_t host_script_of(const struct host_generation *g, const struct evrt_sub *s);

/* ---- aside.c ---- */

/* A delivery beside the window ended, as evrt_bus_end returned it; f NULL: the handler succeeded. */
void host_aside_ended(struct host_worker *w, struct evrt_sub *s, const struct evrt_delivery *d,
                      const struct evrt_frame_failed *f);

/* Why it is beside the window, for people; {NULL,0}: it is not. */
struct evrt_slice host_purpose(const struct evrt_delivery *d);

/* ---- share.c ---- */

void host_share_open(struct evrt_host *h);
/* Gives a worker that has just started all there is. */
void host_share_greet(struct host_worker *w);
/* A SHARE frame. */
int host_share_says(struct host_worker *w, struct evrt_slice payload);

/* ---- script_query.c ---- */

/* A QUERY frame. */
int host_script_queries(struct host_worker *w, struct evrt_slice payload);

/* ---- lifecycle (host.c) ---- */

/* A worker became ready or left: may change the phase. */
void host_progress(struct evrt_host *h);

/* ---- recover.c ---- */

EVRT_MUST_CHECK int host_open_store(struct evrt_host *h, struct evrt_error *err);

/* ---- keeper.c ---- */

/* What is from before this time of the wall clock is older than that, however often the clock was set. */
int64_t host_aged_before(struct evrt_host *h, int64_t ttl_ms);

void host_keep_start(struct evrt_host *h);
/* Space is short: looks at once, and often, whether segments can go. */
void host_keep_soon(struct evrt_host *h);
/* The first event that has not ended for some handler, nor failed there. */
uint64_t host_first_cursor(const struct evrt_host *h);
/* The first event that must stay: as that was before what is not durable yet, and for a backup. */
uint64_t host_needed_from(struct evrt_host *h);

/* ---- copies.c ---- */

/* Whether every event of the segment that a retry or dead letter needs has a copy: in state.db as of *group. False:
 * they are being made. No cursor stands in it. */
bool host_copies_made(struct evrt_host *h, const struct evrt_journal_oldest *s, uint64_t *group);
/* Something may fail again in the oldest segment. */
void host_copies_outdated(struct evrt_host *h);
void host_copies_destroy(struct evrt_host *h);

/* ---- cleanup.c ---- */

bool host_cleanup_wants(const struct evrt_host *h, const struct evrt_journal_oldest *s);
void host_cleanup_dropped(struct evrt_host *h, const struct evrt_journal_oldest *s);
/* Answers when there is nothing more to be dropped. */
void host_cleanup_look(struct evrt_host *h);

/* ---- backup.c ---- */

/* The first event whose segment is not copied yet; UINT64_MAX: nothing is pinned. */
uint64_t host_backup_pin(const struct evrt_host *h);

/* ---- tail.c ---- */

/* There are tails, and events were committed. */
void host_tails_wake(struct evrt_host *h);
/* Ends all of them. */
void host_tails_end(struct evrt_host *h);

/* ---- ask.c ---- */

/* Runs the job on the state thread, after everything that was given to it so far, then `done` on the loop. */
void host_ask_state(struct evrt_host *h, evrt_state_job job, void (*done)(void *arg), void *arg);
/* The same, after everything that has ended or was appended so far is in state.db: never, where a full disk takes no more
 * and the node ends. Then *rc is -ESHUTDOWN and `done` is called without the job. */
void host_ask_settled(struct evrt_host *h, evrt_state_job job, void (*done)(void *arg), void *arg,
                      int *rc);
/* Ends those that wait, for good. */
void host_asks_end(struct evrt_host *h);
void host_asks_destroy(struct evrt_host *h);

/* ---- wait.c ---- */

struct host_wait_table *host_waits_create(void);
void host_waits_destroy(struct host_wait_table *t);
/* evrt_host_wait_settled for a delivery of a script (0: none). */
struct evrt_host_wait *host_waits_add(struct evrt_host *h, uint64_t seq, uint64_t delivery,
                                      int64_t timeout_ms, evrt_host_settled_cb cb, void *arg);
/* Whether a delivery of `holder` that has this key waits for the delivery at `position` of `s` to end,
 * directly or by way of others. */
bool host_waits_on_key(struct evrt_host *h, const struct evrt_sub *s, uint64_t position,
                       const struct evrt_sub *holder, uint64_t key);
/* The first attempt of (sub, seq) settled. `error_type` and `message` with dead ones. */
void host_waits_settled(struct evrt_host *h, const struct evrt_sub *s, uint64_t seq,
                        enum evrt_outcome outcome, struct evrt_slice error_type,
                        struct evrt_slice message);
/* What the subscription's next settlement names as discarded. */
void host_waits_discarded(struct evrt_host *h, const struct evrt_sub *s);
/* The event was routed: waits for it learn for whom. */
void host_waits_routed(struct evrt_host *h, uint64_t seq, struct evrt_slice type);
/* Ends all, as at their timeouts. */
void host_waits_finish(struct evrt_host *h);

/* ---- report.c ---- */

/* The CloudEvent plus seq and stored time; `open` leaves the object open for more members. */
void host_event_json(struct evrt_jsonout *o, const struct evrt_event *e);
void host_event_json_open(struct evrt_jsonout *o, const struct evrt_event *e);
/* The CloudEvent alone: it has no seq yet. Any thread. */
void host_event_attributes(struct evrt_jsonout *o, const struct evrt_event *e);
/* "SUB-SEQ": how dead letters and retries are named. Any thread. */
enum { HOST_DELIVERY_ID_SIZE = 32 };
const char *host_delivery_id(uint32_t sub, uint64_t seq, char text[HOST_DELIVERY_ID_SIZE]);
/* A handler's patterns, which are kept joined by '\n', as an array. */
void host_patterns_json(struct evrt_jsonout *o, struct evrt_slice joined);
/* A member "error": {"type", "message"}, and "traceback" where there is one. Any thread. */
void host_error_json(struct evrt_jsonout *o, struct evrt_slice type, struct evrt_slice message,
                     struct evrt_slice traceback);

#endif
