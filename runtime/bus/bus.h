/* The bus: which handlers an event belongs to, and when each may have it. Pure: it is told of committed
 * events, of credit given back and of bytes read, and calls out through struct evrt_bus_ops; no I/O, no
 * clock, no uv, no Lua. Owner: the host; the loop's thread. */
#ifndef EVRT_BUS_BUS_H
#define EVRT_BUS_BUS_H

#include <stdbool.h>

#include "bus/sub.h"

struct evrt_bus;

struct evrt_bus_ops {
    /* Sends one delivery to a worker; may set the meter of its label, which counts it while it is in flight.
     * Returns the worker's number, or 0 when none can take it now:
     * the delivery stays ready. `event` is valid during the call. */
    uint32_t (*send)(void *arg, const struct evrt_sub *s, uint64_t position, unsigned attempt,
                     const struct evrt_slice *event);
    /* The key that the event is ordered by for this subscription (which is `ordered`), hashed; 0: none. */
    uint64_t (*key)(void *arg, const struct evrt_sub *s, const struct evrt_slice *event);
    /* The subscription has an end to journal, or its first one since the last settlement. */
    void (*dirty)(void *arg, struct evrt_sub *s);
};

struct evrt_bus_options {
    uint32_t window;       /* deliveries of one subscription under way or ready */
    uint64_t max_parked;   /* events of one subscription that wait for their key */
    uint64_t memory_limit; /* bytes of committed events held for handlers that lack credit */
    uint64_t next_seq;     /* of the first event that will be committed */
    const struct evrt_bus_ops *ops;
    void *arg;
};

struct evrt_bus *evrt_bus_create(const struct evrt_bus_options *options);
void evrt_bus_destroy(struct evrt_bus *b);

/* ---- Subscriptions ---- */

/* Adds one that stands at `cursor`; ids are unique. The bus owns it. */
struct evrt_sub *evrt_bus_add(struct evrt_bus *b, uint32_t id, struct evrt_slice name,
                              uint64_t cursor);
void evrt_bus_remove(struct evrt_bus *b, struct evrt_sub *s);
struct evrt_sub *evrt_bus_find(const struct evrt_bus *b, struct evrt_slice name);
/* By number, as in a delivery's name; NULL when it is gone. */
struct evrt_sub *evrt_bus_by_id(const struct evrt_bus *b, uint32_t id);
/* All of them, by ascending id. */
size_t evrt_bus_count(const struct evrt_bus *b);
struct evrt_sub *evrt_bus_get(const struct evrt_bus *b, size_t index);
/* To be called when patterns or `active` of one changed while it has deliveries: what was ready is looked
 * at anew, and discarded when it no longer matches. */
void evrt_bus_recall(struct evrt_bus *b, struct evrt_sub *s);
/* To be called after patterns, `active` or `priority` of any subscription changed. */
void evrt_bus_rerouted(struct evrt_bus *b);

/* Its order changed: ops->key answers otherwise from now on, or (`ordered` false) is not asked any more. What
 * was sent ends first; nothing else is sent until then. Everything that ended must be settled. */
void evrt_bus_order(struct evrt_bus *b, struct evrt_sub *s, bool ordered);
/* Paused: what is in flight ends, nothing more is sent or read. */
void evrt_bus_pause(struct evrt_bus *b, struct evrt_sub *s, bool paused);

/* ---- Events ---- */

/* The subscriptions that an event of this type belongs to now, higher priority first; valid until
 * rerouted. */
struct evrt_route {
    size_t count;
    struct evrt_sub *subs[];
};
const struct evrt_route *evrt_bus_route(struct evrt_bus *b, struct evrt_slice type);

/* One committed event, in order of sequence. Sent at once where there is credit; kept where not, and
 * then `hold` (refs 0 on entry when nobody holds it yet) is referenced. */
void evrt_bus_commit(struct evrt_bus *b, uint64_t seq, struct evrt_slice event,
                     struct evrt_hold *hold);
uint64_t evrt_bus_next_seq(const struct evrt_bus *b);
/* Sends what is ready and has credit, in small shares, higher priority first. Call when workers or credit came back. */
void evrt_bus_pump(struct evrt_bus *b);
/* Bytes of committed events held. Told by the owner of the holds, who makes them. */
void evrt_bus_held(struct evrt_bus *b, int64_t delta);
uint64_t evrt_bus_held_bytes(const struct evrt_bus *b);

/* How often a limit came to bear. */
struct evrt_bus_limits {
    uint64_t memory;      /* memory_limit sent handlers to the journal */
    uint64_t window;      /* one was sent there, as its window was full */
    uint64_t parked;      /* one took no more events, as max_parked waited for their keys */
    uint64_t concurrency; /* one's deliveries waited for credit, at the limit that all have */
};
const struct evrt_bus_limits *evrt_bus_limits(const struct evrt_bus *b);

/* ---- Ends ---- */

enum evrt_outcome {
    EVRT_OUTCOME_DONE,
    EVRT_OUTCOME_DEAD,
    EVRT_OUTCOME_DISCARDED,
    EVRT_OUTCOME_RETRYING,
};

/* A worker's answer, but for a failure that is to be tried again. 0, or -ESTALE: that worker does not have this delivery (D8). *d is a copy of the
 * delivery as it was. */
EVRT_MUST_CHECK int evrt_bus_end(struct evrt_bus *b, struct evrt_sub *s, uint64_t position,
                                 uint32_t worker, enum evrt_outcome outcome,
                                 struct evrt_delivery *d);
/* A delivery in flight waits for others: until it is taken back it counts against no limit. false: that
 * worker does not have it, or it is so already. */
bool evrt_bus_lend(struct evrt_bus *b, struct evrt_sub *s, uint64_t position, uint32_t worker,
                   bool lent);
/* An attempt failed, and the delivery becomes a retry: due, first_failed_ms, crashes of *again are set by
 * the caller, and kept, when it has the bytes (of one that is `kept` they are at hand already); key 0 lets the
 * others of its key pass, else any value keeps it. The rest of *again is set here.
 * 0, or -ESTALE as above. */
EVRT_MUST_CHECK int evrt_bus_retry(struct evrt_bus *b, struct evrt_sub *s, uint64_t position,
                                   uint32_t worker, struct evrt_retry_row *again,
                                   struct evrt_delivery *d);
/* Ends a retry that is not in flight, due or not. 0; -ENOENT: there is none; -EBUSY: it is in flight. One that
 * failed again is found when that has been settled. *d is a copy of the delivery as it was: of the attempt that
 * is not made. */
EVRT_MUST_CHECK int evrt_bus_end_retry(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq,
                                       enum evrt_outcome outcome, struct evrt_delivery *d);
/* Makes it due. The same. */
EVRT_MUST_CHECK int evrt_bus_run_retry(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq);
/* A dead letter is no more: the handler has done it now, or it is given up (and counted as discarded). */
void evrt_bus_letter_left(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq, bool done);

/* ---- Aside ---- */

/* Delivers the event to one subscription beside its window: in none of its counts, after what is ready, and
 * when its key is free. Ends by evrt_bus_end (the outcome given is not counted) or _drop_asides. */
void evrt_bus_aside(struct evrt_bus *b, struct evrt_sub *s, const struct evrt_aside *a);
/* Those of a job that are not in flight are not delivered. Returns how many there were. */
uint32_t evrt_bus_drop_asides(struct evrt_bus *b, uint64_t job);
uint32_t evrt_bus_drop_asides_of(struct evrt_bus *b, struct evrt_sub *s, uint64_t job);

/* A delivery in flight must be sent again, as the same attempt. */
void evrt_bus_again(struct evrt_bus *b, struct evrt_sub *s, uint64_t position);
/* Its deliveries must be sent again; returns how many there are. */
uint64_t evrt_bus_worker_gone(struct evrt_bus *b, uint32_t worker);

/* ---- Reading for those that are behind ---- */

/* What a subscription wants read from the journal, if anything: to be asked after each turn. */
struct evrt_bus_read {
    bool again; /* those of evrt_sub_list_again; else everything from from_seq */
    uint64_t from_seq;
    uint32_t max_events;
};
bool evrt_bus_wants_read(const struct evrt_bus *b, const struct evrt_sub *s,
                         struct evrt_bus_read *out);
/* A matching event at or after scan, in order. false: the window is full or the read is outdated (the
 * subscription fell behind further or went live): stop, ask again later. */
bool evrt_bus_read_event(struct evrt_bus *b, struct evrt_sub *s, struct evrt_slice event,
                         struct evrt_hold *hold);
/* Everything below `next` was looked at. Goes live when it has caught up. */
void evrt_bus_read_to(struct evrt_bus *b, struct evrt_sub *s, uint64_t next);
/* The bytes of a delivery in state AGAIN; ignored when it is not (any more). */
void evrt_bus_read_again(struct evrt_bus *b, struct evrt_sub *s, struct evrt_slice event,
                         struct evrt_hold *hold);
/* The event could not be found (dropped or damaged): the delivery is discarded and counted. */
void evrt_bus_lost_again(struct evrt_bus *b, struct evrt_sub *s, uint64_t seq);

#endif
