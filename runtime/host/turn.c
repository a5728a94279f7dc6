/* A turn of the loop ends here, before it waits again:
 *
 *     what ended ─▶ one SETTLE record per subscription ─▶ journal ─▶ writer thread
 *     what deliveries left behind ─▶ EVENT and KV records, in one group with their SETTLE
 *     what has credit ─▶ frames ─▶ one write per worker
 *
 * and here begins what a commit sets off: publishers are told, events go to the bus, other records to
 * state.db. */
#include <stdlib.h>

#include "host/node.h"

#include "core/bytes.h"
#include "core/clock.h"
#include "core/event.h"
#include "host/jobs.h"

/* ---- Settling ---- */

static void mark_dirty(void *arg, struct evrt_sub *s) {
    struct evrt_host *h = arg;
    s->next_dirty = h->dirty;
    h->dirty = s;
}

static uint32_t send_delivery(void *arg, const struct evrt_sub *s, uint64_t position,
                              unsigned attempt, const struct evrt_slice *event) {
    uint32_t worker = host_workers_send(arg, s, position, attempt, *event);
    struct evrt_host *h = arg;
    if (worker == 0) return 0;
    if (host_trace_may(h->tracing, event->p)) host_trace_sent(h, s, position, event->p);
    host_meter_sent(arg, s, position, *event);
    if (evrt_sub_is_retry(position)) host_retries_sent(arg, s, attempt, *event);
    return worker;
}

static uint64_t key_of(void *arg, const struct evrt_sub *s, const struct evrt_slice *event) {
    (void)arg;
    return host_key_of(s->ordered_by, *event);
}

const struct evrt_bus_ops host_bus_ops = {send_delivery, key_of, mark_dirty};

static void settle(struct evrt_host *h, struct evrt_sub *s, struct evrt_buf *into) {
    struct evrt_record_settle record;
    host_waits_discarded(h, s);
    evrt_buf_clear(&h->ranges);
    evrt_buf_clear(&h->scratch);
    evrt_sub_settle(s, evrt_bus_next_seq(h->bus), &h->ranges, &record);
    evrt_record_put_settle(&h->scratch, &record);
    host_put_record(h, into, EVRT_RECORD_SETTLE, evrt_buf_slice(&h->scratch));
    evrt_sub_settled(s);
    s->left_effects = false;
    s->told_cursor = record.cursor;
    s->told_seen = record.seen;
}

void host_checkpoint(struct evrt_host *h, struct evrt_sub *s) {
    uint64_t next = evrt_bus_next_seq(h->bus);
    if (s->dirty) return;
    if (evrt_sub_cursor(s, next) == s->told_cursor &&
        (s->counting ? next : s->seen) == s->told_seen)
        return;
    settle(h, s, NULL);
    evrt_sub_drop_epochs(s, s->told_cursor);
}

void host_settle(struct evrt_host *h) {
    if (h->notes.n != 0) host_append(h, EVRT_RECORD_NOTES, evrt_buf_slice(&h->notes));
    evrt_buf_clear(&h->notes);
    while (h->dirty != NULL) {
        struct evrt_sub *s = h->dirty;
        h->dirty = s->next_dirty;
        s->dirty = false;
        settle(h, s, s->left_effects ? &h->settlements : NULL);
    }
    if (host_kv_has(&h->kv)) {
        host_jobs_settle(h, &h->settlements);
        host_kv_settle(h, &h->settlements);
    }
    evrt_buf_clear(&h->settlements);
    h->ended_bytes = 0;
}

void host_ended(struct evrt_host *h, size_t failure) {
    h->ended_bytes += HOST_ENDED_BYTES + failure;
    if (h->ended_bytes >= HOST_SETTLE_BYTES) host_settle(h);
}

/* Settlements alone wait for company: nobody waits for them, and the next event's commit takes them along. */
static void on_patience(uv_timer_t *timer) {
    struct evrt_host *h = timer->data;
    h->eager = true;
}

static bool submit(struct evrt_host *h) {
    enum { PATIENCE_MS = 5 };
    if (!h->eager) {
        if (h->appended != h->submitted && !uv_is_active((uv_handle_t *)&h->patience))
            uv_timer_start(&h->patience, on_patience, PATIENCE_MS, 0);
        return false;
    }
    h->eager = false;
    h->submitted = h->appended;
    uv_timer_stop(&h->patience);
    return evrt_journal_submit(h->journal, true);
}

void host_turn(struct evrt_host *h) {
    host_kv_turn(h);
    evrt_bus_pump(h->bus);
    host_settle(h);
    host_notices_turn(h);
    host_retries_turn(h);
    host_schedule_turn(h);
    host_timers_turn(h);
    host_jobs_turn(h);
    host_workers_flush(h); /* they work while this thread writes */
    if (submit(h)) host_commits(h);
    host_catch_up(h);
    host_workers_flush(h);
    if (h->tracing != NULL) host_trace_turn(h);
    if (h->eager || h->dirty != NULL) uv_async_send(&h->wake); /* what the commit set off */
}

/* ---- Commits ---- */

/* A committed batch that deliveries still point into. */
struct batch_hold {
    struct evrt_hold hold;
    struct evrt_host *host;
    struct evrt_batch *batch;
};

static void release_batch(struct evrt_hold *hold) {
    struct batch_hold *b = (struct batch_hold *)hold;
    evrt_bus_held(b->host->bus, -(int64_t)hold->bytes);
    evrt_batch_unref(b->batch);
    free(b);
}

static void commit_event(struct evrt_host *h, struct evrt_slice event, struct batch_hold *of,
                         int64_t now_ns) {
    struct evrt_slice type = evrt_event_field(event.p, EVRT_FIELD_TYPE);
    struct evrt_slice id = evrt_event_field(event.p, EVRT_FIELD_ID);
    uint64_t seq = evrt_event_seq(event.p);
    struct host_trace_text ids;
    if (host_trace_pends(h->tracing, seq)) host_trace_committed(h, event.p);
    evrt_log_event_at(h->log, now_ns, EVENT_STORED, EVRT_F_STR("event_type", type),
                      EVRT_F_STR("event_id", id), EVRT_F_U64("seq", seq),
                      EVRT_F_STR("trace_id", host_event_trace_id(h, event.p, &ids)),
                      EVRT_F_STR("span_id", host_event_span_id(h, event.p, &ids)));
    evrt_log_event_at(
        h->log, now_ns, EVENT_PUBLISHED, EVRT_F_STR("event_type", type), EVRT_F_STR("event_id", id),
        EVRT_F_STR("source", evrt_event_field(event.p, EVRT_FIELD_SOURCE)), EVRT_F_U64("seq", seq),
        EVRT_F_STR("trace_id", host_event_trace_id(h, event.p, &ids)),
        EVRT_F_STR("span_id", host_event_span_id(h, event.p, &ids)));
    host_meter_stored(h, type, event, evrt_batch_commit_ns(of->batch), now_ns);
    host_waits_routed(h, seq, type);
    if (h->recent != NULL) host_recent_event(h, seq, event);
    evrt_bus_commit(h->bus, seq, event, &of->hold);
}

static void commit_batch(struct evrt_host *h, struct evrt_batch *batch) {
    struct batch_hold *b = evrt_alloc(sizeof *b);
    *b = (struct batch_hold){{1, evrt_batch_bytes(batch), release_batch}, h, batch};
    evrt_bus_held(h->bus, (int64_t)b->hold.bytes);
    if (h->tracing != NULL) host_trace_batch(h);
    struct evrt_batch_record r;
    int64_t now_ns = h->meters == NULL ? (int64_t)uv_now(h->loop) * 1000000 : evrt_mono_ns();
    if (evrt_batch_events(batch) != 0)
        host_meter_age(h, evrt_batch_first_seq(batch), evrt_wall_ms());
    host_meter_group(h, evrt_batch_records(batch), evrt_batch_commit_ns(batch));
    for (size_t at = 0; evrt_batch_next(batch, &at, &r);) {
        struct evrt_slice payload = {r.payload, r.n};
        h->committed++;
        host_waiters_run(h, &h->waiters);
        if (r.kind == EVRT_RECORD_EVENT)
            commit_event(h, payload, b, now_ns);
        else
            evrt_state_apply(h->state, evrt_batch_group(batch), r.kind, payload);
        if (r.kind == EVRT_RECORD_SCHEDULE) host_schedule_committed(h, payload);
        if (r.kind == EVRT_RECORD_KV) host_kv_committed(h, evrt_batch_group(batch));
    }
    host_meter_group_end(h);
    if (h->recent != NULL && evrt_batch_events(batch) != 0) host_recent_batch(h, &b->hold);
    evrt_hold_release(&b->hold);
}

void host_commits(struct evrt_host *h) {
    uint64_t group = 0;
    for (struct evrt_batch *b; (b = evrt_journal_take(h->journal)) != NULL;) {
        group = evrt_batch_group(b);
        commit_batch(h, b);
    }
    /* A group is committed as one, so all of its batches have been taken. */
    if (group != 0) evrt_state_advance(h->state, group);
    if (group != 0 && h->tails != NULL) host_tails_wake(h);
    host_waiters_run(h, &h->waiters); /* those that published what was there already */
    host_waiters_run(h, &h->barriers);
    struct evrt_journal_stats stats;
    if (!h->full) return;
    evrt_journal_stats(h->journal, &stats);
    if (stats.space != 0) return;
    h->full = false;
    evrt_log_event(h->log, STORE_SPACE, EVRT_F_CSTR("path", h->config->store.path));
}
