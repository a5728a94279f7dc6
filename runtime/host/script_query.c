/* Scripts that read stored events (evrt.fold): answered a page at a time, as people are. A worker that has gone
 * is not answered. The loop's thread. */
#include <errno.h>
#include <stdlib.h>

#include "host/node.h"

enum { LIMIT_MAX = 1000 };

struct script_query {
    struct evrt_host *host;
    uint32_t instance; /* of the worker */
    uint64_t token;
};

static void on_page(void *arg, int status, struct evrt_slice json) {
    struct script_query *q = arg;
    struct host_worker *w = host_worker_find(q->host, q->instance);
    struct evrt_frame_value f = {.token = q->token, .status = status, .value = json};
    if (json.n > EVRT_FRAME_MAX / 2) {
        f.status = -EMSGSIZE;
        f.value = EVRT_STR("an event is too large, as JSON, to be read by a script");
    }
    if (w != NULL && w->channel_open && !w->channel.ended)
        evrt_frame_put_value(evrt_channel_out(&w->channel), &f);
    free(q);
}

/* Between two slices of the scan. */
static bool is_gone(void *arg) {
    const struct script_query *q = arg;
    return host_worker_find(q->host, q->instance) == NULL;
}

int host_script_queries(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_query f;
    if (evrt_frame_get_query(payload, &f) < 0 || f.limit < 1 || f.limit > LIMIT_MAX)
        return -EBADMSG;
    struct script_query *q = evrt_alloc(sizeof *q);
    *q = (struct script_query){w->host, w->instance, f.token};
    evrt_host_events(w->host,
                     &(struct evrt_host_query){
                         .filter = {.type = f.type, .subject = f.subject},
                         .after = f.after,
                         .limit = f.limit,
                         .script = true,
                         .gone = is_gone,
                     },
                     on_page, q);
    return 0;
}
