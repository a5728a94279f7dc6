/* Asking state.db without making the loop wait: the job runs on the state thread, `done` on the loop. Each
 * has an async handle of its own, which is made and closed with it: these are questions of people. */
#include <assert.h>
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
