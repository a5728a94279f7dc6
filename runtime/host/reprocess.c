/* Reprocessing: dead letters given once more to the handler that failed, and to no other. A kind of job
 * (host/jobs.h); its part is what is delivered:
 *
 *     choose (letters.h) ─▶ held ─▶ fetch their events ─▶ page ─▶ kind->more: delivered, as there is room
 *     succeeded: the letter leaves, counted as done      failed: it is a letter anew, its history one longer
 *
 * A letter stays where it is until its handler has succeeded, and one that fails again has a number beyond those
 * of the job: so a job takes each letter once, whatever restarts come between, and one asked for twice finds
 * nothing to do. One attempt is made, whatever the retry policy says: another one is for who asks to decide.
 * The loop's thread. */
#include "host/reprocess.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"
#include "host/fetch.h"
#include "host/jobs.h"
#include "host/letters.h"
#include "host/node.h"
#include "json/json.h"

enum {
    PAGE = 64,
    BUDGET_MS = 50,
};

struct page_letter {
    struct host_letter letter;
    size_t at, n; /* of its event; n 0: it is nowhere */
    bool left;    /* or it was not read with the others */
};

struct reprocess {
    struct evrt_host *host;
    struct host_job *job; /* NULL: it has ended, and what it waits for has not */
    struct evrt_state_letters which;
    uint64_t seq; /* of the one that is asked for; 0: by filter */
    struct evrt_buf type;
    struct page_letter page[PAGE];
    size_t count, at; /* delivered below */
    struct evrt_buf events;
    bool busy, all_seen; /* a page is being chosen or fetched; there are no more */
    uint64_t left;       /* so many are still wanted */
};

static void free_own(struct reprocess *r) {
    evrt_buf_finish(&r->type);
    evrt_buf_finish(&r->events);
    free(r);
}

/* ---- Pages ---- */

static void release_page(struct reprocess *r) {
    for (; r->at < r->count; r->at++)
        host_letters_release(r->host, r->page[r->at].letter.sub, r->page[r->at].letter.seq);
}

static void on_fetched(void *arg, const struct host_fetch *f) {
    struct reprocess *r = arg;
    r->busy = false;
    if (r->job == NULL) {
        release_page(r);
        free_own(r);
        return;
    }
    evrt_buf_clear(&r->events);
    evrt_buf_put(&r->events, f->bytes.p, f->bytes.n);
    for (size_t i = r->at; i < r->count; i++) {
        struct page_letter *p = &r->page[i];
        const struct host_fetch_item *item = host_fetch_find(f, p->letter.sub, p->letter.seq);
        p->at = item->at;
        p->n = item->n;
        p->left = item->left;
    }
    if (f->rc < 0) {
        release_page(r);
        host_job_fail(r->job, "the store cannot be read; the log says why");
        return;
    }
    host_job_more(r->job);
}

static void fetch(struct reprocess *r) {
    size_t count = r->count - r->at;
    struct host_fetch_item *items = evrt_alloc(count * sizeof *items);
    for (size_t i = 0; i < count; i++) {
        const struct host_letter *l = &r->page[r->at + i].letter;
        items[i] = (struct host_fetch_item){.sub = l->sub, .seq = l->seq};
    }
    r->busy = true;
    host_fetch(r->host, items, count, on_fetched, r);
}

static void on_chosen(void *arg, const struct host_letters_chosen *c) {
    struct reprocess *r = arg;
    struct host_job *j = r->job;
    r->busy = false;
    if (j == NULL) {
        free_own(r);
        return;
    }
    if (c->rc < 0) {
        host_job_fail(j, c->rc == -ENOSPC ? "state.db has no space" : "state.db cannot be read");
        return;
    }
    r->count = r->at = 0;
    for (size_t i = 0; i < c->count && r->left > 0; i++) {
        host_letters_hold(r->host, &c->letters[i], j->r.id);
        r->page[r->count++] = (struct page_letter){.letter = c->letters[i]};
        r->left--;
    }
    r->which.after = c->end.at;
    r->all_seen = !c->end.more || r->left == 0;
    if (r->count != 0)
        fetch(r);
    else
        host_job_more(j);
}

static void choose(struct reprocess *r) {
    r->busy = true;
    r->which.limit = r->left < PAGE ? r->left : PAGE;
    host_letters_choose(r->host, &r->which, r->seq, on_chosen, r);
}

/* ---- Delivering ---- */

static void note_failure(struct host_job *j, const struct host_letter *l, struct evrt_slice type,
                         struct evrt_slice message) {
    char id[HOST_DELIVERY_ID_SIZE], quoted[HOST_DELIVERY_ID_SIZE + 2];
    snprintf(quoted, sizeof quoted, "\"%s\"", host_delivery_id(l->sub, l->seq, id));
    host_job_note_failure(j, "id", evrt_slice_of(quoted), type, message);
}

static void pass_over(struct reprocess *r, const struct host_letter *l, const char *why) {
    if (why != NULL) note_failure(r->job, l, EVRT_STR("cancelled"), evrt_slice_of(why));
    *(why != NULL ? &r->job->r.failed : &r->job->r.skipped) += 1;
    host_job_skip(r->job, l->n);
    host_letters_release(r->host, l->sub, l->seq);
}

static void deliver(struct reprocess *r, const struct page_letter *p) {
    const struct host_letter *l = &p->letter;
    struct evrt_sub *s = evrt_bus_by_id(r->host->bus, l->sub);
    if (host_job_has_ended(r->job, l->n)) {
        host_letters_release(r->host, l->sub, l->seq);
    } else if (s == NULL || !s->active) {
        pass_over(r, l, NULL);
    } else if (p->n == 0) {
        pass_over(r, l, "its event is in the store no more");
    } else {
        uint16_t attempt = l->attempt < UINT16_MAX ? (uint16_t)(l->attempt + 1) : UINT16_MAX;
        host_job_deliver(r->job, s, l->n, attempt, (struct evrt_slice){r->events.p + p->at, p->n});
    }
}

static void more(struct host_job *j) {
    struct reprocess *r = j->own;
    while (!r->busy && r->at < r->count && !r->page[r->at].left && host_job_room(j) > 0)
        deliver(r, &r->page[r->at++]);
    /* Large ones come a batch at a time: their bytes in flight are as bounded. */
    if (!r->busy && r->at < r->count && r->page[r->at].left && j->in_flight == 0) fetch(r);
    if (r->busy || r->at < r->count) return;
    if (!r->all_seen) {
        choose(r);
        return;
    }
    host_job_passed(j, j->r.until + 1);
    j->exhausted = true;
}

static enum evrt_dead_reason reason_of(const struct host_job_end *e) {
    static const char *const costly[] = {"crashed", "stalled", "memory"};
    if (evrt_slice_eq(e->error_type, EVRT_STR("rejected"))) return EVRT_DEAD_REJECTED;
    for (size_t i = 0; i < sizeof costly / sizeof costly[0]; i++)
        if (evrt_slice_eq(e->error_type, evrt_slice_of(costly[i]))) return EVRT_DEAD_CRASHED;
    return e->declined ? EVRT_DEAD_DECLINED : EVRT_DEAD_EXHAUSTED;
}

static void die_again(struct evrt_host *h, const struct host_letter *l,
                      const struct host_job_end *e) {
    const struct evrt_delivery *d = e->delivery;
    struct evrt_delivery_names names = evrt_delivery_names(d);
    struct host_trace_text ids;
    host_dead(h, &(struct host_dead){
                     .sub = e->sub,
                     .seq = d->seq,
                     .attempt = d->attempt,
                     .reason = reason_of(e),
                     .first_failed_ms = l->first_failed_ms,
                     .type = names.type,
                     .id = names.id,
                     .time = names.time,
                     .error_type = e->error_type,
                     .message = e->message,
                     .traceback = e->traceback,
                     .generation = e->generation,
                     .script = e->script,
                     .hops = d->label->hops,
                     .trace_id = host_trace_id(d, &ids),
                     .span_id = host_span_id(e->sub, d, &ids),
                 });
}

static void ended(struct host_job *j, uint64_t key, const struct host_job_end *e) {
    struct evrt_host *h = j->host;
    uint32_t sub = e->sub->id;
    uint64_t seq = e->delivery->seq;
    const struct host_letter *held = host_letters_held(h, sub, seq);
    (void)key;
    host_meter_reprocessed(h, evrt_delivery_names(e->delivery).type, e->done);
    *(e->done ? &j->r.done : &j->r.failed) += 1;
    if (held == NULL) return; /* not reached: it is held while it is in flight */
    const struct host_letter letter = *held;
    if (e->done)
        evrt_bus_letter_left(h->bus, e->sub, seq, true);
    else
        die_again(h, &letter, e);
    if (!e->done) note_failure(j, &letter, e->error_type, e->message);
    host_letters_release(h, sub, seq);
}

/* ---- What it was asked for ---- */

static bool parse_id(struct evrt_slice text, uint32_t *sub, uint64_t *seq) {
    unsigned long long n;
    char copy[48];
    snprintf(copy, sizeof copy, "%.*s", (int)text.n, text.p == NULL ? "" : text.p);
    if (sscanf(copy, "%u-%llu", sub, &n) != 2) return false;
    *seq = n;
    return true;
}

static int start(struct host_job *j, struct evrt_error *err) {
    struct evrt_host *h = j->host;
    struct reprocess *r = evrt_zalloc(sizeof *r);
    struct evrt_buf text;
    evrt_buf_init(&text);
    *r = (struct reprocess){.host = h, .job = j};
    uint64_t limit = host_job_number(j, "limit"), gone = j->r.done + j->r.failed + j->r.skipped;
    struct evrt_slice reason = host_job_text(j, "reason", &text);
    r->which = (struct evrt_state_letters){
        .reason = reason.p == NULL ? -1 : evrt_dead_reason_of(reason),
        .from_ms = (int64_t)host_job_number(j, "from_ms"),
        .to_ms = (int64_t)host_job_number(j, "to_ms"),
        .budget_ms = BUDGET_MS,
        .ascending = true,
    };
    if (j->fresh) {
        j->r.until = host_job_number(j, "until");
        j->r.total = host_job_number(j, "total");
    }
    r->which.type = host_job_text(j, "type", &r->type);
    r->which.until = j->r.until;
    r->which.after = j->r.cursor == 0 ? 0 : j->r.cursor - 1;
    struct evrt_slice name = host_job_text(j, "handler", &text);
    const struct evrt_sub *s = name.p == NULL ? NULL : evrt_bus_find(h->bus, name);
    int rc =
        name.p != NULL && s == NULL ? evrt_error_set(err, -ENOENT, "the handler was forgotten") : 0;
    if (s != NULL) r->which.sub = s->id;
    (void)parse_id(host_job_text(j, "id", &text), &r->which.sub, &r->seq);
    if (r->seq != 0) limit = 1;
    r->left = limit == 0 ? UINT64_MAX : limit > gone ? limit - gone : 0;
    r->all_seen = r->left == 0;
    evrt_buf_finish(&text);
    j->own = r;
    if (rc == 0) return 0;
    j->own = NULL;
    free_own(r);
    return rc;
}

static bool in_flight(struct evrt_host *h, uint64_t owner, const struct host_letter *l) {
    const struct evrt_sub *s = evrt_bus_by_id(h->bus, l->sub);
    return s != NULL && evrt_sub_has_aside(s, owner, l->n);
}

/* Lets go of letters that are not in flight. */
static void release_idle(struct host_job *j) {
    host_letters_release_all(j->host, j->r.id, in_flight);
}

static void stop(struct host_job *j) {
    struct reprocess *r = j->own;
    if (r == NULL) return;
    r->job = NULL;
    if (!r->busy) release_page(r);
    release_idle(j);
    r->count = r->at = 0;
    if (!r->busy) free_own(r);
}

const struct host_job_kind host_reprocess_kind = {
    .name = "reprocess",
    .purpose = EVRT_PURPOSE_REPROCESS,
    .start = start,
    .more = more,
    .ended = ended,
    .stop = stop,
    .dropped = release_idle,
};

/* ---- Beginning ---- */

struct beginning {
    struct evrt_host *host;
    struct evrt_host_reprocess want;
    char *handler, *type, *reason;
    uint64_t last;
    bool found;
    int rc;
    struct evrt_error err;
    void (*begun)(void *arg, int status, uint64_t job, const char *why);
    void *arg;
};

/* How many there may be to do; 0: not known before they are looked at. */
static uint64_t total_of(const struct beginning *b) {
    const struct evrt_host_reprocess *w = &b->want;
    const struct evrt_sub *s =
        w->which.handler.p == NULL ? NULL : evrt_bus_find(b->host->bus, w->which.handler);
    if (w->seq != 0) return 1;
    if (w->which.type.p != NULL || w->which.reason.p != NULL || w->which.from_ms != 0 ||
        w->which.to_ms != 0)
        return 0;
    uint64_t total = s != NULL ? s->dead : host_letters_count(b->host);
    return w->limit != 0 && w->limit < total ? w->limit : total;
}

static void write_spec(const struct beginning *b, struct evrt_buf *out) {
    const struct evrt_host_reprocess *w = &b->want;
    char id[HOST_DELIVERY_ID_SIZE];
    struct evrt_jsonout o = evrt_jsonout_start(out);
    evrt_jsonout_object(&o);
    if (w->seq != 0) evrt_jsonout_put_cstr(&o, "id", host_delivery_id(w->sub, w->seq, id));
    evrt_jsonout_put_given_str(&o, "handler", w->which.handler);
    evrt_jsonout_put_given_str(&o, "type", w->which.type);
    evrt_jsonout_put_given_str(&o, "reason", w->which.reason);
    evrt_jsonout_put_given_u64(&o, "from_ms", (uint64_t)w->which.from_ms);
    evrt_jsonout_put_given_u64(&o, "to_ms", (uint64_t)w->which.to_ms);
    evrt_jsonout_put_given_u64(&o, "limit", w->limit);
    evrt_jsonout_put_given_u64(&o, "until", b->last);
    evrt_jsonout_put_given_u64(&o, "total", total_of(b));
    evrt_jsonout_end(&o);
}

static void note_letter(void *arg, const struct evrt_state_letter *l) {
    struct beginning *b = arg;
    (void)l;
    b->found = true;
}

static void look_job(struct evrt_state_view *view, void *arg) {
    struct beginning *b = arg;
    b->rc = evrt_state_last_letter(view, &b->last);
    if (b->rc == 0 && b->want.seq != 0)
        b->rc = evrt_state_letter(view, b->want.sub, b->want.seq, note_letter, b);
}

static int may_begin(struct beginning *b) {
    const struct evrt_host_reprocess *w = &b->want;
    if (b->rc < 0) return evrt_error_set(&b->err, b->rc, "state.db cannot be read");
    if (w->seq == 0) return 0;
    const struct evrt_sub *s = evrt_bus_by_id(b->host->bus, w->sub);
    if (!b->found || s == NULL)
        return evrt_error_set(&b->err, -ENOENT,
                              "no such dead letter: it was handled or deleted, or never was one");
    if (!s->active)
        return evrt_error_set(&b->err, -EBUSY, "its handler \"%s\" is not in the scripts", s->name);
    if (host_letters_held(b->host, w->sub, w->seq) != NULL)
        return evrt_error_set(&b->err, -EBUSY, "it is being handled now");
    return 0;
}

static void on_looked(void *arg) {
    struct beginning *b = arg;
    struct evrt_buf spec;
    uint64_t id = 0;
    evrt_buf_init(&spec);
    int rc = may_begin(b);
    if (rc == 0) {
        write_spec(b, &spec);
        const struct host_job *j = host_job_begin(b->host, &host_reprocess_kind,
                                                  evrt_buf_slice(&spec), b->want.rate, 0, &b->err);
        if (j == NULL) rc = b->err.code;
        if (j != NULL) id = j->r.id;
    }
    b->begun(b->arg, rc, id, b->err.message);
    evrt_buf_finish(&spec);
    free(b->handler);
    free(b->type);
    free(b->reason);
    free(b);
}

static void on_settled(void *arg, uint64_t unused) {
    struct beginning *b = arg;
    (void)unused;
    host_ask_state(b->host, look_job, on_looked, b);
}

static char *copy(struct evrt_slice *s) {
    if (s->p == NULL) return NULL;
    char *text = evrt_strndup(s->p, s->n);
    s->p = text;
    return text;
}

int evrt_host_reprocess(struct evrt_host *h, const struct evrt_host_reprocess *want,
                        void (*begun)(void *arg, int status, uint64_t job, const char *why),
                        void *arg, struct evrt_error *err) {
    int rc = evrt_host_letters_check(h, &want->which, err);
    if (rc < 0) return rc;
    struct beginning *b = evrt_zalloc(sizeof *b);
    *b = (struct beginning){.host = h, .want = *want, .begun = begun, .arg = arg};
    b->handler = copy(&b->want.which.handler);
    b->type = copy(&b->want.which.type);
    b->reason = copy(&b->want.which.reason);
    host_barrier(h, on_settled, b);
    return 0;
}
