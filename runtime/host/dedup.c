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
    h->duplicates += value != 0;
    return value;
}

void host_dedup_add(struct evrt_host *h, const struct evrt_event *e, struct evrt_hash128 hash,
                    uint64_t value) {
    if (takes_part(h, e)) evrt_dedup_add(h->dedup, hash, value, now_ms(h));
}

void host_dedup_expire(struct evrt_host *h) {
    if (h->dedup == NULL) return;
    h->dedup->window_ms = h->config->dedup.window;
    evrt_dedup_expire(h->dedup, now_ms(h));
}

/* ---- At start ---- */

/* Places the reader at the first event that counts. */
static int seek(struct evrt_host *h, struct evrt_journal_reader *reader, int64_t since_ms,
                struct evrt_error *err) {
    struct evrt_journal_record first;
    uint64_t next = evrt_journal_next_seq(h->journal), max = h->config->dedup.max;
    uint64_t from = next > max ? next - max : 1;
    int rc = evrt_journal_seek_seq(reader, from, err);
    if (rc < 0) return rc;
    rc = evrt_journal_read(reader, &first, err);
    if (rc < 0) return rc;
    if (rc == 1 && first.time_ms < since_ms) return evrt_journal_seek_time(reader, since_ms, err);
    return evrt_journal_seek_seq(reader, from, err);
}

static void take(struct evrt_host *h, struct evrt_slice payload, int64_t wall, int64_t mono) {
    struct evrt_event e;
    if (evrt_event_decode(payload.p, payload.n, &e) < 0 || !takes_part(h, &e)) return;
    int64_t age = wall - e.stored_ms; /* by a clock that may have been set */
    if (age < 0) age = 0;
    evrt_dedup_add(h->dedup, evrt_dedup_hash(h->dedup, e.source, e.id), e.seq, mono - age);
}

int host_dedup_open(struct evrt_host *h, struct evrt_error *err) {
    struct evrt_journal_reader *reader;
    struct evrt_journal_record r;
    if (h->config->dedup.max == 0) return 0;
    h->dedup = evrt_dedup_create((uint32_t)h->config->dedup.max, h->config->dedup.window);
    int rc = evrt_journal_reader_open(&reader, h->journal);
    if (rc < 0) return evrt_error_set(err, rc, "cannot read the journal: %s", uv_strerror(rc));
    int64_t wall = evrt_wall_ms(), mono;
    uv_update_time(h->loop);
    mono = now_ms(h);
    rc = seek(h, reader, wall - h->config->dedup.window, err);
    while (rc == 0 && (rc = evrt_journal_read(reader, &r, err)) == 1) {
        rc = 0;
        if (r.kind == EVRT_RECORD_EVENT) take(h, r.payload, wall, mono);
    }
    evrt_journal_reader_close(reader);
    h->dedup->evicted = 0; /* told by the run in which it happened */
    return rc == -ENOENT ? 0 : rc;
}
