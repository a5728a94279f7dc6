/* What keeps a store small and its start short, once a second, and more often when space is short.
 * Subscriptions that stood still are journaled where they stand, so that a start has little to count; a
 * snapshot of state.db is taken when enough was written since the last; segments that retention, max_size
 * or a full disk ask for, and nobody needs, are dropped; removed handlers are forgotten after
 * bus.orphan_ttl.
 *
 * A segment is needed while a handler has not ended with its events, and while less than two snapshots cover it.
 * What failed in it is copied first (copies.c). */
#include <stdio.h>
#include <sys/stat.h>

#include "host/jobs.h"
#include "host/node.h"

#include "host/letters.h"

#include "core/clock.h"
#include "host/replay.h"
#include "journal/oldest.h"

enum {
    CHECKPOINT_EVENTS = 50000,  /* a subscription's record is at most so far behind */
    SNAPSHOT_BYTES = 256 << 20, /* journal written between two snapshots */
    CALM_MS = 1000,
    CROWDED_MS = 100, /* max_size will soon be reached: between two looks, */
    SHORT_MS = 20,    /* and when it is */
    /* A full disk says only that there was no room, and making use of more takes a while: segments go one
     * by one. */
    DISK_MS = 250,
    SNAPSHOT_RETRY_MS = 1000, /* after one that failed */
};

/* Returns the monotonic clock's milliseconds. */
static int64_t look_at_clock(struct evrt_host *h) {
    int64_t mono = evrt_mono_ns() / 1000000, longest = h->config->store.retention;
    if (longest < h->config->dead_letters.ttl) longest = h->config->dead_letters.ttl;
    evrt_ages_look(&h->ages, evrt_wall_ms(), mono, longest);
    return mono;
}

int64_t host_aged_before(struct evrt_host *h, int64_t ttl_ms) {
    int64_t mono = look_at_clock(h);
    return evrt_ages_before(&h->ages, mono, ttl_ms);
}

static void checkpoint(struct evrt_host *h) {
    uint64_t next = evrt_bus_next_seq(h->bus);
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        uint64_t seen = s->counting ? next : s->seen;
        if (seen - s->told_seen > CHECKPOINT_EVENTS) host_checkpoint(h, s);
        evrt_sub_tidy(s);
    }
}

static void forget_orphans(struct evrt_host *h) {
    for (size_t i = evrt_bus_count(h->bus); i-- > 0;) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        /* Nobody hears of its dead letters any more; they would keep it for ever (job 0: notices). */
        if (!s->active && s->aside_live != 0) {
            (void)evrt_bus_drop_asides_of(h->bus, s, 0);
            host_jobs_orphaned(h, s);
        }
        if (!host_orphaned_for(s, h->config->bus.orphan_ttl) || s->retrying != 0 ||
            !host_may_forget(s))
            continue;
        if (s->dead == 0)
            host_forget(h, s, "bus.orphan_ttl");
        else if (evrt_sub_pending(s) != 0)
            host_give_up(h, s);
    }
}

/* ---- Snapshots ---- */

/* Subscription 0 is never given out: this changes nothing but the journal's position. */
static void journal_nothing(struct evrt_host *h) {
    evrt_buf_clear(&h->scratch);
    evrt_record_put_sub(&h->scratch, &(struct evrt_record_sub){0, evrt_wall_ms()});
    host_append(h, EVRT_RECORD_ORPHAN, evrt_buf_slice(&h->scratch));
}

/* One after the other. Where nothing was journaled since the last, there would be no second one beside it:
 * a snapshot is known by its position. */
static void ask_snapshot(struct evrt_host *h, const struct evrt_journal_stats *journal) {
    struct host_snapshots *s = &h->snapshots;
    struct evrt_state_stats state;
    evrt_state_stats(h->state, &state);
    if (state.snapshots + state.snapshot_failures < s->asked) return; /* one is being made */
    int64_t now = evrt_mono_ns();
    if (state.snapshot_failures != s->failures) {
        s->failures = state.snapshot_failures;
        s->not_before_ns = now + (int64_t)SNAPSHOT_RETRY_MS * 1000000;
    }
    if (now < s->not_before_ns) return;
    if (journal->last_group == s->group) journal_nothing(h);
    s->asked = state.snapshots + state.snapshot_failures + 1;
    s->group = journal->last_group;
    s->bytes = journal->committed_bytes;
    evrt_state_snapshot(h->state);
}

/* ---- Segments ---- */

uint64_t host_first_cursor(const struct evrt_host *h) {
    uint64_t next = evrt_bus_next_seq(h->bus), from = next;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        uint64_t cursor = evrt_sub_cursor(evrt_bus_get(h->bus, i), next);
        if (cursor < from) from = cursor;
    }
    return from;
}

/* The first event that a handler still needs, or would after a crash, or that a backup has not copied. */
uint64_t host_needed_from(struct evrt_host *h) {
    struct host_needed *n = &h->needed;
    uint64_t now = host_first_cursor(h), pin = host_backup_pin(h);
    if (h->committed >= n->record) {
        n->safe = n->from;
        n->from = now;
        n->record = h->appended;
    }
    if (h->committed >= n->record) n->safe = n->from;
    uint64_t needed = now < n->safe ? now : n->safe; /* a new handler may begin further back */
    return needed < pin ? needed : pin;
}

static bool over_max_size(const struct evrt_host *h, const struct evrt_journal_stats *s,
                          uint64_t ahead) {
    return s->bytes + ahead > h->config->store.max_size;
}

/* Why the oldest segment should go now, or NULL. */
static const char *reason_to_drop(struct evrt_host *h, const struct evrt_journal_stats *s,
                                  const struct evrt_journal_oldest *oldest) {
    if (host_cleanup_wants(h, oldest)) return "operator";
    if (over_max_size(h, s, HOST_SEGMENT_BYTES)) return "store.max_size";
    int64_t disk_ns = (int64_t)DISK_MS * 1000000;
    if (s->space != 0 && evrt_mono_ns() >= h->dropped_ns + disk_ns) return "no space on the disk";
    if (oldest->ended_ms < host_aged_before(h, h->config->store.retention))
        return "store.retention";
    return NULL;
}

/* Leaves the journal's figures as they are then in *s. */
static void drop_segments(struct evrt_host *h, struct evrt_journal_stats *s) {
    struct evrt_journal_oldest oldest;
    const char *reason;
    while (evrt_journal_oldest(h->journal, &oldest) &&
           (reason = reason_to_drop(h, s, &oldest)) != NULL) {
        if (host_needed_from(h) < oldest.next_seq) {
            host_copies_outdated(h);
            return;
        }
        /* New events come before a replay of old ones. */
        bool short_of_space = s->space != 0 || over_max_size(h, s, HOST_SEGMENT_BYTES);
        if (!short_of_space && host_replays_pin(h) < oldest.next_seq) return;
        uint64_t copied = 0;
        if (!host_copies_made(h, &oldest, &copied)) return;
        if (evrt_state_snapshotted(h->state) + 1 < oldest.next_group ||
            evrt_state_snapshotted(h->state) < copied) {
            ask_snapshot(h, s);
            return;
        }
        /* Whatever its age: that was looked at. */
        if (evrt_journal_drop(h->journal, oldest.next_group, INT64_MAX) <= 0) return;
        h->dropped_ns = evrt_mono_ns();
        evrt_log_event(h->log, SEGMENT_DROPPED, EVRT_F_U64("segment", oldest.number),
                       EVRT_F_U64("events", oldest.next_seq - oldest.first_seq),
                       EVRT_F_CSTR("reason", reason));
        if (host_cleanup_wants(h, &oldest)) host_cleanup_dropped(h, &oldest);
        evrt_journal_stats(h->journal, s);
    }
}

/* A copy of state.db is as large as it is: with millions of keys as much is journaled before the next one. */
static uint64_t between_snapshots(const struct evrt_host *h, bool crowded) {
    char path[4096];
    struct stat st;
    if (crowded) return SNAPSHOT_BYTES / 8;
    snprintf(path, sizeof path, "%s/state.db", h->config->store.path);
    bool large = stat(path, &st) == 0 && st.st_size > SNAPSHOT_BYTES;
    return large ? (uint64_t)st.st_size : SNAPSHOT_BYTES;
}

/* ---- When ---- */

static void keep(struct evrt_host *h);

static void on_tick(uv_timer_t *tick) {
    keep(tick->data);
}

static void tick_each(struct evrt_host *h, uint64_t ms) {
    if (uv_timer_get_repeat(&h->tick) != ms || !uv_is_active((uv_handle_t *)&h->tick))
        uv_timer_start(&h->tick, on_tick, ms, ms);
}

void host_keep_start(struct evrt_host *h) {
    tick_each(h, CALM_MS);
}

void host_keep_soon(struct evrt_host *h) {
    uv_timer_start(&h->tick, on_tick, 0, SHORT_MS);
}

static void keep(struct evrt_host *h) {
    if (h->phase >= HOST_DRAINING) host_cleanup_look(h);
    if (h->phase != HOST_SERVING) return;
    struct evrt_journal_stats s;
    evrt_journal_stats(h->journal, &s);
    bool crowded = over_max_size(h, &s, SNAPSHOT_BYTES);
    (void)look_at_clock(h); /* lest it is set and set back between two looks at ages */
    checkpoint(h);
    host_kv_keep(h);
    host_retries_expire(h);
    host_letters_keep(h);
    host_recent_tidy(h, evrt_mono_ns());
    host_dedup_expire(h);
    forget_orphans(h);
    host_meters_expire(h);
    if (h->meters != NULL) host_monitor_tick(&h->meters->monitor, h->meters, evrt_mono_ns());
    if (s.committed_bytes - h->snapshots.bytes > between_snapshots(h, crowded)) ask_snapshot(h, &s);
    drop_segments(h, &s);
    host_cleanup_look(h);
    /* Nobody may be publishing, so no commit would tell that intake is open again. */
    if (h->full && s.space == 0) uv_async_send(&h->wake);
    bool short_of_space = s.space != 0 || over_max_size(h, &s, HOST_SEGMENT_BYTES);
    tick_each(h, short_of_space || h->cleanup != NULL ? SHORT_MS : crowded ? CROWDED_MS : CALM_MS);
}
