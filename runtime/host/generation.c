/* See generation.h. */
#include "host/generation.h"

#include <signal.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/error.h"

struct host_generation *host_generation_create(struct evrt_host *h, struct evrt_scripts *scripts) {
    struct host_generation *g = evrt_zalloc(sizeof *g);
    g->host = h;
    g->number = ++h->last_generation;
    g->scripts = *scripts;
    *scripts = (struct evrt_scripts){.snapshot = -1};
    g->count = h->worker_count;
    g->workers = evrt_zalloc(g->count * sizeof *g->workers);
    for (uint32_t i = 0; i < g->count; i++) {
        struct host_worker *w = &g->workers[i];
        w->host = h;
        w->generation = g;
        w->slot = i;
        uv_timer_init(h->loop, &w->restart);
        w->restart.data = w;
        g->timers++;
    }
    g->next = h->generations;
    h->generations = g;
    return g;
}

int host_generation_start(struct host_generation *g, struct evrt_error *err) {
    for (uint32_t i = 0; i < g->count; i++) {
        int rc = host_worker_start(&g->workers[i]);
        if (rc < 0)
            return evrt_error_set(err, rc, "cannot start a worker (%s): %s", g->host->worker_path,
                                  uv_strerror(rc));
    }
    return 0;
}

uint32_t host_generation_ready(const struct host_generation *g) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->count; i++)
        count += g->workers[i].state == HOST_WORKER_READY;
    return count;
}

/* ---- Its end ---- */

void host_generation_end(struct host_generation *g) {
    if (g->state == HOST_GENERATION_ENDING) return;
    g->state = HOST_GENERATION_ENDING;
    for (uint32_t i = 0; i < g->count; i++)
        host_worker_stop(&g->workers[i]);
    host_generation_progress(g);
}

static void on_timer_closed(uv_handle_t *handle) {
    struct host_worker *w = handle->data;
    struct host_generation *g = w->generation;
    struct evrt_host *h = g->host;
    if (--g->timers != 0) return;
    if (g != h->serving) host_generation_destroy(g);
    host_progress(h);
}

static bool gone(const struct host_generation *g) {
    for (uint32_t i = 0; i < g->count; i++)
        if (g->workers[i].process_open || g->workers[i].channel_open) return false;
    return true;
}

void host_generation_progress(struct host_generation *g) {
    if (g->state != HOST_GENERATION_ENDING || !gone(g)) return;
    for (uint32_t i = 0; i < g->count; i++)
        if (!uv_is_closing((uv_handle_t *)&g->workers[i].restart))
            uv_close((uv_handle_t *)&g->workers[i].restart, on_timer_closed);
}

void host_generation_destroy(struct host_generation *g) {
    struct host_generation **at = &g->host->generations;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    evrt_scripts_finish(&g->scripts);
    free(g->workers);
    free(g);
}
