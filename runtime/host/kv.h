/* The key-value store in the host, and what deliveries leave behind: inside of runtime/host, like node.h.
 *
 *     EFFECTS ─▶ accept.c: all of it may be, or none ─▶ overlay (what readers see) and the next KV record
 *     WRITE, the admin API ─▶                            │ end of the turn
 *                                                        ▼
 *                    one group of the journal: EVENT... KV SETTLE...          (kv.c)
 *     READ ─▶ read.c: overlay, or state.db beside the loop ─▶ VALUE
 *
 * Owner: the host; the loop's thread. */
#ifndef EVRT_HOST_KV_H
#define EVRT_HOST_KV_H

#include <uv.h>

#include "frame/frame.h"
#include "host/overlay.h"

struct evrt_host;
struct evrt_state_reader;
struct host_worker;
struct host_kv_ask;
struct host_kv_waiting;

struct host_kv {
    struct evrt_overlay *overlay;
    struct evrt_values *values;       /* which workers read by themselves; NULL: none, or not yet */
    int values_fd;                    /* with it */
    struct evrt_state_reader *here;   /* for the loop, when it cannot wait */
    struct evrt_state_reader *beside; /* for the thread pool; NULL, both: nothing is to be read */

    /* Accepted, and to be journaled at the end of the turn. */
    struct evrt_buf ops;     /* of the KV record */
    int64_t at_ms;           /* its time; 0: nothing was accepted */
    struct evrt_buf emitted; /* events, as host_put_record does */
    size_t emitted_bytes;    /* of their records */
    uint32_t emitted_count;
    struct evrt_buf scratch;

    /* Deliveries that are done but for room, in the order in which they came. */
    struct host_kv_waiting *waiting, **waiting_end;
    uv_timer_t timer; /* looks again */

    struct host_kv_ask *asked, **asked_end; /* since the last reading began */
    bool reading, damaged;
    int64_t swept_ns;
    uint64_t not_numbers; /* of state.db, that were told */

    struct {
        uint64_t effects;   /* deliveries that left some */
        uint64_t writes;    /* operations */
        uint64_t emitted;   /* events */
        uint64_t conflicts; /* compare-and-sets that came too late */
        uint64_t waits;     /* completions that waited for room */
        uint64_t reads, misses;
        uint64_t refused;
        uint64_t not_numbers; /* increments that changed nothing */
    } counts;
};

/* ---- kv.c ---- */

EVRT_MUST_CHECK int host_kv_open(struct evrt_host *h, struct evrt_error *err);
void host_kv_close(struct evrt_host *h);
/* The descriptor of frame/values.h for a worker, -1: it asks for whatever it reads. Workers start before the store is
 * opened, so the first who asks makes it. */
int host_kv_share(struct evrt_host *h);
/* The time of what is accepted now. */
int64_t host_kv_now(struct evrt_host *h);
/* Of the journal, that what was accepted since the last settlement may take; at most so many may be. */
enum { HOST_KV_GROUP_BYTES = 24 << 20 };
size_t host_kv_bytes(const struct evrt_host *h);
/* Adds what was accepted since the last settlement to the journal, in one group with these records
 * (host_put_record). */
void host_kv_settle(struct evrt_host *h, const struct evrt_buf *records);
static inline bool host_kv_has(const struct host_kv *kv) {
    return kv->at_ms != 0;
}
/* A KV record was committed. */
void host_kv_committed(struct evrt_host *h, uint64_t group);
/* Each turn, before settling. */
void host_kv_turn(struct evrt_host *h);
/* Now and then: expired keys go. */
void host_kv_keep(struct evrt_host *h);
struct evrt_jsonout;
void host_kv_stats(const struct evrt_host *h, struct evrt_jsonout *o);

/* ---- accept.c ---- */

/* EFFECTS and WRITE. */
int host_kv_effects(struct host_worker *w, struct evrt_slice payload);
int host_kv_writes(struct host_worker *w, struct evrt_slice payload);
/* Accepts what waits for room, as far as there is some. */
void host_kv_admit(struct evrt_host *h);
/* The worker has died: what it said counts, room or not. */
void host_kv_force(struct host_worker *w);
/* ---- read.c ---- */

/* READ. */
int host_kv_reads(struct host_worker *w, struct evrt_slice payload);
/* What the key has as of now, when the loop cannot wait. */
EVRT_MUST_CHECK int host_kv_value(struct evrt_host *h, const struct evrt_overlay_name *name,
                                  struct evrt_slice *value, struct evrt_error *err);
/* A reading of state.db ended with this: damage ends the node, and the next start builds state.db again. Until then no
 * worker is told, so that what is under way is made once more then, and nothing fails for it. */
void host_kv_met(struct evrt_host *h, int rc, const struct evrt_error *err);
/* Begins a reading of what was asked for, unless one runs. */
void host_kv_ask_now(struct evrt_host *h);

#endif
