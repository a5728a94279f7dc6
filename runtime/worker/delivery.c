/* See delivery.h. */
#include "worker/delivery.h"

#include <assert.h>
#include <lua.h>
#include <stdlib.h>

#include "core/clock.h"
#include "loop/timer.h"
#include "worker/process.h"

enum {
    LATER_EACH = 16,         /* deliveries before one of those that may wait is taken, too */
    EFFECTS_KEPT = 16 << 10, /* bytes that one that ended keeps for the next */
};

void evrt_deliveries_init(struct evrt_deliveries *ds) {
    *ds = (struct evrt_deliveries){0};
}

void evrt_deliveries_finish(struct evrt_deliveries *ds) {
    for (size_t i = 0; i < ds->count; i++) {
        evrt_spans_finish(ds->all[i]);
        evrt_buf_finish(&ds->all[i]->effects);
        evrt_own_finish(&ds->all[i]->own);
        free(ds->all[i]);
    }
    free(ds->all);
    evrt_inbox_finish(&ds->inbox);
    evrt_inbox_finish(&ds->later);
}

static struct evrt_delivery *create(struct evrt_worker *w) {
    struct evrt_deliveries *ds = &w->deliveries;
    struct evrt_delivery *d = evrt_zalloc(sizeof *d);
    uv_timer_init(&w->loop, &d->timer);
    d->timer.data = d;
    d->worker = w;
    d->last_effect = SIZE_MAX;
    d->index = (uint32_t)ds->count;
    ds->all = evrt_realloc(ds->all, (ds->count + 1) * sizeof(struct evrt_delivery *));
    ds->all[ds->count++] = d;
    return d;
}

static struct evrt_inbox *whose_turn(struct evrt_deliveries *ds) {
    if (evrt_inbox_is_empty(&ds->later)) return &ds->inbox;
    if (!evrt_inbox_is_empty(&ds->inbox) && ds->passed++ < LATER_EACH) return &ds->inbox;
    ds->passed = 0;
    return &ds->later;
}

struct evrt_delivery *evrt_deliveries_take(struct evrt_worker *w, struct evrt_frame_deliver *f) {
    struct evrt_deliveries *ds = &w->deliveries;
    assert(evrt_deliveries_waiting(ds) && ds->running == NULL);
    struct evrt_inbox *in = whose_turn(ds);
    if (w->urgent && evrt_inbox_has_more(in)) evrt_worker_flush(w);
    int rc = evrt_frame_get_deliver(evrt_inbox_take(in), f);
    assert(rc == 0); /* checked when it arrived */

    struct evrt_delivery *d = ds->free;
    if (d != NULL)
        ds->free = d->next_free;
    else
        d = create(w);
    d->id = f->delivery;
    d->handler = f->handler;
    d->hops = (uint8_t)f->event.p[17];
    d->deadline_ns = INT64_MAX;
    if (f->timeout_ms > 0 && f->timeout_ms < INT64_MAX / 1000000 / 2)
        d->deadline_ns = evrt_mono_ns() + f->timeout_ms * 1000000;
    d->expired = false;
    d->retry_ms = EVRT_RETRY_BY_POLICY;
    evrt_spans_begin(w, d, f);
    ds->running = d;
    evrt_page_runs(w->page, d->id);
    ds->open++;
    ds->busy++;
    return d;
}

static void stop_waiting(struct evrt_delivery *d) {
    if (uv_is_active((uv_handle_t *)&d->timer)) uv_timer_stop(&d->timer);
    if (d->lent) d->worker->deliveries.busy++;
    d->lent = false;
    d->reads_here = 0;
    d->token = 0;
    d->runner = NULL;
}

void evrt_delivery_end(struct evrt_delivery *d) {
    struct evrt_deliveries *ds = &d->worker->deliveries;
    stop_waiting(d);
    ds->running = NULL;
    evrt_page_rests(d->worker->page);
    ds->open--;
    ds->busy--;
    evrt_buf_clear(&d->effects);
    evrt_own_finish(&d->own);
    d->last_effect = SIZE_MAX;
    if (d->effects.cap > EFFECTS_KEPT) evrt_buf_finish(&d->effects);
    d->next_free = ds->free;
    ds->free = d;
}

/* The index finds the delivery, the serial (never 0) tells whether it still waits for this answer. */
uint64_t evrt_delivery_token(struct evrt_delivery *d) {
    uint32_t *serial = &d->worker->deliveries.serial;
    if (++*serial == 0) *serial = 1;
    d->token = (uint64_t)*serial << 32 | d->index;
    return d->token;
}

struct evrt_delivery *evrt_deliveries_find(struct evrt_deliveries *ds, uint64_t token) {
    uint32_t index = (uint32_t)token;
    if (token == 0 || index >= ds->count || ds->all[index]->token != token) return NULL;
    return ds->all[index];
}

bool evrt_delivery_expire(struct evrt_delivery *d) {
    if (d->deadline_ns != INT64_MAX && evrt_mono_ns() >= d->deadline_ns) d->expired = true;
    return d->expired;
}

static void on_timer(uv_timer_t *timer) {
    struct evrt_delivery *d = timer->data;
    /* A wait that was begun but could not be (a C function stood between) has no runner to wake. */
    if (d->runner == NULL) return;
    lua_State *stack = evrt_runner_stack(d->runner);
    int nargs = 0;
    if (d->timer_is_deadline) {
        d->expired = true;
        lua_pushliteral(stack, "timeout");
        nargs = 1;
    }
    evrt_runner_continue(d->worker, d, nargs);
}

void evrt_delivery_wait(struct evrt_delivery *d, int64_t until_ns) {
    d->timer_is_deadline = d->deadline_ns < until_ns;
    if (d->timer_is_deadline) until_ns = d->deadline_ns;
    if (until_ns != INT64_MAX) evrt_timer_start(&d->timer, on_timer, until_ns);
}

void evrt_delivery_rouse(struct evrt_delivery *d) {
    d->timer_is_deadline = false;
    uv_timer_start(&d->timer, on_timer, 0, 0);
}

void evrt_delivery_wake(struct evrt_delivery *d) {
    stop_waiting(d);
    d->worker->deliveries.running = d;
    evrt_page_runs(d->worker->page, d->id);
}
