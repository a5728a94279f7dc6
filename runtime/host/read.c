/* Reading keys: at once from the overlay, else from state.db on a thread of the pool, what was asked for in one
 * turn in one transaction. See kv.h. */
#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/error.h"
#include "host/node.h"
#include "state/reader.h"

enum { SCAN_BYTES = 1 << 20 }; /* of an answer; then there are more */

/* One question. */
struct host_kv_ask {
    struct host_kv_ask *next;
    struct evrt_host *host;
    uint32_t instance; /* of the worker that asks; 0: nobody's */
    uint64_t token;
    evrt_host_kv_cb cb; /* instance 0 */
    void *arg;
    struct evrt_slice ns, key, after; /* in `text` */
    uint32_t limit;                   /* 0: the key alone; else of those that begin with it */
    bool namespaces;
    /* What state.db said. */
    int rc;
    bool whole; /* the rows are all there are */
    struct evrt_kv_row row;
    struct evrt_buf rows; /* a SET each; the row's value */
    char text[];
};

/* One transaction of questions. */
struct reading {
    uv_work_t work;
    struct evrt_host *host;
    struct host_kv_ask *asks;
    uint64_t group; /* that it saw */
    int rc;
    struct evrt_error err;
};

/* ---- Answers ---- */

static void finish(struct host_kv_ask *a, int status, bool more, struct evrt_slice value) {
    struct host_worker *w = a->instance == 0 ? NULL : host_worker_find(a->host, a->instance);
    if (a->cb != NULL)
        a->cb(a->arg, status, more, value);
    else if (!a->host->kv.damaged && w != NULL && w->channel_open && !w->channel.ended)
        evrt_frame_put_value(evrt_channel_out(&w->channel),
                             &(struct evrt_frame_value){a->token, status, more, value});
    evrt_buf_finish(&a->rows);
    free(a);
}

static void put_row(struct evrt_buf *out, struct evrt_slice key, const struct evrt_kv_row *row) {
    evrt_kv_put(out, &(struct evrt_kv_op){
                         EVRT_KV_SET, row->expires_ms, {NULL, 0}, key, row->value, {NULL, 0}});
}

/* The last one looked at, though it may have no value: where to go on. */
static void put_end_of_page(struct evrt_buf *out, struct evrt_slice last) {
    evrt_kv_put(out,
                &(struct evrt_kv_op){EVRT_KV_DELETE, 0, {NULL, 0}, last, {NULL, 0}, {NULL, 0}});
}

/* ---- Rows and the overlay, merged by key ---- */

struct merge {
    struct evrt_host *host;
    struct host_kv_ask *ask;
    uint64_t group;
    int64_t now_ms;
    struct evrt_buf out, last;
    uint32_t count;
    bool full;
    struct evrt_buf ahead; /* the overlay's next key, when it was looked for */
    struct evrt_buf end;   /* no key from here on is of this page */
    bool looked, none;
};

/* The key's value as of now, when it has one. `row`: state.db's, NULL: it has none. */
static void put_merged(struct merge *m, struct evrt_slice key, const struct evrt_kv_row *row) {
    static const struct evrt_kv_row none;
    struct evrt_overlay *o = m->host->kv.overlay;
    struct evrt_overlay_name name = {m->ask->ns, key};
    struct evrt_slice value;
    if (m->count == m->ask->limit || m->out.n > SCAN_BYTES) {
        m->full = true;
        return;
    }
    evrt_buf_clear(&m->last);
    evrt_buf_put(&m->last, key.p, key.n);
    evrt_overlay_learn(o, &name, row == NULL ? &none : row, m->group);
    (void)evrt_overlay_get(o, &name, m->now_ms, &value);
    if (value.n == 0) return;
    put_row(&m->out, key, &(struct evrt_kv_row){value, 0});
    m->count++;
}

/* The overlay's next key, into m->ahead. It is looked for when it was passed, and not for each row of state.db:
 * there may be many clean entries before it. */
static bool look_ahead(struct merge *m, struct evrt_slice from, bool behind) {
    const struct evrt_overlay_range range = {m->ask->ns, from, evrt_buf_slice(&m->end), behind};
    struct evrt_slice key;
    int rc = m->looked && !m->none ? evrt_slice_order(evrt_buf_slice(&m->ahead), from) : -1;
    if (m->none || rc > 0 || (rc == 0 && !behind)) return !m->none;
    m->looked = true;
    m->none = !evrt_overlay_next(m->host->kv.overlay, &range, &key);
    evrt_buf_clear(&m->ahead);
    if (!m->none) evrt_buf_put(&m->ahead, key.p, key.n);
    return !m->none;
}

/* The keys of the overlay from *from on that come before `to` (NULL: to the page's end). */
static void put_overlay(struct merge *m, struct evrt_buf *from, bool *behind,
                        const struct evrt_slice *to) {
    while (!m->full && look_ahead(m, evrt_buf_slice(from), *behind)) {
        struct evrt_slice key = evrt_buf_slice(&m->ahead);
        if (to != NULL && evrt_slice_order(key, *to) >= 0) return;
        put_merged(m, key, NULL);
        evrt_buf_clear(from);
        evrt_buf_put(from, key.p, key.n);
        *behind = true;
    }
}

/* Behind the last row of a page there may be others in state.db; behind the last of all those there are, the
 * prefix ends it (no key has a byte 0xff). */
static void put_end(const struct host_kv_ask *a, struct evrt_buf *out) {
    struct evrt_kv_op op = {.key = a->key};
    for (size_t at = 0; !a->whole && evrt_kv_next(evrt_buf_slice(&a->rows), &at, &op) == 1;)
        continue;
    evrt_buf_put(out, op.key.p, op.key.n);
    if (a->whole) evrt_buf_putc(out, '\xff');
}

static void answer_scan(struct host_kv_ask *a, uint64_t group) {
    struct merge m = {.host = a->host, .ask = a, .group = group, .now_ms = host_kv_now(a->host)};
    struct evrt_buf from = {0};
    struct evrt_kv_op op;
    struct evrt_slice start = a->after.n != 0 ? a->after : a->key;
    bool behind = a->after.n != 0;
    put_end(a, &m.end);
    evrt_buf_put(&from, start.p, start.n);
    for (size_t at = 0; evrt_kv_next(evrt_buf_slice(&a->rows), &at, &op) == 1 && !m.full;) {
        put_overlay(&m, &from, &behind, &op.key);
        if (m.full) break;
        put_merged(&m, op.key, &(struct evrt_kv_row){op.value, op.number});
        evrt_buf_clear(&from);
        evrt_buf_put(&from, op.key.p, op.key.n);
        behind = true;
    }
    if (a->whole) put_overlay(&m, &from, &behind, NULL);
    bool more = m.full || !a->whole;
    if (more) put_end_of_page(&m.out, evrt_buf_slice(&m.last));
    finish(a, 0, more, evrt_buf_slice(&m.out));
    evrt_buf_finish(&m.out);
    evrt_buf_finish(&m.last);
    evrt_buf_finish(&m.ahead);
    evrt_buf_finish(&m.end);
    evrt_buf_finish(&from);
}

static void answer_key(struct host_kv_ask *a, uint64_t group) {
    struct evrt_overlay_name name = {a->ns, a->key};
    struct evrt_slice value;
    int64_t now = host_kv_now(a->host);
    evrt_overlay_learn(a->host->kv.overlay, &name, &a->row, group);
    (void)evrt_overlay_get(a->host->kv.overlay, &name, now, &value);
    finish(a, 0, false, value);
}

/* The next namespace behind `last`: of the overlay or of *row, which is stepped on. false: there is none. */
static bool next_namespace(const struct host_kv_ask *a, struct evrt_slice last,
                           struct evrt_kv_op *row, size_t *at, struct evrt_slice *ns) {
    struct evrt_slice mine;
    bool has = evrt_overlay_namespace(a->host->kv.overlay, last, &mine);
    while (row->key.n != 0 && evrt_slice_order(row->key, last) <= 0)
        if (evrt_kv_next(evrt_buf_slice(&a->rows), at, row) != 1) *row = (struct evrt_kv_op){0};
    bool stored = row->key.n != 0;
    *ns = has && (!stored || evrt_slice_order(mine, row->key) < 0) ? mine : row->key;
    return has || stored;
}

/* Namespaces as keys, merged. */
static void answer_namespaces(struct host_kv_ask *a) {
    struct evrt_buf out = {0}, last = {0};
    struct evrt_kv_op row = {0};
    struct evrt_slice ns;
    uint32_t count = 0;
    size_t at = 0;
    bool more = false;
    evrt_buf_put(&last, a->after.p, a->after.n);
    if (evrt_kv_next(evrt_buf_slice(&a->rows), &at, &row) != 1) row = (struct evrt_kv_op){0};
    while (next_namespace(a, evrt_buf_slice(&last), &row, &at, &ns) &&
           !(more = count++ == a->limit)) {
        put_row(&out, ns, &(struct evrt_kv_row){EVRT_STR("s"), 0});
        struct evrt_buf copy = {0};
        evrt_buf_put(&copy, ns.p, ns.n);
        evrt_buf_finish(&last);
        last = copy;
    }
    if (more) put_end_of_page(&out, evrt_buf_slice(&last));
    finish(a, 0, more, evrt_buf_slice(&out));
    evrt_buf_finish(&out);
    evrt_buf_finish(&last);
}

static void answer(struct host_kv_ask *a, uint64_t group) {
    if (a->namespaces)
        answer_namespaces(a);
    else if (a->limit != 0)
        answer_scan(a, group);
    else
        answer_key(a, group);
}

/* ---- On a thread of the pool ---- */

static bool keep_row(void *arg, const struct evrt_slice *key, const struct evrt_kv_row *row) {
    struct host_kv_ask *a = arg;
    if (a->namespaces) {
        put_row(&a->rows, *key, &(struct evrt_kv_row){EVRT_STR("s"), 0});
        return true;
    }
    put_row(&a->rows, *key, row);
    a->row.expires_ms++; /* counts them */
    a->whole = a->rows.n <= SCAN_BYTES;
    return a->whole;
}

static int read_namespaces(struct evrt_state_reader *r, struct host_kv_ask *a,
                           struct evrt_error *err) {
    struct evrt_kv_op op;
    struct evrt_slice after = a->after;
    size_t before = 1, at = 0;
    int rc = 0;
    /* One more than fit: whether there is another page. */
    for (uint32_t i = 0; rc == 0 && i <= a->limit && a->rows.n != before; i++) {
        before = a->rows.n;
        rc = evrt_state_reader_namespace(r, after, keep_row, a, err);
        if (evrt_kv_next(evrt_buf_slice(&a->rows), &at, &op) == 1) after = op.key;
    }
    return rc;
}

static int read_one(struct evrt_state_reader *r, struct host_kv_ask *a, struct evrt_error *err) {
    if (a->namespaces) return read_namespaces(r, a, err);
    if (a->limit == 0) {
        int rc = evrt_state_reader_get(r, a->ns, a->key, &a->row, err);
        evrt_buf_put(&a->rows, a->row.value.p, a->row.value.n);
        a->row.value.p = a->rows.p;
        return rc;
    }
    a->whole = true;
    const struct evrt_state_range range = {a->ns, a->key, a->after, a->limit};
    int rc = evrt_state_reader_scan(r, &range, keep_row, a, err);
    if ((uint32_t)a->row.expires_ms >= a->limit) a->whole = false;
    return rc;
}

void host_kv_met(struct evrt_host *h, int rc, const struct evrt_error *err) {
    if (rc != -EBADMSG) return;
    h->kv.damaged = true;
    evrt_state_damaged(h->state, err);
}

static void read_all(uv_work_t *work) {
    struct reading *r = work->data;
    struct evrt_state_reader *from = r->host->kv.beside;
    r->rc = evrt_state_reader_begin(from, &r->group, &r->err);
    if (r->rc < 0) return;
    for (struct host_kv_ask *a = r->asks; r->rc == 0 && a != NULL; a = a->next)
        r->rc = read_one(from, a, &r->err);
    evrt_state_reader_end(from);
}

static void on_read(uv_work_t *work, int status) {
    struct reading *r = work->data;
    struct evrt_host *h = r->host;
    (void)status;
    host_kv_met(h, r->rc, &r->err);
    for (struct host_kv_ask *a = r->asks, *next; a != NULL; a = next) {
        next = a->next;
        if (r->rc < 0)
            finish(a, r->rc, false, evrt_slice_of(r->err.message));
        else
            answer(a, r->group);
    }
    free(r);
    h->kv.reading = false;
    evrt_overlay_reading(h->kv.overlay, -1);
    if (h->kv.asked != NULL) host_kv_ask_now(h);
    host_workers_flush(h);
    h->reads--;
    host_progress(h);
}

void host_kv_ask_now(struct evrt_host *h) {
    struct host_kv *kv = &h->kv;
    if (kv->reading) return;
    struct reading *r = evrt_zalloc(sizeof *r);
    r->host = h;
    r->work.data = r;
    r->asks = kv->asked;
    kv->asked = NULL;
    kv->asked_end = &kv->asked;
    kv->reading = true;
    h->reads++;
    evrt_overlay_reading(kv->overlay, +1);
    if (uv_queue_work(h->loop, &r->work, read_all, on_read) < 0) abort(); /* bad arguments only */
}

/* ---- Asking ---- */

static struct host_kv_ask *create_ask(struct evrt_host *h, const struct evrt_host_kv_range *range) {
    struct host_kv_ask *a = evrt_zalloc(sizeof *a + range->ns.n + range->key.n + range->after.n);
    char *to = a->text;
    const struct evrt_slice *from[] = {&range->ns, &range->key, &range->after};
    struct evrt_slice *parts[] = {&a->ns, &a->key, &a->after};
    for (int i = 0; i < 3; i++) {
        *parts[i] = (struct evrt_slice){to, from[i]->n};
        if (from[i]->n != 0) memcpy(to, from[i]->p, from[i]->n);
        to += from[i]->n;
    }
    a->host = h;
    a->limit = range->limit;
    a->namespaces = range->ns.n == 0;
    return a;
}

static void ask(struct host_kv_ask *a) {
    struct host_kv *kv = &a->host->kv;
    if (kv->beside == NULL) { /* in memory: the overlay is all there is */
        a->whole = true;
        answer(a, 0);
        return;
    }
    kv->counts.misses++;
    *kv->asked_end = a;
    kv->asked_end = &a->next;
}

int host_kv_reads(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_host *h = w->host;
    struct evrt_frame_read f;
    struct evrt_slice value;
    if (evrt_frame_get_read(payload, &f) < 0 || f.ns.n == 0) return -EBADMSG;
    if (h->phase >= HOST_CLOSING) return 0; /* the worker ends, too */
    h->kv.counts.reads++;
    if (f.limit == 0 && evrt_overlay_get(h->kv.overlay, &(struct evrt_overlay_name){f.ns, f.key},
                                         host_kv_now(h), &value)) {
        evrt_frame_put_value(evrt_channel_out(&w->channel),
                             &(struct evrt_frame_value){f.token, 0, 0, value});
        return 0;
    }
    struct host_kv_ask *a =
        create_ask(h, &(struct evrt_host_kv_range){f.ns, f.key, f.after, f.limit});
    a->instance = w->instance;
    a->token = f.token;
    ask(a);
    return 0;
}

void evrt_host_kv_read(struct evrt_host *h, const struct evrt_host_kv_range *range,
                       evrt_host_kv_cb cb, void *arg) {
    struct host_kv_ask *a = create_ask(h, range);
    h->kv.counts.reads++;
    a->cb = cb;
    a->arg = arg;
    if (h->phase >= HOST_CLOSING)
        finish(a, -ESHUTDOWN, false, EVRT_STR("shutting down"));
    else
        ask(a);
}

int host_kv_value(struct evrt_host *h, const struct evrt_overlay_name *name,
                  struct evrt_slice *value, struct evrt_error *err) {
    struct evrt_kv_row row = {{NULL, 0}, 0};
    uint64_t group;
    int64_t now = host_kv_now(h);
    if (evrt_overlay_get(h->kv.overlay, name, now, value)) return 0;
    int rc = evrt_state_reader_begin(h->kv.here, &group, err);
    if (rc == 0) rc = evrt_state_reader_get(h->kv.here, name->ns, name->key, &row, err);
    if (rc == 0) {
        evrt_overlay_learn(h->kv.overlay, name, &row, group);
        (void)evrt_overlay_get(h->kv.overlay, name, now, value);
    }
    evrt_state_reader_end(h->kv.here);
    host_kv_met(h, rc, err);
    return rc;
}
