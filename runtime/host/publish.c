/* Publishing: an event into the journal's open batch, and whoever waits for it told when that batch is
 * durable. One counter of appended records serves both publishers and barriers: the journal commits
 * records in the order in which they were appended. */
#include "host/node.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/schedule.h"
#include "json/json.h"

void host_waiters_push(struct host_waiters *w, struct host_waiter waiter) {
    if (w->ring == NULL || w->tail - w->head > w->mask) {
        size_t size = w->ring == NULL ? 256 : (w->mask + 1) * 2;
        struct host_waiter *ring = evrt_alloc(size * sizeof *ring);
        for (uint64_t i = w->head; i < w->tail; i++)
            ring[i & (size - 1)] = w->ring[i & w->mask];
        free(w->ring);
        w->ring = ring;
        w->mask = size - 1;
    }
    w->ring[w->tail++ & w->mask] = waiter;
}

void host_waiters_run(struct evrt_host *h, struct host_waiters *w) {
    while (w->head < w->tail && w->ring[w->head & w->mask].record <= h->committed) {
        struct host_waiter due = w->ring[w->head++ & w->mask]; /* a copy: cb may publish */
        due.cb(due.arg, due.seq);
    }
}

void host_barrier(struct evrt_host *h, evrt_host_publish_cb cb, void *arg) {
    host_settle(h);
    if (h->appended == h->committed) {
        cb(arg, 0);
        return;
    }
    h->eager = true;
    host_waiters_push(&h->barriers, (struct host_waiter){h->appended, 0, cb, arg});
}

void host_append(struct evrt_host *h, enum evrt_record_kind kind, struct evrt_slice payload) {
    int rc = 0;
    void *at = evrt_journal_append(h->journal, kind, payload.n, &rc);
    assert(at != NULL); /* only events are refused; the rest draws on the reserve */
    memcpy(at, payload.p, payload.n);
    h->appended++;
}

char *host_record_room(struct evrt_buf *into, enum evrt_record_kind kind, size_t n) {
    char *at = evrt_buf_room(into, 8 + n);
    evrt_set_u32(at, (uint32_t)n);
    evrt_set_u32(at + 4, kind);
    into->n += 8 + n;
    return at + 8;
}

void host_put_record(struct evrt_host *h, struct evrt_buf *into, enum evrt_record_kind kind,
                     struct evrt_slice payload) {
    if (into == NULL)
        host_append(h, kind, payload);
    else
        memcpy(host_record_room(into, kind, payload.n), payload.p, payload.n);
}

static int reason(struct evrt_host *h, int rc, const struct evrt_event *e, struct evrt_error *err) {
    struct evrt_journal_stats stats;
    host_meter_refused(h, e->type, rc);
    switch (rc) {
    case -ENOSPC:
        h->refused_full++;
        evrt_journal_stats(h->journal, &stats);
        evrt_error_set(err, rc, "the store has no space: %s", stats.space_reason);
        if (!h->full) {
            host_keep_soon(h);
            evrt_log_event(h->log, STORE_FULL, EVRT_F_CSTR("path", h->config->store.path),
                           EVRT_F_CSTR("error", stats.space_reason));
            h->full = true;
        }
        return rc;
    case -EAGAIN:
        h->refused_backlog++;
        return evrt_error_set(err, rc,
                              "too many events wait for the disk (store.max_backlog); try again");
    case -EMSGSIZE:
        return evrt_error_set(err, rc,
                              "the event has %zu bytes, more than the journal can hold "
                              "in one record",
                              evrt_event_size(e));
    default: return evrt_error_set(err, rc, "the journal refused the event: %s", uv_strerror(rc));
    }
}

static int refuse(struct evrt_host *h, int rc, const struct evrt_event *e, struct evrt_error *err) {
    struct evrt_error why;
    reason(h, rc, e, &why);
    evrt_log_event(h->log, EVENT_STORAGE_FAILED, EVRT_F_STR("event_type", e->type),
                   EVRT_F_STR("event_id", e->id), EVRT_F_CSTR("error", why.message));
    return evrt_error_set(err, rc, "%s", why.message);
}

/* The first one has a seq and may not be durable yet: everything that was appended so far covers it. Told in
 * the next turn at the soonest, never from inside of this call. */
static int repeat(struct evrt_host *h, uint64_t value, evrt_host_publish_cb cb, void *arg) {
    uint64_t seq = value & ~HOST_SCHEDULED;
    int what = EVRT_DUPLICATE | (seq != value ? EVRT_SCHEDULED : 0);
    if (cb == NULL) return what;
    host_waiters_push(&h->waiters, (struct host_waiter){h->appended, seq, cb, arg});
    uv_async_send(&h->wake);
    return what;
}

static int schedule(struct evrt_host *h, const struct evrt_event *e, const struct evrt_deliver *d,
                    bool held, struct evrt_hash128 hash, struct host_waiter waiter,
                    struct evrt_error *err) {
    struct evrt_buf record = {0};
    size_t bytes = evrt_journal_record_bytes(evrt_event_size(e));
    int rc = held ? 0 : evrt_journal_refuses(h->journal, bytes);
    if (rc < 0) return refuse(h, rc, e, err);
    host_schedule_prepare(h, e, d, &waiter.seq, &record);
    void *at = evrt_journal_append(h->journal, EVRT_RECORD_SCHEDULE, record.n, &rc);
    if (at == NULL) {
        host_schedule_unprepare(h);
        evrt_buf_finish(&record);
        return refuse(h, rc, e, err);
    }
    memcpy(at, record.p, record.n);
    evrt_buf_finish(&record);
    host_dedup_add(h, e, hash, waiter.seq | HOST_SCHEDULED);
    waiter.record = ++h->appended;
    h->eager = true;
    if (waiter.cb != NULL) host_waiters_push(&h->waiters, waiter);
    return EVRT_SCHEDULED;
}

void host_emit(struct evrt_host *h, const struct evrt_event *event) {
    struct evrt_event traced = *event, *e = &traced;
    int rc = 0;
    uint64_t seq = evrt_journal_next_seq(h->journal);
    if (h->tracing != NULL) host_trace_publish(h, e, seq, true);
    void *at = evrt_journal_append(h->journal, EVRT_RECORD_EVENT, evrt_event_size(e), &rc);
    assert(at != NULL);
    evrt_event_encode(e, at);
    host_dedup_emitted(h, e, seq);
    h->appended++;
    host_meter_appended(h);
    h->eager = true;
}

int host_publish_check(struct evrt_host *h, const struct evrt_event *e, struct evrt_deliver *when,
                       struct evrt_error *err) {
    *when = (struct evrt_deliver){EVRT_SCHEDULE_NONE, 0, 0};
    if (e->data.n > h->config->http.max_event_size) {
        host_limit(h, EVRT_LIMIT_MAX_EVENT_SIZE);
        return evrt_error_set(err, -EMSGSIZE,
                              "data has %zu bytes, at most %llu (http.max_event_size)", e->data.n,
                              (unsigned long long)h->config->http.max_event_size);
    }
    if (e->extensions.n == 0) return 0;
    int rc = evrt_deliver_parse(e->extensions, evrt_wall_ms(), when, err);
    return rc < 0 || when->kind == EVRT_SCHEDULE_NONE ? rc : host_schedule_check(h, when, err);
}

/* One that may be published. */
static int append_event(struct evrt_host *h, const struct evrt_event *event,
                        const struct evrt_deliver *when, bool held, evrt_host_publish_cb cb,
                        void *arg, struct evrt_error *err) {
    struct evrt_event traced;
    const struct evrt_event *e = event;
    int rc = 0;
    struct evrt_hash128 hash = {0, 0};
    uint64_t first = host_dedup_find(h, e, &hash);
    if (first != 0) return repeat(h, first, cb, arg);
    if (h->tracing != NULL && when->kind != EVRT_SCHEDULE_NONE && !held) {
        traced = *event;
        host_trace_schedule(h, &traced);
        e = &traced;
    }
    if (when->kind != EVRT_SCHEDULE_NONE)
        return schedule(h, e, when, held, hash, (struct host_waiter){0, 0, cb, arg}, err);
    uint64_t seq = evrt_journal_next_seq(h->journal);
    if (h->tracing != NULL) {
        traced = *event;
        host_trace_publish(h, &traced, seq, held);
        e = &traced;
    }
    void *at = evrt_journal_append(h->journal, EVRT_RECORD_EVENT, evrt_event_size(e), &rc);
    if (at == NULL) {
        rc = refuse(h, rc, e, err);
        if (h->tracing != NULL) host_trace_refused(h, e, seq, rc, err == NULL ? "" : err->message);
        return rc;
    }
    evrt_event_encode(e, at);
    host_dedup_add(h, e, hash, seq);
    h->appended++;
    host_meter_appended(h);
    h->eager = true;
    if (cb != NULL) host_waiters_push(&h->waiters, (struct host_waiter){h->appended, seq, cb, arg});
    return 0;
}

int host_publish(struct evrt_host *h, const struct evrt_event *e, evrt_host_publish_cb cb,
                 void *arg, struct evrt_error *err) {
    struct evrt_deliver when;
    int rc = host_publish_check(h, e, &when, err);
    return rc < 0 ? rc : append_event(h, e, &when, false, cb, arg, err);
}

void host_publish_held(struct evrt_host *h, const struct evrt_event *e,
                       const struct evrt_deliver *when) {
    struct evrt_error err;
    int rc = append_event(h, e, when, true, NULL, NULL, &err);
    assert(rc >= 0); /* there is room for it */
}

int evrt_host_publish(struct evrt_host *h, const struct evrt_event *e, evrt_host_publish_cb cb,
                      void *arg, struct evrt_error *err) {
    if (h->phase > HOST_SERVING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    return host_publish(h, e, cb, arg, err);
}

static void fill_in(struct evrt_host *h, struct evrt_event *e, struct evrt_host_scratch *scratch) {
    evrt_event_defaults(e, &h->random, evrt_slice_of(h->config->service.name), scratch->id,
                        scratch->time);
}

int host_complete(struct evrt_host *h, struct evrt_event *e, struct evrt_host_scratch *scratch,
                  struct evrt_error *err) {
    fill_in(h, e, scratch);
    return evrt_event_check(e, err);
}

int evrt_host_complete(struct evrt_host *h, struct evrt_event *e, struct evrt_host_scratch *scratch,
                       struct evrt_error *err) {
    fill_in(h, e, scratch);
    return h->testing ? evrt_event_check(e, err) : evrt_event_check_public(e, err);
}

int evrt_host_check_data(struct evrt_event *e, struct evrt_error *err) {
    if (e->data.p == NULL) return 0;
    e->flags |= EVRT_EVENT_HAS_DATA;
    if (!evrt_event_json_type(e->datacontenttype)) return 0;
    struct evrt_error why;
    int rc = evrt_json_check(e->data, NULL, &why);
    if (rc < 0) return evrt_error_set(err, -EINVAL, "data: %s", why.message);
    e->flags |= EVRT_EVENT_JSON;
    return 0;
}

const char *evrt_host_durability(const struct evrt_host *h) {
    return h->config->store.durability;
}
