/* Reading events for people: in libuv's thread pool, a bounded amount per call. What became of one event is
 * then told from the windows (what has not ended) and, for what has, from state.db, after a barrier:
 * everything that has ended by now is then in the journal and applied. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"

enum { SCAN_MAX = 2000000 }; /* events looked at by one call; then it answers what it has */

struct query {
    struct evrt_host *host;
    uv_work_t work;
    struct evrt_journal_reader *reader;
    struct evrt_pattern_set *pattern;
    char *source;
    int64_t from_ms, to_ms;
    uint64_t first, limit_seq;
    uint32_t limit;
    bool single;
    int rc;
    struct evrt_error err; /* of the journal */
    struct evrt_buf json;
    struct evrt_jsonout out;
    struct evrt_buf event; /* single: its encoding */
    evrt_host_json_cb cb;
    void *arg;
};

static void finish(struct query *q) {
    struct evrt_host *h = q->host;
    if (q->rc < 0 && q->rc != -ENOENT && q->rc != -EINVAL)
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", q->err.message));
    q->cb(q->arg, q->rc, evrt_buf_slice(&q->json));
    evrt_pattern_set_unref(q->pattern);
    evrt_buf_finish(&q->json);
    evrt_buf_finish(&q->event);
    free(q->source);
    free(q);
    h->reads--;
    host_progress(h);
}

static struct query *start(struct evrt_host *h, evrt_host_json_cb cb, void *arg) {
    struct query *q = evrt_zalloc(sizeof *q);
    q->host = h;
    q->cb = cb;
    q->arg = arg;
    q->work.data = q;
    q->limit_seq = evrt_bus_next_seq(h->bus);
    q->out = evrt_jsonout_start(&q->json);
    h->reads++;
    return q;
}

static void run(struct query *q, uv_work_cb work, uv_after_work_cb after) {
    /* Once queued, q->rc is the job's to write. */
    int rc = evrt_journal_reader_open(&q->reader, q->host->journal);
    if (rc == 0) rc = uv_queue_work(q->host->loop, &q->work, work, after);
    if (rc < 0) after(&q->work, rc);
}

static void close_reader(struct query *q) {
    if (q->reader != NULL) evrt_journal_reader_close(q->reader);
    q->reader = NULL;
}

/* ---- A list ---- */

static bool wanted(const struct query *q, const struct evrt_event *e) {
    if (q->from_ms != 0 && e->stored_ms < q->from_ms) return false;
    if (q->pattern != NULL && !evrt_pattern_set_match(q->pattern, e->type)) return false;
    return q->source == NULL || evrt_slice_eq(evrt_slice_of(q->source), e->source);
}

static int seek(struct query *q, struct evrt_error *err) {
    int rc = evrt_journal_seek_seq(q->reader, q->first, err);
    if (rc != 0 || q->from_ms == 0) return rc;
    /* Whichever is later: the place by number or by time. */
    struct evrt_journal_record r;
    rc = evrt_journal_read(q->reader, &r, err);
    if (rc == 1 && r.time_ms < q->from_ms)
        return evrt_journal_seek_time(q->reader, q->from_ms, err);
    return rc < 0 ? rc : evrt_journal_seek_seq(q->reader, q->first, err);
}

static void list_events(uv_work_t *work) {
    struct query *q = work->data;
    struct evrt_journal_record r;
    struct evrt_event e;
    uint64_t count = 0, looked_at = 0, last = 0;
    bool more = false;
    int rc = seek(q, &q->err);
    evrt_jsonout_object(&q->out);
    evrt_jsonout_key(&q->out, "items");
    evrt_jsonout_array(&q->out);
    while (rc == 0 && (rc = evrt_journal_read(q->reader, &r, &q->err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT || evrt_event_decode(r.payload.p, r.payload.n, &e) < 0)
            continue;
        if (e.seq < q->first) continue;
        if (e.seq >= q->limit_seq || (q->to_ms != 0 && e.stored_ms >= q->to_ms)) break;
        if (count == q->limit || ++looked_at > SCAN_MAX) {
            more = true;
            break;
        }
        last = e.seq;
        if (!wanted(q, &e)) continue;
        host_event_json(&q->out, &e);
        count++;
    }
    evrt_jsonout_end(&q->out);
    evrt_jsonout_key(&q->out, "next");
    char next[24];
    snprintf(next, sizeof next, "%llu", (unsigned long long)last);
    evrt_jsonout_cstr(&q->out, more ? next : NULL);
    evrt_jsonout_end(&q->out);
    q->rc = rc == -ENOENT ? 0 : rc;
}

static void on_listed(uv_work_t *work, int status) {
    struct query *q = work->data;
    if (status < 0) q->rc = status;
    close_reader(q);
    finish(q);
}

/* The admin listener outlives the store for a moment. */
static bool refuse(struct evrt_host *h, evrt_host_json_cb cb, void *arg) {
    if (h->phase < HOST_CLOSING) return false;
    cb(arg, -ESHUTDOWN, (struct evrt_slice){NULL, 0});
    return true;
}

void evrt_host_events(struct evrt_host *h, const struct evrt_host_query *query,
                      evrt_host_json_cb cb, void *arg) {
    if (refuse(h, cb, arg)) return;
    struct query *q = start(h, cb, arg);
    if (query->type.n != 0) q->pattern = evrt_pattern_set_create(query->type);
    if (query->source.p != NULL) q->source = evrt_strndup(query->source.p, query->source.n);
    q->from_ms = query->from_ms;
    q->to_ms = query->to_ms;
    q->first = query->after + 1;
    q->limit = query->limit;
    if (query->type.n != 0 && q->pattern == NULL) {
        q->rc = -EINVAL;
        finish(q);
        return;
    }
    run(q, list_events, on_listed);
}

/* ---- One event, and what became of it ---- */

static void find_event(uv_work_t *work) {
    struct query *q = work->data;
    struct evrt_journal_record r;
    int rc = evrt_journal_seek_seq(q->reader, q->first, &q->err);
    while (rc == 0 && (rc = evrt_journal_read(q->reader, &r, &q->err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (evrt_event_seq(r.payload.p) == q->first)
            evrt_buf_put(&q->event, r.payload.p, r.payload.n);
        break;
    }
    q->rc = rc < 0 ? rc : q->event.n == 0 ? -ENOENT : 0;
}

/* What state.db knows of one dead delivery. */
static void put_dead(void *arg, uint32_t sub, const struct evrt_record_dead *d) {
    struct query *q = arg;
    struct evrt_sub *s = evrt_bus_by_id(q->host->bus, sub); /* the loop waits: see describe */
    if (s == NULL) return;
    evrt_jsonout_object(&q->out);
    evrt_jsonout_key(&q->out, "handler");
    evrt_jsonout_cstr(&q->out, s->name);
    evrt_jsonout_key(&q->out, "outcome");
    evrt_jsonout_cstr(&q->out, "dead");
    evrt_jsonout_key(&q->out, "attempt");
    evrt_jsonout_u64(&q->out, d->attempt);
    evrt_jsonout_key(&q->out, "error");
    evrt_jsonout_object(&q->out);
    evrt_jsonout_key(&q->out, "type");
    evrt_jsonout_str(&q->out, d->error_type);
    evrt_jsonout_key(&q->out, "message");
    evrt_jsonout_str(&q->out, d->message);
    evrt_jsonout_key(&q->out, "traceback");
    evrt_jsonout_str(&q->out, d->traceback);
    evrt_jsonout_end(&q->out);
    evrt_jsonout_end(&q->out);
    s->listed = true;
}

static void dead_job(struct evrt_state_view *view, void *arg) {
    struct query *q = arg;
    q->rc = evrt_state_each_dead(view, q->first, put_dead, q);
}

static const char *outcome_of(const struct evrt_sub *s, uint64_t seq, uint64_t next_seq) {
    static const char *const names[] = {
        [EVRT_SUB_PENDING] = "pending", [EVRT_SUB_RUNNING] = "running", [EVRT_SUB_ENDED] = "done"};
    return names[evrt_sub_where(s, seq, next_seq)];
}

/* On the loop, with everything that has ended by now applied to state.db. */
static void describe(void *arg, uint64_t unused) {
    struct query *q = arg;
    struct evrt_host *h = q->host;
    struct evrt_event e;
    uint64_t next = evrt_bus_next_seq(h->bus);
    (void)unused;
    q->rc = evrt_event_decode(q->event.p, q->event.n, &e);
    if (q->rc == 0) {
        host_event_json_open(&q->out, &e);
        evrt_jsonout_key(&q->out, "handlers");
        evrt_jsonout_array(&q->out);
        evrt_state_query(h->state, dead_job, q);
        for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
            struct evrt_sub *s = evrt_bus_get(h->bus, i);
            bool listed = s->listed;
            s->listed = false;
            if (listed || e.seq < s->from_seq || !evrt_sub_matched(s, e.seq, e.type)) continue;
            evrt_jsonout_object(&q->out);
            evrt_jsonout_key(&q->out, "handler");
            evrt_jsonout_cstr(&q->out, s->name);
            evrt_jsonout_key(&q->out, "outcome");
            evrt_jsonout_cstr(&q->out, outcome_of(s, e.seq, next));
            evrt_jsonout_end(&q->out);
        }
        evrt_jsonout_end(&q->out);
        evrt_jsonout_end(&q->out);
    }
    finish(q);
}

static void on_found(uv_work_t *work, int status) {
    struct query *q = work->data;
    if (status < 0) q->rc = status;
    close_reader(q);
    if (q->rc < 0)
        finish(q);
    else
        host_barrier(q->host, describe, q);
}

void evrt_host_event(struct evrt_host *h, uint64_t seq, evrt_host_json_cb cb, void *arg) {
    if (refuse(h, cb, arg)) return;
    struct query *q = start(h, cb, arg);
    q->first = seq;
    run(q, find_event, on_found);
}
