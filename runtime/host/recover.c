/* Opening a store: the journal recovers itself; state.db is brought up to its end; the subscriptions are
 * made from state.db; and what each has matched since its last settlement is counted.
 *
 *     state.db (applied up to group G) ◀── records of the groups after G ── journal
 *            └──▶ subscriptions ◀── events since each one's `seen` */
#include "host/node.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/pattern.h"
#include "host/jobs.h"

enum { RECOUNT_MAX = 2000000 }; /* events counted before serving; more are counted by the reader */

static void on_commit(void *arg) {
    struct evrt_host *h = arg;
    uv_async_send(&h->wake);
}

/* D9: on the writer thread. Nothing may be acknowledged after this, so the process ends here; a
 * supervisor starts it again and recovery finds out what is on the disk. */
static void on_fatal(void *arg, const struct evrt_error *err) {
    struct evrt_host *h = arg;
    evrt_log_event(h->log, STORE_FAILED, EVRT_F_CSTR("path", h->config->store.path),
                   EVRT_F_CSTR("error", err->message));
    evrt_log_flush(h->log, 1000);
    _exit(1);
}

static enum evrt_durability durability(const char *name) {
    if (strcmp(name, "os") == 0) return EVRT_DURABILITY_OS;
    if (strcmp(name, "memory") == 0) return EVRT_DURABILITY_MEMORY;
    return EVRT_DURABILITY_FSYNC;
}

static int open_journal(struct evrt_host *h, struct evrt_error *err) {
    struct evrt_journal_options options = {
        .path = h->config->store.path,
        .durability = durability(h->config->store.durability),
        .segment_size = HOST_SEGMENT_BYTES,
        .backlog_bytes = h->config->store.max_backlog,
        .max_size = h->config->store.max_size,
        .on_commit = on_commit,
        .on_fatal = on_fatal,
        .arg = h,
    };
    struct evrt_journal_recovery report;
    int rc = evrt_journal_open(&h->journal, &options, &report, err);
    if (rc < 0) return rc;
    if (report.torn)
        evrt_log_event(h->log, TORN_TAIL, EVRT_F_CSTR("segment", report.torn_segment),
                       EVRT_F_U64("offset", report.torn_offset),
                       EVRT_F_U64("bytes", report.torn_bytes));
    return 0;
}

/* Gives state.db the records of the groups after `applied`. */
static int replay(struct evrt_host *h, uint64_t applied, struct evrt_error *err) {
    struct evrt_journal_reader *reader;
    struct evrt_journal_record r;
    int rc = evrt_journal_reader_open(&reader, h->journal);
    if (rc < 0) return evrt_error_set(err, rc, "cannot read the journal: %s", uv_strerror(rc));
    rc = evrt_journal_seek_group(reader, applied + 1, err);
    uint64_t group = applied;
    while (rc == 0 && (rc = evrt_journal_read(reader, &r, err)) == 1) {
        if (r.group != group && group != applied) evrt_state_advance(h->state, group);
        group = r.group;
        if (r.kind != EVRT_RECORD_EVENT) evrt_state_apply(h->state, r.group, r.kind, r.payload);
        rc = 0;
    }
    if (group != applied) evrt_state_advance(h->state, group);
    evrt_journal_reader_close(reader);
    if (rc == -ENOENT) rc = 0;
    if (rc == 0) evrt_state_flush(h->state);
    return rc;
}

/* On the state thread, while the owner waits. */
static void restore_sub(void *arg, const struct evrt_state_sub *row) {
    struct evrt_host *h = arg;
    struct evrt_sub *s = evrt_bus_add(h->bus, row->sub, evrt_slice_of(row->name), row->cursor);
    s->orphaned_ms = row->orphaned_ms;
    int64_t age_ms = evrt_wall_ms() - row->orphaned_ms;
    s->orphaned_ns = evrt_mono_ns() - (age_ms > 0 ? age_ms : 0) * 1000000;
    s->paused_ms = row->paused_ms;
    if (s->paused_ms != 0) evrt_bus_pause(h->bus, s, true);
    s->from_seq = row->from_seq;
    s->matched = row->matched;
    s->done = row->done;
    s->dead = row->dead;
    s->discarded = row->discarded;
    s->seen = s->told_seen = row->seen;
    struct evrt_range range;
    uint64_t from = 0;
    for (size_t at = 0; evrt_ranges_next(row->settled, &at, &from, &range) == 1;) {
        s->skip = evrt_realloc(s->skip, (s->skip_count + 1) * sizeof *s->skip);
        s->skip[s->skip_count++] = range;
    }
    if (row->sub >= h->next_sub) h->next_sub = row->sub + 1;
}

static void restore_epoch(void *arg, const struct evrt_state_epoch *row) {
    struct evrt_host *h = arg;
    struct evrt_sub *s = evrt_bus_by_id(h->bus, row->sub);
    struct evrt_pattern_set *set = evrt_pattern_set_create(row->patterns);
    if (s != NULL && set != NULL)
        evrt_sub_add_epoch(s, row->from_seq, set);
    else
        evrt_pattern_set_unref(set);
}

static void restore_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    host_retries_restore(arg, sub, r);
}

static void restore_job_row(void *arg, const struct evrt_record_job *r) {
    host_jobs_restore(arg, r);
}

static void restore_scheduled(void *arg, const struct evrt_record_schedule *r) {
    host_schedule_restore(arg, r);
}

struct restore {
    struct evrt_host *host;
    int rc;
};

static void restore_job(struct evrt_state_view *view, void *arg) {
    struct restore *r = arg;
    r->rc = evrt_state_each_sub(view, restore_sub, r->host);
    if (r->rc == 0) r->rc = evrt_state_each_epoch(view, restore_epoch, r->host);
    const struct evrt_state_retries all = {.limit = INT64_MAX};
    if (r->rc == 0) r->rc = evrt_state_each_retry(view, &all, restore_retry, r->host);
    if (r->rc == 0)
        r->rc =
            evrt_state_each_scheduled(view, INT64_MIN, 0, INT64_MAX, restore_scheduled, r->host);
    if (r->rc == 0) r->rc = evrt_state_each_job(view, restore_job_row, r->host);
}

/* Counts what was published after each subscription's last settlement. Those that would take long are
 * counted by their own reader instead, as it passes. */
static int recount(struct evrt_host *h, struct evrt_error *err) {
    uint64_t next = evrt_journal_next_seq(h->journal), from = next;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        s->counting = next - s->seen <= RECOUNT_MAX;
        if (s->counting && s->seen < from) from = s->seen;
    }
    if (from == next) return 0;
    struct evrt_journal_reader *reader;
    struct evrt_journal_record r;
    int rc = evrt_journal_reader_open(&reader, h->journal);
    if (rc < 0) return evrt_error_set(err, rc, "cannot read the journal: %s", uv_strerror(rc));
    rc = evrt_journal_seek_seq(reader, from, err);
    while (rc == 0 && (rc = evrt_journal_read(reader, &r, err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        uint64_t seq = evrt_event_seq(r.payload.p);
        struct evrt_slice type = evrt_event_field(r.payload.p, EVRT_FIELD_TYPE);
        for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
            struct evrt_sub *s = evrt_bus_get(h->bus, i);
            if (s->counting && seq >= s->seen && evrt_sub_matched(s, seq, type)) s->matched++;
        }
    }
    evrt_journal_reader_close(reader);
    return rc == -ENOENT ? 0 : rc;
}

static int open_state(struct evrt_host *h, struct evrt_error *err) {
    bool memory = durability(h->config->store.durability) == EVRT_DURABILITY_MEMORY;
    struct evrt_journal_stats stats;
    evrt_journal_stats(h->journal, &stats);
    struct evrt_state_options options = {
        .path = memory ? NULL : h->config->store.path,
        .max_queue = h->config->store.max_state_backlog,
        /* With durability os a power cut may leave state.db ahead of the journal. */
        .next_group = stats.last_group + 1,
        .first_group = stats.first_group,
        .on_fatal = on_fatal,
        .arg = h,
    };
    uint64_t applied;
    char restored[160];
    int64_t started = evrt_mono_ns();
    int rc = evrt_state_open(&h->state, &options, &applied, restored, err);
    if (rc == 0) rc = replay(h, applied, err);
    if (rc < 0) return rc;
    if (restored[0] != '\0')
        evrt_log_event(h->log, STATE_RESTORED, EVRT_F_CSTR("from", restored),
                       EVRT_F_U64("applied", applied),
                       EVRT_F_DURATION("duration", evrt_mono_ns() - started));
    return 0;
}

int host_open_store(struct evrt_host *h, struct evrt_error *err) {
    int64_t started = evrt_mono_ns();
    int rc = open_journal(h, err);
    if (rc == 0) rc = open_state(h, err);
    if (rc == 0) rc = host_kv_open(h, err);
    if (rc < 0) return rc;
    struct evrt_bus_options options = {
        .window = (uint32_t)h->config->bus.window,
        .max_parked = h->config->bus.max_parked,
        .memory_limit = h->config->bus.memory_limit,
        .next_seq = evrt_journal_next_seq(h->journal),
        .ops = &host_bus_ops,
        .arg = h,
    };
    h->bus = evrt_bus_create(&options);
    h->next_sub = 1;
    struct restore restore = {h, 0};
    evrt_state_query(h->state, restore_job, &restore);
    if (restore.rc < 0)
        return evrt_error_set(err, restore.rc, "cannot read %s/state.db", h->config->store.path);
    rc = recount(h, err);
    if (rc == 0) rc = host_dedup_open(h, err);
    if (rc < 0) return rc;
    struct evrt_journal_stats stats;
    evrt_journal_stats(h->journal, &stats);
    evrt_log_event(h->log, STORE_OPENED, EVRT_F_CSTR("path", h->config->store.path),
                   EVRT_F_CSTR("durability", h->config->store.durability),
                   EVRT_F_U64("events", stats.next_seq - stats.first_seq),
                   EVRT_F_U64("segments", stats.segments),
                   EVRT_F_DURATION("duration", evrt_mono_ns() - started));
    return 0;
}
