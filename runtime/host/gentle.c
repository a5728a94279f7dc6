/* What a reload takes of the CPUs it takes from nobody: a worker that loads scripts beside others that serve, or has
 * drained and ends, stands aside (core/cpu.h) until it is ready, for a moment at most.
 *
 *     started ──aside──▶ loads ──READY, or the moment is over──▶ back ──▶ serves ──DRAINED──▶ aside ──▶ exits
 *
 * The moment bounds how much longer a reload takes on CPUs that are never idle. The host calls back, since what gets
 * no CPU cannot help itself. The loop's thread. */
#include "host/node.h"

#include "core/cpu.h"

enum { MOMENT_MS = 100 }; /* loading 100 handlers takes 15 of an idle CPU */

/* Whether who stood aside would be let back is known only from trying. */
static void try(void *arg) {
    struct evrt_host *h = arg;
    bool back = evrt_cpu_aside(0) == 0 && evrt_cpu_back(0, EVRT_CPU_NORMAL) == 0;
    h->gentle = back ? HOST_GENTLE_YES : HOST_GENTLE_NO;
}

static bool may(struct evrt_host *h) {
    uv_thread_t thread;
    if (h->phase != HOST_SERVING) return false; /* nobody to give way to */
    if (h->gentle == HOST_GENTLE_UNKNOWN && uv_thread_create(&thread, try, h) == 0)
        uv_thread_join(&thread);
    return h->gentle == HOST_GENTLE_YES;
}

bool host_gentle_for(const struct host_worker *w) {
    struct evrt_host *h = w->host;
    return w->generation->state == HOST_GENERATION_LOADING && may(h);
}

static void on_moment(uv_timer_t *timer) {
    host_gentle_end(timer->data);
}

void host_gentle_start(struct host_worker *w) {
    if (w->aside || !may(w->host) || evrt_cpu_aside(w->pid) < 0) return;
    w->aside = true;
    uv_timer_start(&w->restart, on_moment, MOMENT_MS, 0);
}

void host_gentle_end(struct host_worker *w) {
    if (!w->aside) return;
    w->aside = false;
    uv_timer_stop(&w->restart);
    (void)evrt_cpu_back(w->pid, w->state == HOST_WORKER_READY ? EVRT_CPU_SHORT : EVRT_CPU_NORMAL);
}
