/* Before a segment goes: the events of it that retries and dead letters still need are copied into the journal's
 * newest part, and by that into state.db. So what failed outlives its segment, and pins none.
 *
 *     oldest segment, no cursor in it ─▶ which failed in it, and have no copy (state.db) ─▶ read them, a batch
 *     at a time ─▶ KEEP records ─▶ durable ─▶ ... ─▶ two snapshots that have all of them ─▶ it may go
 *
 * While no cursor stands in the segment nothing new can fail in it, so what was found stays all there is; when
 * a handler begins further back, it is looked at anew. The loop's thread. */
#include <errno.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/event.h"
#include "host/fetch.h"
#include "host/node.h"
#include "journal/oldest.h"

enum { BATCH = 500 }; /* that are looked for at once; of their bytes HOST_FETCH_BYTES are read */

/* h->copies: what is known of one segment. */
enum step { LOOKING, COPYING, COPIED };

struct host_copies {
    struct evrt_host *host;
    uint64_t segment;  /* its number */
    uint64_t from, to; /* its events */
    enum step step;
    bool outdated;        /* looked at anew when what is under way has ended */
    struct evrt_buf bare; /* struct host_fetch_item, by seq */
    size_t at;            /* copied below */
    uint64_t group;       /* that has the last copy; 0: there was none to make */
    uint64_t count;
    int rc;
};

static void look(struct host_copies *c);

static void finish(struct host_copies *c) {
    evrt_buf_finish(&c->bare);
    free(c);
}

/* ---- Copying ---- */

static void copy(struct host_copies *c);

static void on_durable(void *arg, uint64_t unused) {
    struct host_copies *c = arg;
    struct evrt_journal_stats stats;
    (void)unused;
    evrt_journal_stats(c->host->journal, &stats);
    c->group = stats.last_group;
    copy(c);
}

static void keep(struct host_copies *c, const struct host_fetch_item *item,
                 struct evrt_slice event) {
    struct evrt_host *h = c->host;
    if (event.n == 0 || evrt_bus_by_id(h->bus, item->sub) == NULL) return;
    evrt_buf_clear(&h->scratch);
    evrt_record_put_keep(&h->scratch, &(struct evrt_record_keep){item->sub, event});
    host_append(h, EVRT_RECORD_KEEP, evrt_buf_slice(&h->scratch));
    c->count++;
}

static void on_read(void *arg, const struct host_fetch *f) {
    struct host_copies *c = arg;
    if (f->rc < 0 ||
        c->host->phase != HOST_SERVING) { /* said by then; tried again with the next look */
        c->outdated = true;
        c->step = COPIED;
        return;
    }
    size_t i = 0;
    for (; i < f->count && !f->items[i].left; i++)
        keep(c, &f->items[i], host_fetched(f, i));
    c->at += i;
    host_barrier(c->host, on_durable, c);
}

static void copy(struct host_copies *c) {
    const struct host_fetch_item *all = (const struct host_fetch_item *)(const void *)c->bare.p;
    size_t n = c->bare.n / sizeof *all - c->at;
    c->step = COPYING;
    if (n == 0 || c->outdated || c->host->phase != HOST_SERVING) {
        if (c->count != 0)
            evrt_log_event(c->host->log, EVENTS_KEPT, EVRT_F_U64("segment", c->segment),
                           EVRT_F_U64("events", c->count));
        c->step = COPIED;
        return;
    }
    if (n > BATCH) n = BATCH;
    struct host_fetch_item *items = evrt_alloc(n * sizeof *items);
    memcpy(items, all + c->at, n * sizeof *items);
    host_fetch(c->host, items, n, on_read, c);
}

/* ---- Looking ---- */

static void note(void *arg, uint32_t sub, uint64_t seq) {
    struct host_copies *c = arg;
    const struct host_fetch_item item = {.sub = sub, .seq = seq};
    evrt_buf_put(&c->bare, &item, sizeof item);
}

static void look_job(struct evrt_state_view *view, void *arg) {
    struct host_copies *c = arg;
    c->rc = evrt_state_bare(view, c->from, c->to, note, c);
}

static void on_looked(void *arg) {
    struct host_copies *c = arg;
    if (c->bare.n != 0)
        qsort(c->bare.p, c->bare.n / sizeof(struct host_fetch_item), sizeof(struct host_fetch_item),
              host_fetch_by_seq);
    if (c->rc < 0) c->outdated = true;
    copy(c);
}

static void on_settled(void *arg, uint64_t unused) {
    struct host_copies *c = arg;
    (void)unused;
    host_ask_state(c->host, look_job, on_looked, c);
}

static void look(struct host_copies *c) {
    c->step = LOOKING;
    c->outdated = false;
    c->at = 0;
    c->count = c->group = 0;
    c->rc = 0;
    evrt_buf_clear(&c->bare);
    host_barrier(c->host, on_settled, c);
}

/* ---- For the keeper ---- */

bool host_copies_made(struct evrt_host *h, const struct evrt_journal_oldest *s, uint64_t *group) {
    struct host_copies *c = h->copies;
    if (c == NULL) {
        c = h->copies = evrt_zalloc(sizeof *c);
        c->host = h;
        c->step = COPIED;
    }
    if (c->step != COPIED) return false;
    if (c->segment == s->number && !c->outdated) {
        *group = c->group;
        return true;
    }
    c->segment = s->number;
    c->from = s->first_seq;
    c->to = s->next_seq;
    look(c);
    return false;
}

void host_copies_outdated(struct evrt_host *h) {
    if (h->copies != NULL) h->copies->outdated = true;
}

void host_copies_destroy(struct evrt_host *h) {
    if (h->copies != NULL) finish(h->copies);
    h->copies = NULL;
}
