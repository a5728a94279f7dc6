/* Telling why: what why.c gathered, and how each handler stands now, as JSON. On the loop. */
#include <stdio.h>
#include <stdlib.h>

#include "host/why.h"

#include "core/clock.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"
#include "host/node.h"
#include "json/json.h"

static void put_name(const struct why *w, struct evrt_jsonout *o, uint32_t sub) {
    const struct evrt_sub *s = evrt_bus_by_id(w->host->bus, sub);
    evrt_jsonout_put_cstr(o, "handler", s == NULL ? NULL : s->name); /* NULL: forgotten since */
}

/* ---- What caused it ---- */

static void put_parent(const struct why *w, struct evrt_jsonout *o, const struct evrt_event *e,
                       uint32_t sub) {
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "seq", e->seq);
    evrt_jsonout_put_str(o, "type", e->type);
    evrt_jsonout_put_str(o, "id", e->id);
    evrt_jsonout_put_str(o, "source", e->source);
    evrt_jsonout_put_time(o, "stored", e->stored_ms);
    put_name(w, o, sub);
    evrt_jsonout_end(o);
}

/* One that retention has dropped is told by its number alone. */
static void put_lost(const struct why *w, struct evrt_jsonout *o, const struct evrt_event *child) {
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "seq", child->cause_seq);
    put_name(w, o, child->cause_handler);
    evrt_jsonout_end(o);
}

static void put_parents(const struct why *w, struct evrt_jsonout *o, const struct evrt_event *e) {
    struct evrt_event child = *e, parent;
    uint32_t n;
    evrt_jsonout_key(o, "caused_by");
    evrt_jsonout_array(o);
    for (size_t at = 0; at < w->parents.n; at += sizeof n + n) {
        memcpy(&n, w->parents.p + at, sizeof n);
        if (evrt_event_decode(w->parents.p + at + sizeof n, n, &parent) < 0) break;
        put_parent(w, o, &parent, child.cause_handler);
        child = parent;
    }
    if (child.cause_seq != 0) put_lost(w, o, &child);
    evrt_jsonout_end(o);
}

/* ---- Attempts ---- */

/* "script.lua:12" at the front of a message, or in what a policy's failure says of itself. */
static struct evrt_slice place_in(struct evrt_slice message) {
    const struct evrt_slice none = {NULL, 0};
    size_t from = 0;
    if (message.n > 8 && memcmp(message.p, "policy \"", 8) == 0) {
        const char *open = memchr(message.p, '(', message.n);
        if (open != NULL) from = (size_t)(open - message.p) + 1;
    }
    const char *colon = memchr(message.p + from, ':', message.n - from);
    if (colon == NULL || colon - (message.p + from) < 4 || memcmp(colon - 4, ".lua", 4) != 0)
        return none;
    size_t digits = (size_t)(colon - message.p) + 1, end = digits;
    while (end < message.n && message.p[end] >= '0' && message.p[end] <= '9')
        end++;
    return end > digits ? (struct evrt_slice){message.p + from, end - from} : none;
}

static void put_error(const struct why *w, struct evrt_jsonout *o, const struct why_fact *f) {
    struct evrt_slice message = why_text(w, f, 1), place = place_in(message);
    evrt_jsonout_key(o, "error");
    evrt_jsonout_object(o);
    evrt_jsonout_put_str(o, "type", why_text(w, f, 0));
    evrt_jsonout_put_str(o, "message", message);
    evrt_jsonout_put_given_str(o, "where", place);
    if (f->n[2] != 0) evrt_jsonout_put_str(o, "traceback", why_text(w, f, 2));
    evrt_jsonout_end(o);
}

static void put_notes(const struct why *w, struct evrt_jsonout *o, uint32_t sub, unsigned attempt) {
    size_t count;
    bool any = false;
    const struct why_fact *all = why_facts(w, &count);
    for (size_t i = 0; i < count; i++) {
        if (all[i].kind != WHY_NOTE || all[i].sub != sub || all[i].attempt != attempt) continue;
        if (!any) {
            evrt_jsonout_key(o, "notes");
            evrt_jsonout_array(o);
        }
        any = true;
        evrt_jsonout_str(o, why_text(w, &all[i], 0));
    }
    if (any) evrt_jsonout_end(o);
}

static void put_hash(struct evrt_jsonout *o, const char *key, uint64_t hash) {
    char text[24];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    evrt_jsonout_put_cstr(o, key, text);
}

static void put_attempt(const struct why *w, struct evrt_jsonout *o, const struct why_fact *f) {
    static const char *const outcomes[] = {[WHY_FAILED] = "failed",
                                           [WHY_DEAD] = "failed",
                                           [WHY_DONE] = "done",
                                           [WHY_DISCARDED] = "discarded"};
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "attempt", f->attempt);
    evrt_jsonout_put_time(o, "at", f->at_ms);
    evrt_jsonout_put_cstr(o, "outcome", outcomes[f->kind]);
    if (f->kind == WHY_FAILED || f->kind == WHY_DEAD) put_error(w, o, f);
    if (f->kind == WHY_DEAD) evrt_jsonout_put_cstr(o, "dead", evrt_dead_reason_name(f->reason));
    if (f->generation != 0) evrt_jsonout_put_u64(o, "generation", f->generation);
    if (f->script != 0) put_hash(o, "script", f->script);
    if (f->kind == WHY_FAILED) {
        evrt_jsonout_put_time(o, "next", f->due_ms);
        evrt_jsonout_put_double(o, "delay", (double)f->delay_ms / 1000);
    }
    put_notes(w, o, f->sub, f->attempt);
    evrt_jsonout_end(o);
}

/* One at a worker now. */
static void put_running(const struct why *w, struct evrt_jsonout *o, const struct evrt_sub *s) {
    const struct evrt_delivery *d = evrt_sub_find_flight(s, w->seq);
    if (d == NULL) return;
    evrt_jsonout_object(o);
    evrt_jsonout_put_u64(o, "attempt", d->attempt);
    evrt_jsonout_put_time(o, "at", evrt_wall_ms() - (evrt_mono_ns() - d->sent_ns) / 1000000);
    evrt_jsonout_put_cstr(o, "outcome", "running");
    put_notes(w, o, s->id, d->attempt);
    evrt_jsonout_end(o);
}

static const char *put_attempts(const struct why *w, struct evrt_jsonout *o,
                                const struct evrt_sub *s) {
    static const char *const outcomes[] = {[WHY_FAILED] = "retrying",
                                           [WHY_DEAD] = "dead",
                                           [WHY_DONE] = "done",
                                           [WHY_DISCARDED] = "discarded"};
    enum evrt_sub_where where = evrt_sub_where(s, w->seq, evrt_bus_next_seq(w->host->bus));
    const char *outcome = where == EVRT_SUB_PENDING ? "pending" : "ended";
    size_t count;
    const struct why_fact *all = why_facts(w, &count);
    evrt_jsonout_key(o, "attempts");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < count; i++) {
        if (all[i].sub != s->id || all[i].kind >= WHY_NOTE) continue;
        put_attempt(w, o, &all[i]);
        outcome = outcomes[all[i].kind];
    }
    if (where == EVRT_SUB_RUNNING) {
        put_running(w, o, s);
        outcome = "running";
    }
    evrt_jsonout_end(o);
    return outcome;
}

/* ---- Handlers ---- */

static void put_published(const struct why *w, struct evrt_jsonout *o, uint32_t sub) {
    size_t count;
    const struct why_fact *all = why_facts(w, &count);
    evrt_jsonout_key(o, "published");
    evrt_jsonout_array(o);
    for (size_t i = 0; i < count; i++) {
        if (all[i].kind != WHY_PUBLISHED || all[i].sub != sub) continue;
        evrt_jsonout_object(o);
        if (all[i].seq != 0) evrt_jsonout_put_u64(o, "seq", all[i].seq);
        if (all[i].due_ms != 0) evrt_jsonout_put_time(o, "for", all[i].due_ms);
        evrt_jsonout_put_str(o, "type", why_text(w, &all[i], 0));
        evrt_jsonout_put_str(o, "id", why_text(w, &all[i], 1));
        evrt_jsonout_put_time(o, "stored", all[i].at_ms);
        evrt_jsonout_end(o);
    }
    evrt_jsonout_end(o);
}

struct chain {
    struct evrt_jsonout *out;
    struct evrt_slice type;
    bool covered;
};

static int covers(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct chain *c = arg;
    struct evrt_buf pattern;
    (void)err;
    evrt_buf_init(&pattern);
    evrt_json_unquote(m->value, &pattern);
    c->covered |= evrt_pattern_match(evrt_buf_slice(&pattern), c->type);
    evrt_buf_finish(&pattern);
    return 0;
}

static int put_policy(void *arg, const struct evrt_json_member *m, struct evrt_error *err) {
    struct chain *c = arg;
    struct evrt_json_info info;
    struct evrt_slice events = evrt_json_at(m->value, EVRT_STR("events"));
    (void)err;
    c->covered = events.n == 0 || events.p[0] != '[';
    if (!c->covered && evrt_json_members(events, covers, c, &info, NULL) < 0) return 0;
    if (c->covered) evrt_jsonout_raw(c->out, m->value);
    return 0;
}

/* Those of its policies that are around this type, outermost first. */
static void put_policies(struct evrt_jsonout *o, const char *all, struct evrt_slice type) {
    struct chain c = {o, type, false};
    struct evrt_json_info info;
    evrt_jsonout_key(o, "policies");
    evrt_jsonout_array(o);
    if (evrt_json_members(evrt_slice_of(all), put_policy, &c, &info, NULL) < 0) c.covered = false;
    evrt_jsonout_end(o);
}

/* The first of its patterns that matches, as they are now. */
static void put_pattern(struct evrt_jsonout *o, const struct evrt_sub *s, struct evrt_slice type) {
    if (s->epoch_count == 0) return;
    struct evrt_slice all = evrt_pattern_set_text(s->epochs[s->epoch_count - 1].patterns);
    for (size_t at = 0; at < all.n;) {
        const char *end = memchr(all.p + at, '\n', all.n - at);
        size_t n = end == NULL ? all.n - at : (size_t)(end - all.p) - at;
        struct evrt_slice one = {all.p + at, n};
        if (evrt_pattern_match(one, type)) {
            evrt_jsonout_put_str(o, "pattern", one);
            return;
        }
        at += n + 1;
    }
}

static void put_handler(const struct why *w, struct evrt_jsonout *o, const struct evrt_sub *s,
                        struct evrt_slice type) {
    const struct evrt_host *h = w->host;
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "handler", s->name);
    evrt_jsonout_put_cstr(o, "state", !s->active ? "orphaned" : s->paused ? "paused" : "active");
    put_pattern(o, s, type);
    if (s->active) {
        put_policies(o, h->serving->scripts.handlers[s->handler].policies, type);
        evrt_jsonout_key(o, "retry");
        host_retries_describe(h, s, type, o);
    }
    const char *outcome = put_attempts(w, o, s);
    evrt_jsonout_put_cstr(o, "outcome", outcome);
    put_published(w, o, s->id);
    evrt_jsonout_end(o);
}

void why_tell(struct why *w) {
    struct evrt_event e;
    w->rc = evrt_event_decode(w->event.p, w->event.n, &e);
    if (w->rc < 0) return;
    struct evrt_jsonout o = evrt_jsonout_start(&w->json);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "event");
    host_event_json(&o, &e);
    evrt_jsonout_put_u64(&o, "hops", e.hops);
    put_parents(w, &o, &e);
    evrt_jsonout_key(&o, "handlers");
    evrt_jsonout_array(&o);
    for (size_t i = 0; i < w->handler_count; i++) {
        const struct evrt_sub *s = evrt_bus_by_id(w->host->bus, w->handlers[i].sub);
        if (s != NULL) put_handler(w, &o, s, e.type);
    }
    evrt_jsonout_end(&o);
    evrt_jsonout_put_u64(&o, "published_count", w->published);
    evrt_jsonout_put_u64(&o, "attempts_left_out", w->left_out);
    evrt_jsonout_put_bool(&o, "complete", w->complete);
    evrt_jsonout_end(&o);
}
