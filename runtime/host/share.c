/* Shared values on the wire: a worker asks for a change, the host decides and tells everyone.
 *
 *     worker A ──SHARE key, version, value──▶ host ──SHARED (token)──▶ A
 *                                               └────SHARED (no token)──▶ every other worker of every
 *                                                                         generation
 *
 * A worker that starts is given all of it behind HELLO, before any delivery. */
#include <errno.h>

#include "host/node.h"

#include "core/clock.h"
#include "core/error.h"
#include "host/shared.h"

/* A worker that takes nothing is about to be replaced; what it misses, it is told when it asks. */
enum { UNREAD_MAX = 16 << 20 };

static bool listens(struct host_worker *w) {
    return w->channel_open && !w->channel.ended && evrt_channel_backlog(&w->channel) < UNREAD_MAX;
}

static void tell_all(struct evrt_host *h, const struct host_worker *but,
                     const struct evrt_shared_entry *e) {
    struct evrt_frame_shared f = {.version = e->version, .key = e->key, .value = e->value};
    for (struct host_generation *g = h->generations; g != NULL; g = g->next)
        for (uint32_t i = 0; i < g->count; i++)
            if (&g->workers[i] != but && listens(&g->workers[i]))
                evrt_frame_put_shared(evrt_channel_out(&g->workers[i].channel), &f);
}

static void on_gone(void *arg, const struct evrt_slice *key) {
    tell_all(arg, NULL, &(struct evrt_shared_entry){.key = *key});
}

void host_share_open(struct evrt_host *h) {
    h->shared = evrt_shared_create(h->config->shared.max_entries, h->config->shared.max_value_size,
                                   on_gone, h);
}

void host_share_greet(struct host_worker *w) {
    struct evrt_shared_entry e;
    for (size_t at = 0; evrt_shared_next(w->host->shared, &at, &e);)
        evrt_frame_put_shared(
            evrt_channel_out(&w->channel),
            &(struct evrt_frame_shared){.version = e.version, .key = e.key, .value = e.value});
}

int host_share_says(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_share f;
    struct evrt_shared_entry now;
    if (evrt_frame_get_share(payload, &f) < 0) return -EBADMSG;
    struct evrt_shared_entry change = {f.key, f.value, f.version};
    if (f.remove) change.value = (struct evrt_slice){NULL, 0};
    int rc = evrt_shared_cas(w->host->shared, &change, f.ttl_ms, evrt_mono_ns(), &now);
    if (listens(w))
        evrt_frame_put_shared(evrt_channel_out(&w->channel), &(struct evrt_frame_shared){
                                                                 .token = f.token,
                                                                 .status = rc,
                                                                 .version = now.version,
                                                                 .key = now.key,
                                                                 .value = now.value,
                                                             });
    if (rc == 0) tell_all(w->host, w, &now);
    return 0;
}
