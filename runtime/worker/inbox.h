/* Deliveries that have arrived and wait their turn: one queue per handler, taken round robin, so that a
 * flood to one handler does not keep another's event waiting behind all of it. Bytes, not objects: a delivery
 * costs one copy until its turn comes. Embedded in the worker's deliveries; its loop's thread.
 *
 *     handler 0   ■■■■■■■■■■     taken: 0 2 0 2 0 0 0 ...
 *     handler 1
 *     handler 2   ■■ */
#ifndef EVRT_WORKER_INBOX_H
#define EVRT_WORKER_INBOX_H

#include <stdbool.h>

#include "core/buf.h"

struct evrt_inbox_queue;

struct evrt_inbox {
    struct evrt_inbox_queue *queues; /* by handler */
    uint32_t handlers;
    size_t count;         /* of deliveries */
    uint32_t first, last; /* of those that have something, in the order of their turns; index + 1 */
};

/* For handlers 0 to handlers - 1. A zeroed inbox is one of no handlers. */
void evrt_inbox_init(struct evrt_inbox *in, uint32_t handlers);
void evrt_inbox_finish(struct evrt_inbox *in);

static inline bool evrt_inbox_is_empty(const struct evrt_inbox *in) {
    return in->first == 0;
}
/* It has nothing for this handler. */
bool evrt_inbox_lacks(const struct evrt_inbox *in, uint32_t handler);
/* The handler whose turn it is has more than one. Not empty. */
bool evrt_inbox_has_more(const struct evrt_inbox *in);
void evrt_inbox_push(struct evrt_inbox *in, uint32_t handler, struct evrt_slice payload);
/* The oldest payload of the handler whose turn it is, valid until the next push. Not empty. */
struct evrt_slice evrt_inbox_take(struct evrt_inbox *in);

#endif
