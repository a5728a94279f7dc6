/* See fetch.h. What lies between two that are wanted is passed over when it is little, and jumped over when it is
 * much. */
#include "host/fetch.h"

#include <errno.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/event.h"
#include "host/node.h"

enum { JUMP_EVENTS = 2048 };

struct fetch {
    struct host_fetch f; /* first */
    struct evrt_host *host;
    uv_work_t work;
    struct evrt_journal_reader *reader;
    struct evrt_error err;
    struct host_fetch_item first; /* as given */
    bool missing;                 /* the journal has not all */
    void (*done)(void *arg, const struct host_fetch *f);
    void *arg;
};

static void finish(void *arg) {
    struct fetch *f = arg;
    struct evrt_host *h = f->host;
    if (f->f.rc < 0)
        evrt_log_event(h->log, JOURNAL_UNREADABLE, EVRT_F_CSTR("error", f->err.message));
    f->done(f->arg, &f->f);
    evrt_journal_reader_close(f->reader);
    evrt_buf_finish(&f->f.bytes);
    free(f->f.items);
    free(f);
    h->reads--;
    host_progress(h);
}

/* Whether there is room for that item; it is left when there is none. */
static bool take(struct fetch *f, struct host_fetch_item *item) {
    bool first = item->seq == f->first.seq && item->sub == f->first.sub;
    item->left = f->f.bytes.n >= HOST_FETCH_BYTES && !first;
    return !item->left;
}

/* ---- In the thread pool ---- */

/* One event may be wanted for several subscriptions. */
static void keep(struct fetch *f, size_t i, struct evrt_slice event) {
    const struct host_fetch_item *before = i == 0 ? NULL : &f->f.items[i - 1];
    f->f.items[i].n = event.n;
    if (before != NULL && before->seq == f->f.items[i].seq && before->n != 0) {
        f->f.items[i].at = before->at;
        return;
    }
    f->f.items[i].at = f->f.bytes.n;
    evrt_buf_put(&f->f.bytes, event.p, event.n);
}

/* The next event at or after `seq`: 1, 0 or a negative errno. *next: the reader stands there; 0: anywhere. */
static int read_from(struct fetch *f, uint64_t seq, uint64_t *next, struct evrt_slice *event) {
    struct evrt_journal_record r;
    int rc = 0;
    if (*next == 0 || seq > *next + JUMP_EVENTS || seq < *next)
        rc = evrt_journal_seek_seq(f->reader, seq, &f->err);
    while (rc == 0 && (rc = evrt_journal_read(f->reader, &r, &f->err)) == 1) {
        rc = 0;
        if (r.kind != EVRT_RECORD_EVENT) continue;
        *next = evrt_event_seq(r.payload.p) + 1;
        if (*next <= seq) continue;
        *event = r.payload;
        return 1;
    }
    return rc == -ENOENT ? 0 : rc;
}

static void read_events(uv_work_t *work) {
    struct fetch *f = work->data;
    struct evrt_slice event = {NULL, 0};
    uint64_t next = 0;
    size_t i = 0;
    while (i < f->f.count) {
        if (!take(f, &f->f.items[i])) {
            i++;
            continue;
        }
        int rc = read_from(f, f->f.items[i].seq, &next, &event);
        if (rc < 0) f->f.rc = rc;
        if (rc <= 0) break;
        uint64_t seq = evrt_event_seq(event.p);
        for (; i < f->f.count && f->f.items[i].seq < seq; i++)
            f->missing = true; /* dropped */
        for (; i < f->f.count && f->f.items[i].seq == seq && take(f, &f->f.items[i]); i++)
            keep(f, i, event);
    }
    if (i < f->f.count) f->missing = true;
}

/* ---- On the state thread ---- */

static void read_copies(struct evrt_state_view *view, void *arg) {
    struct fetch *f = arg;
    for (size_t i = 0; i < f->f.count && f->f.rc == 0; i++) {
        struct host_fetch_item *item = &f->f.items[i];
        if (item->n != 0 || item->left || !take(f, item)) continue;
        item->at = f->f.bytes.n;
        int rc = evrt_state_copy(view, item->sub, item->seq, &f->f.bytes);
        if (rc < 0 && rc != -ENOENT)
            f->f.rc = evrt_error_set(&f->err, rc, "state.db cannot be read");
        item->n = f->f.bytes.n - item->at;
    }
}

/* ---- On the loop ---- */

static void on_read(uv_work_t *work, int status) {
    struct fetch *f = work->data;
    if (status < 0) f->f.rc = evrt_error_set(&f->err, status, "%s", uv_strerror(status));
    if (f->f.rc < 0 || !f->missing || f->host->phase >= HOST_CLOSED)
        finish(f);
    else
        host_ask_state(f->host, read_copies, finish, f);
}

int host_fetch_by_seq(const void *a, const void *b) {
    const struct host_fetch_item *x = a, *y = b;
    if (x->seq != y->seq) return x->seq < y->seq ? -1 : 1;
    return x->sub < y->sub ? -1 : x->sub > y->sub;
}

const struct host_fetch_item *host_fetch_find(const struct host_fetch *f, uint32_t sub,
                                              uint64_t seq) {
    const struct host_fetch_item wanted = {.sub = sub, .seq = seq};
    return f->count == 0 ? NULL
                         : bsearch(&wanted, f->items, f->count, sizeof wanted, host_fetch_by_seq);
}

void host_fetch(struct evrt_host *h, struct host_fetch_item *items, size_t count,
                void (*done)(void *arg, const struct host_fetch *f), void *arg) {
    struct fetch *f = evrt_zalloc(sizeof *f);
    *f = (struct fetch){.f = {items, count}, .host = h, .done = done, .arg = arg};
    for (size_t i = 0; i < count; i++)
        items[i] = (struct host_fetch_item){.sub = items[i].sub, .seq = items[i].seq};
    if (count > 0) f->first = items[0];
    if (count > 0) qsort(items, count, sizeof *items, host_fetch_by_seq);
    f->work.data = f;
    h->reads++;
    if (evrt_journal_reader_open(&f->reader, h->journal) < 0) f->reader = NULL;
    int rc = f->reader == NULL ? -EMFILE : uv_queue_work(h->loop, &f->work, read_events, on_read);
    if (rc <
        0) { /* neither descriptors nor memory: said as soon as a job on the state thread was had */
        f->f.rc = evrt_error_set(&f->err, rc, "cannot read the journal: %s", uv_strerror(rc));
        host_ask_state(h, read_copies, finish, f);
    }
}
