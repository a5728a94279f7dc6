/* Once a second: what keeps a store small and its start short. Subscriptions that stood still are journaled
 * where they stand, so that segments behind them may go and a start has little to count; a snapshot of
 * state.db is taken when enough was written since the last; segments that retention or max_size ask for,
 * and nobody needs, are dropped; removed handlers are forgotten after bus.orphan_ttl. */
#include <errno.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"

enum {
    CHECKPOINT_EVENTS = 50000,  /* a subscription's record is at most so far behind */
    SNAPSHOT_BYTES = 256 << 20, /* journal written between two snapshots */
};

static void checkpoint(struct evrt_host *h) {
    uint64_t next = evrt_bus_next_seq(h->bus);
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        uint64_t seen = s->counting ? next : s->seen;
        if (seen - s->told_seen > CHECKPOINT_EVENTS) host_checkpoint(h, s);
    }
}

static void forget_orphans(struct evrt_host *h) {
    int64_t before = evrt_wall_ms() - h->config->bus.orphan_ttl;
    for (size_t i = evrt_bus_count(h->bus); i-- > 0;) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (!s->active && s->orphaned_ms != 0 && s->orphaned_ms < before)
            host_forget(h, s, "bus.orphan_ttl");
    }
}

/* The first group that someone still needs. */
static int pinned(struct evrt_host *h, uint64_t *group, struct evrt_error *err) {
    uint64_t next = evrt_bus_next_seq(h->bus), cursor = next;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        uint64_t c = evrt_sub_cursor(evrt_bus_get(h->bus, i), next);
        if (c < cursor) cursor = c;
    }
    int rc = host_group_of(h, cursor, group, err);
    uint64_t snapshotted = evrt_state_snapshotted(h->state);
    if (rc == 0 && *group > snapshotted + 1) *group = snapshotted + 1;
    return rc;
}

static void drop_segments(struct evrt_host *h, const struct evrt_journal_stats *before) {
    struct evrt_error err;
    uint64_t group;
    int rc = pinned(h, &group, &err);
    if (rc == 0)
        rc =
            evrt_journal_drop(h->journal, group, evrt_wall_ms() - h->config->store.retention, &err);
    if (rc < 0) {
        evrt_log_event(h->log, SEGMENTS_KEPT, EVRT_F_CSTR("error", err.message));
        return;
    }
    if (rc == 0) return;
    struct evrt_journal_stats after;
    evrt_journal_stats(h->journal, &after);
    evrt_log_event(h->log, SEGMENT_DROPPED, EVRT_F_I64("segment", rc),
                   EVRT_F_U64("events", after.first_seq - before->first_seq),
                   EVRT_F_CSTR("reason", before->bytes > h->config->store.max_size
                                             ? "store.max_size"
                                             : "store.retention"));
}

void host_keep(struct evrt_host *h) {
    if (h->phase != HOST_SERVING) return;
    struct evrt_journal_stats stats;
    evrt_journal_stats(h->journal, &stats);
    checkpoint(h);
    forget_orphans(h);
    bool crowded = stats.bytes + SNAPSHOT_BYTES > h->config->store.max_size;
    if (stats.committed_bytes - h->snapshot_bytes >
        (crowded ? SNAPSHOT_BYTES / 8 : SNAPSHOT_BYTES)) {
        h->snapshot_bytes = stats.committed_bytes;
        evrt_state_snapshot(h->state);
    }
    if (stats.segments > 1) drop_segments(h, &stats);
}
