/* Why an event became what it did, for people: gathered from the journal alone, which has every settlement.
 *
 *     pool: the event, and what caused it ──▶ loop: who matched it, barrier ──▶ pool: the journal from the
 *     event on, until everyone's end was found ──▶ loop: told (why_json.c)
 *
 * Each read ends after some seconds; what was found by then is told, and that there may be more. */
#include "host/why.h"

#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/pattern.h"
#include "core/schedule.h"
#include "host/node.h"

enum {
    ID_EVENTS = 2000000, /* the newest ones, among which an id is looked for */
    PARENTS_MAX = 255,   /* hops are a byte */
    BUDGET_MS = 3000,
    LOOK_EVERY = 4096, /* records between two looks at the clock */
};

static void finish(struct why *w) {
    struct evrt_host *h = w->host;
    if (w->rc < 0 && w->rc != -ENOENT && w->rc != -ESHUTDOWN)
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", w->err.message));
    w->cb(w->arg, w->rc, w->rc < 0 ? evrt_slice_of(w->err.message) : evrt_buf_slice(&w->json));
    evrt_journal_reader_close(w->reader);
    struct evrt_buf *bufs[] = {&w->event, &w->parents, &w->facts, &w->text, &w->json};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        evrt_buf_finish(bufs[i]);
    free(w->handlers);
    free(w->id);
    free(w);
    h->lists--;
    h->reads--;
    host_progress(h);
}

/* ---- In the thread pool: the event ---- */

/* The encoding of event `seq`, appended to out; 0, -ENOENT or another negative errno. */
static int read_one(struct why *w, uint64_t seq, struct evrt_buf *out) {
    struct evrt_journal_record r;
    int rc = evrt_journal_seek_seq(w->reader, seq, &w->err);
    while (rc == 0) {
        rc = evrt_journal_read(w->reader, &r, &w->err);
        if (rc <= 0) break;
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (evrt_event_seq(r.payload.p) != seq) break;
        evrt_buf_put(out, r.payload.p, r.payload.n);
        return 0;
    }
    return rc < 0 ? rc : -ENOENT;
}

/* The newest one of that id. `seq` is the next one's on entry. */
static int find_id(struct why *w) {
    struct evrt_journal_record r;
    uint64_t next = w->seq, from = next > ID_EVENTS ? next - ID_EVENTS : 1;
    struct evrt_slice id = evrt_slice_of(w->id);
    int rc = evrt_journal_seek_seq(w->reader, from, &w->err);
    while (rc == 0 && (rc = evrt_journal_read(w->reader, &r, &w->err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (!evrt_slice_eq(evrt_event_field(r.payload.p, EVRT_FIELD_ID), id)) continue;
        evrt_buf_clear(&w->event);
        evrt_buf_put(&w->event, r.payload.p, r.payload.n);
    }
    if (rc < 0 && rc != -ENOENT) return rc;
    return w->event.n == 0 ? -ENOENT : 0;
}

static int find_parents(struct why *w) {
    struct evrt_event e;
    struct evrt_buf one;
    int rc = evrt_event_decode(w->event.p, w->event.n, &e);
    evrt_buf_init(&one);
    for (int i = 0; rc == 0 && e.cause_seq != 0 && i < PARENTS_MAX; i++) {
        evrt_buf_clear(&one);
        rc = read_one(w, e.cause_seq, &one);
        if (rc == 0) rc = evrt_event_decode(one.p, one.n, &e);
        if (rc < 0) break;
        uint32_t n = (uint32_t)one.n;
        evrt_buf_put(&w->parents, &n, sizeof n);
        evrt_buf_put(&w->parents, one.p, one.n);
    }
    evrt_buf_finish(&one);
    return rc == -ENOENT ? 0 : rc; /* retention has dropped the rest */
}

static void find(uv_work_t *work) {
    struct why *w = work->data;
    w->rc = w->id != NULL ? find_id(w) : read_one(w, w->seq, &w->event);
    if (w->rc == 0) w->seq = evrt_event_seq(w->event.p);
    if (w->rc == 0) w->rc = find_parents(w);
    if (w->rc == -ENOENT && w->id != NULL)
        evrt_error_set(&w->err, w->rc, "no such event: its id is not among the newest %d",
                       ID_EVENTS);
    else if (w->rc == -ENOENT)
        evrt_error_set(&w->err, w->rc,
                       "no such event: it was never stored, or retention has dropped it");
}

/* ---- In the thread pool: what became of it ---- */

static struct why_handler *handler_of(const struct why *w, uint32_t sub) {
    for (size_t i = 0; i < w->handler_count; i++)
        if (w->handlers[i].sub == sub) return &w->handlers[i];
    return NULL;
}

static void add(struct why *w, struct why_fact fact, const struct evrt_slice *texts, size_t count) {
    fact.text = w->text.n;
    for (size_t i = 0; i < count; i++) {
        fact.n[i] = (uint32_t)texts[i].n;
        evrt_buf_put(&w->text, texts[i].p, texts[i].n);
    }
    evrt_buf_put(&w->facts, &fact, sizeof fact);
}

/* A delivery may have failed ten thousand times: how that began and how it goes now is told. */
static void thin(struct why *w, struct why_handler *x) {
    struct evrt_buf facts = {0}, text = {0};
    size_t count, nth = 0;
    const struct why_fact *all = why_facts(w, &count);
    for (size_t i = 0; i < count; i++) {
        struct why_fact fact = all[i];
        bool many = fact.sub == x->sub && (fact.kind == WHY_FAILED || fact.kind == WHY_NOTE);
        nth += many;
        if (many && nth > WHY_FACTS_KEPT && nth <= x->facts - WHY_FACTS_KEPT) {
            w->left_out += fact.kind == WHY_FAILED;
            continue;
        }
        fact.text = text.n;
        evrt_buf_put(&text, w->text.p + all[i].text, (size_t)fact.n[0] + fact.n[1] + fact.n[2]);
        evrt_buf_put(&facts, &fact, sizeof fact);
    }
    evrt_buf_finish(&w->facts);
    evrt_buf_finish(&w->text);
    w->facts = facts;
    w->text = text;
    x->facts = 2 * WHY_FACTS_KEPT;
}

/* One of those of which there may be many. */
static void add_one(struct why *w, struct why_handler *x, const struct why_fact *fact,
                    const struct evrt_slice *texts, size_t count) {
    add(w, *fact, texts, count);
    if (++x->facts == WHY_FACTS_MAX) thin(w, x);
}

static bool in_ranges(struct evrt_slice ranges, uint64_t seq) {
    uint64_t from = 0;
    struct evrt_range r;
    for (size_t at = 0; evrt_ranges_next(ranges, &at, &from, &r) == 1;)
        if (evrt_range_has(r, seq)) return true;
    return false;
}

static void end_of(struct why *w, struct why_handler *x) {
    if (!x->told) w->open--;
    x->told = true;
}

static bool take_retry(struct why *w, struct why_handler *x, struct evrt_slice retries) {
    struct evrt_record_retry r;
    bool any = false;
    for (size_t at = 0; evrt_retry_next(retries, &at, &r) == 1;) {
        if (r.seq != w->seq) continue;
        const struct evrt_slice texts[] = {r.error_type, r.message};
        const struct why_fact fact = {.kind = WHY_FAILED,
                                      .sub = x->sub,
                                      .attempt = r.attempt - 1,
                                      .at_ms = r.last_failed_ms,
                                      .due_ms = r.due_ms,
                                      .delay_ms = r.delay_ms,
                                      .generation = r.generation,
                                      .script = r.script};
        add_one(w, x, &fact, texts, 2);
        x->next_attempt = r.attempt;
        any = true;
    }
    return any;
}

/* Returns whether it is one; its end, unless it was reprocessed since. */
static bool take_dead(struct why *w, struct why_handler *x, struct evrt_slice dead) {
    struct evrt_record_dead d;
    bool any = false;
    for (size_t at = 0; evrt_dead_next(dead, &at, &d) == 1;) {
        if (d.seq != w->seq) continue;
        const struct evrt_slice texts[] = {d.error_type, d.message, d.traceback};
        /* 0: it died without one more. */
        unsigned attempt = d.attempt != 0 ? d.attempt : x->next_attempt - 1;
        add(w,
            (struct why_fact){.kind = WHY_DEAD,
                              .sub = x->sub,
                              .attempt = attempt,
                              .at_ms = d.at_ms,
                              .reason = d.reason,
                              .generation = d.generation,
                              .script = d.script},
            texts, 3);
        x->next_attempt = attempt + 1;
        bool last = x->dead_attempt != 0 && attempt >= x->dead_attempt;
        if (last && x->tells)
            x->untold = attempt;
        else if (last)
            end_of(w, x);
        any = true;
    }
    return any;
}

static void take_settle(struct why *w, const struct evrt_journal_record *r) {
    struct evrt_record_settle s;
    if (evrt_record_get_settle(r->payload, &s) < 0) return;
    struct why_handler *x = handler_of(w, s.sub);
    if (x == NULL) return;
    bool again = take_retry(w, x, s.retries), dead = take_dead(w, x, s.dead);
    bool ended = (in_ranges(s.ranges, w->seq) && !x->failed) || in_ranges(s.retried, w->seq),
         gone = in_ranges(s.gone, w->seq);
    x->failed |= again || dead;
    if (((ended || gone) && !again && !dead && !x->told) || in_ranges(s.left, w->seq)) {
        add(w,
            (struct why_fact){.kind = gone ? WHY_DISCARDED : WHY_DONE,
                              .sub = x->sub,
                              .attempt = x->next_attempt,
                              .at_ms = r->time_ms},
            NULL, 0);
        end_of(w, x);
    }
}

static void take_notes(struct why *w, const struct evrt_journal_record *r) {
    struct evrt_record_note n;
    for (size_t at = 0; evrt_note_next(r->payload, &at, &n) == 1;) {
        struct why_handler *x = n.seq == w->seq ? handler_of(w, n.sub) : NULL;
        const struct why_fact fact = {
            .kind = WHY_NOTE, .sub = n.sub, .attempt = n.attempt, .at_ms = r->time_ms};
        if (x == NULL) continue;
        add_one(w, x, &fact, &n.text, 1);
        if (x->untold != 0 && n.attempt == x->untold) end_of(w, x); /* host/dead.c */
    }
}

/* The one that was to be published later, and is: the same id. */
static bool is_due(struct why *w, const struct evrt_event *e) {
    struct why_fact *all = (struct why_fact *)(void *)w->facts.p;
    for (size_t i = 0; i < w->facts.n / sizeof *all; i++) {
        if (all[i].kind != WHY_PUBLISHED || all[i].seq != 0) continue;
        if (!evrt_slice_eq(why_text(w, &all[i], 1), e->id)) continue;
        all[i].seq = e->seq;
        return true;
    }
    return false;
}

/* `due_ms` 0: published; else it will be then. */
static void take_event(struct why *w, struct evrt_slice event, int64_t at_ms, int64_t due_ms) {
    struct evrt_event e;
    if (evrt_event_decode(event.p, event.n, &e) < 0 || e.cause_seq != w->seq) return;
    if (due_ms == 0 && is_due(w, &e)) return;
    if (w->published++ >= WHY_PUBLISHED_MAX) return;
    const struct evrt_slice texts[] = {e.type, e.id};
    add(w,
        (struct why_fact){.kind = WHY_PUBLISHED,
                          .sub = e.cause_handler,
                          .at_ms = at_ms,
                          .due_ms = due_ms,
                          .seq = due_ms == 0 ? e.seq : 0},
        texts, 2);
}

static void take_schedule(struct why *w, struct evrt_slice payload) {
    struct evrt_record_schedule r;
    if (evrt_record_get_schedule(payload, &r) == 0) take_event(w, r.event, r.at_ms, r.due_ms);
}

static void take(struct why *w, const struct evrt_journal_record *r) {
    if (r->kind == EVRT_RECORD_SETTLE)
        take_settle(w, r);
    else if (r->kind == EVRT_RECORD_NOTES)
        take_notes(w, r);
    else if (r->kind == EVRT_RECORD_EVENT)
        take_event(w, r->payload, r->time_ms, 0);
    else if (r->kind == EVRT_RECORD_SCHEDULE)
        take_schedule(w, r->payload);
}

static void gather(uv_work_t *work) {
    struct why *w = work->data;
    struct evrt_journal_record r;
    int64_t until = evrt_mono_ns() + BUDGET_MS * INT64_C(1000000);
    /* In which the last end was found; it and the next one, where what on_dead_letter left may be, are read whole. */
    uint64_t last_group = 0;
    int rc = evrt_journal_seek_seq(w->reader, w->seq, &w->err);
    w->complete = true;
    for (unsigned n = 1; rc == 0; n++) {
        rc = evrt_journal_read(w->reader, &r, &w->err);
        if (rc <= 0) break;
        rc = 0;
        if (w->open == 0 && last_group == 0) last_group = r.group;
        if (w->open == 0 && r.group > last_group + 1) break;
        take(w, &r);
        w->complete = n % LOOK_EVERY != 0 || evrt_mono_ns() < until;
        if (!w->complete) break;
    }
    w->rc = rc < 0 && rc != -ENOENT ? rc : 0;
}

/* ---- On the state thread ---- */

static void note_dead(void *arg, const struct evrt_state_letter *letter) {
    struct why_handler *x = handler_of(arg, letter->sub);
    if (x != NULL) x->dead_attempt = letter->dead.attempt == 0 ? 1 : letter->dead.attempt;
}

static void dead_job(struct evrt_state_view *view, void *arg) {
    struct why *w = arg;
    w->rc = evrt_state_each_dead(view, w->seq, note_dead, w);
    if (w->rc < 0) evrt_error_set(&w->err, w->rc, "state.db cannot be read");
}

/* ---- On the loop ---- */

static void on_gathered(uv_work_t *work, int status) {
    struct why *w = work->data;
    if (status < 0) w->rc = evrt_error_set(&w->err, status, "%s", uv_strerror(status));
    if (w->rc == 0 && w->host->phase >= HOST_CLOSING)
        w->rc = evrt_error_set(&w->err, -ESHUTDOWN, "shutting down");
    if (w->rc == 0) why_tell(w);
    finish(w);
}

static void on_asked(void *arg) {
    struct why *w = arg;
    int rc = w->rc < 0 ? w->rc : uv_queue_work(w->host->loop, &w->work, gather, on_gathered);
    if (rc < 0) on_gathered(&w->work, w->rc < 0 ? 0 : rc);
}

static void list_handlers(struct why *w) {
    const struct evrt_bus *bus = w->host->bus;
    struct evrt_slice type = evrt_event_field(w->event.p, EVRT_FIELD_TYPE);
    w->handlers = evrt_zalloc((evrt_bus_count(bus) + 1) * sizeof *w->handlers);
    for (size_t i = 0; i < evrt_bus_count(bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(bus, i);
        if (w->seq < s->from_seq || !evrt_sub_matched(s, w->seq, type)) continue;
        struct why_handler *x = &w->handlers[w->handler_count++];
        bool tells = s->active && w->host->serving->scripts.handlers[s->handler].on_dead_letter;
        *x = (struct why_handler){.sub = s->id, .next_attempt = 1, .tells = tells};
    }
    w->open = w->handler_count; /* whoever's has not ended is looked for to the journal's end */
}

static void on_found(uv_work_t *work, int status) {
    struct why *w = work->data;
    if (status < 0) w->rc = evrt_error_set(&w->err, status, "%s", uv_strerror(status));
    if (w->rc == 0 && w->host->phase >= HOST_CLOSING)
        w->rc = evrt_error_set(&w->err, -ESHUTDOWN, "shutting down");
    if (w->rc < 0) {
        finish(w);
        return;
    }
    list_handlers(w);
    host_ask_settled(w->host, dead_job, on_asked, w, &w->rc);
}

void evrt_host_why(struct evrt_host *h, uint64_t seq, struct evrt_slice id, evrt_host_json_cb cb,
                   void *arg) {
    if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    if (h->lists >= h->config->admin.max_queries) {
        cb(arg, -EAGAIN,
           EVRT_STR("too many queries of events are running (admin.max_queries); try again"));
        return;
    }
    struct why *w = evrt_zalloc(sizeof *w);
    *w = (struct why){.host = h, .seq = seq, .cb = cb, .arg = arg};
    if (id.p != NULL) {
        w->id = evrt_strndup(id.p, id.n);
        w->seq = evrt_bus_next_seq(h->bus);
    }
    w->work.data = w;
    h->lists++;
    h->reads++;
    int rc = evrt_journal_reader_open(&w->reader, h->journal);
    if (rc == 0) rc = uv_queue_work(h->loop, &w->work, find, on_found);
    if (rc < 0) on_found(&w->work, rc);
}
