/* The key-value store as of the last accepted write: what state.db does not have yet, and a cache of what it
 * has. A write is accepted in this order:
 *
 *     set, delete, incr ─▶ stamp n ── seal ─▶ its record is appended ── committed ─▶ group g
 *                                                                        applied g ─▶ clean: a cache entry
 *
 * An increment of a key whose value is not known is kept as a difference, until the value is read or the write
 * is in state.db. Pure: no I/O, no clock. Owner: the host; the loop's thread. */
#ifndef EVRT_HOST_OVERLAY_H
#define EVRT_HOST_OVERLAY_H

#include "state/kv.h"

struct evrt_overlay;
struct evrt_values;

struct evrt_overlay_options {
    size_t cache_bytes; /* of clean entries */
    bool
        keep; /* there is no state.db to be read: everything stays, and what is not here is absent */
    struct evrt_values *values; /* where workers read, kept as the overlay is; NULL: nowhere */
};

struct evrt_overlay *evrt_overlay_create(const struct evrt_overlay_options *options);
void evrt_overlay_destroy(struct evrt_overlay *o);

struct evrt_overlay_name {
    struct evrt_slice ns, key;
};

/* ---- Writes ---- */

/* `at_ms`: the time of the record that the write goes into. row->value.n 0 deletes. */
void evrt_overlay_set(struct evrt_overlay *o, const struct evrt_overlay_name *name,
                      const struct evrt_kv_row *row);
void evrt_overlay_incr(struct evrt_overlay *o, const struct evrt_overlay_name *name, int64_t by,
                       int64_t at_ms);
/* What was written since the last time takes effect for workers, all of it at once. */
void evrt_overlay_show(struct evrt_overlay *o);
/* What was written since the last seal, and shown, is in a record that was appended. */
void evrt_overlay_seal(struct evrt_overlay *o);
/* The first sealed record that was not yet is committed, in this group. */
void evrt_overlay_committed(struct evrt_overlay *o, uint64_t group);
/* State.db has everything up to this group. */
void evrt_overlay_applied(struct evrt_overlay *o, uint64_t group);
/* A reading of state.db begins, or (-1) ends: what it may not see stays meanwhile. */
void evrt_overlay_reading(struct evrt_overlay *o, int delta);
/* Where everything is kept: looks at so many of those that state.db has, next time at others, and drops what
 * expired. Returns how many. */
uint32_t evrt_overlay_sweep(struct evrt_overlay *o, int64_t now_ms, uint32_t most);

/* ---- Reads ---- */

/* true: *value is what the key has at that time, n 0 for nothing, good until the next call; workers find it from now
 * on. false: state.db must be read. */
bool evrt_overlay_get(struct evrt_overlay *o, const struct evrt_overlay_name *name, int64_t now_ms,
                      struct evrt_slice *value);
/* The same for the host alone: it makes no place for the key where workers read. */
bool evrt_overlay_peek(struct evrt_overlay *o, const struct evrt_overlay_name *name, int64_t now_ms,
                       struct evrt_slice *value);
/* State.db, as of `group`, has this row of the key (value.n 0: none): from now on get knows. */
void evrt_overlay_learn(struct evrt_overlay *o, const struct evrt_overlay_name *name,
                        const struct evrt_kv_row *row, uint64_t group);
/* The first key of a range whose value may differ from state.db's row. false: there is none. The slice is good
 * until the next write. What does not differ is walked over, so a range that ends soon is a short walk. */
struct evrt_overlay_range {
    struct evrt_slice ns, from, to; /* keys from `from` on, below `to` (n 0: all) */
    bool behind;                    /* without `from` itself */
};
bool evrt_overlay_next(const struct evrt_overlay *o, const struct evrt_overlay_range *range,
                       struct evrt_slice *key);
/* The first namespace behind `after` that has an entry. */
bool evrt_overlay_namespace(const struct evrt_overlay *o, struct evrt_slice after,
                            struct evrt_slice *ns);

struct evrt_overlay_stats {
    uint64_t entries, dirty_bytes, cache_bytes;
    uint64_t hits, misses; /* of get */
};
void evrt_overlay_stats(const struct evrt_overlay *o, struct evrt_overlay_stats *out);
/* Bytes that state.db does not have yet. */
size_t evrt_overlay_dirty(const struct evrt_overlay *o);

#endif
