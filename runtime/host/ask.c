/* Asking state.db without making the loop wait: the job runs on the state thread, `done` on the loop. Each
 * has an async handle of its own, which is made and closed with it: these are questions of people. */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "host/node.h"

struct ask {
    struct evrt_host *host;
    uv_async_t answered;
    evrt_state_job job;
    void (*done)(void *arg);
    void *arg;
    atomic_bool
        is_answered; /* what the job wrote is the loop's; libuv's own order is not told to sanitizers */
};

static void on_closed(uv_handle_t *handle) {
    struct ask *a = handle->data;
    struct evrt_host *h = a->host;
    bool is_answered = atomic_load_explicit(&a->is_answered, memory_order_acquire);
    assert(is_answered);
    a->done(a->arg);
    free(a);
    h->reads--;
    host_progress(h);
}

static void on_answered(uv_async_t *handle) {
    uv_close((uv_handle_t *)handle, on_closed);
}

/* On the state thread. */
static void run(struct evrt_state_view *view, void *arg) {
    struct ask *a = arg;
    a->job(view, a->arg);
    atomic_store_explicit(&a->is_answered, true, memory_order_release);
    uv_async_send(&a->answered);
}

void host_ask_state(struct evrt_host *h, evrt_state_job job, void (*done)(void *arg), void *arg) {
    struct ask *a = evrt_zalloc(sizeof *a);
    *a = (struct ask){.host = h, .job = job, .done = done, .arg = arg};
    /* Fails only without memory or descriptors, and the loop has its one descriptor for these already. */
    if (uv_async_init(h->loop, &a->answered, on_answered) < 0) abort();
    a->answered.data = a;
    h->reads++;
    evrt_state_run(h->state, run, a);
}

/* ---- After what has ended by now ---- */

struct host_settled {
    struct host_settled *next, **at; /* among those that wait */
    struct evrt_host *host;
    evrt_state_job job;
    void (*done)(void *arg); /* NULL: it was ended */
    void *arg;
    int *rc;
};

static void remove_settled(struct host_settled *s) {
    *s->at = s->next;
    if (s->next != NULL) s->next->at = s->at;
    free(s);
}

static void on_settled(void *arg, uint64_t unused) {
    struct host_settled *s = arg;
    (void)unused;
    if (s->done != NULL) host_ask_state(s->host, s->job, s->done, s->arg);
    remove_settled(s);
}

void host_ask_settled(struct evrt_host *h, evrt_state_job job, void (*done)(void *arg), void *arg,
                      int *rc) {
    struct host_settled *s = evrt_alloc(sizeof *s);
    *s = (struct host_settled){h->asks, &h->asks, h, job, done, arg, rc};
    if (s->next != NULL) s->next->at = &s->next;
    h->asks = s;
    host_barrier(h, on_settled, s);
}

void host_asks_end(struct evrt_host *h) {
    for (struct host_settled *s = h->asks; s != NULL;) {
        void (*done)(void *arg) = s->done;
        s->done = NULL;
        if (done == NULL) {
            s = s->next;
            continue;
        }
        *s->rc = -ESHUTDOWN;
        done(s->arg);
        s = h->asks; /* it may have ended others, too */
    }
}

void host_asks_destroy(struct evrt_host *h) {
    while (h->asks != NULL)
        remove_settled(h->asks);
}
