/* The same event published twice is stored once: what was published lately is known by (source, id), and
 * whoever publishes it again is told the first one's sequence, once that is durable. Ids that evrt made
 * itself are not kept: nobody could have used one before it was told.
 *
 * At start the window is filled from the journal's tail: the last `dedup.max` events, no older than
 * `dedup.window`. The loop's thread. */
#include <errno.h>

#include "host/node.h"

#include "bus/dedup.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/schedule.h"

/* Monotonic, as of this turn of the loop. */
static int64_t now_ms(const struct evrt_host *h) {
    return (int64_t)uv_now(h->loop);
}

static bool takes_part(const struct evrt_host *h, const struct evrt_event *e) {
    return h->dedup != NULL && (e->flags & EVRT_EVENT_OWN_ID) == 0;
}

uint64_t host_dedup_find(struct evrt_host *h, const struct evrt_event *e,
                         struct evrt_hash128 *hash) {
    if (!takes_part(h, e)) return 0;
    h->dedup->window_ms = h->config->dedup.window;
    *hash = evrt_dedup_hash(h->dedup, e->source, e->id);
    uint64_t value = evrt_dedup_find(h->dedup, *hash, now_ms(h));
    if ((value & HOST_SCHEDULED) != 0 && host_schedule_is_cancelled(h, value & ~HOST_SCHEDULED)) {
        evrt_dedup_set(h->dedup, *hash, 0, now_ms(h));
        value = 0;
    }
    h->duplicates += value != 0;
    return value;
}

void host_dedup_add(struct evrt_host *h, const struct evrt_event *e, struct evrt_hash128 hash,
                    uint64_t value) {
    if (takes_part(h, e)) evrt_dedup_add(h->dedup, hash, value, now_ms(h));
}

void host_dedup_emitted(struct evrt_host *h, const struct evrt_event *e, uint64_t seq) {
    if (!takes_part(h, e)) return;
    struct evrt_hash128 hash = evrt_dedup_hash(h->dedup, e->source, e->id);
    if (!evrt_dedup_set(h->dedup, hash, seq, now_ms(h)))
        evrt_dedup_add(h->dedup, hash, seq, now_ms(h));
}

void host_dedup_expire(struct evrt_host *h) {
    if (h->dedup == NULL) return;
    h->dedup->window_ms = h->config->dedup.window;
    evrt_dedup_expire(h->dedup, now_ms(h));
}

/* ---- At start ---- */

/* When it was, on the monotonic clock; wall clocks may have been set meanwhile. */
static int64_t ago(int64_t at_ms, int64_t wall, int64_t mono) {
    return mono - (wall > at_ms ? wall - at_ms : 0);
}

static void add(struct evrt_host *h, struct evrt_slice event, uint64_t value, int64_t at_ms) {
    struct evrt_event e;
    if (evrt_event_decode(event.p, event.n, &e) < 0 || !takes_part(h, &e)) return;
    struct evrt_hash128 hash = evrt_dedup_hash(h->dedup, e.source, e.id);
    if (!evrt_dedup_set(h->dedup, hash, value, at_ms)) evrt_dedup_add(h->dedup, hash, value, at_ms);
}

static void take(struct evrt_host *h, const struct evrt_journal_record *r, int64_t wall,
                 int64_t mono) {
    struct evrt_record_schedule later;
    struct evrt_record_unschedule ended;
    if (r->kind == EVRT_RECORD_EVENT)
        add(h, r->payload, evrt_event_seq(r->payload.p), ago(r->time_ms, wall, mono));
    else if (r->kind == EVRT_RECORD_SCHEDULE && evrt_record_get_schedule(r->payload, &later) == 0)
        add(h, later.event, later.number | HOST_SCHEDULED, ago(r->time_ms, wall, mono));
    else if (r->kind == EVRT_RECORD_UNSCHEDULE &&
             evrt_record_get_unschedule(r->payload, &ended) == 0 && ended.cancelled)
        host_schedule_note_cancelled(h, ended.number);
}

/* From `since` on, or from the first of the last dedup.max events, whichever is later. */
static int fill(struct evrt_host *h, struct evrt_journal_reader *reader, struct evrt_error *err) {
    struct evrt_journal_record r;
    uint64_t next = evrt_journal_next_seq(h->journal), max = h->config->dedup.max;
    int64_t wall = evrt_wall_ms(), mono = now_ms(h);
    bool placed = next <= max;
    int rc = evrt_journal_seek_time(reader, wall - h->config->dedup.window, err);
    while (rc == 0 && (rc = evrt_journal_read(reader, &r, err)) == 1) {
        rc = 0;
        bool early = !placed && r.kind == EVRT_RECORD_EVENT;
        placed = placed || early;
        if (early && evrt_event_seq(r.payload.p) < next - max)
            rc = evrt_journal_seek_seq(reader, next - max, err);
        else
            take(h, &r, wall, mono);
    }
    return rc == -ENOENT ? 0 : rc;
}

int host_dedup_open(struct evrt_host *h, struct evrt_error *err) {
    struct evrt_journal_reader *reader;
    if (h->config->dedup.max == 0) return 0;
    h->dedup = evrt_dedup_create((uint32_t)h->config->dedup.max, h->config->dedup.window);
    int rc = evrt_journal_reader_open(&reader, h->journal);
    if (rc < 0) return evrt_error_set(err, rc, "cannot read the journal: %s", uv_strerror(rc));
    uv_update_time(h->loop);
    rc = fill(h, reader, err);
    evrt_journal_reader_close(reader);
    h->dedup->evicted = 0; /* told by the run in which it happened */
    return rc;
}
