/* Metrics of scripts, as workers tell of them. A worker numbers its metrics and series itself; here its numbers
 * become the registry's, which all workers and generations share:
 *
 *     METRIC ──▶ family     METRIC_SERIES ──▶ series     METRIC_COUNTS ──▶ additions
 *
 * A gauge that is set by several workers has the value that came last. */
#include <errno.h>
#include <stdlib.h>

#include "host/node.h"

#include "core/clock.h"

struct host_own_series {
    struct evrt_series *series; /* NULL: refused */
    enum evrt_metric_type type;
};

struct host_own {
    struct evrt_family **families; /* NULL: refused */
    struct host_own_series *series;
    uint32_t family_count, series_count;
};

static struct host_own *own_of(struct host_worker *w) {
    if (w->own == NULL) w->own = evrt_zalloc(sizeof *w->own);
    return w->own;
}

void host_meter_own_forget(struct host_worker *w) {
    struct host_own *o = w->own;
    if (o == NULL) return;
    int64_t now = evrt_mono_ns();
    for (uint32_t i = 0; i < o->family_count; i++)
        if (o->families[i] != NULL) evrt_metrics_undefine(o->families[i], now);
    free(o->families);
    free(o->series);
    free(o);
    w->own = NULL;
}

static void refused(struct evrt_host *h) {
    evrt_metrics_count(h->meters->metrics, EVRT_METRIC_METRICS_REFUSED, NULL, 1);
}

int host_meter_defines(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_metric f;
    struct evrt_error err;
    double bounds[EVRT_BUCKETS_MAX];
    if (w->host->meters == NULL || evrt_frame_get_metric(payload, &f) < 0) return -EBADMSG;
    struct host_own *o = own_of(w);
    if (f.metric != o->family_count || f.type > EVRT_METRIC_TYPE_HISTOGRAM ||
        f.bounds.n > sizeof bounds || f.bounds.n % sizeof bounds[0] != 0)
        return -EBADMSG;
    memcpy(bounds, f.bounds.p, f.bounds.n);
    struct evrt_metric_definition d = {
        .type = (enum evrt_metric_type)f.type,
        .name = f.name,
        .help = f.help,
        .labels = f.labels,
        .bounds = bounds,
        .bound_count = (uint32_t)(f.bounds.n / sizeof bounds[0]),
        .generation = w->generation->number,
    };
    if (evrt_metric_check(&d, &err) < 0) return -EBADMSG; /* it checks before it tells */
    o->families = evrt_realloc(o->families, (o->family_count + 1) * sizeof(struct evrt_family *));
    struct evrt_family *family = evrt_metrics_define(w->host->meters->metrics, &d);
    o->families[o->family_count++] = family;
    if (family == NULL) refused(w->host);
    return 0;
}

/* As many values as there are labels, or none at all. */
static bool split(struct evrt_slice joined, struct evrt_slice *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const char *nul = joined.n == 0 ? NULL : memchr(joined.p, '\0', joined.n);
        values[i] =
            (struct evrt_slice){joined.p, nul == NULL ? joined.n : (size_t)(nul - joined.p)};
        if ((nul == NULL) != (i + 1 == count)) return false;
        joined.p += values[i].n + (nul != NULL);
        joined.n -= values[i].n + (nul != NULL);
    }
    return joined.n == 0;
}

int host_meter_series(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_metric_series f;
    struct evrt_slice values[EVRT_LABELS_MAX];
    struct host_own *o = w->own;
    if (o == NULL || evrt_frame_get_metric_series(payload, &f) < 0) return -EBADMSG;
    if (f.series != o->series_count || f.metric >= o->family_count) return -EBADMSG;
    struct evrt_family *family = o->families[f.metric];
    struct host_own_series s = {0};
    if (family != NULL) {
        if (!f.overflow && !split(f.values, values, evrt_family_labels(family))) return -EBADMSG;
        s.series = evrt_metrics_own(family, f.overflow ? NULL : values);
        s.type = evrt_family_type(family);
    }
    uint32_t n = o->series_count;
    if ((n & (n - 1)) == 0)
        o->series = evrt_realloc(o->series, (n == 0 ? 1 : n * 2) * sizeof *o->series);
    o->series[o->series_count++] = s;
    return 0;
}

static int count(struct host_worker *w, const struct evrt_frame_metric_count *item) {
    struct host_own *o = w->own;
    if (o == NULL || item->series >= o->series_count) return -EBADMSG;
    struct host_own_series *s = &o->series[item->series];
    if (s->series == NULL) {
        refused(w->host);
        return 0;
    }
    if (item->what == EVRT_METRIC_ADD) {
        if (s->type == EVRT_METRIC_TYPE_COUNTER && !(item->v >= 0)) return -EBADMSG;
        s->series->v.d += item->v;
    } else if (item->what == EVRT_METRIC_SET) {
        if (s->type != EVRT_METRIC_TYPE_GAUGE) return -EBADMSG;
        s->series->v.d = item->v;
    } else {
        uint32_t bucket = item->what - EVRT_METRIC_BUCKET;
        if (s->type != EVRT_METRIC_TYPE_HISTOGRAM || bucket > s->series->buckets->n ||
            !(item->v >= 0 && item->v <= UINT32_MAX))
            return -EBADMSG;
        s->series->counts[bucket] += (uint64_t)item->v;
    }
    return 0;
}

int host_meter_counts(struct host_worker *w, struct evrt_slice payload) {
    struct evrt_frame_metric_count item;
    if (payload.n % sizeof item != 0) return -EBADMSG;
    for (size_t at = 0; at < payload.n; at += sizeof item) {
        memcpy(&item, payload.p + at, sizeof item);
        int rc = count(w, &item);
        if (rc < 0) return rc;
    }
    return 0;
}
