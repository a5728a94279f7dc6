/* A subscription: what one handler still has to do. Cursor, window, credit, counts. Pure data and
 * arithmetic: no I/O, no clock. Owner: the bus; the loop's thread.
 *
 * The window is a ring of deliveries in order of sequence, numbered by position (1, 2, ... for ever):
 *
 *     head                                         tail      scan
 *      |  DONE? FLIGHT  DONE  AGAIN  FLIGHT  FRESH  |  ......  |  not looked at yet
 *      ^ its seq is the cursor                                   (behind: read from the journal)
 *
 * Everything below the cursor has ended. FRESH deliveries hold the event's bytes and stand in the ready
 * queue; FLIGHT ones are at a worker; AGAIN ones were at a worker that died, and their bytes must be
 * read again. A subscription is live (fresh events are pushed as they commit) or behind (it reads the
 * journal from `scan`), never both: so memory is bounded whatever the backlog. */
#ifndef EVRT_BUS_SUB_H
#define EVRT_BUS_SUB_H

#include <stdbool.h>

#include "core/map.h"
#include "core/record.h"

struct evrt_pattern_set;

/* Bytes that deliveries point into; freed with the last of them. */
struct evrt_hold {
    uint32_t refs;
    size_t bytes;
    void (*release)(struct evrt_hold *hold);
};

enum evrt_delivery_state {
    EVRT_DELIVERY_FRESH,
    EVRT_DELIVERY_FLIGHT,
    EVRT_DELIVERY_AGAIN,
    EVRT_DELIVERY_DONE,
};

/* What a log line says of a delivery in flight, whose bytes are gone: id, type and time of its event, end
 * to end; in `heap` when they are long. */
struct evrt_delivery_label {
    uint16_t id_n, type_n, time_n;
    union {
        char here[90];
        char *heap;
    } text;
};

struct evrt_delivery {
    uint64_t seq;
    struct evrt_hold *hold; /* FRESH only */
    const char *event;      /* FRESH only: the encoding */
    uint32_t n;             /* its size */
    uint32_t worker;        /* FLIGHT only: who has it */
    int64_t sent_ns;        /* FLIGHT only: when it left, monotonic */
    uint8_t state;
    uint8_t attempt;
    uint8_t crashes;                  /* workers that it cost */
    struct evrt_delivery_label label; /* since it was first sent, until it is settled */
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

struct evrt_sub {
    uint32_t id;      /* in the journal, for ever */
    uint32_t handler; /* index in the generation's list; valid when active */
    char *name;
    bool active;         /* in the scripts */
    int64_t orphaned_ms; /* when it left them; 0: active */
    int64_t timeout_ms;
    uint32_t limit; /* deliveries in flight at most */
    uint64_t limit_bytes;

    struct evrt_epoch *epochs; /* ascending; the last one is in force */
    size_t epoch_count;

    struct evrt_delivery *ring;
    uint32_t mask;       /* ring size - 1 */
    uint32_t window;     /* ring size at most */
    uint64_t head, tail; /* positions */
    uint64_t *ready;     /* queue of positions, a ring of the same size */
    uint64_t ready_head, ready_tail;

    uint64_t scan; /* behind: next sequence to read; live: unused */
    bool behind;
    bool reading;   /* a read job is under way for it */
    uint32_t again; /* deliveries in state AGAIN */
    uint32_t flight;
    uint64_t flight_bytes;

    /* Ended above the cursor before the last start, as runs; consulted while reading behind. */
    struct evrt_range *skip;
    size_t skip_count;

    unsigned strikes; /* crashes of late, fewer with each success: kept by the host */
    bool held;        /* after a crash: nothing is sent until the host lets it */
    int64_t held_until_ns;
    int64_t typical_ns; /* from sending to a good answer, of late; kept by the host */
    uint64_t seen;      /* events below it are counted in `matched` */
    bool counting;      /* commits count for it; else its reader does (seen trails) */
    uint64_t matched, done, dead, discarded;

    uint64_t *ended; /* positions that ended since the last settlement */
    size_t ended_count, ended_cap;
    struct evrt_buf dead_list;       /* of the next settlement */
    bool dirty;                      /* stands in the bus's list of those to settle */
    bool listed;                     /* scratch of a listing */
    uint64_t from_seq;               /* where it began */
    uint64_t told_cursor, told_seen; /* as of its last settlement record */
    struct evrt_sub *next_dirty;
    void *host; /* what the host keeps with it (its reader of the journal) */
};

/* Creates a subscription that stands at `cursor`; it is behind when cursor < next_seq. */
struct evrt_sub *evrt_sub_create(uint32_t id, struct evrt_slice name, uint32_t window,
                                 uint64_t cursor);
void evrt_sub_destroy(struct evrt_sub *s);

/* The first sequence that has not ended. `next_seq`: the next one that will commit. */
uint64_t evrt_sub_cursor(const struct evrt_sub *s, uint64_t next_seq);
static inline uint64_t evrt_sub_pending(const struct evrt_sub *s) {
    return s->matched - s->done - s->dead - s->discarded;
}

/* Adds the patterns in force from `from_seq` (takes over the reference), and forgets epochs that end
 * at or below the cursor. */
void evrt_sub_add_epoch(struct evrt_sub *s, uint64_t from_seq, struct evrt_pattern_set *patterns);
void evrt_sub_drop_epochs(struct evrt_sub *s, uint64_t cursor);
/* Whether the event belonged to it when it was published / should be delivered now. */
bool evrt_sub_matched(const struct evrt_sub *s, uint64_t seq, struct evrt_slice type);
bool evrt_sub_matches(const struct evrt_sub *s, struct evrt_slice type);
bool evrt_sub_skips(const struct evrt_sub *s, uint64_t seq);

static inline struct evrt_delivery *evrt_sub_at(const struct evrt_sub *s, uint64_t position) {
    return &s->ring[position & s->mask];
}
static inline bool evrt_sub_full(const struct evrt_sub *s) {
    return s->tail - s->head >= s->window;
}
/* Appends a delivery (state FRESH without bytes, not ready yet); the window is not full. */
uint64_t evrt_sub_push(struct evrt_sub *s, uint64_t seq);
/* Gives a delivery its bytes and puts it in the ready queue: at the end, or at the front. */
void evrt_sub_make_ready(struct evrt_sub *s, uint64_t position, struct evrt_hold *hold,
                         const char *event, uint32_t n, bool front);
/* Takes the first of the ready queue; 0 when it is empty. */
uint64_t evrt_sub_take_ready(struct evrt_sub *s);
static inline bool evrt_sub_has_ready(const struct evrt_sub *s) {
    return s->ready_head != s->ready_tail;
}
static inline bool evrt_sub_has_credit(const struct evrt_sub *s) {
    /* One that crashed shows first that it can do better, with one delivery at a time. */
    return !s->held && s->flight < (s->strikes == 0 ? s->limit : 1) &&
           s->flight_bytes < s->limit_bytes;
}
/* FRESH to FLIGHT; lets go of the bytes. */
void evrt_sub_sent(struct evrt_sub *s, uint64_t position, uint32_t worker, int64_t now_ns,
                   struct evrt_slice event);

/* Gives back the memory of fresh events and reads them from the journal instead. */
void evrt_sub_fall_behind(struct evrt_sub *s, uint64_t next_seq);

/* Lets go of everything that was ready: it is read again before it is sent, and matched then. */
void evrt_sub_recall(struct evrt_sub *s, uint64_t next_seq);

/* The delivery of `position` if `worker` has it now, else NULL: a stale answer. */
struct evrt_delivery *evrt_sub_in_flight(const struct evrt_sub *s, uint64_t position,
                                         uint32_t worker);
/* Ends a delivery (FLIGHT, AGAIN or FRESH): it goes into the next settlement. */
void evrt_sub_end(struct evrt_sub *s, uint64_t position);
/* What `worker` had in flight must be sent again. Returns how many. */
uint32_t evrt_sub_worker_gone(struct evrt_sub *s, uint32_t worker);

/* Moves the cursor over what has ended and fills the record (slices point into the subscription, valid
 * until it changes). `ranges` is scratch. */
void evrt_sub_settle(struct evrt_sub *s, uint64_t next_seq, struct evrt_buf *ranges,
                     struct evrt_record_settle *out);
/* After the record was written. */
void evrt_sub_settled(struct evrt_sub *s);

#endif
