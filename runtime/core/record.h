/* What the journal's records say: one table of kinds, and the coding of each payload but the event's
 * (core/event.h). Written by the host, read back by the state projection and by recovery.
 * Any thread; decoded slices point into the payload. */
#ifndef EVRT_CORE_RECORD_H
#define EVRT_CORE_RECORD_H

#include <stdbool.h>

#include "core/buf.h"

/* kind, number on disk (never reused), what it is. */
#define EVRT_RECORD_KINDS(X)                                          \
    X(EVENT, 1, "a published event")                                  \
    X(SUBSCRIBE, 2, "a handler appeared, or its patterns changed")    \
    X(FORGET, 3, "a removed handler was forgotten")                   \
    X(SETTLE, 4, "deliveries of one handler ended; its cursor moved") \
    X(GAP, 5, "records lost to damage and set aside by repair")       \
    X(SEAL, 6, "end of a segment")                                    \
    X(ORPHAN, 7, "a handler is no longer in the scripts")             \
    X(PAUSE, 8, "an operator paused a handler")                       \
    X(RESUME, 9, "a paused handler goes on")                          \
    X(KV, 10, "writes to the key-value store")                        \
    X(SWEEP, 11, "expired keys go")                                   \
    X(NOTES, 16, "what policies did with deliveries, for people")     \
    X(JOB, 24, "an operator's job began, got on or ended")            \
    X(KEEP, 25, "a copy of an event whose segment is about to go")    \
    X(SCHEDULE, 32, "an event for later")                             \
    X(UNSCHEDULE, 33, "it was published, or cancelled")

enum evrt_record_kind {
#define X(name, number, help) EVRT_RECORD_##name = number,
    EVRT_RECORD_KINDS(X)
#undef X
};

/* "EVENT", "SETTLE"; "unknown" for a kind this version does not know. */
const char *evrt_record_kind_name(unsigned kind);
/* "running"; "unknown". */
const char *evrt_job_state_name(unsigned state);

/* SUBSCRIBE: events from `from_seq` on that match `patterns` belong to the handler. A handler known
 * already (same id) keeps its cursor; its earlier pending events stay subject to the earlier patterns
 * and, at delivery, also to these. */
struct evrt_record_subscribe {
    uint32_t sub; /* number of the subscription, from 1, for ever */
    struct evrt_slice name;
    uint64_t from_seq;
    int64_t at_ms;
    struct evrt_slice patterns; /* joined by '\n' */
};

/* FORGET, ORPHAN, PAUSE and RESUME. */
struct evrt_record_sub {
    uint32_t sub;
    int64_t at_ms;
};

/* Why a delivery is not tried again. Numbers are for ever. */
#define EVRT_DEAD_REASONS(X)                                                      \
    X(UNKNOWN, 0, "unknown", "an older version wrote it")                         \
    X(EXHAUSTED, 1, "exhausted", "it had all the attempts that its policy gives") \
    X(REJECTED, 2, "rejected", "the handler said evrt.reject")                    \
    X(CRASHED, 3, "crashed", "it cost three workers")                             \
    X(DECLINED, 4, "declined", "the policy decided against another attempt")      \
    X(ORPHANED, 5, "orphaned", "its handler left the scripts, and retry.ttl passed")
enum evrt_dead_reason {
#define X(id, number, name, help) EVRT_DEAD_##id = number,
    EVRT_DEAD_REASONS(X)
#undef X
};
/* "exhausted"; "unknown". And back: -1 when there is none of that name. */
const char *evrt_dead_reason_name(unsigned reason);
int evrt_dead_reason_of(struct evrt_slice name);

/* Patterns of a handler that no pending event belongs to any more are kept, the latest so many, to tell what became
 * of older events. */
#define EVRT_EPOCHS_KEPT 16

/* Dead: not to be tried again. */
struct evrt_record_dead {
    uint64_t seq;
    uint32_t attempt;
    int64_t at_ms;
    struct evrt_slice
        error_type; /* error | timeout | rejected | crashed | stalled | memory | cancelled */
    struct evrt_slice message;
    struct evrt_slice traceback;
    uint8_t reason; /* enum evrt_dead_reason */
    int64_t first_failed_ms;
    uint64_t generation,
        script; /* of the last attempt: its scripts, and the hash of its handler's file */
    struct evrt_slice type, id; /* of the event; absent where they were not at hand */
};

/* One attempt that failed, in a history. */
struct evrt_record_attempt {
    uint32_t attempt;
    int64_t at_ms;
    uint64_t generation, script;
    struct evrt_slice error_type, message;
};

/* To be tried again: an attempt failed, and `attempt` is the next one's number. */
struct evrt_record_retry {
    uint64_t seq;
    uint32_t attempt;
    uint32_t crashes; /* workers that it has cost */
    int64_t due_ms;   /* wall clock */
    int64_t delay_ms; /* from the failure: never longer, whatever the clock says */
    int64_t first_failed_ms, last_failed_ms;
    uint64_t key; /* that it holds, hashed; 0: none */
    struct evrt_slice error_type, message;
    uint64_t generation, script; /* as above */
    struct evrt_slice type;      /* of the event */
};

/* NOTES: some of these, to the end. */
struct evrt_record_note {
    uint32_t sub;
    uint64_t seq;
    uint32_t attempt;
    struct evrt_slice text;
};

/* SETTLE. Everything with seq < cursor has ended for the handler, or is one of its retries. `matched`, `done`, `discarded` and
 * `dead_total` count deliveries since the subscription began, as of this record; `matched` counts the
 * events below `seen`. `ranges` are the
 * sequences that ended with this record, ascending: runs of (first, count) where sequences between the
 * members of a run that did not match the handler, or that ended or failed before a restart, may be
 * included. A retry is in none of the counts but
 * `matched`; `retried` are those that ended with this record. `left` are dead letters that are no more:
 * reprocessed (and counted in `done` now), or given up (in `discarded`). `gone` are those that this record
 * counts as discarded: of what it names, or, when it moves the cursor over all that was left, of what had no
 * end before. */
struct evrt_record_settle {
    uint32_t sub;
    uint64_t cursor;
    uint64_t seen;
    uint64_t matched;
    uint64_t done;
    uint64_t dead_total;
    uint64_t discarded;
    struct evrt_slice ranges;  /* iterate with evrt_ranges_next */
    struct evrt_slice dead;    /* iterate with evrt_dead_next */
    uint64_t retrying;         /* retries there are after this record */
    struct evrt_slice retries; /* new ones, and those that failed again; evrt_retry_next */
    struct evrt_slice retried; /* evrt_ranges_next, each of one sequence */
    struct evrt_slice left;    /* the same */
    struct evrt_slice gone;    /* evrt_ranges_next */
};

struct evrt_range {
    uint64_t first, count;
};
static inline bool evrt_range_has(struct evrt_range r, uint64_t seq) {
    return seq >= r.first && seq - r.first < r.count;
}

/* JOB: long work for an operator, as it stands (host/jobs.h). */
#define EVRT_JOB_STATES(X) \
    X(RUNNING, "running")  \
    X(DONE, "done") X(FAILED, "failed") X(CANCELLED, "cancelled") X(GONE, "gone")
enum evrt_job_state {
#define X(id, name) EVRT_JOB_##id,
    EVRT_JOB_STATES(X)
#undef X
        EVRT_JOB_STATE_COUNT
};
struct evrt_record_job {
    uint64_t id;   /* from 1, for ever */
    uint8_t state; /* GONE: it is not listed any more, the rest says nothing */
    struct evrt_slice kind;
    struct evrt_slice spec; /* what it was asked for, as its kind wrote it; absent: as it was */
    int64_t created_ms, ended_ms;
    uint64_t cursor, until; /* all below cursor has ended; what the numbers are is its kind's */
    uint64_t total, done, failed, skipped;
    uint64_t rate, limit;    /* deliveries a second and at once, at most; 0: as configured */
    struct evrt_slice error; /* why it failed */
    struct evrt_slice ended; /* keys at or above cursor that have ended too; evrt_ranges_next */
};

/* KEEP: what a handler's retry or dead letter still needs of a segment. */
struct evrt_record_keep {
    uint32_t sub;
    struct evrt_slice event; /* its encoding */
};

/* GAP: what the damaged bytes held, as far as the neighbours tell. */
struct evrt_record_gap {
    uint64_t first_seq, events; /* sequences lost: [first_seq, first_seq + events) */
    uint64_t first_group, groups;
};

/* KV. What was written at one time, in the order in which it was accepted: sets, deletes and increments
 * (core/kv.h). The settlements of the deliveries that wrote it, and the events that these emitted, are in
 * the same group, so they are there together or not at all. */
struct evrt_record_kv {
    int64_t at_ms;         /* what had expired by then counts as absent */
    struct evrt_slice ops; /* iterate with evrt_kv_next */
};

/* SWEEP: every key that expired at or before this time is gone. */
struct evrt_record_sweep {
    int64_t at_ms;
};

void evrt_record_put_subscribe(struct evrt_buf *out, const struct evrt_record_subscribe *r);
void evrt_record_put_sub(struct evrt_buf *out, const struct evrt_record_sub *r);
void evrt_record_put_settle(struct evrt_buf *out, const struct evrt_record_settle *r);
void evrt_record_put_job(struct evrt_buf *out, const struct evrt_record_job *r);
void evrt_record_put_keep(struct evrt_buf *out, const struct evrt_record_keep *r);
void evrt_record_put_gap(struct evrt_buf *out, const struct evrt_record_gap *r);
void evrt_record_put_kv(struct evrt_buf *out, const struct evrt_record_kv *r);
void evrt_record_put_sweep(struct evrt_buf *out, const struct evrt_record_sweep *r);

/* -EBADMSG: malformed. */
EVRT_MUST_CHECK int evrt_record_get_subscribe(struct evrt_slice s, struct evrt_record_subscribe *r);
EVRT_MUST_CHECK int evrt_record_get_sub(struct evrt_slice s, struct evrt_record_sub *r);
EVRT_MUST_CHECK int evrt_record_get_settle(struct evrt_slice s, struct evrt_record_settle *r);
EVRT_MUST_CHECK int evrt_record_get_job(struct evrt_slice s, struct evrt_record_job *r);
EVRT_MUST_CHECK int evrt_record_get_keep(struct evrt_slice s, struct evrt_record_keep *r);
EVRT_MUST_CHECK int evrt_record_get_gap(struct evrt_slice s, struct evrt_record_gap *r);
EVRT_MUST_CHECK int evrt_record_get_kv(struct evrt_slice s, struct evrt_record_kv *r);
EVRT_MUST_CHECK int evrt_record_get_sweep(struct evrt_slice s, struct evrt_record_sweep *r);

/* Building and walking the lists inside a SETTLE. Ranges are delta-coded varints: *from starts at 0 on
 * both sides. The walkers return 1, 0 at the end, -EBADMSG. */
void evrt_ranges_put(struct evrt_buf *out, uint64_t *from, struct evrt_range r);
int evrt_ranges_next(struct evrt_slice ranges, size_t *at, uint64_t *from, struct evrt_range *r);
void evrt_dead_put(struct evrt_buf *out, const struct evrt_record_dead *d);
int evrt_dead_next(struct evrt_slice dead, size_t *at, struct evrt_record_dead *d);
void evrt_note_put(struct evrt_buf *out, const struct evrt_record_note *n);
int evrt_note_next(struct evrt_slice notes, size_t *at, struct evrt_record_note *n);
void evrt_retry_put(struct evrt_buf *out, const struct evrt_record_retry *r);
int evrt_retry_next(struct evrt_slice retries, size_t *at, struct evrt_record_retry *r);

/* A history: attempts, oldest first. Add cuts long messages, and keeps the first and the latest when there are
 * many. */
void evrt_history_add(struct evrt_buf *history, const struct evrt_record_attempt *a);
int evrt_history_next(struct evrt_slice history, size_t *at, struct evrt_record_attempt *a);

#endif
