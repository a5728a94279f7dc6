/* Events as they come, for clients that follow them. A tail is a place in the journal and no more: a commit
 * only wakes it, then a job in libuv's thread pool reads on, matches and writes lines, up to CHUNK_BYTES;
 * the next job begins when those were taken. So a slow client costs a chunk, however many it misses, and
 * nothing of this is done on the loop.
 *
 *     commit ─▶ wake ─▶ (10 ms) ─▶ job: next..committed ─▶ lines ─▶ client takes them ─▶ more ─▶ job ...
 *
 * Commits come thousands a second: tails are woken once in PAUSE_MS. */
#include <errno.h>
#include <stdlib.h>

#include "host/filter.h"
#include "host/node.h"

#include "core/error.h"
#include "core/event.h"
#include "core/jsonout.h"

enum {
    PAUSE_MS = 10,
    CHUNK_BYTES = 64 << 10,
    SLICE_EVENTS = 16384, /* looked at by one job */
    SLICE_BYTES = 16 << 20,
};

struct evrt_host_tail {
    struct host_tails *tails;
    struct evrt_host_tail *next_tail;
    struct evrt_host_tail_options options;
    struct host_filter filter;
    uv_work_t work;
    struct evrt_journal_reader *reader;
    bool working, ready, closed;
    bool live; /* has caught up once: from then on it may skip */
    bool seeks_time;

    uint64_t next;                 /* everything below was looked at */
    uint64_t limit_seq;            /* of the job */
    uint64_t skip_to;              /* what is below is only counted */
    uint64_t skipped, first, last; /* so far */
    struct evrt_buf lines;
    int rc;
    struct evrt_error err;
};

/* Made with the first tail, gone after the last. */
struct host_tails {
    struct evrt_host *host;
    struct evrt_host_tail *list;
    unsigned count; /* open, without those that only wait for their job */
    uv_timer_t pause;
};

/* ---- In the thread pool ---- */

/* Data is as it was published and may have line ends: between tokens only, where a space does as well. */
static void end_line(struct evrt_buf *lines, size_t from) {
    for (size_t i = from; i < lines->n; i++)
        if (lines->p[i] == '\n' || lines->p[i] == '\r') lines->p[i] = ' ';
    evrt_buf_putc(lines, '\n');
}

static void put_gap(struct evrt_host_tail *t, uint64_t skipped, uint64_t first, uint64_t last,
                    const char *reason) {
    struct evrt_jsonout o = evrt_jsonout_start(&t->lines);
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "gap");
    evrt_jsonout_object(&o);
    evrt_jsonout_put_u64(&o, "skipped", skipped);
    evrt_jsonout_put_u64(&o, "from", first);
    evrt_jsonout_put_u64(&o, "to", last);
    evrt_jsonout_put_cstr(&o, "reason", reason);
    evrt_jsonout_end(&o);
    evrt_jsonout_end(&o);
    evrt_buf_putc(&t->lines, '\n');
}

static void put_skipped(struct evrt_host_tail *t) {
    if (t->skipped > 0) put_gap(t, t->skipped, t->first, t->last, "slow");
    t->skipped = 0;
}

static void look(struct evrt_host_tail *t, const struct evrt_event *e) {
    if (!host_filter_wants(&t->filter, e)) return;
    if (e->seq < t->skip_to) {
        if (t->skipped++ == 0) t->first = e->seq;
        t->last = e->seq;
        return;
    }
    size_t from = t->lines.n;
    struct evrt_jsonout o = evrt_jsonout_start(&t->lines);
    host_event_json(&o, e);
    end_line(&t->lines, from);
}

/* 1, 0 when there is no event below limit_seq, or a negative errno. */
static int next_event(struct evrt_host_tail *t, struct evrt_event *e, size_t *bytes) {
    struct evrt_journal_record r;
    int rc;
    while ((rc = evrt_journal_read(t->reader, &r, &t->err)) == 1) {
        if (r.kind != EVRT_RECORD_EVENT) continue;
        if (evrt_event_decode(r.payload.p, r.payload.n, e) < 0) continue;
        *bytes += r.payload.n;
        if (e->seq >= t->next) return e->seq < t->limit_seq;
    }
    return rc;
}

static int seek(struct evrt_host_tail *t) {
    if (t->seeks_time) return evrt_journal_seek_time(t->reader, t->filter.from_ms, &t->err);
    return evrt_journal_seek_seq(t->reader, t->next, &t->err);
}

static void read_on(uv_work_t *work) {
    struct evrt_host_tail *t = work->data;
    struct evrt_event e;
    size_t bytes = 0, looked_at = 0;
    int rc = seek(t);
    while (rc == 0 && t->lines.n < CHUNK_BYTES && looked_at++ < SLICE_EVENTS &&
           bytes < SLICE_BYTES) {
        rc = next_event(t, &e, &bytes);
        if (rc != 1) {
            if (rc == 0) t->next = t->limit_seq;
            break;
        }
        if (e.seq > t->next && !t->seeks_time)
            put_gap(t, e.seq - t->next, t->next, e.seq - 1, "dropped");
        if (e.seq >= t->skip_to) put_skipped(t);
        t->seeks_time = false;
        t->next = e.seq + 1;
        look(t, &e);
        rc = 0;
    }
    /* The journal ends before: nothing of that age, or all of it dropped. */
    if (rc == -ENOENT) {
        t->next = t->limit_seq;
        t->seeks_time = false;
        rc = 0;
    }
    if (t->next >= t->skip_to) put_skipped(t);
    t->rc = rc < 0 ? rc : 0;
}

/* ---- On the loop ---- */

static void on_pause_closed(uv_handle_t *handle) {
    struct host_tails *all = handle->data;
    struct evrt_host *h = all->host;
    free(all);
    h->reads--;
    host_progress(h);
}

static void free_tail(struct evrt_host_tail *t) {
    struct host_tails *all = t->tails;
    struct evrt_host_tail **at = &all->list;
    while (*at != t)
        at = &(*at)->next_tail;
    *at = t->next_tail;
    evrt_journal_reader_close(t->reader);
    host_filter_finish(&t->filter);
    evrt_buf_finish(&t->lines);
    free(t);
    if (all->list != NULL) return;
    all->host->tails = NULL;
    uv_close((uv_handle_t *)&all->pause, on_pause_closed);
}

void evrt_host_tail_close(struct evrt_host_tail *t) {
    if (t->closed) return;
    t->closed = true;
    t->tails->count--;
    if (!t->working) free_tail(t);
}

static void end(struct evrt_host_tail *t, const char *reason) {
    void (*ended)(void *, const char *) = t->options.ended;
    void *arg = t->options.arg;
    evrt_host_tail_close(t);
    ended(arg, reason);
}

static void start_job(struct evrt_host_tail *t);

static void on_read(uv_work_t *work, int status) {
    struct evrt_host_tail *t = work->data;
    t->working = false;
    if (t->closed) {
        free_tail(t);
    } else if (status < 0 || t->rc < 0) {
        if (t->rc < 0)
            evrt_log_event(t->tails->host->log, JOURNAL_UNREADABLE,
                           EVRT_F_CSTR("error", t->err.message));
        end(t, "the journal cannot be read");
    } else if (t->lines.n > 0) {
        t->ready = false;
        t->options.lines(t->options.arg, evrt_buf_slice(&t->lines));
        evrt_buf_clear(&t->lines);
    } else {
        start_job(t);
    }
}

static void start_job(struct evrt_host_tail *t) {
    struct evrt_host *h = t->tails->host;
    if (t->working || !t->ready || t->closed || h->phase >= HOST_CLOSING) return;
    t->limit_seq = evrt_bus_next_seq(h->bus);
    if (t->next >= t->limit_seq) t->live = true;
    if (t->next >= t->limit_seq) return;
    if (t->live && t->skip_to <= t->next && t->limit_seq - t->next > h->config->admin.tail_lag) {
        t->skip_to = t->limit_seq;
        host_limit(h, EVRT_LIMIT_TAIL_LAG);
    }
    t->working = true;
    int rc = uv_queue_work(h->loop, &t->work, read_on, on_read);
    if (rc < 0) on_read(&t->work, rc);
}

static void on_pause(uv_timer_t *timer) {
    struct host_tails *all = timer->data;
    for (struct evrt_host_tail *t = all->list, *next; t != NULL; t = next) {
        next = t->next_tail;
        start_job(t);
    }
}

void host_tails_wake(struct evrt_host *h) {
    uv_timer_t *pause = &h->tails->pause;
    if (!uv_is_active((uv_handle_t *)pause)) uv_timer_start(pause, on_pause, PAUSE_MS, 0);
}

void host_tails_end(struct evrt_host *h) {
    while (h->tails != NULL && h->tails->count > 0) {
        struct evrt_host_tail *t = h->tails->list;
        while (t->closed)
            t = t->next_tail;
        end(t, "the node is shutting down");
    }
}

void evrt_host_tail_more(struct evrt_host_tail *t) {
    t->ready = true;
    start_job(t);
}

static struct host_tails *tails_of(struct evrt_host *h) {
    if (h->tails != NULL) return h->tails;
    h->tails = evrt_zalloc(sizeof *h->tails);
    h->tails->host = h;
    uv_timer_init(h->loop, &h->tails->pause);
    h->tails->pause.data = h->tails;
    h->reads++;
    return h->tails;
}

/* The first event to be looked at. */
static uint64_t beginning(const struct evrt_host *h, const struct evrt_host_tail_options *o) {
    if (o->from_seq != 0) return o->from_seq;
    return o->filter.from_ms != 0 ? 1 : evrt_bus_next_seq(h->bus);
}

int evrt_host_tail_open(struct evrt_host_tail **out, struct evrt_host *h,
                        const struct evrt_host_tail_options *options, struct evrt_error *err) {
    if (h->phase >= HOST_CLOSING) return evrt_error_set(err, -ESHUTDOWN, "shutting down");
    unsigned count = h->tails == NULL ? 0 : h->tails->count;
    struct host_filter filter;
    int rc = host_filter_init(&filter, &options->filter);
    if (rc < 0) {
        evrt_error_set(err, rc, "type: expected a pattern as handlers have it, as in comment.*");
    } else if (count >= h->config->admin.max_tails) {
        host_limit(h, EVRT_LIMIT_MAX_TAILS);
        rc = evrt_error_set(err, -EAGAIN,
                            "%u clients follow events already (admin.max_tails); try again later",
                            count);
    }
    if (rc < 0) {
        host_filter_finish(&filter);
        return rc;
    }
    struct evrt_host_tail *t = evrt_zalloc(sizeof *t);
    t->tails = tails_of(h);
    t->options = *options;
    t->filter = filter;
    t->work.data = t;
    t->ready = true;
    t->seeks_time = options->from_seq == 0 && options->filter.from_ms != 0;
    t->live = options->from_seq == 0 && !t->seeks_time;
    t->next = beginning(h, options);
    if (evrt_journal_reader_open(&t->reader, h->journal) < 0) abort(); /* it only allocates */
    t->next_tail = t->tails->list;
    t->tails->list = t;
    t->tails->count++;
    *out = t;
    start_job(t);
    return 0;
}
