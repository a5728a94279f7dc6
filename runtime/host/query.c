/* One event for people, and what became of it: found in the journal by a job in libuv's thread pool; then
 * told from the windows (what has not ended) and, for what has, from state.db, after a barrier: everything
 * that has ended by then is in the journal and applied. What has ended and is in neither was done, or, where the
 * handler has discarded any, the journal is asked again. */
#include <errno.h>
#include <stdlib.h>

#include "host/ends.h"
#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"

/* A delivery that state.db has as dead, or as a retry: what is told of it, as JSON members. */
struct dead {
    uint32_t sub;
    bool retrying;
    size_t at, n;
};

/* A handler, as of the barrier. */
struct stand {
    uint32_t sub;
    bool retrying; /* it has retries */
    bool its;      /* the event matched it */
    enum evrt_sub_where where;
};

struct query {
    struct evrt_host *host;
    uv_work_t work;
    struct evrt_journal_reader *reader;
    uint64_t seq;
    int rc;
    struct evrt_error err;
    struct evrt_buf event; /* its encoding */
    struct evrt_buf dead_text, deads;
    struct stand *stands; /* whose event it is, and all that have retries */
    size_t stand_count;
    struct host_end *ends;
    size_t end_count;
    struct evrt_buf json;
    evrt_host_json_cb cb;
    void *arg;
};

static void finish(struct query *q) {
    struct evrt_host *h = q->host;
    if (q->rc == -ENOENT)
        evrt_error_set(&q->err, q->rc,
                       "no such event: it was never stored, or retention has dropped it");
    else if (q->rc < 0 && q->rc != -ESHUTDOWN)
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", q->err.message));
    q->cb(q->arg, q->rc, q->rc < 0 ? evrt_slice_of(q->err.message) : evrt_buf_slice(&q->json));
    evrt_journal_reader_close(q->reader);
    evrt_buf_finish(&q->event);
    evrt_buf_finish(&q->dead_text);
    evrt_buf_finish(&q->deads);
    free(q->stands);
    free(q->ends);
    evrt_buf_finish(&q->json);
    free(q);
    h->reads--;
    host_progress(h);
}

/* ---- In the thread pool ---- */

static void find_event(uv_work_t *work) {
    struct query *q = work->data;
    struct evrt_journal_record r;
    int rc = evrt_journal_seek_seq(q->reader, q->seq, &q->err);
    while (rc == 0 && (rc = evrt_journal_read(q->reader, &r, &q->err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (evrt_event_seq(r.payload.p) == q->seq)
            evrt_buf_put(&q->event, r.payload.p, r.payload.n);
        break;
    }
    q->rc = rc < 0 ? rc : q->event.n == 0 ? -ENOENT : 0;
}

/* ---- On the state thread ---- */

static void note_dead(void *arg, const struct evrt_state_letter *l) {
    struct query *q = arg;
    const struct evrt_record_dead *d = &l->dead;
    struct dead dead = {l->sub, false, q->dead_text.n, 0};
    struct evrt_jsonout o = evrt_jsonout_start(&q->dead_text);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_str(&o, "type", d->error_type);
    evrt_jsonout_put_str(&o, "message", d->message);
    evrt_jsonout_put_str(&o, "traceback", d->traceback);
    evrt_jsonout_end(&o);
    evrt_buf_printf(&q->dead_text, ",\"attempt\":%u", d->attempt);
    dead.n = q->dead_text.n - dead.at;
    evrt_buf_put(&q->deads, &dead, sizeof dead);
}

static void note_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    struct query *q = arg;
    char due[EVRT_RFC3339_SIZE];
    struct dead retry = {sub, true, q->dead_text.n, 0};
    struct evrt_jsonout o = evrt_jsonout_start(&q->dead_text);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_str(&o, "type", r->error_type);
    evrt_jsonout_put_str(&o, "message", r->message);
    evrt_jsonout_end(&o);
    evrt_buf_printf(&q->dead_text, ",\"attempt\":%u,\"due\":\"%s\"", r->attempt,
                    evrt_rfc3339_format(r->due_ms, due));
    retry.n = q->dead_text.n - retry.at;
    evrt_buf_put(&q->deads, &retry, sizeof retry);
}

static void dead_job(struct evrt_state_view *view, void *arg) {
    struct query *q = arg;
    q->rc = evrt_state_each_dead(view, q->seq, note_dead, q);
    for (size_t i = 0; q->rc == 0 && i < q->stand_count; i++)
        if (q->stands[i].retrying)
            q->rc = evrt_state_retry(view, q->stands[i].sub, q->seq, note_retry, q);
    if (q->rc < 0) evrt_error_set(&q->err, q->rc, "state.db cannot be read");
}

/* ---- On the loop ---- */

static const struct dead *find_dead(const struct query *q, uint32_t sub) {
    const struct dead *all = (const struct dead *)(const void *)q->deads.p;
    for (size_t i = 0; i < q->deads.n / sizeof *all; i++)
        if (all[i].sub == sub) return &all[i];
    return NULL;
}

static const char *outcome_of(const struct query *q, const struct stand *s,
                              const struct dead *dead) {
    static const char *const names[] = {
        [EVRT_SUB_PENDING] = "pending", [EVRT_SUB_RUNNING] = "running", [EVRT_SUB_ENDED] = "done"};
    if (dead != NULL && !dead->retrying) return "dead";
    if (dead != NULL && s->where != EVRT_SUB_RUNNING) return "retrying";
    for (size_t i = 0; i < q->end_count; i++) {
        if (q->ends[i].sub != s->sub) continue;
        if (q->ends[i].how == HOST_HOW_DISCARDED) return "discarded";
        if (q->ends[i].how == HOST_HOW_UNKNOWN) return "ended";
    }
    return names[s->where];
}

static void put_handler(struct query *q, struct evrt_jsonout *o, const struct stand *s,
                        const char *name) {
    const struct dead *dead = find_dead(q, s->sub);
    evrt_jsonout_object(o);
    evrt_jsonout_put_str(o, "handler", evrt_slice_of(name));
    evrt_jsonout_put_cstr(o, "outcome", outcome_of(q, s, dead));
    if (dead != NULL)
        evrt_jsonout_put_raw(o, "error", (struct evrt_slice){q->dead_text.p + dead->at, dead->n});
    evrt_jsonout_end(o);
}

static void describe(struct query *q) {
    struct evrt_event e;
    if (q->rc == 0) q->rc = evrt_event_decode(q->event.p, q->event.n, &e);
    if (q->rc == 0) {
        struct evrt_jsonout o = evrt_jsonout_start(&q->json);
        host_event_json_open(&o, &e);
        evrt_jsonout_key(&o, "handlers");
        evrt_jsonout_array(&o);
        for (size_t i = 0; i < q->stand_count; i++) {
            const struct stand *s = &q->stands[i];
            const struct evrt_sub *sub = evrt_bus_by_id(q->host->bus, s->sub);
            if (sub != NULL && (s->its || find_dead(q, s->sub) != NULL))
                put_handler(q, &o, s, sub->name);
        }
        evrt_jsonout_end(&o);
        evrt_jsonout_end(&o);
    }
    finish(q);
}

/* In the thread pool. */
static void find_ends(uv_work_t *work) {
    struct query *q = work->data;
    q->rc = host_ends_find(q->reader, q->ends, q->end_count, HOST_ENDS_MS, &q->err);
}

static void on_ends(uv_work_t *work, int status) {
    struct query *q = work->data;
    if (status < 0) q->rc = evrt_error_set(&q->err, status, "%s", uv_strerror(status));
    describe(q);
}

static void on_asked(void *arg) {
    struct query *q = arg;
    q->ends = evrt_alloc((q->stand_count + 1) * sizeof *q->ends);
    for (size_t i = 0; i < q->stand_count; i++) {
        const struct stand *s = &q->stands[i];
        const struct evrt_sub *sub = evrt_bus_by_id(q->host->bus, s->sub);
        bool asks = s->its && s->where == EVRT_SUB_ENDED && find_dead(q, s->sub) == NULL;
        if (asks && sub != NULL && sub->discarded != 0)
            q->ends[q->end_count++] = (struct host_end){.seq = q->seq, .sub = s->sub};
    }
    if (q->rc < 0 || q->end_count == 0) {
        describe(q);
        return;
    }
    int rc = uv_queue_work(q->host->loop, &q->work, find_ends, on_ends);
    if (rc < 0) on_ends(&q->work, rc);
}

/* How it stands before the barrier: what had ended by then is all told after it. */
static void look(struct query *q) {
    const struct evrt_bus *bus = q->host->bus;
    struct evrt_slice type = evrt_event_field(q->event.p, EVRT_FIELD_TYPE);
    uint64_t next = evrt_bus_next_seq(bus);
    q->stands = evrt_alloc((evrt_bus_count(bus) + 1) * sizeof *q->stands);
    for (; q->stand_count < evrt_bus_count(bus); q->stand_count++) {
        const struct evrt_sub *s = evrt_bus_get(bus, q->stand_count);
        q->stands[q->stand_count] =
            (struct stand){.sub = s->id,
                           .retrying = s->retrying != 0,
                           .its = q->seq >= s->from_seq && evrt_sub_matched(s, q->seq, type),
                           .where = evrt_sub_where(s, q->seq, next)};
    }
}

static void on_found(uv_work_t *work, int status) {
    struct query *q = work->data;
    if (status < 0) q->rc = evrt_error_set(&q->err, status, "%s", uv_strerror(status));
    if (q->rc == 0 && q->host->phase >= HOST_CLOSING)
        q->rc = evrt_error_set(&q->err, -ESHUTDOWN, "shutting down");
    if (q->rc < 0) {
        finish(q);
        return;
    }
    look(q);
    host_ask_settled(q->host, dead_job, on_asked, q, &q->rc);
}

void evrt_host_event(struct evrt_host *h, uint64_t seq, evrt_host_json_cb cb, void *arg) {
    if (h->phase >= HOST_CLOSING) { /* the admin listener outlives the store for a moment */
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    struct query *q = evrt_zalloc(sizeof *q);
    q->host = h;
    q->seq = seq;
    q->cb = cb;
    q->arg = arg;
    q->work.data = q;
    h->reads++;
    int rc = evrt_journal_reader_open(&q->reader, h->journal);
    if (rc == 0) rc = uv_queue_work(h->loop, &q->work, find_event, on_found);
    if (rc < 0) on_found(&q->work, rc);
}
