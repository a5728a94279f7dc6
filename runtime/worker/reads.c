/* See reads.h. */
#include "worker/reads.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "core/kv.h"
#include "frame/frame.h"
#include "frame/values.h"
#include "worker/process.h"

enum {
    LAST = 2048,  /* keys that share a place there are asked for together */
    IN_A_ROW = 64 /* reads of a delivery before it has to wait for one */
};

void evrt_reads_init(struct evrt_worker *w) {
    w->reads = (struct evrt_reads){0};
    if (w->page == NULL) return;
    w->reads.values = evrt_values_open(EVRT_FRAME_VALUES_FD);
    if (w->reads.values != NULL) w->reads.last = evrt_zalloc(LAST * sizeof *w->reads.last);
}

void evrt_reads_finish(struct evrt_reads *r) {
    evrt_values_close(r->values);
    free(r->last);
    *r = (struct evrt_reads){0};
}

void evrt_reads_sent(struct evrt_worker *w, struct evrt_slice effects) {
    struct evrt_reads *r = &w->reads;
    struct evrt_kv_op op;
    if (r->values == NULL) return;
    r->sent++;
    for (size_t at = 0; evrt_kv_next(effects, &at, &op) == 1;)
        if (op.kind != EVRT_KV_EMIT) r->last[evrt_values_name(op.ns, op.key).hash % LAST] = r->sent;
}

bool evrt_reads_get(struct evrt_worker *w, struct evrt_slice ns, struct evrt_slice key, char *room,
                    struct evrt_slice *value) {
    const struct evrt_reads *r = &w->reads;
    struct evrt_delivery *d = w->deliveries.running;
    if (r->values == NULL || d->reads_here == IN_A_ROW) return false;
    struct evrt_values_name name = evrt_values_name(ns, key);
    /* Before the value: what was taken then is in it. */
    uint64_t taken = atomic_load_explicit(&w->page->effects, memory_order_acquire);
    if (r->last[name.hash % LAST] > taken || !evrt_values_get(r->values, &name, room, value))
        return false;
    d->reads_here++;
    evrt_page_store(&w->page->reads, evrt_page_load(&w->page->reads) + 1);
    return true;
}
