/* See model_failed.h. */
#include "state/model_failed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/bytes.h"
#include "core/event.h"

#define HEADER 12

enum { FRESH_START = 1024, FRESH_KEEP = 65536 };

/* ---- Those that may be cancelled ---- */

/* Its slot, or the free one where it would be. */
static struct evrt_failed_fresh *slot_of(const struct evrt_model_failed *m, uint32_t sub,
                                         uint64_t seq) {
    size_t i = ((seq + sub) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & m->fresh_mask;
    while (m->fresh[i].seq != 0 && (m->fresh[i].seq != seq || m->fresh[i].sub != sub))
        i = (i + 1) & m->fresh_mask;
    return &m->fresh[i];
}

static void grow(struct evrt_model_failed *m) {
    struct evrt_failed_fresh *old = m->fresh;
    size_t size = old == NULL ? 0 : m->fresh_mask + 1;
    m->fresh_mask = (size == 0 ? FRESH_START : size * 2) - 1;
    m->fresh = evrt_zalloc((m->fresh_mask + 1) * sizeof *m->fresh);
    for (size_t i = 0; i < size; i++)
        if (old[i].seq != 0) *slot_of(m, old[i].sub, old[i].seq) = old[i];
    free(old);
}

static void forget_fresh(struct evrt_model_failed *m) {
    if (m->fresh_mask >= FRESH_KEEP) {
        free(m->fresh);
        m->fresh = NULL;
        m->fresh_mask = 0;
    } else if (m->fresh_count != 0) {
        memset(m->fresh, 0, (m->fresh_mask + 1) * sizeof *m->fresh);
    }
    m->fresh_count = 0;
}

/* An entry about it is added at `start`. Only the first failure is the first that state.db hears of it. */
static void note_fresh(struct evrt_model_failed *m, const struct evrt_failed *f, size_t start) {
    bool first = f->op == EVRT_FAILED_RETRY && f->retry.attempt == 2;
    if (!first && m->fresh_count == 0) return;
    uint64_t seq = f->op == EVRT_FAILED_RETRY  ? f->retry.seq
                   : f->op == EVRT_FAILED_DEAD ? f->dead.seq
                   : f->op == EVRT_FAILED_COPY ? evrt_event_seq(f->event.p)
                                               : f->seq;
    if (first && 2 * (m->fresh_count + 1) > m->fresh_mask) grow(m);
    struct evrt_failed_fresh *slot = slot_of(m, f->sub, seq);
    if (slot->seq != 0) {
        slot->at = 0;
    } else if (first) {
        *slot = (struct evrt_failed_fresh){seq, f->sub, (uint32_t)start + 1};
        m->fresh_count++;
    }
}

bool evrt_failed_cancel(struct evrt_model_failed *m, uint32_t sub, uint64_t seq) {
    if (m->fresh_count == 0) return false;
    struct evrt_failed_fresh *slot = slot_of(m, sub, seq);
    if (slot->seq == 0 || slot->at == 0) return false;
    evrt_set_u32(m->list.p + slot->at - 1 + 4, EVRT_FAILED_NONE);
    slot->at = 0;
    m->count--;
    m->retries--;
    return true;
}

/* ---- The list ---- */

static void put_dead(struct evrt_buf *list, const struct evrt_failed *f) {
    evrt_buf_put(list, &f->n, sizeof f->n);
    evrt_dead_put(list, &f->dead);
}

void evrt_failed_add(struct evrt_model_failed *m, const struct evrt_failed *f) {
    size_t start = m->list.n;
    note_fresh(m, f, start);
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
    while (*at < m->list.n && evrt_get_u32(m->list.p + *at + 4) == EVRT_FAILED_NONE)
        *at += HEADER + evrt_get_u32(m->list.p + *at + 8);
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
    case EVRT_FAILED_NONE: break;
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
        m->count -= op != EVRT_FAILED_NONE;
        m->retries -= op == EVRT_FAILED_RETRY || op == EVRT_FAILED_RETRY_GONE;
        m->dead -= op == EVRT_FAILED_DEAD || op == EVRT_FAILED_DEAD_GONE;
    }
    m->list.n = kept;
    forget_fresh(m); /* the others have moved */
}

void evrt_failed_clear(struct evrt_model_failed *m) {
    evrt_buf_clear(&m->list);
    m->count = m->retries = m->dead = 0;
    forget_fresh(m);
}

void evrt_failed_finish(struct evrt_model_failed *m) {
    evrt_buf_finish(&m->list);
    free(m->fresh);
    *m = (struct evrt_model_failed){0};
}
