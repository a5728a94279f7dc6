/* What the node says of itself, and an event as JSON: the admin API's documents. */
#include <unistd.h>

#include "host/node.h"

#include "bus/dedup.h"
#include "core/base64.h"
#include "core/clock.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"
#include "core/utf8.h"
#include "host/shared.h"

/* ---- Events ---- */

static void put_base64(struct evrt_jsonout *o, struct evrt_slice s) {
    struct evrt_buf out;
    evrt_buf_init(&out);
    evrt_base64_encode(s, evrt_buf_room(&out, evrt_base64_size(s.n)));
    out.n = evrt_base64_size(s.n);
    evrt_jsonout_put_str(o, "data_base64", evrt_buf_slice(&out));
    evrt_buf_finish(&out);
}

/* Data as it came: JSON as JSON, text as a string, anything else in base64. */
static void put_data(struct evrt_jsonout *o, const struct evrt_event *e) {
    if (!(e->flags & EVRT_EVENT_HAS_DATA)) return;
    bool base64 =
        (e->flags & EVRT_EVENT_BASE64) || evrt_utf8_check(e->data.p, e->data.n) != e->data.n;
    if (e->flags & EVRT_EVENT_JSON) {
        evrt_jsonout_put_raw(o, "data", e->data);
    } else if (base64) {
        put_base64(o, e->data);
    } else {
        evrt_jsonout_put_str(o, "data", e->data);
    }
}

static void put_extensions(struct evrt_jsonout *o, struct evrt_slice extensions) {
    struct evrt_extension x;
    for (size_t at = 0; evrt_extensions_next(extensions, &at, &x);) {
        char name[EVRT_EXTENSION_NAME_MAX + 1];
        memcpy(name, x.name.p, x.name.n);
        name[x.name.n] = '\0';
        evrt_jsonout_key(o, name);
        if (x.kind == 's')
            evrt_jsonout_str(o, x.value);
        else
            evrt_jsonout_raw(o, x.value);
    }
}

/* The members, without the braces around them. */
static void put_attributes(struct evrt_jsonout *o, const struct evrt_event *e) {
    evrt_jsonout_put_str(o, "specversion", EVRT_STR("1.0"));
    evrt_jsonout_put_str(o, "id", e->id);
    evrt_jsonout_put_str(o, "type", e->type);
    evrt_jsonout_put_str(o, "source", e->source);
    evrt_jsonout_put_given_str(o, "time", e->time);
    evrt_jsonout_put_given_str(o, "subject", e->subject);
    evrt_jsonout_put_given_str(o, "datacontenttype", e->datacontenttype);
    evrt_jsonout_put_given_str(o, "dataschema", e->dataschema);
    put_extensions(o, e->extensions);
    put_data(o, e);
}

static void put_event(struct evrt_jsonout *o, const struct evrt_event *e) {
    evrt_jsonout_put_u64(o, "seq", e->seq);
    evrt_jsonout_put_time(o, "stored", e->stored_ms);
    put_attributes(o, e);
}

void host_event_attributes(struct evrt_jsonout *o, const struct evrt_event *e) {
    evrt_jsonout_object(o);
    put_attributes(o, e);
    evrt_jsonout_end(o);
}

void host_event_json(struct evrt_jsonout *o, const struct evrt_event *e) {
    evrt_jsonout_object(o);
    put_event(o, e);
    evrt_jsonout_end(o);
}

void host_event_json_open(struct evrt_jsonout *o, const struct evrt_event *e) {
    evrt_jsonout_object(o);
    put_event(o, e);
}

const char *host_delivery_id(uint32_t sub, uint64_t seq, char text[HOST_DELIVERY_ID_SIZE]) {
    snprintf(text, HOST_DELIVERY_ID_SIZE, "%u-%llu", sub, (unsigned long long)seq);
    return text;
}

void host_error_json(struct evrt_jsonout *o, struct evrt_slice type, struct evrt_slice message,
                     struct evrt_slice traceback) {
    evrt_jsonout_key(o, "error");
    evrt_jsonout_object(o);
    evrt_jsonout_put_str(o, "type", type);
    evrt_jsonout_put_str(o, "message", message);
    evrt_jsonout_put_given_str(o, "traceback", traceback);
    evrt_jsonout_end(o);
}

/* ---- Handlers ---- */

void host_patterns_json(struct evrt_jsonout *o, struct evrt_slice joined) {
    evrt_jsonout_array(o);
    for (size_t at = 0; at < joined.n;) {
        const char *end = memchr(joined.p + at, '\n', joined.n - at);
        size_t n = end == NULL ? joined.n - at : (size_t)(end - (joined.p + at));
        evrt_jsonout_str(o, (struct evrt_slice){joined.p + at, n});
        at += n + 1;
    }
    evrt_jsonout_end(o);
}

static void put_patterns(struct evrt_jsonout *o, struct evrt_slice joined) {
    evrt_jsonout_key(o, "events");
    host_patterns_json(o, joined);
}

static void put_handler(struct evrt_host *h, struct evrt_jsonout *o, const struct evrt_sub *s) {
    uint64_t next = evrt_bus_next_seq(h->bus), cursor = evrt_sub_cursor(s, next);
    evrt_jsonout_object(o);
    evrt_jsonout_put_str(o, "name", evrt_slice_of(s->name));
    evrt_jsonout_put_str(o, "state",
                         evrt_slice_of(!s->active  ? "orphaned"
                                       : s->paused ? "paused"
                                                   : "active"));
    if (s->epoch_count != 0)
        put_patterns(o, evrt_pattern_set_text(s->epochs[s->epoch_count - 1].patterns));
    if (s->active) {
        const struct evrt_handler *handler = &h->serving->scripts.handlers[s->handler];
        evrt_jsonout_put_str(o, "file", evrt_slice_of(handler->file));
        evrt_jsonout_put_u64(o, "line", (uint64_t)handler->line);
        evrt_jsonout_put_u64(o, "generation", h->serving->number);
        evrt_jsonout_put_u64(o, "concurrency", s->limit);
        evrt_jsonout_put_i64(o, "priority", s->priority);
        if (s->ordered) evrt_jsonout_put_str(o, "ordered_by", evrt_slice_of(s->ordered_by));
        host_timer_json(h, s, o);
        evrt_jsonout_put_raw(o, "policies", evrt_slice_of(handler->policies));
    } else {
        evrt_jsonout_put_time(o, "orphaned", s->orphaned_ms);
    }
    if (s->paused) evrt_jsonout_put_time(o, "paused", s->paused_ms);
    evrt_jsonout_put_u64(o, "cursor", cursor);
    evrt_jsonout_put_u64(o, "lag", next - cursor);
    evrt_jsonout_put_u64(o, "pending",
                         evrt_sub_pending(s) - evrt_sub_running(s) - evrt_sub_retrying(s));
    evrt_jsonout_put_u64(o, "running", evrt_sub_running(s));
    evrt_jsonout_put_u64(o, "beside", s->aside_flight);
    evrt_jsonout_put_u64(o, "retrying", evrt_sub_retrying(s));
    evrt_jsonout_put_u64(o, "done", s->done);
    evrt_jsonout_put_u64(o, "dead", s->dead);
    evrt_jsonout_put_u64(o, "discarded", s->discarded);
    if (s->ordered) evrt_jsonout_put_u64(o, "parked", s->parked);
    evrt_jsonout_put_bool(o, "behind", s->behind);
    evrt_jsonout_end(o);
}

void evrt_host_handlers(struct evrt_host *h, struct evrt_buf *out) {
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "items");
    evrt_jsonout_array(&o);
    for (size_t i = 0; h->phase != HOST_CLOSED && i < evrt_bus_count(h->bus); i++)
        put_handler(h, &o, evrt_bus_get(h->bus, i));
    evrt_jsonout_end(&o);
    evrt_jsonout_put_null(&o, "next");
    host_reload_state(h, &o);
    evrt_jsonout_end(&o);
}

/* ---- Stats ---- */

void evrt_host_totals(const struct evrt_host *h, struct evrt_totals *out) {
    *out = (struct evrt_totals){.events = evrt_bus_next_seq(h->bus) - 1};
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(h->bus, i);
        out->matched += s->matched;
        out->done += s->done;
        out->dead += s->dead;
        out->discarded += s->discarded;
        out->retrying += evrt_sub_retrying(s);
    }
}

static void put_store(struct evrt_host *h, struct evrt_jsonout *o) {
    struct evrt_journal_stats s;
    struct evrt_state_stats state;
    evrt_journal_stats(h->journal, &s);
    evrt_state_stats(h->state, &state);
    evrt_jsonout_key(o, "store");
    evrt_jsonout_object(o);
    evrt_jsonout_put_str(o, "path", evrt_slice_of(h->config->store.path));
    evrt_jsonout_put_str(o, "durability", evrt_slice_of(evrt_host_durability(h)));
    evrt_jsonout_put_u64(o, "first_seq", s.first_seq);
    evrt_jsonout_put_u64(o, "next_seq", s.next_seq);
    evrt_jsonout_put_u64(o, "segments", s.segments);
    evrt_jsonout_put_u64(o, "bytes", s.bytes);
    evrt_jsonout_put_u64(o, "commits", s.commits);
    evrt_jsonout_put_u64(o, "committed_records", s.committed_records);
    evrt_jsonout_put_u64(o, "committed_bytes", s.committed_bytes);
    evrt_jsonout_put_double(o, "commit_seconds", (double)s.fsync_ns / 1e9);
    evrt_jsonout_put_u64(o, "backlog_bytes", s.backlog_bytes);
    evrt_jsonout_put_u64(o, "refused_backlog", h->refused_backlog);
    evrt_jsonout_put_u64(o, "refused_full", h->refused_full);
    evrt_jsonout_put_u64(o, "state_applied_group", evrt_state_applied(h->state));
    evrt_jsonout_put_u64(o, "state_queued_bytes", state.queued_bytes);
    evrt_jsonout_put_u64(o, "state_waits", h->state_waits);
    evrt_jsonout_put_u64(o, "last_group", s.last_group);
    evrt_jsonout_put_u64(o, "snapshotted_group", evrt_state_snapshotted(h->state));
    evrt_jsonout_put_bool(o, "full", s.space != 0);
    if (s.space != 0) evrt_jsonout_put_str(o, "full_reason", evrt_slice_of(s.space_reason));
    evrt_jsonout_end(o);
}

static void put_generation(struct evrt_jsonout *o, const struct host_generation *g) {
    static const char *const states[] = {"restarting", "loading", "ready", "ending"};
    for (uint32_t i = 0; i < g->count; i++) {
        const struct host_worker *w = &g->workers[i];
        evrt_jsonout_object(o);
        evrt_jsonout_put_u64(o, "worker", i);
        evrt_jsonout_put_u64(o, "generation", g->number);
        evrt_jsonout_put_str(o, "state", evrt_slice_of(states[w->state]));
        if (w->process_open) evrt_jsonout_put_u64(o, "pid", (uint64_t)w->pid);
        evrt_jsonout_put_u64(o, "running", w->outstanding);
        evrt_jsonout_end(o);
    }
}

static void put_shared(struct evrt_host *h, struct evrt_jsonout *o) {
    struct evrt_shared_stats s;
    evrt_shared_stats(h->shared, &s);
    evrt_jsonout_key(o, "shared");
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "entries", s.entries);
    evrt_jsonout_put_u64(o, "bytes", s.bytes);
    evrt_jsonout_put_u64(o, "changes", s.changes);
    evrt_jsonout_put_u64(o, "conflicts", s.conflicts);
    evrt_jsonout_put_u64(o, "refused_full", s.refused_full);
    evrt_jsonout_put_u64(o, "refused_size", s.refused_size);
    evrt_jsonout_put_u64(o, "expired", s.expired);
    evrt_jsonout_end(o);
}

static void put_dedup(const struct evrt_host *h, struct evrt_jsonout *o) {
    const struct evrt_dedup *d = h->dedup;
    evrt_jsonout_key(o, "dedup");
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "entries", d == NULL ? 0 : d->count);
    evrt_jsonout_put_u64(o, "bytes", d == NULL ? 0 : evrt_dedup_bytes(d));
    evrt_jsonout_put_u64(o, "evicted", d == NULL ? 0 : d->evicted);
    evrt_jsonout_put_u64(o, "duplicates", h->duplicates);
    evrt_jsonout_end(o);
}

static void put_scheduled(const struct evrt_host *h, struct evrt_jsonout *o) {
    struct host_schedule_stats s;
    host_schedule_stats(h, &s);
    evrt_jsonout_key(o, "scheduled");
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "pending", s.pending);
    evrt_jsonout_put_u64(o, "published", s.fired);
    evrt_jsonout_put_u64(o, "cancelled", s.cancelled);
    evrt_jsonout_end(o);
}

/* Deliveries that cost a worker. */
static void put_charged(struct evrt_host *h, struct evrt_jsonout *o) {
    evrt_jsonout_key(o, "charged");
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "crashed", h->contained.crashed);
    evrt_jsonout_put_u64(o, "stalled", h->contained.stalled);
    evrt_jsonout_put_u64(o, "memory", h->contained.memory);
    evrt_jsonout_end(o);
}

static void put_workers(struct evrt_host *h, struct evrt_jsonout *o) {
    evrt_jsonout_key(o, "workers");
    evrt_jsonout_array(o);
    for (const struct host_generation *g = h->generations; g != NULL; g = g->next)
        put_generation(o, g);
    evrt_jsonout_end(o);
}

static void put_tracing(struct evrt_host *h, struct evrt_jsonout *o) {
    struct evrt_tracer_counts c;
    evrt_tracer_counts(h->tracing->tracer, &c);
    evrt_jsonout_key(o, "tracing");
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "exported", c.exported);
    evrt_jsonout_put_u64(o, "waiting", c.waiting);
    evrt_jsonout_put_u64(o, "over_limit", c.limited);
    evrt_jsonout_put_u64(o, "over_queue", c.queue);
    evrt_jsonout_put_u64(o, "failed", c.failed);
    evrt_jsonout_put_u64(o, "rejected", c.rejected);
    evrt_jsonout_put_u64(o, "requests", c.requests);
    evrt_jsonout_put_u64(o, "retries", c.retries);
    evrt_jsonout_end(o);
}

void evrt_host_stats(struct evrt_host *h, struct evrt_buf *out) {
    if (h->phase == HOST_CLOSED) {
        evrt_buf_puts(out, "{}"); /* the admin listener outlives the store for a moment */
        return;
    }
    struct evrt_totals t;
    uint64_t flight = 0, dropped, sampled;
    evrt_host_totals(h, &t);
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++)
        flight += evrt_sub_running(evrt_bus_get(h->bus, i));
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_str(&o, "service", evrt_slice_of(h->config->service.name));
    evrt_jsonout_put_str(&o, "version", evrt_slice_of(EVRT_VERSION));
    evrt_jsonout_put_u64(&o, "pid", (uint64_t)getpid());
    evrt_jsonout_put_u64(&o, "generation", h->serving->number);
    evrt_jsonout_put_double(&o, "uptime_seconds", (double)(evrt_mono_ns() - h->created_ns) / 1e9);
    evrt_jsonout_put_u64(&o, "events", t.events);
    evrt_jsonout_put_u64(&o, "matched", t.matched);
    evrt_jsonout_put_u64(&o, "pending",
                         t.matched - t.done - t.dead - t.discarded - flight - t.retrying);
    evrt_jsonout_put_u64(&o, "running", flight);
    evrt_jsonout_put_u64(&o, "retrying", t.retrying);
    evrt_jsonout_put_u64(&o, "done", t.done);
    evrt_jsonout_put_u64(&o, "dead", t.dead);
    evrt_jsonout_put_u64(&o, "discarded", t.discarded);
    evrt_jsonout_put_u64(&o, "stale_answers", h->stale);
    evrt_jsonout_put_u64(&o, "notes_dropped", h->notes_dropped);
    evrt_jsonout_put_u64(&o, "worker_restarts", h->restarts);
    host_kv_stats(h, &o);
    put_charged(h, &o);
    evrt_jsonout_put_u64(&o, "fresh_bytes", evrt_bus_held_bytes(h->bus));
    evrt_log_counts(h->log, &dropped, &sampled);
    evrt_jsonout_put_u64(&o, "log_lines_dropped", dropped);
    evrt_jsonout_put_u64(&o, "log_lines_sampled_out", sampled);
    put_store(h, &o);
    put_dedup(h, &o);
    put_scheduled(h, &o);
    if (h->tracing != NULL) put_tracing(h, &o);
    put_shared(h, &o);
    put_workers(h, &o);
    evrt_jsonout_end(&o);
}
