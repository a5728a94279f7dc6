/* See model_failed.h. */
#include "state/model_failed.h"

#include <assert.h>
#include <string.h>

#include "core/bytes.h"
#include "core/event.h"

#define HEADER 12

static void put_dead(struct evrt_buf *list, const struct evrt_failed *f) {
    evrt_buf_put(list, &f->n, sizeof f->n);
    evrt_dead_put(list, &f->dead);
}

void evrt_failed_add(struct evrt_model_failed *m, const struct evrt_failed *f) {
    size_t start = m->list.n;
    char *header = evrt_buf_room(&m->list, HEADER);
    evrt_set_u32(header, f->sub);
    evrt_set_u32(header + 4, f->op);
    m->list.n += HEADER;
    if (f->op == EVRT_FAILED_RETRY)
        evrt_retry_put(&m->list, &f->retry);
    else if (f->op == EVRT_FAILED_DEAD)
        put_dead(&m->list, f);
    else if (f->op == EVRT_FAILED_COPY)
        evrt_buf_put(&m->list, f->event.p, f->event.n);
    else
        evrt_buf_put(&m->list, &f->seq, sizeof f->seq);
    evrt_set_u32(m->list.p + start + 8, (uint32_t)(m->list.n - start - HEADER));
    m->count++;
    m->retries += f->op == EVRT_FAILED_RETRY || f->op == EVRT_FAILED_RETRY_GONE;
    m->dead += f->op == EVRT_FAILED_DEAD || f->op == EVRT_FAILED_DEAD_GONE;
}

bool evrt_failed_next(const struct evrt_model_failed *m, size_t *at, struct evrt_failed *out) {
    if (*at >= m->list.n) return false;
    const char *entry = m->list.p + *at;
    struct evrt_slice body = {entry + HEADER, evrt_get_u32(entry + 8)};
    size_t inner = 0;
    int rc = 1;
    out->sub = evrt_get_u32(entry);
    out->op = (enum evrt_failed_op)evrt_get_u32(entry + 4);
    *at += HEADER + body.n;
    switch (out->op) {
    case EVRT_FAILED_RETRY:
        rc = evrt_retry_next(body, &inner, &out->retry);
        out->seq = out->retry.seq;
        break;
    case EVRT_FAILED_DEAD:
        memcpy(&out->n, body.p, sizeof out->n);
        inner = sizeof out->n;
        rc = evrt_dead_next(body, &inner, &out->dead);
        out->seq = out->dead.seq;
        break;
    case EVRT_FAILED_COPY:
        out->event = body;
        out->seq = evrt_event_seq(body.p);
        break;
    case EVRT_FAILED_RETRY_GONE:
    case EVRT_FAILED_DEAD_GONE: memcpy(&out->seq, body.p, sizeof out->seq); break;
    }
    assert(rc == 1);
    return true;
}

void evrt_failed_forget(struct evrt_model_failed *m, uint32_t sub) {
    size_t kept = 0;
    for (size_t at = 0; at < m->list.n;) {
        char *entry = m->list.p + at;
        size_t n = HEADER + evrt_get_u32(entry + 8);
        uint32_t op = evrt_get_u32(entry + 4);
        at += n;
        if (evrt_get_u32(entry) != sub) {
            memmove(m->list.p + kept, entry, n);
            kept += n;
            continue;
        }
        m->count--;
        m->retries -= op == EVRT_FAILED_RETRY || op == EVRT_FAILED_RETRY_GONE;
        m->dead -= op == EVRT_FAILED_DEAD || op == EVRT_FAILED_DEAD_GONE;
    }
    m->list.n = kept;
}

void evrt_failed_clear(struct evrt_model_failed *m) {
    evrt_buf_clear(&m->list);
    m->count = m->retries = m->dead = 0;
}
