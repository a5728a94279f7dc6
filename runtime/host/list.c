/* Stored events for people, oldest first: a scan in libuv's thread pool, cut into slices so that neither
 * the loop nor the pool is anyone's for long. Between two slices it is asked whether anyone still waits.
 *
 *     loop                            pool                          state thread
 *     start ────────────────────────▶ slice: wanted? write JSON ─┐
 *       ▲ next slice, or the answer ◀────────────────────────────┘
 *
 * With a handler the slice only notes which events it matched; then
 *
 *     where each stands (the bus) ──▶ barrier ───────────────────▶ which of the ended are dead
 *     has it discarded any? ────────▶ which of the others: the journal (ends.h)
 *     those in the state asked for ─▶ the same slice: write JSON
 *
 * so the bus is asked on the loop, for a bounded number at a time, and state.db after the commit of all
 * that had ended by then. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "host/ends.h"
#include "host/filter.h"
#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"
#include "core/pattern.h"

enum {
    SLICE_EVENTS = 16384,    /* looked at in one job, some 2 ms */
    SLICE_BYTES = 16 << 20,  /* of events */
    ANSWER_BYTES = 16 << 20, /* a page is at an end then */
    SCRIPT_BYTES = 1 << 20,  /* ... for a script */
    BUDGET_MS = 5000,        /* ... and then: whoever wants more asks on from there */
};

/* What became of an event for a handler, as `state` names it. */
enum state {
#define X(id, name) STATE_##id,
    EVRT_HOST_EVENT_STATES(X)
#undef X
        STATE_ENDED, /* done or discarded: which one was not found in time */
    STATE_ANY
};
static const char *const state_names[] = {
#define X(id, name) [STATE_##id] = name,
    EVRT_HOST_EVENT_STATES(X)
#undef X
        [STATE_ENDED] = "ended",
};

/* An event of the slice that the handler matched. */
struct candidate {
    uint64_t seq;
    uint8_t state;
};

struct list {
    struct evrt_host *host;
    uv_work_t work;
    struct evrt_journal_reader *reader;
    struct host_filter filter;
    bool (*gone)(void *arg);
    evrt_host_json_cb cb;
    void *arg;
    int64_t until_ns;

    uint64_t next;      /* everything below was looked at */
    uint64_t limit_seq; /* and this is the end */
    uint32_t left;      /* events that still fit */
    size_t most;        /* bytes of a page, but for its last event */
    bool script;
    bool more; /* next is not the end */
    bool ended;
    int rc;
    struct evrt_error err;
    struct evrt_buf json;
    struct evrt_jsonout out;

    char *handler; /* NULL: none asked for */
    uint32_t sub;
    enum state state;
    struct evrt_epoch *epochs; /* copies, each with a reference */
    size_t epoch_count;
    struct candidate *candidates; /* of this slice */
    size_t count;
    struct host_end *ends; /* of those that may be done or discarded */
    size_t end_count;
    uint64_t from; /* of the slice */
};

/* ---- In the thread pool ---- */

static bool matched(const struct list *l, const struct evrt_event *e) {
    for (size_t i = l->epoch_count; i-- > 0;)
        if (l->epochs[i].from_seq <= e->seq)
            return evrt_pattern_set_match(l->epochs[i].patterns, e->type);
    return false;
}

/* To `next`, or to the time asked for when that is later. */
static int seek(struct list *l) {
    struct evrt_journal_record r;
    int rc = evrt_journal_seek_seq(l->reader, l->next, &l->err);
    if (rc < 0 || l->filter.from_ms == 0 || l->from != 0) return rc;
    rc = evrt_journal_read(l->reader, &r, &l->err);
    if (rc == 1 && r.time_ms < l->filter.from_ms)
        return evrt_journal_seek_time(l->reader, l->filter.from_ms, &l->err);
    return rc < 0 ? rc : evrt_journal_seek_seq(l->reader, l->next, &l->err);
}

static void put_delivery(struct list *l, enum state state) {
    evrt_jsonout_key(&l->out, "delivery");
    evrt_jsonout_object(&l->out);
    evrt_jsonout_put_cstr(&l->out, "handler", l->handler);
    evrt_jsonout_put_cstr(&l->out, "outcome", state_names[state]);
    evrt_jsonout_end(&l->out);
}

static void put_event(struct list *l, const struct evrt_event *e, const struct candidate *c) {
    host_event_json_open(&l->out, e);
    if (c != NULL) put_delivery(l, (enum state)c->state);
    evrt_jsonout_end(&l->out);
    l->left--;
    if (l->left > 0 && l->json.n < l->most) return;
    l->ended = true;
    l->more = e->seq + 1 < l->limit_seq;
}

/* The next event below limit_seq. 1, 0: there is none, or a negative errno. */
static int read_event(struct list *l, struct evrt_event *e, size_t *bytes) {
    struct evrt_journal_record r;
    int rc;
    while ((rc = evrt_journal_read(l->reader, &r, &l->err)) == 1) {
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (evrt_event_decode(r.payload.p, r.payload.n, e) < 0) continue;
        *bytes += r.payload.n;
        if (e->seq >= l->next) return e->seq < l->limit_seq;
    }
    return rc;
}

static void look(struct list *l, const struct evrt_event *e) {
    if (!host_filter_wants(&l->filter, e)) return;
    if (l->handler == NULL)
        put_event(l, e, NULL);
    else if (matched(l, e))
        l->candidates[l->count++].seq = e->seq;
}

static void scan(uv_work_t *work) {
    struct list *l = work->data;
    struct evrt_event e;
    size_t looked_at = 0, bytes = 0;
    int rc = seek(l);
    l->from = l->next;
    l->count = 0;
    while (rc == 0 && !l->ended && looked_at++ < SLICE_EVENTS && bytes < SLICE_BYTES) {
        rc = read_event(l, &e, &bytes);
        bool past = rc == 1 && l->filter.to_ms != 0 && e.stored_ms >= l->filter.to_ms;
        if (rc == 0 || past) l->ended = true;
        if (rc != 1 || past) break;
        l->next = e.seq + 1;
        look(l, &e);
        rc = 0;
    }
    if (rc == -ENOENT) l->ended = true;
    l->rc = rc < 0 && rc != -ENOENT ? rc : 0;
}

/* Writes the candidates in the state asked for; `next` then is behind the last one that fits. */
static void write_chosen(uv_work_t *work) {
    struct list *l = work->data;
    struct evrt_event e;
    size_t bytes = 0, i = 0;
    bool ended = l->ended;
    uint64_t after = l->next;
    l->ended = false;
    l->next = l->candidates[0].seq;
    int rc = evrt_journal_seek_seq(l->reader, l->next, &l->err);
    while (rc == 0 && i < l->count && !l->ended && (rc = read_event(l, &e, &bytes)) == 1) {
        rc = 0;
        while (i < l->count && l->candidates[i].seq < e.seq)
            i++; /* dropped since */
        if (i < l->count && l->candidates[i].seq == e.seq) put_event(l, &e, &l->candidates[i++]);
        l->next = e.seq + 1;
    }
    if (!l->ended) { /* the slice ended before the page was full */
        l->next = after;
        l->ended = ended;
    }
    l->rc = rc < 0 && rc != -ENOENT ? rc : 0;
}

/* ---- On the loop ---- */

static void finish(struct list *l) {
    struct evrt_host *h = l->host;
    char next[24];
    evrt_jsonout_end(&l->out);
    evrt_jsonout_key(&l->out, "next");
    snprintf(next, sizeof next, "%llu", (unsigned long long)l->next - 1);
    evrt_jsonout_cstr(&l->out, l->more ? next : NULL);
    evrt_jsonout_end(&l->out);
    if (l->rc < 0 && l->rc != -ECANCELED && l->rc != -ESHUTDOWN && l->reader != NULL)
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", l->err.message));
    l->cb(l->arg, l->rc, l->rc < 0 ? evrt_slice_of(l->err.message) : evrt_buf_slice(&l->json));
    evrt_journal_reader_close(l->reader);
    for (size_t i = 0; i < l->epoch_count; i++)
        evrt_pattern_set_unref(l->epochs[i].patterns);
    free(l->epochs);
    free(l->candidates);
    free(l->ends);
    free(l->handler);
    host_filter_finish(&l->filter);
    evrt_buf_finish(&l->json);
    *(l->script ? &h->script_lists : &h->lists) -= 1;
    free(l);
    h->reads--;
    host_progress(h);
}

static void queue(struct list *l, uv_work_cb work, uv_after_work_cb after) {
    int rc = uv_queue_work(l->host->loop, &l->work, work, after);
    if (rc < 0) after(&l->work, rc);
}

static void on_scanned(uv_work_t *work, int status);

static bool nobody_waits(const struct list *l) {
    return l->host->phase >= HOST_CLOSING || (l->gone != NULL && l->gone(l->arg));
}

static void go_on(struct list *l) {
    if (l->rc == 0 && !l->ended && nobody_waits(l))
        l->rc = evrt_error_set(&l->err, -ECANCELED, "shutting down");
    if (!l->ended && evrt_mono_ns() > l->until_ns) l->ended = l->more = true;
    if (l->rc < 0 || l->ended)
        finish(l);
    else
        queue(l, scan, on_scanned);
}

static void on_written(uv_work_t *work, int status) {
    struct list *l = work->data;
    if (status < 0) l->rc = evrt_error_set(&l->err, status, "%s", uv_strerror(status));
    go_on(l);
}

/* Of two states that it may be in it is told for either. */
static bool is_asked(const struct list *l, enum state state) {
    if (l->state == STATE_ANY || l->state == state) return true;
    return state == STATE_ENDED && (l->state == STATE_DONE || l->state == STATE_DISCARDED);
}

static void choose(struct list *l) {
    size_t chosen = 0;
    for (size_t i = 0; i < l->count; i++)
        if (is_asked(l, (enum state)l->candidates[i].state))
            l->candidates[chosen++] = l->candidates[i];
    l->count = chosen;
    if (l->rc < 0 || chosen == 0)
        go_on(l);
    else
        queue(l, write_chosen, on_written);
}

/* In the thread pool. */
static void find_ends(uv_work_t *work) {
    struct list *l = work->data;
    l->rc = host_ends_find(l->reader, l->ends, l->end_count, HOST_ENDS_MS, &l->err);
}

static void on_ends(uv_work_t *work, int status) {
    struct list *l = work->data;
    size_t k = 0;
    if (status < 0) l->rc = evrt_error_set(&l->err, status, "%s", uv_strerror(status));
    for (size_t i = 0; i < l->end_count; i++) {
        while (l->candidates[k].seq != l->ends[i].seq)
            k++;
        if (l->ends[i].how == HOST_HOW_DISCARDED) l->candidates[k].state = STATE_DISCARDED;
        if (l->ends[i].how == HOST_HOW_UNKNOWN) l->candidates[k].state = STATE_ENDED;
    }
    choose(l);
}

static void on_asked(void *arg) {
    struct list *l = arg;
    const struct evrt_sub *s = evrt_bus_by_id(l->host->bus, l->sub);
    bool asks = l->state == STATE_ANY || l->state == STATE_DONE || l->state == STATE_DISCARDED;
    l->end_count = 0;
    if (l->rc == 0 && asks && s != NULL && s->discarded != 0) {
        if (l->ends == NULL) l->ends = evrt_alloc((SLICE_EVENTS + 1) * sizeof *l->ends);
        for (size_t i = 0; i < l->count; i++)
            if (l->candidates[i].state == STATE_DONE)
                l->ends[l->end_count++] =
                    (struct host_end){.seq = l->candidates[i].seq, .sub = l->sub};
    }
    if (l->end_count == 0)
        choose(l);
    else
        queue(l, find_ends, on_ends);
}

/* On the state thread. */
static void note(struct list *l, uint64_t seq, int state) {
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (l->candidates[mid].seq < seq)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < l->count && l->candidates[low].seq == seq && l->candidates[low].state == STATE_DONE)
        l->candidates[low].state = state;
}

static void note_dead(void *arg, uint64_t seq) {
    note(arg, seq, STATE_DEAD);
}

static void note_retry(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    (void)sub;
    note(arg, r->seq, STATE_RETRYING);
}

static void dead_job(struct evrt_state_view *view, void *arg) {
    struct list *l = arg;
    int rc = evrt_state_each_dead_in(view, l->sub, l->from, l->next, note_dead, l);
    const struct evrt_state_retries retries = {l->sub, l->sub, l->from == 0 ? 0 : l->from - 1,
                                               l->next - l->from};
    if (rc == 0) rc = evrt_state_each_retry(view, &retries, note_retry, l);
    if (rc < 0) l->rc = evrt_error_set(&l->err, rc, "state.db cannot be read");
}

static void classify(struct list *l) {
    struct evrt_sub *s = evrt_bus_by_id(l->host->bus, l->sub);
    uint64_t next = evrt_bus_next_seq(l->host->bus);
    bool any_ended = false;
    for (size_t i = 0; i < l->count; i++) {
        enum evrt_sub_where where =
            s == NULL ? EVRT_SUB_ENDED : evrt_sub_where(s, l->candidates[i].seq, next);
        l->candidates[i].state = where == EVRT_SUB_PENDING   ? STATE_PENDING
                                 : where == EVRT_SUB_RUNNING ? STATE_RUNNING
                                                             : STATE_DONE;
        any_ended |= where == EVRT_SUB_ENDED;
    }
    bool of_use = l->state == STATE_ANY || l->state == STATE_DONE || l->state == STATE_DEAD ||
                  l->state == STATE_RETRYING || l->state == STATE_DISCARDED;
    if (any_ended && of_use)
        host_ask_settled(l->host, dead_job, on_asked, l, &l->rc);
    else
        choose(l);
}

static void on_scanned(uv_work_t *work, int status) {
    struct list *l = work->data;
    if (status < 0) l->rc = evrt_error_set(&l->err, status, "%s", uv_strerror(status));
    if (l->rc == 0 && l->handler != NULL && l->host->phase < HOST_CLOSING)
        classify(l);
    else
        go_on(l);
}

/* ---- Beginning ---- */

static int take_handler(struct list *l, const struct evrt_host_query *query) {
    l->state = STATE_ANY;
    if (query->state.p != NULL) {
        l->state = (enum state)0;
        while (l->state < STATE_ENDED &&
               !evrt_slice_eq(evrt_slice_of(state_names[l->state]), query->state))
            l->state++;
        if (l->state == STATE_ENDED)
            return evrt_error_set(
                &l->err, -EINVAL,
                "state: expected pending, running, retrying, done, dead or discarded");
        if (query->handler.p == NULL)
            return evrt_error_set(&l->err, -EINVAL,
                                  "state: is that of one handler; name it with handler");
    }
    if (query->handler.p == NULL) return 0;
    const struct evrt_sub *s = evrt_bus_find(l->host->bus, query->handler);
    if (s == NULL)
        return evrt_error_set(&l->err, -ENOENT, "no handler named \"%.*s\"", (int)query->handler.n,
                              query->handler.p);
    l->handler = evrt_strdup(s->name);
    l->sub = s->id;
    l->epochs = evrt_alloc(s->epoch_count * sizeof *l->epochs);
    for (l->epoch_count = 0; l->epoch_count < s->epoch_count; l->epoch_count++) {
        l->epochs[l->epoch_count] = s->epochs[l->epoch_count];
        evrt_pattern_set_ref(l->epochs[l->epoch_count].patterns);
    }
    l->candidates = evrt_alloc((SLICE_EVENTS + 1) * sizeof *l->candidates);
    /* What came before it did not match it. */
    if (l->next < s->from_seq) l->next = s->from_seq;
    return 0;
}

static int begin(struct list *l, const struct evrt_host_query *query) {
    if (host_filter_init(&l->filter, &query->filter) < 0)
        return evrt_error_set(&l->err, -EINVAL,
                              "type: expected a pattern as handlers have it, as in comment.*");
    int rc = take_handler(l, query);
    if (rc < 0) return rc;
    rc = evrt_journal_reader_open(&l->reader, l->host->journal);
    return rc < 0 ? evrt_error_set(&l->err, rc, "%s", uv_strerror(rc)) : 0;
}

void evrt_host_events(struct evrt_host *h, const struct evrt_host_query *query,
                      evrt_host_json_cb cb, void *arg) {
    struct evrt_error err;
    if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    if (query->script && h->script_lists >= h->config->snapshots.max_folds) {
        host_limit(h, EVRT_LIMIT_FOLDS);
        cb(arg, -EAGAIN, EVRT_STR("other scripts fold (snapshots.max_folds)"));
        return;
    }
    if (!query->script && h->lists >= h->config->admin.max_queries) {
        host_limit(h, EVRT_LIMIT_MAX_QUERIES);
        evrt_error_set(&err, -EAGAIN,
                       "%u queries of events are running (admin.max_queries); try again", h->lists);
        cb(arg, err.code, evrt_slice_of(err.message));
        return;
    }
    struct list *l = evrt_zalloc(sizeof *l);
    *l = (struct list){.host = h,
                       .gone = query->gone,
                       .cb = cb,
                       .arg = arg,
                       .until_ns = evrt_mono_ns() + BUDGET_MS * INT64_C(1000000),
                       .next = query->after + 1,
                       .limit_seq = evrt_bus_next_seq(h->bus),
                       .left = query->limit,
                       .most = query->script ? SCRIPT_BYTES : ANSWER_BYTES,
                       .script = query->script};
    l->work.data = l;
    l->out = evrt_jsonout_start(&l->json);
    evrt_jsonout_object(&l->out);
    evrt_jsonout_key(&l->out, "items");
    evrt_jsonout_array(&l->out);
    *(l->script ? &h->script_lists : &h->lists) += 1;
    h->reads++;
    l->rc = begin(l, query);
    go_on(l);
}
