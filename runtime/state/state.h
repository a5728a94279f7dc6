/* state.db: what the journal says about handlers, in tables (SQLite). A projection: applied after the
 * commit, with the applied position in the same transaction; rebuilt from a snapshot and the journal
 * when it is missing or damaged, with the same content.
 *
 *     owner thread ── evrt_state_apply(record) ──▶ queue ──▶ state thread: one transaction per flush
 *                  ── evrt_state_run(job) ───────▶            jobs run after everything before them
 *
 * One thread (started by open) owns the only connection. Functions are the owner thread's unless said
 * otherwise; callbacks named so run on the state thread. */
#ifndef EVRT_STATE_STATE_H
#define EVRT_STATE_STATE_H

#include <stdbool.h>

#include "core/record.h"
#include "core/schedule.h"

struct evrt_state;

struct evrt_state_options {
    const char *path; /* the store's folder: state.db and snapshots/ are in it; NULL: in memory */
    int64_t flush_ms; /* longest time an applied record waits for its transaction; 0: default */
    uint32_t flush_records; /* ... or this many; 0: default */
    size_t max_queue;       /* bytes that wait before it is behind; 0: default */
    /* One more than the journal's newest group; 0: not known. A state.db or snapshot of this group or a
     * later one tells of events that the journal lost (durability os), or of another journal: it is not
     * used. */
    uint64_t next_group;
    /* The journal's oldest group; 0: not known. What is of a group before it cannot be brought up to the journal (a
     * power cut takes the newest commits of state.db, but not the snapshots that let segments go). */
    uint64_t first_group;
    /* State thread: state.db failed for good (disk full is retried, this is worse). */
    void (*on_fatal)(void *arg, const struct evrt_error *err);
    void *arg;
};

/* Opens or restores: a missing or damaged state.db is set aside (state.db.damaged-<ms>) and replaced by
 * the newest good snapshot, or by an empty one where the journal has everything (-ENODATA: it has not).
 * *applied_group: everything up to it is applied; the caller feeds the records of later groups, then calls
 * evrt_state_flush. *restored: a short reason for the log when state.db was not used as it stood ("" otherwise).
 * -EPROTONOSUPPORT: newer version. */
EVRT_MUST_CHECK int evrt_state_open(struct evrt_state **out,
                                    const struct evrt_state_options *options,
                                    uint64_t *applied_group, char restored[160],
                                    struct evrt_error *err);
/* Applies the complete groups, closes. Jobs still queued are run. What could not be written for lack of
 * space is in the journal. NULL is allowed. */
void evrt_state_close(struct evrt_state *s);

/* Queues one committed record (EVENT records need not be given; kinds it does not know are ignored).
 * The payload is copied. Groups come in order; a record of an applied group is ignored. Waits
 * while twice max_queue are queued: a feed at start, or a flood of dead deliveries (about 150,000 a second can be
 * written). Never waits for space: what cannot be committed yet leaves the queue all the same. */
void evrt_state_apply(struct evrt_state *s, uint64_t group, uint32_t kind,
                      struct evrt_slice payload);
/* Tells that every record up to and including this group was given, so `applied` may move to it. */
void evrt_state_advance(struct evrt_state *s, uint64_t group);
/* More than max_queue bytes wait for the state thread: a good time to hand out fewer deliveries. */
bool evrt_state_behind(struct evrt_state *s);
/* What was given is committed now, and not when its time has come. Does not wait. */
void evrt_state_hurry(struct evrt_state *s);
/* Waits until all that was queued is committed; the newest group given counts as complete. Returns
 * earlier when it cannot be (no space, failed): evrt_state_applied tells. Not on a hot path: at start,
 * at stop, in tests. */
void evrt_state_flush(struct evrt_state *s);
/* The group up to which state.db is committed. Any thread. */
uint64_t evrt_state_applied(struct evrt_state *s);

/* ---- Snapshots: what lets segments go ---- */

/* Starts one (if none runs): a synced, checksummed copy under snapshots/; the two newest are kept. */
void evrt_state_snapshot(struct evrt_state *s);
/* The same, and waits for its end. 0, or a negative errno and why there is none. May block long. */
EVRT_MUST_CHECK int evrt_state_snapshot_now(struct evrt_state *s, struct evrt_error *err);
/* The group covered by the newest two good snapshots' older one (0: none): segments that end at or
 * below it may be dropped. Any thread. */
uint64_t evrt_state_snapshotted(struct evrt_state *s);

/* ---- Reading ---- */

/* A job runs on the state thread after everything queued before it. It must end by waking its owner:
 * nothing else tells that it ran. */
struct evrt_state_view; /* valid during a job */
typedef void (*evrt_state_job)(struct evrt_state_view *view, void *arg);
void evrt_state_run(struct evrt_state *s, evrt_state_job job, void *arg);
/* Somebody else who read state.db (state/reader.h) met damage: it is set aside, for the next start to build it again,
 * and on_fatal is called, as when the state thread meets it. */
void evrt_state_damaged(struct evrt_state *s, const struct evrt_error *err);

struct evrt_state_sub {
    uint32_t sub;
    const char *name;
    uint64_t from_seq;   /* of its first SUBSCRIBE */
    int64_t orphaned_ms; /* 0: in the scripts */
    int64_t paused_ms;   /* when an operator paused it; 0: it is not */
    uint64_t cursor, seen, matched, done, dead, discarded, retrying;
    struct evrt_slice settled; /* ranges that ended above the cursor; evrt_ranges_next */
};
/* Every pattern epoch that can still matter (later than the cursor), oldest first. */
struct evrt_state_epoch {
    uint32_t sub;
    uint64_t from_seq;
    struct evrt_slice patterns; /* joined by '\n' */
};
/* Each calls fn for each row; rows are valid during the call. 0 or a negative errno. */
EVRT_MUST_CHECK int evrt_state_each_sub(struct evrt_state_view *v,
                                        void (*fn)(void *, const struct evrt_state_sub *),
                                        void *arg);
EVRT_MUST_CHECK int evrt_state_each_epoch(struct evrt_state_view *v,
                                          void (*fn)(void *, const struct evrt_state_epoch *),
                                          void *arg);
/* A dead letter. `n` is its number among all, in the order in which they died; another one when it fails again. */
struct evrt_state_letter {
    uint64_t n;
    uint32_t sub;
    struct evrt_record_dead dead;
    struct evrt_slice history; /* of the attempts before the last; evrt_history_next */
};
typedef void (*evrt_state_letter_fn)(void *, const struct evrt_state_letter *);
/* Those of one event, of all handlers. fn may have seen some before an error. */
EVRT_MUST_CHECK int evrt_state_each_dead(struct evrt_state_view *v, uint64_t seq,
                                         evrt_state_letter_fn fn, void *arg);
/* Some of them, newest first or (`ascending`) oldest first. Where state.db cannot be committed to now (no space),
 * that errno, as for the two below. */
struct evrt_state_letters {
    uint32_t sub;           /* 0: of all handlers */
    int reason;             /* enum evrt_dead_reason; -1: any */
    struct evrt_slice type; /* a pattern; {NULL,0}: any */
    int64_t from_ms, to_ms; /* when they died, [from, to); 0: open */
    uint64_t after;         /* the n where the page before ended; 0: from the start */
    uint64_t until;         /* ascending only: the last n */
    uint64_t limit;
    int64_t budget_ms; /* the page ends after this long, though it may be short */
    bool ascending;
};
struct evrt_state_letters_end {
    uint64_t at; /* for `after`, if there is */
    bool more;
};
EVRT_MUST_CHECK int evrt_state_letters(struct evrt_state_view *v,
                                       const struct evrt_state_letters *which,
                                       evrt_state_letter_fn fn, void *arg,
                                       struct evrt_state_letters_end *end);
/* One; fn is called once or not at all. */
EVRT_MUST_CHECK int evrt_state_letter(struct evrt_state_view *v, uint32_t sub, uint64_t seq,
                                      evrt_state_letter_fn fn, void *arg);
/* The n of the newest; 0: there is none. */
EVRT_MUST_CHECK int evrt_state_last_letter(struct evrt_state_view *v, uint64_t *n);

/* Events that state.db has copies of, because a retry or a dead letter needs them: appended to out; -ENOENT. */
EVRT_MUST_CHECK int evrt_state_copy(struct evrt_state_view *v, uint32_t sub, uint64_t seq,
                                    struct evrt_buf *out);
/* Every retry and dead letter in [from, to) whose event has no copy. */
typedef void (*evrt_state_bare_fn)(void *, uint32_t sub, uint64_t seq);
EVRT_MUST_CHECK int evrt_state_bare(struct evrt_state_view *v, uint64_t from, uint64_t to,
                                    evrt_state_bare_fn fn, void *arg);

/* Sequences in [from, to) that are dead for one handler; in any order, perhaps one twice. */
EVRT_MUST_CHECK int evrt_state_each_dead_in(struct evrt_state_view *v, uint32_t sub, uint64_t from,
                                            uint64_t to, void (*fn)(void *, uint64_t seq),
                                            void *arg);
/* Retries of `sub` (0: of all handlers), by handler and then sequence, those after (after_sub, after_seq);
 * at most `limit`, and perhaps fewer though there are more when some wait for their transaction. */
struct evrt_state_retries {
    uint32_t sub, after_sub;
    uint64_t after_seq, limit;
};
typedef void (*evrt_state_retry_fn)(void *, uint32_t sub, const struct evrt_record_retry *);
EVRT_MUST_CHECK int evrt_state_each_retry(struct evrt_state_view *v,
                                          const struct evrt_state_retries *which,
                                          evrt_state_retry_fn fn, void *arg);
/* Events for later, soonest first: those after (due_ms, number), at most `limit`. */
typedef void (*evrt_state_scheduled_fn)(void *, const struct evrt_record_schedule *);
EVRT_MUST_CHECK int evrt_state_each_scheduled(struct evrt_state_view *v, int64_t due_ms,
                                              uint64_t number, uint64_t limit,
                                              evrt_state_scheduled_fn fn, void *arg);
/* One of them; fn is called once or not at all. */
EVRT_MUST_CHECK int evrt_state_scheduled(struct evrt_state_view *v, int64_t due_ms, uint64_t number,
                                         evrt_state_scheduled_fn fn, void *arg);
/* The retry of one event and handler; fn is called once or not at all. */
EVRT_MUST_CHECK int evrt_state_retry(struct evrt_state_view *v, uint32_t sub, uint64_t seq,
                                     evrt_state_retry_fn fn, void *arg);
/* Operators' jobs, by id. */
EVRT_MUST_CHECK int evrt_state_each_job(struct evrt_state_view *v,
                                        void (*fn)(void *, const struct evrt_record_job *),
                                        void *arg);
/* Opens the newest good snapshot's file for reading and tells its group. The descriptor, or a negative
 * errno; -ENOENT: there is none. */
int evrt_state_open_snapshot(struct evrt_state_view *v, uint64_t *group);

/* The whole content as text, in a fixed order (applied position included): what "the same content"
 * means in tests. Commits first. */
EVRT_MUST_CHECK int evrt_state_dump(struct evrt_state_view *v, struct evrt_buf *out);
/* {"applied":..,"subs":[..],"epochs":[..],"dead":[..],"retries":[..]} with the dead deliveries of event
 * `seq`, and all retries. */
EVRT_MUST_CHECK int evrt_state_report(struct evrt_state_view *v, uint64_t seq,
                                      struct evrt_buf *out);

/* For owners that may block (start, stop, offline commands, tests): runs the job and waits for it. */
void evrt_state_query(struct evrt_state *s, evrt_state_job job, void *arg);
EVRT_MUST_CHECK int evrt_state_dump_now(struct evrt_state *s, struct evrt_buf *out);
/* Dead letters, a line of JSON each: {"sub","seq","n","attempt","history":[["message",at_ms]...],"message","after"}. */
EVRT_MUST_CHECK int evrt_state_letters_now(struct evrt_state *s,
                                           const struct evrt_state_letters *which,
                                           struct evrt_buf *out);
EVRT_MUST_CHECK int evrt_state_report_now(struct evrt_state *s, uint64_t seq, struct evrt_buf *out);

/* ---- Figures ---- */

/* SQLite's version. */
const char *evrt_state_library(void);

enum { EVRT_STATE_NAME_SIZE = 256 }; /* of a name for people; longer ones are cut */

struct evrt_state_stats {
    uint64_t applied, snapshotted;
    uint64_t records, commits; /* since open */
    uint64_t queued_bytes;
    uint64_t cpu_ns;                       /* of the state thread */
    uint64_t snapshots, snapshot_failures; /* since open */
    uint64_t not_numbers;                  /* as in struct evrt_state_kv; of the rebuild, too */
    char not_number[EVRT_STATE_NAME_SIZE];
    int error; /* 0; -ENOSPC, -EBUSY: commits wait, tried every second; others: failed for good */
    char reason[256]; /* of `error`, or else of the last snapshot failure */
};
/* Any thread. */
void evrt_state_stats(struct evrt_state *s, struct evrt_state_stats *out);

#endif
