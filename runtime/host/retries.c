/* Retries for people: listed from state.db, after a barrier: what has failed by now is then in it. Who they
 * belong to and whether they may go on is known on the loop. */
#include <errno.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/error.h"
#include "core/jsonout.h"

struct row {
    uint32_t sub;
    uint64_t seq;
    size_t at, n; /* of its members */
};

struct listing {
    struct evrt_host *host;
    struct evrt_state_retries which;
    struct evrt_buf rows, text, json;
    uint64_t count;
    int rc;
    evrt_host_json_cb cb;
    void *arg;
};

/* ---- On the state thread ---- */

static void note(void *arg, uint32_t sub, const struct evrt_record_retry *r) {
    struct listing *l = arg;
    if (l->count == l->which.limit) return;
    l->count++;
    struct row row = {sub, r->seq, l->text.n, 0};
    struct evrt_jsonout o = evrt_jsonout_start(&l->text);
    evrt_jsonout_object(&o);
    evrt_jsonout_put_u64(&o, "seq", r->seq);
    evrt_jsonout_put_u64(&o, "attempt", r->attempt);
    evrt_jsonout_put_time(&o, "due", r->due_ms);
    evrt_jsonout_put_time(&o, "first_failed", r->first_failed_ms);
    evrt_jsonout_put_time(&o, "last_failed", r->last_failed_ms);
    evrt_jsonout_put_u64(&o, "crashes", r->crashes);
    host_error_json(&o, r->error_type, r->message, (struct evrt_slice){NULL, 0});
    evrt_jsonout_end(&o);
    row.n = l->text.n - row.at;
    evrt_buf_put(&l->rows, &row, sizeof row);
}

static void list_job(struct evrt_state_view *view, void *arg) {
    struct listing *l = arg;
    l->rc = evrt_state_each_retry(view, &l->which, note, l);
}

/* ---- On the loop ---- */

static const char *state_of(const struct evrt_host *h, const struct evrt_sub *s, uint64_t seq) {
    if (evrt_sub_where(s, seq, evrt_bus_next_seq(h->bus)) == EVRT_SUB_RUNNING) return "running";
    return !s->active ? "orphaned" : s->paused ? "paused" : "waiting";
}

static void put_row(struct listing *l, struct evrt_jsonout *o, const struct row *row) {
    const struct evrt_sub *s = evrt_bus_by_id(l->host->bus, row->sub);
    char id[HOST_DELIVERY_ID_SIZE];
    if (s == NULL) return; /* forgotten meanwhile */
    evrt_jsonout_object(o);
    evrt_jsonout_put_cstr(o, "id", host_delivery_id(row->sub, row->seq, id));
    evrt_jsonout_put_cstr(o, "handler", s->name);
    evrt_jsonout_put_cstr(o, "state", state_of(l->host, s, row->seq));
    evrt_buf_putc(&l->json, ','); /* the members, and the object's end */
    evrt_buf_put(&l->json, l->text.p + row->at + 1, row->n - 2);
    evrt_jsonout_end(o);
}

static void answer(struct listing *l) {
    const struct row *rows = (const struct row *)(const void *)l->rows.p;
    struct evrt_jsonout o = evrt_jsonout_start(&l->json);
    char next[HOST_DELIVERY_ID_SIZE];
    evrt_jsonout_object(&o);
    evrt_jsonout_key(&o, "items");
    evrt_jsonout_array(&o);
    for (uint64_t i = 0; i < l->count; i++)
        put_row(l, &o, &rows[i]);
    evrt_jsonout_end(&o);
    bool full = l->count == l->which.limit;
    const struct row *last = full ? &rows[l->count - 1] : NULL;
    evrt_jsonout_put_cstr(&o, "next", full ? host_delivery_id(last->sub, last->seq, next) : NULL);
    evrt_jsonout_end(&o);
}

static void finish(void *arg) {
    struct listing *l = arg;
    if (l->rc == 0) answer(l);
    l->cb(l->arg, l->rc, l->rc == 0 ? evrt_buf_slice(&l->json) : EVRT_STR("state.db"));
    evrt_buf_finish(&l->rows);
    evrt_buf_finish(&l->text);
    evrt_buf_finish(&l->json);
    free(l);
}

void evrt_host_retries(struct evrt_host *h, struct evrt_slice handler, uint32_t after_sub,
                       uint64_t after_seq, uint32_t limit, evrt_host_json_cb cb, void *arg) {
    struct evrt_error err;
    uint32_t sub = 0;
    if (h->phase >= HOST_CLOSING) {
        cb(arg, -ESHUTDOWN, EVRT_STR("shutting down"));
        return;
    }
    if (handler.p != NULL) {
        const struct evrt_sub *s = evrt_bus_find(h->bus, handler);
        if (s == NULL) {
            evrt_error_set(&err, -ENOENT, "no handler named \"%.*s\"", (int)handler.n, handler.p);
            cb(arg, -ENOENT, evrt_slice_of(err.message));
            return;
        }
        sub = s->id;
    }
    struct listing *l = evrt_zalloc(sizeof *l);
    *l = (struct listing){
        .host = h, .which = {sub, after_sub, after_seq, limit}, .cb = cb, .arg = arg};
    host_ask_settled(h, list_job, finish, l, &l->rc);
}
