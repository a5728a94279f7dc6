/* See inbox.h. */
#include "worker/inbox.h"

#include <assert.h>
#include <stdlib.h>

#include "core/bytes.h"

enum { COMPACT_AT = 256 * 1024 };

struct evrt_inbox_queue {
    struct evrt_buf bytes; /* u32 length and payload of each */
    size_t head;           /* where the next one starts */
    uint32_t next;         /* whose turn is after this one's; index + 1, 0: nobody's */
};

void evrt_inbox_init(struct evrt_inbox *in, uint32_t handlers) {
    *in = (struct evrt_inbox){.handlers = handlers};
    in->queues = evrt_zalloc((handlers + 1) * sizeof *in->queues);
}

void evrt_inbox_finish(struct evrt_inbox *in) {
    for (uint32_t i = 0; i < in->handlers; i++)
        evrt_buf_finish(&in->queues[i].bytes);
    free(in->queues);
}

static bool is_empty(const struct evrt_inbox_queue *q) {
    return q->head == q->bytes.n;
}

bool evrt_inbox_lacks(const struct evrt_inbox *in, uint32_t handler) {
    return is_empty(&in->queues[handler]);
}

bool evrt_inbox_has_more(const struct evrt_inbox *in) {
    const struct evrt_inbox_queue *q = &in->queues[in->first - 1];
    uint32_t n = evrt_get_u32(q->bytes.p + q->head);
    return q->head + sizeof n + n < q->bytes.n;
}

static void line_up(struct evrt_inbox *in, uint32_t handler) {
    in->queues[handler].next = 0;
    if (in->first == 0)
        in->first = handler + 1;
    else
        in->queues[in->last - 1].next = handler + 1;
    in->last = handler + 1;
}

/* What was taken last may still be read, so memory is given back and bytes are moved here only. */
static void make_room(struct evrt_inbox_queue *q) {
    if (is_empty(q)) {
        if (q->bytes.cap > COMPACT_AT) evrt_buf_finish(&q->bytes);
        evrt_buf_clear(&q->bytes);
        q->head = 0;
    } else if (q->head > COMPACT_AT && q->head > q->bytes.n / 2) {
        evrt_buf_consume(&q->bytes, q->head);
        q->head = 0;
    }
}

void evrt_inbox_push(struct evrt_inbox *in, uint32_t handler, struct evrt_slice payload) {
    assert(handler < in->handlers);
    struct evrt_inbox_queue *q = &in->queues[handler];
    if (is_empty(q)) line_up(in, handler);
    make_room(q);
    uint32_t n = (uint32_t)payload.n;
    in->count++;
    evrt_buf_put(&q->bytes, &n, sizeof n);
    evrt_buf_put(&q->bytes, payload.p, payload.n);
}

struct evrt_slice evrt_inbox_take(struct evrt_inbox *in) {
    assert(in->first != 0);
    uint32_t handler = in->first - 1;
    struct evrt_inbox_queue *q = &in->queues[handler];
    const char *p = q->bytes.p + q->head;
    uint32_t n = evrt_get_u32(p);
    q->head += sizeof n + n;
    in->count--;
    in->first = q->next;
    if (!is_empty(q)) line_up(in, handler);
    return (struct evrt_slice){p + sizeof n, n};
}
