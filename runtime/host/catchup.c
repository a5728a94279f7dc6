/* Reading the journal for subscriptions that are behind, or whose worker died, in libuv's thread pool:
 * one job per subscription at a time, a bounded block of events each. A job touches nothing of the loop's
 * but what it was given: a reader, an immutable set of patterns, numbers.
 *
 *     loop: wants_read ─▶ job: read, match, copy into a block ─▶ loop: into the window, ready to send
 */
#include <errno.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/error.h"
#include "core/event.h"
#include "core/pattern.h"

/* Those that are read again stand anywhere in the journal: what lies between two of them is passed over
 * when it is little, and jumped over when it is much. */
enum {
    JUMP_EVENTS = 2048,      /* more of them cost more than a seek */
    BLOCK_BYTES = 512 << 10, /* events copied by one job */
    SCAN_EVENTS = 65536,     /* events looked at by one job */
};

/* Where one event of a block begins, and its size. */
struct block_event {
    size_t at;
    uint32_t n;
};

struct read_job {
    struct evrt_hold hold; /* the block; first, so that a hold is its job */
    uv_work_t work;
    struct evrt_host *host;
    uint32_t sub;
    struct evrt_journal_reader *reader;
    struct evrt_epoch *epochs; /* copies, each with a reference */
    size_t epoch_count;
    struct evrt_bus_read want;
    uint64_t *again; /* sequences to find, ascending */
    size_t again_count;
    size_t again_done;  /* so many of them were looked for */
    uint64_t limit_seq; /* read below this: what the bus has seen committed */
    uint64_t next;      /* everything below was looked at */
    int rc;
    struct evrt_error err;
    struct evrt_buf bytes;
    struct block_event *events;
    size_t count, cap;
};

static void free_job(struct evrt_hold *hold) {
    struct read_job *job = (struct read_job *)hold;
    evrt_buf_finish(&job->bytes);
    free(job->events);
    free(job->again);
    free(job);
}

/* ---- In the thread pool ---- */

static bool matched(const struct read_job *job, uint64_t seq, struct evrt_slice type) {
    for (size_t i = job->epoch_count; i-- > 0;)
        if (job->epochs[i].from_seq <= seq)
            return evrt_pattern_set_match(job->epochs[i].patterns, type);
    return false;
}

static void keep(struct read_job *job, struct evrt_slice event) {
    job->events = evrt_grow(job->events, job->count, &job->cap, sizeof *job->events);
    job->events[job->count++] = (struct block_event){job->bytes.n, (uint32_t)event.n};
    evrt_buf_put(&job->bytes, event.p, event.n);
}

static bool block_full(const struct read_job *job, size_t looked_at) {
    return job->count >= job->want.max_events || job->bytes.n >= BLOCK_BYTES ||
           looked_at >= SCAN_EVENTS;
}

static void read_again(struct read_job *job) {
    struct evrt_journal_record r;
    size_t i = 0, looked_at = 0;
    uint64_t next = 0; /* what the reader gives next is not below */
    int rc = 0;
    while (i < job->again_count && !block_full(job, looked_at)) {
        if (next == 0 || job->again[i] > next + JUMP_EVENTS) {
            rc = evrt_journal_seek_seq(job->reader, job->again[i], &job->err);
            looked_at += JUMP_EVENTS;
            if (rc < 0) break;
        }
        rc = evrt_journal_read(job->reader, &r, &job->err);
        if (rc <= 0) break;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        uint64_t seq = evrt_event_seq(r.payload.p);
        next = seq + 1;
        looked_at++;
        while (i < job->again_count && job->again[i] < seq)
            i++;
        if (i == job->again_count || job->again[i] != seq) continue;
        keep(job, r.payload);
        i++;
    }
    /* All were committed before: behind the last event that the journal has there is none of them. */
    bool at_end = rc == 0 || rc == -ENOENT;
    job->again_done = at_end ? job->again_count : i;
    job->rc = rc < 0 && !at_end ? rc : 0;
}

static void read_ahead(struct read_job *job) {
    struct evrt_journal_record r;
    size_t looked_at = 0;
    job->next = job->want.from_seq;
    int rc = evrt_journal_seek_seq(job->reader, job->want.from_seq, &job->err);
    while (rc == 0 && !block_full(job, looked_at) &&
           (rc = evrt_journal_read(job->reader, &r, &job->err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        uint64_t seq = evrt_event_seq(r.payload.p);
        if (seq >= job->limit_seq) {
            rc = -ENOENT;
            break;
        }
        if (matched(job, seq, evrt_event_field(r.payload.p, EVRT_FIELD_TYPE))) keep(job, r.payload);
        job->next = seq + 1;
        looked_at++;
    }
    /* The end of what is committed, whether by number (-ENOENT) or because nothing follows (0). */
    if (rc == -ENOENT || (rc == 0 && !block_full(job, looked_at))) {
        job->next = job->limit_seq;
        rc = 0;
    }
    job->rc = rc < 0 ? rc : 0;
}

static void read_events(uv_work_t *work) {
    struct read_job *job = work->data;
    if (job->want.again)
        read_again(job);
    else
        read_ahead(job);
}

/* ---- On the loop ---- */

static void finish_again(struct evrt_host *h, struct evrt_sub *s, struct read_job *job) {
    for (size_t i = 0; i < job->count; i++)
        evrt_bus_read_again(h->bus, s,
                            (struct evrt_slice){job->bytes.p + job->events[i].at, job->events[i].n},
                            &job->hold);
    /* What was passed over is not in the journal any more. */
    for (size_t i = 0; i < job->again_done; i++)
        evrt_bus_lost_again(h->bus, s, job->again[i]);
}

static void finish_behind(struct evrt_host *h, struct evrt_sub *s, struct read_job *job) {
    if (job->want.from_seq != s->scan) return; /* it fell further behind meanwhile */
    for (size_t i = 0; i < job->count; i++)
        if (!evrt_bus_read_event(
                h->bus, s, (struct evrt_slice){job->bytes.p + job->events[i].at, job->events[i].n},
                &job->hold))
            return;
    evrt_bus_read_to(h->bus, s, job->next);
}

static void finish_job(struct read_job *job, int status) {
    struct evrt_host *h = job->host;
    struct evrt_sub *s = evrt_bus_by_id(h->bus, job->sub);
    for (size_t i = 0; i < job->epoch_count; i++)
        evrt_pattern_set_unref(job->epochs[i].patterns);
    free(job->epochs);
    if (s != NULL) s->reading = false;
    if (s == NULL || status < 0 || job->rc < 0) {
        if (job->rc < 0) {
            evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", job->err.message),
                           EVRT_F_CSTR("handler", s == NULL ? "" : s->name));
            /* Not read again until the next start: it would fail again, for ever. */
            if (s != NULL) s->reading = true;
        }
    } else if (job->want.again) {
        finish_again(h, s, job);
    } else {
        finish_behind(h, s, job);
    }
    if (s == NULL || !s->behind) {
        evrt_journal_reader_close(job->reader);
        if (s != NULL) s->host = NULL;
    }
    evrt_hold_release(&job->hold);
}

/* On the state thread: what the journal has no more may have been copied before its segment went. */
static void read_copies(struct evrt_state_view *view, void *arg) {
    struct read_job *job = arg;
    size_t found = job->count;
    for (size_t i = 0, k = 0; i < job->again_done && job->rc == 0; i++) {
        while (k < found && evrt_event_seq(job->bytes.p + job->events[k].at) < job->again[i])
            k++;
        if (k < found && evrt_event_seq(job->bytes.p + job->events[k].at) == job->again[i])
            continue;
        struct evrt_buf copy;
        evrt_buf_init(&copy);
        int rc = evrt_state_copy(view, job->sub, job->again[i], &copy);
        if (rc == 0) keep(job, evrt_buf_slice(&copy));
        if (rc < 0 && rc != -ENOENT)
            job->rc = evrt_error_set(&job->err, rc, "state.db cannot be read");
        evrt_buf_finish(&copy);
    }
}

static void on_copies(void *arg) {
    finish_job(arg, 0);
}

static void on_read(uv_work_t *work, int status) {
    struct read_job *job = work->data;
    struct evrt_host *h = job->host;
    bool whole = !job->want.again || job->count == job->again_done;
    if (status < 0 || job->rc < 0 || whole)
        finish_job(job, status);
    else
        host_ask_state(h, read_copies, on_copies, job);
    h->reads--;
    host_progress(h);
}

static void list_again(const struct evrt_sub *s, struct read_job *job) {
    uint32_t max = job->want.max_events;
    job->again = evrt_alloc((s->again < max ? s->again : max) * sizeof *job->again);
    job->again_count = evrt_sub_list_again(s, job->again, max);
}

static void start_read(struct evrt_host *h, struct evrt_sub *s, const struct evrt_bus_read *want) {
    struct evrt_journal_reader *reader = s->host;
    if (reader == NULL && evrt_journal_reader_open(&reader, h->journal) < 0) return;
    s->host = reader;
    struct read_job *job = evrt_zalloc(sizeof *job);
    job->hold = (struct evrt_hold){1, 0, free_job};
    job->work.data = job;
    job->host = h;
    job->sub = s->id;
    job->reader = reader;
    job->want = *want;
    job->limit_seq = evrt_bus_next_seq(h->bus);
    job->epochs = evrt_alloc(s->epoch_count * sizeof *job->epochs);
    for (job->epoch_count = 0; job->epoch_count < s->epoch_count; job->epoch_count++) {
        job->epochs[job->epoch_count] = s->epochs[job->epoch_count];
        evrt_pattern_set_ref(s->epochs[job->epoch_count].patterns);
    }
    if (want->again) list_again(s, job);
    s->reading = true;
    s->again_read = want->again;
    h->reads++;
    int rc = uv_queue_work(h->loop, &job->work, read_events, on_read);
    if (rc < 0) on_read(&job->work, rc);
}

void host_catch_up(struct evrt_host *h) {
    struct evrt_bus_read want;
    if (h->phase >= HOST_CLOSING) return;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if ((s->behind || s->again != 0) && evrt_bus_wants_read(h->bus, s, &want))
            start_read(h, s, &want);
    }
}
