/* A subscription: what one handler still has to do. Cursor, window, credit, order, counts. Pure data and
 * arithmetic: no I/O, no clock. Owner: the bus; the loop's thread.
 *
 *     head                                          tail      scan
 *      |  DONE? FLIGHT  DONE  AGAIN  PARKED  FRESH  |  ......  |  not looked at yet
 *      ^ its seq is the cursor                                   (behind: read from the journal)
 *
 * Everything below the cursor has ended. The window (bus/window.h) has a small entry for each; those that
 * are under way have a delivery too: FRESH ones hold the event's bytes and stand in the ready queue; FLIGHT
 * ones are at a worker; the bytes of AGAIN ones must be read from the journal (their worker died, their
 * turn came, or memory was short). A subscription is live (fresh events are pushed as they commit) or
 * behind (it reads the journal from `scan`), never both: so memory is bounded whatever the backlog.
 *
 * With `ordered`, a delivery whose key is busy stands in that key's line (bus/keys.h), and the next one's
 * turn comes when the one under way has ended:
 *
 *     key ──▶ under way     line: [next] [ready] ... [bare] ──▶ [bare] ──▶ ...
 *                                 own copy of their bytes       an entry each, PARKED
 *
 * The first few in line have their bytes at hand, within a bound for the whole subscription.
 *
 * What failed and is to be tried again leaves the window at once: it waits in a heap by time (bus/retries.h),
 * and when it is due has a delivery again, whose position is no place in the window. It keeps its key busy,
 * or not, as it failed. */
#ifndef EVRT_BUS_SUB_H
#define EVRT_BUS_SUB_H

#include <stdbool.h>

#include "bus/keys.h"
#include "bus/retries.h"
#include "bus/window.h"
#include "core/map.h"
#include "core/purpose.h"
#include "core/record.h"

struct evrt_pattern_set;

enum evrt_delivery_state {
    EVRT_DELIVERY_FRESH,
    EVRT_DELIVERY_FLIGHT,
    EVRT_DELIVERY_AGAIN,
    EVRT_DELIVERY_DONE,
};

/* What the owner counts deliveries by; embedded in what is its own. */
struct evrt_meter {
    uint64_t in_flight; /* deliveries, kept by the bus */
};

struct evrt_delivery_trace { /* the host's */
    uint64_t high, low, parent;
};

/* What a log line says of a delivery in flight, whose bytes are gone: id, type and time of its event, end
 * to end; in `heap` when they are long. */
struct evrt_delivery_label {
    uint16_t id_n, type_n, time_n;
    uint8_t hops;        /* of its event */
    uint8_t trace_flags; /* 0: `trace` is none; here, as most are none and are asked for it */
    union {
        char here[82];
        char *heap;
    } text;
    struct evrt_meter *meter;         /* set by ops->send; NULL: none */
    struct evrt_delivery_trace trace; /* its event's, while it is traced */
};

/* One delivery; the first cache line has what each of them needs. */
struct evrt_delivery {
    uint64_t seq;
    uint64_t position;
    uint64_t key;           /* 0: none */
    struct evrt_hold *hold; /* FRESH, or kept; NULL when the bytes are its own */
    const char *event;      /* the same, or aside: the encoding; NULL: the journal has it no more */
    union {
        uint32_t n;         /* its size */
        uint32_t free_next; /* of those that are free: the next one's number + 1 */
    };
    uint32_t worker; /* FLIGHT only: who has it */
    int64_t sent_ns; /* FLIGHT only: when it left, monotonic */
    uint8_t state;
    uint8_t crashes : 3; /* workers that it cost */
    bool in_line : 1;    /* waits for its key */
    bool own : 1;        /* event is a copy of its own */
    bool lent : 1;       /* FLIGHT only: waits for others, and counts against no limit */
    bool begun : 1;      /* was sent before */
    bool failed : 1;     /* a retry that ended by failing again: it stays one */
    bool kept : 1;       /* a retry whose hold is a struct evrt_kept */
    uint16_t attempt;
    uint32_t number; /* its own, among the subscription's */

    uint64_t next_in_line;             /* in_line: position of the one behind it; 0: none */
    struct evrt_delivery_label *label; /* since it was first sent, until it is settled */
    struct evrt_delivery *again_prev, *again_next; /* or of those aside that are ready */
    int64_t first_failed_ms;                       /* retries only */
    uint16_t conflicts;    /* how often it was made again because of one; kept by the host */
    uint64_t job, job_key; /* aside only: of the host's; what it calls this one */
    uint32_t info_n;       /* aside only: bytes behind those of the event */
    uint8_t purpose;       /* aside only: enum evrt_purpose */
};

struct evrt_delivery_names {
    struct evrt_slice id, type, time;
};
/* Valid until the subscription's next settlement. */
struct evrt_delivery_names evrt_delivery_names(const struct evrt_delivery *d);

/* Patterns that held for events from `from_seq` on. */
struct evrt_epoch {
    uint64_t from_seq;
    struct evrt_pattern_set *patterns;
};

/* Positions from head to tail at most, done or not: some 15 MiB when nearly all are done. */
#define EVRT_SUB_SPAN (UINT64_C(1) << 26)

/* Labels apart: they are as large as all the rest, and needed once. */
enum { EVRT_SUB_BLOCK = 32 };
struct evrt_sub_block {
    struct evrt_delivery deliveries[EVRT_SUB_BLOCK];
    struct evrt_delivery_label labels[EVRT_SUB_BLOCK];
};

/* Positions of retries have the highest of 40 bits set; below it a serial number, so that no two soon have the
 * same, and the delivery's own. */
#define EVRT_SUB_RETRY (UINT64_C(1) << 39)
/* Those of deliveries aside have this one set, too. */
#define EVRT_SUB_ASIDE (UINT64_C(1) << 38)
#define EVRT_SUB_NUMBER_BITS 24
#define EVRT_SUB_SERIAL_MASK UINT64_C(0x3fff)
/* Has no place in the window. */
static inline bool evrt_sub_is_beside(uint64_t position) {
    return (position & EVRT_SUB_RETRY) != 0;
}
static inline bool evrt_sub_is_retry(uint64_t position) {
    return (position & (EVRT_SUB_RETRY | EVRT_SUB_ASIDE)) == EVRT_SUB_RETRY;
}
static inline bool evrt_sub_is_aside(uint64_t position) {
    return (position & (EVRT_SUB_RETRY | EVRT_SUB_ASIDE)) == (EVRT_SUB_RETRY | EVRT_SUB_ASIDE);
}

struct evrt_sub {
    uint32_t id;      /* in the journal, for ever */
    uint32_t handler; /* index in the generation's list; valid when active */
    char *name;
    bool active;         /* in the scripts */
    int64_t orphaned_ms; /* when it left them; 0: active */
    int64_t orphaned_ns; /* the same by the monotonic clock */
    int64_t timeout_ms;
    int priority;
    char *ordered_by; /* kept by the host */
    uint32_t limit;   /* deliveries in flight at most */
    uint64_t limit_bytes;

    struct evrt_epoch *epochs; /* ascending; the last one is in force */
    size_t epoch_count;

    struct evrt_window window;
    uint32_t live_max;              /* deliveries at most */
    uint64_t parked_max;            /* entries in state PARKED at most */
    struct evrt_sub_block **blocks; /* the deliveries, in blocks that do not move */
    uint32_t live, made;            /* in use; made so far */
    uint32_t free_first, free_last; /* a queue of those that are free: number + 1 */
    uint64_t *ready;                /* queue of positions, a ring */
    uint32_t ready_mask;
    uint64_t ready_head, ready_tail;
    struct evrt_delivery *again_first, *again_last; /* in state AGAIN, as they came to it */

    bool ordered;    /* has an ordered_by */
    bool reordering; /* it changed: begins anew when what was begun has ended */
    struct evrt_keys keys;
    uint64_t parked;  /* entries in state PARKED */
    size_t own_bytes; /* copies held by those in line */

    struct evrt_retries retries; /* that wait for their time */
    struct evrt_keys retried;    /* by sequence: those that have a delivery; head: its position */
    uint64_t retrying;           /* both, but for those that ended */
    uint32_t retry_live;         /* that have a delivery and did not end */
    uint32_t retry_flight;       /* of those, in flight */
    uint64_t retry_serial;

    struct evrt_delivery *aside_first, *aside_last; /* aside, ready to be sent */
    uint32_t aside_live;                            /* that have not been settled */
    uint32_t aside_flight;                          /* in flight */

    uint64_t scan; /* behind: next sequence to read; live: unused */
    bool behind;
    bool reading;      /* a read job is under way for it */
    bool again_read;   /* the last read was for AGAIN: the other kind's turn */
    bool paused;       /* by an operator: nothing is sent, nothing read */
    int64_t paused_ms; /* since when; 0: it is not */
    uint32_t again;    /* deliveries in state AGAIN */
    uint32_t flight;
    uint64_t flight_bytes;
    uint32_t lent; /* of those in flight */
    uint64_t lent_bytes;
    uint32_t begun; /* deliveries that were sent and have not been settled */

    /* Ended above the cursor before the last start (or before it was put in another order), as runs;
     * consulted while reading behind. Dropped when the cursor has passed them. */
    struct evrt_range *skip;
    size_t skip_count;

    bool left_effects; /* one that ended since the last settlement did: kept by the host */
    unsigned strikes;  /* crashes of late, fewer with each success: kept by the host */
    bool own_limit;    /* `limit` is its alone, not what all have */
    bool held;         /* after a crash: nothing is sent until the host lets it */
    int64_t held_until_ns;
    int64_t typical_ns; /* from sending to a good answer, of late; kept by the host */
    uint64_t seen;      /* events below it are counted in `matched` */
    bool counting;      /* commits count for it; else its reader does (seen trails) */
    uint64_t matched, done, dead, discarded;

    uint64_t *ended; /* positions that ended since the last settlement */
    size_t ended_count, ended_cap;
    struct evrt_buf dead_list;  /* of the next settlement */
    struct evrt_buf retry_list; /* the same: new retries, and those that failed again */
    uint64_t *left;             /* the same: dead letters that are no more */
    size_t left_count;
    struct evrt_range *gone; /* the same: what was discarded */
    size_t gone_count, gone_cap;
    struct evrt_buf retried_list, left_list, gone_list; /* scratch of a settlement */
    bool dirty;                      /* stands in the bus's list of those to settle */
    bool listed;                     /* scratch of a listing */
    uint64_t from_seq;               /* where it began */
    uint64_t told_cursor, told_seen; /* as of its last settlement record */
    struct evrt_sub *next_dirty;
    uint64_t credit_waits; /* how often one was ready and there was no credit */
    void *host;            /* what the host keeps with it (its reader of the journal) */
};

/* Creates a subscription that stands at `cursor`; it is behind when cursor < next_seq. `live_max`,
 * `parked_max`: bounds of the window. */
struct evrt_sub *evrt_sub_create(uint32_t id, struct evrt_slice name, uint32_t live_max,
                                 uint64_t parked_max, uint64_t cursor);
void evrt_sub_destroy(struct evrt_sub *s);

/* The first sequence that has not ended. `next_seq`: the next one that will commit. */
uint64_t evrt_sub_cursor(const struct evrt_sub *s, uint64_t next_seq);
/* What has not ended. */
static inline uint64_t evrt_sub_pending(const struct evrt_sub *s) {
    return s->matched - s->done - s->dead - s->discarded;
}
/* Of those, in flight: what is aside is none of them. */
static inline uint64_t evrt_sub_running(const struct evrt_sub *s) {
    return s->flight - s->aside_flight;
}
/* Of those, retries that are not in flight. */
static inline uint64_t evrt_sub_retrying(const struct evrt_sub *s) {
    return s->retrying - s->retry_flight;
}

/* Adds the patterns in force from `from_seq` (takes over the reference), and forgets all but the last epochs that end
 * at or below the cursor. */
void evrt_sub_add_epoch(struct evrt_sub *s, uint64_t from_seq, struct evrt_pattern_set *patterns);
void evrt_sub_drop_epochs(struct evrt_sub *s, uint64_t cursor);
/* Whether the event belonged to it when it was published / should be delivered now. */
bool evrt_sub_matched(const struct evrt_sub *s, uint64_t seq, struct evrt_slice type);
bool evrt_sub_matches(const struct evrt_sub *s, struct evrt_slice type);
bool evrt_sub_skips(const struct evrt_sub *s, uint64_t seq);

static inline struct evrt_delivery *evrt_sub_numbered(const struct evrt_sub *s, uint32_t number) {
    return &s->blocks[number / EVRT_SUB_BLOCK]->deliveries[number % EVRT_SUB_BLOCK];
}
/* The delivery of an entry that is LIVE. */
static inline struct evrt_delivery *evrt_sub_at(const struct evrt_sub *s, uint64_t position) {
    if (evrt_sub_is_beside(position))
        return evrt_sub_numbered(s, position & ((1u << EVRT_SUB_NUMBER_BITS) - 1));
    return evrt_sub_numbered(s, evrt_window_at(&s->window, position)->ref);
}
/* The delivery there; NULL: none. */
struct evrt_delivery *evrt_sub_delivery(const struct evrt_sub *s, uint64_t position);
static inline bool evrt_sub_full(const struct evrt_sub *s) {
    return s->live - s->retry_live - s->aside_live >= s->live_max || s->parked >= s->parked_max ||
           evrt_window_span(&s->window) >= EVRT_SUB_SPAN;
}
/* The delivery of that sequence that is at a worker, or NULL. */
struct evrt_delivery *evrt_sub_find_flight(const struct evrt_sub *s, uint64_t seq);
/* What has become of a sequence that belonged to it. A retry that waits for its time counts as ended here:
 * state.db tells. */
enum evrt_sub_where { EVRT_SUB_PENDING, EVRT_SUB_RUNNING, EVRT_SUB_ENDED };
enum evrt_sub_where evrt_sub_where(const struct evrt_sub *s, uint64_t seq, uint64_t next_seq);

/* Appends a delivery (state FRESH without bytes, not ready yet) and makes its key busy (0: none); there is
 * room. */
uint64_t evrt_sub_push(struct evrt_sub *s, uint64_t seq, uint64_t key);
/* The same when its key is busy: puts it in line. `event`: its bytes, to be copied when there is room for
 * them; {NULL,0}: they are read when its turn comes. */
void evrt_sub_park(struct evrt_sub *s, uint64_t seq, struct evrt_key *key, struct evrt_slice event);
/* One of the key has ended. Returns the position of the next one, which is in line no more: FRESH with its
 * bytes (NULL: lost) or AGAIN. 0: there is none, and the key is free. */
uint64_t evrt_sub_pass_on(struct evrt_sub *s, uint64_t key);
/* Gives a delivery its bytes and puts it in the ready queue: at the end, or at the front. */
void evrt_sub_make_ready(struct evrt_sub *s, uint64_t position, struct evrt_hold *hold,
                         const char *event, uint32_t n, bool front);
/* Puts one that has its bytes at the end of the ready queue. */
void evrt_sub_queue(struct evrt_sub *s, uint64_t position);
/* Gives one in line its bytes, copied; {NULL,0}: they are lost. */
void evrt_sub_keep_bytes(struct evrt_sub *s, struct evrt_delivery *d, struct evrt_slice event);
/* Takes that one out, wherever it stands. */
void evrt_sub_unready(struct evrt_sub *s, uint64_t position);
/* Takes the first of the ready queue; 0 when it is empty. */
uint64_t evrt_sub_take_ready(struct evrt_sub *s);
/* Takes that back. */
void evrt_sub_untake_ready(struct evrt_sub *s, uint64_t position);
static inline bool evrt_sub_has_ready(const struct evrt_sub *s) {
    return s->ready_head != s->ready_tail;
}
static inline bool evrt_sub_has_credit(const struct evrt_sub *s) {
    /* One that crashed shows first that it can do better, with one delivery at a time. */
    return !s->held && !s->paused && s->flight - s->lent < (s->strikes == 0 ? s->limit : 1) &&
           s->flight_bytes - s->lent_bytes < s->limit_bytes;
}
/* FRESH to FLIGHT; lets go of the bytes. */
void evrt_sub_sent(struct evrt_sub *s, uint64_t position, uint32_t worker, int64_t now_ns,
                   struct evrt_slice event);

/* Gives back the memory of fresh events and reads them from the journal instead. */
void evrt_sub_fall_behind(struct evrt_sub *s, uint64_t next_seq);
/* Lets go of everything that was ready: it is read again before it is sent, and matched then. */
void evrt_sub_recall(struct evrt_sub *s, uint64_t next_seq);
/* The same with one that has its bytes and is not in the ready queue. */
void evrt_sub_put_back(struct evrt_sub *s, uint64_t position);
/* Its keys are others from now on: everything that was never sent is read again from the journal, when
 * what was has ended. What ended is settled (ended_count 0). */
void evrt_sub_reorder(struct evrt_sub *s, uint64_t next_seq);
/* The sequences whose bytes are to be read, ascending, those that wait longest; at most `max`. Returns how
 * many. */
size_t evrt_sub_list_again(const struct evrt_sub *s, uint64_t *seqs, size_t max);
/* The delivery of `seq` in state AGAIN, or NULL. */
struct evrt_delivery *evrt_sub_find_again(const struct evrt_sub *s, uint64_t seq);
/* Whether one in flight counts against the limits (not while it waits for others). */
void evrt_sub_lend(struct evrt_sub *s, struct evrt_delivery *d, bool lent);

/* The delivery of `position` if `worker` has it now, else NULL: a stale answer. */
struct evrt_delivery *evrt_sub_in_flight(const struct evrt_sub *s, uint64_t position,
                                         uint32_t worker);
/* Ends a delivery (FLIGHT, AGAIN or FRESH): it goes into the next settlement. */
void evrt_sub_end(struct evrt_sub *s, uint64_t position);
/* One in flight must be sent again. */
void evrt_sub_again(struct evrt_sub *s, struct evrt_delivery *d);
/* What `worker` had in flight must be sent again. Returns how many. */
uint32_t evrt_sub_worker_gone(struct evrt_sub *s, uint32_t worker);

/* ---- Retries ---- */

/* When the next one may go on: at once, or INT64_MAX for none, too. */
int64_t evrt_sub_retry_due(const struct evrt_sub *s);
/* Gives those that are due a delivery, to be read. Returns how many. What ended is settled (ended_count 0): one
 * that failed again has its old delivery until then. */
uint32_t evrt_sub_promote(struct evrt_sub *s, int64_t now_ns);
/* The same with one, due or not; NULL: there is none, or it is under way. */
struct evrt_delivery *evrt_sub_take_retry(struct evrt_sub *s, uint64_t seq);
/* The sequences of some that are not in flight, at most so many. Returns how many. */
size_t evrt_sub_some_retries(const struct evrt_sub *s, uint64_t *seqs, size_t most);
/* As it was before the last stop: before anything is read. */
void evrt_sub_restore_retry(struct evrt_sub *s, const struct evrt_retry_row *r);

/* ---- Aside: what is delivered beside the window, and in no count. Each keeps its bytes until it ends ---- */

struct evrt_aside {
    enum evrt_purpose purpose;
    uint64_t job, key;
    uint16_t attempt;
    struct evrt_slice event, info; /* copied */
};
/* Ready at once, behind those there are. */
void evrt_sub_add_aside(struct evrt_sub *s, const struct evrt_aside *a);
static inline struct evrt_slice evrt_sub_aside_info(const struct evrt_delivery *d) {
    return (struct evrt_slice){d->event + d->n, d->info_n};
}
/* Takes the next one whose key is free out of the queue, and makes it busy; and back to its front, with its key.
 * While it is reordering, one that was sent before: that ends first. */
struct evrt_delivery *evrt_sub_take_aside(struct evrt_sub *s,
                                          uint64_t (*key)(void *arg, const struct evrt_sub *s,
                                                          const struct evrt_slice *event),
                                          void *arg);
void evrt_sub_untake_aside(struct evrt_sub *s, struct evrt_delivery *d);
/* Whether one of that job and key is in flight. */
bool evrt_sub_has_aside(const struct evrt_sub *s, uint64_t job, uint64_t key);
/* One of that purpose that is in flight at that worker; NULL: there is none. */
struct evrt_delivery *evrt_sub_aside_at(const struct evrt_sub *s, enum evrt_purpose purpose,
                                        uint32_t worker);
/* One of that job that is not in flight is no more; its key (0: none) is the caller's to pass on. false: there
 * is none. */
bool evrt_sub_drop_aside(struct evrt_sub *s, uint64_t job, uint64_t *key);

/* So many sequences from `seq` on are counted as discarded: the next settlement names them. */
void evrt_sub_discard(struct evrt_sub *s, uint64_t seq, uint64_t count);
/* A dead letter is no more: the handler has done it now, or it is given up. The caller has it settled. */
void evrt_sub_letter_left(struct evrt_sub *s, uint64_t seq, bool done);

/* Moves the cursor over what has ended and fills the record (slices point into the subscription, valid
 * until it changes). `ranges` is scratch. */
void evrt_sub_settle(struct evrt_sub *s, uint64_t next_seq, struct evrt_buf *ranges,
                     struct evrt_record_settle *out);
/* After the record was written. */
void evrt_sub_settled(struct evrt_sub *s);
/* Gives back the memory of deliveries when there are none; to be called now and then. */
void evrt_sub_tidy(struct evrt_sub *s);

#endif
