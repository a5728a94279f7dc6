/* Dropping old segments because an operator asks for it: the keeper drops them as it does for retention,
 * here is told what went, what stays and why. Nothing that a handler needs goes, whoever asks. */
#include <errno.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/jsonout.h"
#include "host/replay.h"
#include "journal/oldest.h"

enum { PATIENCE_MS = 30000 }; /* for the snapshots of state.db that must cover what goes */

struct part {
    uint64_t segments, events, bytes;
};

struct host_cleanup {
    int64_t before_ms, until_ns;
    struct part dropped;
    evrt_host_json_cb cb;
    void *arg;
};

static void add(struct part *p, const struct evrt_journal_oldest *s) {
    p->segments++;
    p->events += s->next_seq - s->first_seq;
    p->bytes += s->bytes;
}

/* ---- Telling ---- */

static void put_part(struct evrt_jsonout *o, const char *key, const struct part *p) {
    evrt_jsonout_key(o, key);
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "segments", p->segments);
    evrt_jsonout_put_u64(o, "events", p->events);
    evrt_jsonout_put_u64(o, "bytes", p->bytes);
    evrt_jsonout_end(o);
}

static void open_pin(struct evrt_jsonout *o, const char *reason) {
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "reason", reason);
}

static bool put_pin(struct evrt_jsonout *o, const char *what, uint64_t pin, uint64_t end) {
    if (pin >= end) return false;
    open_pin(o, what);
    evrt_jsonout_put_u64(o, "seq", pin);
    evrt_jsonout_end(o);
    return true;
}

/* Who needs an event below `end`. */
static bool put_needs(struct evrt_host *h, struct evrt_jsonout *o, uint64_t end) {
    uint64_t next = evrt_bus_next_seq(h->bus);
    bool any = false;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(h->bus, i);
        uint64_t cursor = evrt_sub_cursor(s, next);
        if (cursor >= end) continue;
        any = true;
        open_pin(o, s->active ? "handler" : "orphaned handler");
        evrt_jsonout_put_cstr(o, "handler", s->name);
        evrt_jsonout_put_u64(o, "seq", cursor);
        evrt_jsonout_put_u64(o, "not_ended", evrt_sub_pending(s));
        evrt_jsonout_end(o);
    }
    return put_pin(o, "backup", host_backup_pin(h), end) |
           put_pin(o, "replay", host_replays_pin(h), end) | any;
}

/* Those of that age that are still there: `end` is behind the last one. */
static struct part kept(struct evrt_host *h, size_t from, int64_t before_ms, uint64_t *end) {
    struct part p = {0};
    struct evrt_journal_oldest s;
    for (size_t i = from; evrt_journal_next_oldest(h->journal, i, &s) && s.ended_ms < before_ms;
         i++) {
        add(&p, &s);
        *end = s.next_seq;
    }
    return p;
}

static void tell(struct evrt_host *h, const struct host_cleanup *c, bool dry_run) {
    struct evrt_buf json;
    char before[EVRT_RFC3339_SIZE];
    uint64_t end = 0;
    size_t gone = dry_run ? c->dropped.segments : 0;
    struct part rest = kept(h, gone, c->before_ms, &end);
    evrt_buf_init(&json);
    struct evrt_jsonout o = evrt_jsonout_start(&json);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_bool(&o, "dry_run", dry_run);
    evrt_jsonout_put_cstr(&o, "before", evrt_rfc3339_format(c->before_ms, before));
    put_part(&o, "dropped", &c->dropped);
    put_part(&o, "kept", &rest);
    evrt_jsonout_key(&o, "pins");
    evrt_jsonout_array(&o);
    if (!put_needs(h, &o, end) && rest.segments > 0) {
        open_pin(&o, "state.db has no snapshots that cover them yet");
        evrt_jsonout_end(&o);
    }
    evrt_jsonout_end(&o);
    evrt_jsonout_end(&o);
    c->cb(c->arg, 0, evrt_buf_slice(&json));
    evrt_buf_finish(&json);
}

/* ---- Doing ---- */

bool host_cleanup_wants(const struct evrt_host *h, const struct evrt_journal_oldest *s) {
    return h->cleanup != NULL && s->ended_ms < h->cleanup->before_ms;
}

void host_cleanup_dropped(struct evrt_host *h, const struct evrt_journal_oldest *s) {
    add(&h->cleanup->dropped, s);
}

static bool wait_on(struct evrt_host *h, const struct host_cleanup *c) {
    struct evrt_journal_oldest s;
    if (h->phase >= HOST_DRAINING || evrt_mono_ns() > c->until_ns) return false;
    if (!evrt_journal_oldest(h->journal, &s) || s.ended_ms >= c->before_ms) return false;
    return host_first_cursor(h) >= s.next_seq && host_backup_pin(h) >= s.next_seq &&
           host_replays_pin(h) >= s.next_seq;
}

void host_cleanup_look(struct evrt_host *h) {
    struct host_cleanup *c = h->cleanup;
    if (c == NULL || wait_on(h, c)) return;
    h->cleanup = NULL;
    tell(h, c, false);
    free(c);
}

/* What would go: from the oldest on, until something needs one. */
static void foresee(struct evrt_host *h, struct host_cleanup *c) {
    struct evrt_journal_oldest s;
    uint64_t needed = host_needed_from(h), replayed = host_replays_pin(h);
    if (replayed < needed) needed = replayed;
    for (size_t i = 0; evrt_journal_next_oldest(h->journal, i, &s) && s.ended_ms < c->before_ms &&
                       s.next_seq <= needed;
         i++)
        add(&c->dropped, &s);
}

void evrt_host_cleanup(struct evrt_host *h, int64_t before_ms, bool dry_run, evrt_host_json_cb cb,
                       void *arg) {
    if (h->phase >= HOST_DRAINING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    struct host_cleanup c = {.before_ms = before_ms,
                             .until_ns = evrt_mono_ns() + PATIENCE_MS * INT64_C(1000000),
                             .cb = cb,
                             .arg = arg};
    if (dry_run) {
        foresee(h, &c);
        tell(h, &c, true);
    } else if (h->cleanup != NULL) {
        cb(arg, -EBUSY, EVRT_STR("another cleanup is running"));
    } else {
        h->cleanup = evrt_alloc(sizeof c);
        *h->cleanup = c;
        host_keep_soon(h);
    }
}
