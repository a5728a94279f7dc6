/* See meter.h: meters made and ended, and handlers that are gone. */
#include "host/node.h"

#include <stdlib.h>

#include "core/clock.h"

static struct evrt_series *counter(struct evrt_metrics *m, enum evrt_metric_id id,
                                   struct evrt_slice label) {
    return evrt_metrics_series(m, id, &label);
}

void host_meters_create(struct evrt_host *h) {
    const struct evrt_config *c = h->config;
    if (!c->metrics.enabled) return;
    struct host_meters *m = h->meters = evrt_zalloc(sizeof *m);
    m->most = (uint32_t)c->metrics.max_series;
    m->metrics = evrt_metrics_create(m->most);
    evrt_map_init(&m->deliveries);
    evrt_map_init(&m->sources);
    evrt_map_init(&m->types);
    evrt_map_init(&m->departed);
    host_monitor_init(&m->monitor, h->created_ns);
    struct evrt_metrics *x = m->metrics;
    m->frames[EVRT_FRAME_DELIVER] = counter(x, EVRT_METRIC_FRAMES, EVRT_STR("DELIVER"));
    m->bytes_in = counter(x, EVRT_METRIC_FRAME_BYTES, EVRT_STR("from_workers"));
    m->bytes_out = counter(x, EVRT_METRIC_FRAME_BYTES, EVRT_STR("to_workers"));
    m->redelivered = evrt_metrics_series(x, EVRT_METRIC_REDELIVERED, NULL);
    host_meter_no_deaths(m);
    m->commit_duration = evrt_metrics_series(x, EVRT_METRIC_JOURNAL_COMMIT, NULL);
    m->batch_records = evrt_metrics_series(x, EVRT_METRIC_JOURNAL_BATCH, NULL);
    evrt_metrics_gauge(x, EVRT_METRIC_BUILD_INFO,
                       EVRT_LABELS(EVRT_STR(EVRT_VERSION), EVRT_STR(EVRT_BUILD_TYPE),
                                   evrt_slice_of(c->store.durability)),
                       1);
    evrt_metrics_gauge(x, EVRT_METRIC_SERVICE_INFO,
                       EVRT_LABELS(evrt_slice_of(c->service.name),
                                   evrt_slice_of(c->service.version),
                                   evrt_slice_of(c->service.environment)),
                       1);
}

static void free_meter(struct host_meter *t) {
    free(t->handler);
    free((char *)t->type.p);
    free(t);
}

static void free_maps(struct host_meters *m) {
    size_t at = 0;
    for (struct host_meter *t; (t = evrt_map_next(&m->deliveries, &at, NULL)) != NULL;)
        free_meter(t);
    at = 0;
    for (struct host_source_meter *s; (s = evrt_map_next(&m->sources, &at, NULL)) != NULL;
         free(s)) {
        free((char *)s->type.p);
        free((char *)s->source.p);
    }
    at = 0;
    for (void *t; (t = evrt_map_next(&m->types, &at, NULL)) != NULL;)
        free(t);
    at = 0;
    for (void *since; (since = evrt_map_next(&m->departed, &at, NULL)) != NULL;)
        free(since);
    struct evrt_map *maps[] = {&m->deliveries, &m->sources, &m->types, &m->departed};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++)
        evrt_map_finish(maps[i]);
}

void host_meters_destroy(struct evrt_host *h) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    free_maps(m);
    host_monitor_finish(&m->monitor);
    free(m->overflow);
    free(m->source_overflow);
    free(m->type_overflow);
    free(m->marks);
    free(m->ages);
    evrt_metrics_destroy(m->metrics);
    free(m);
    h->meters = NULL;
}

/* ---- Handlers that are gone ---- */

static void forget_meters(struct host_meters *m, uint32_t sub) {
    struct evrt_slice key, keys[64];
    size_t at, n;
    memset(m->delivery_cache, 0, sizeof m->delivery_cache);
    m->sent = NULL;
    do { /* what is found is removed after each walk */
        at = n = 0;
        for (const struct host_meter *t;
             n < 64 && (t = evrt_map_next(&m->deliveries, &at, &key)) != NULL;)
            if (t->sub == sub) keys[n++] = key;
        for (size_t i = 0; i < n; i++) {
            char *copy = evrt_alloc(keys[i].n); /* which removing frees */
            memcpy(copy, keys[i].p, keys[i].n);
            free_meter(evrt_map_remove(&m->deliveries, (struct evrt_slice){copy, keys[i].n}));
            free(copy);
        }
    } while (n == 64);
}

void host_meter_departed(struct evrt_host *h, const struct evrt_sub *s) {
    if (h->meters == NULL) return;
    struct evrt_slice name = evrt_slice_of(s->name);
    if (evrt_map_get(&h->meters->departed, name) == NULL) {
        int64_t *since = evrt_alloc(sizeof *since);
        *since = evrt_mono_ns();
        evrt_map_set(&h->meters->departed, name, since);
        evrt_metrics_drop(h->meters->metrics, "handler", name, true);
    }
}

/* Removed: no delivery points to its meters any more. */
void host_meter_removed(struct evrt_host *h, const struct evrt_sub *s) {
    if (h->meters == NULL) return;
    host_meter_departed(h, s);
    forget_meters(h->meters, s->id);
}

static bool is_back(struct evrt_host *h, struct evrt_slice name) {
    const struct evrt_sub *s = evrt_bus_find(h->bus, name);
    return s != NULL && (s->active || evrt_sub_pending(s) != 0 || s->live != 0);
}

/* One name at a time, as the map may not change under the walk. */
static bool expire_one(struct evrt_host *h, int64_t before_ns) {
    struct host_meters *m = h->meters;
    struct evrt_slice name;
    size_t at = 0;
    for (const int64_t *since; (since = evrt_map_next(&m->departed, &at, &name)) != NULL;) {
        bool back = is_back(h, name);
        if (!back && *since > before_ns) continue;
        char *copy = evrt_strndup(name.p, name.n);
        struct evrt_slice own = {copy, name.n};
        const struct evrt_sub *s = evrt_bus_find(h->bus, own);
        if (!back && s != NULL) forget_meters(m, s->id);
        if (!back) evrt_metrics_drop(m->metrics, "handler", own, false);
        free(evrt_map_remove(&m->departed, own));
        free(copy);
        return true;
    }
    return false;
}

void host_meters_expire(struct evrt_host *h) {
    struct host_meters *m = h->meters;
    if (m == NULL) return;
    int64_t before = evrt_mono_ns() - h->config->metrics.series_ttl * 1000000;
    for (size_t i = 0; i < evrt_bus_count(h->bus); i++) {
        const struct evrt_sub *s = evrt_bus_get(h->bus, i);
        if (!s->active && !is_back(h, evrt_slice_of(s->name))) host_meter_departed(h, s);
    }
    while (m->departed.count != 0 && expire_one(h, before))
        continue;
    evrt_metrics_expire(m->metrics, before);
}
