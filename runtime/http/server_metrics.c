/* What a listener counts: requests by route, method and status, and how long they took. */
#include <stdlib.h>

#include "core/clock.h"
#include "http/server_internal.h"
#include "telemetry/metrics.h"

/* A route's answers of one status; found by a look through a short list. */
struct evrt_http_answered {
    const struct evrt_route *route; /* NULL: none was found */
    unsigned status;
    struct evrt_series *count, *duration;
};

static struct evrt_slice known_method(struct evrt_slice method) {
    static const char *const methods[] = {"GET",    "HEAD",    "POST", "PUT",
                                          "DELETE", "OPTIONS", "PATCH"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (evrt_slice_eq(method, evrt_slice_of(methods[i]))) return evrt_slice_of(methods[i]);
    return EVRT_STR("other");
}

/* Of a route its own method; that of a request without one is the client's. */
static struct evrt_http_answered *add(struct evrt_http_server *s,
                                      const struct evrt_http_request *r) {
    char status[16];
    const struct evrt_route *route = r->match.route;
    struct evrt_slice listener = evrt_slice_of(s->options.name);
    struct evrt_slice path = route == NULL ? EVRT_STR("none") : evrt_slice_of(route->pattern);
    struct evrt_slice method =
        route == NULL ? known_method(r->method) : evrt_slice_of(route->method);
    snprintf(status, sizeof status, "%u", r->status);
    s->answered = evrt_realloc(s->answered, (s->answered_count + 1) * sizeof *s->answered);
    struct evrt_http_answered *a = &s->answered[s->answered_count++];
    *a = (struct evrt_http_answered){
        .route = route,
        .status = r->status,
        .count = evrt_metrics_series(s->metrics, EVRT_METRIC_HTTP_REQUESTS,
                                     EVRT_LABELS(listener, method, path, evrt_slice_of(status))),
        .duration =
            evrt_metrics_series(s->metrics, EVRT_METRIC_HTTP_DURATION, EVRT_LABELS(listener, path)),
    };
    return a;
}

void evrt_http_metrics_answered(struct evrt_http_request *r) {
    struct evrt_http_server *s = r->server;
    if (s->metrics == NULL) return;
    struct evrt_http_answered *a = s->answered, *end = a + s->answered_count;
    while (a < end && (a->route != r->match.route || a->status != r->status))
        a++;
    if (a == end) a = add(s, r);
    evrt_series_add(a->count, 1);
    evrt_series_observe(a->duration, evrt_mono_ns() - r->begun_ns);
}

void evrt_request_limit(struct evrt_http_request *r, unsigned limit) {
    evrt_metrics_limit(r->server->metrics, limit, 1);
}

void evrt_http_metrics_finish(struct evrt_http_server *s) {
    free(s->answered);
}

void evrt_http_server_collect(struct evrt_http_server *s) {
    struct evrt_slice listener = evrt_slice_of(s->options.name);
    evrt_metrics_gauge(s->metrics, EVRT_METRIC_HTTP_CONNECTIONS, &listener,
                       (double)s->counts.connections);
}
