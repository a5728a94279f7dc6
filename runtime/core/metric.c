/* See metric.h. */
#include "core/metric.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>

#include "core/error.h"

static bool is_name(struct evrt_slice s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
    }
    return s.n > 0 && s.n <= 200;
}

static bool begins(struct evrt_slice s, const char *with) {
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p, with, n) == 0;
}

static bool ends(struct evrt_slice s, const char *with) {
    size_t n = strlen(with);
    return s.n >= n && memcmp(s.p + s.n - n, with, n) == 0;
}

static int check_name(const struct evrt_metric_definition *d, struct evrt_error *err) {
    static const char *const reserved[] = {"events_", "event_handlers_", "evrt_", "process_", "__"};
    static const char *const suffixes[] = {"_total", "_bucket",  "_count",
                                           "_sum",   "_created", "_info"};
    struct evrt_slice s = d->name;
    int n = (int)(s.n < 200 ? s.n : 200);
    if (!is_name(s))
        return evrt_error_set(err, -EINVAL,
                              "\"%.*s\" is no name of a metric: letters, digits and '_' expected, "
                              "at most 200",
                              n, s.p);
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (begins(s, reserved[i]))
            return evrt_error_set(err, -EINVAL,
                                  "%.*s: names that begin with %s are the runtime's own", n, s.p,
                                  reserved[i]);
    if (d->type == EVRT_METRIC_TYPE_COUNTER) {
        if (ends(s, "_total") && s.n > 6) return 0;
        return evrt_error_set(err, -EINVAL, "%.*s: a counter's name ends in _total", n, s.p);
    }
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (ends(s, suffixes[i]))
            return evrt_error_set(err, -EINVAL, "%.*s: only other metrics' names end in %s", n, s.p,
                                  suffixes[i]);
    return 0;
}

static int check_labels(const struct evrt_metric_definition *d, struct evrt_error *err) {
    static const char *const taken[] = {"le", "quantile", "overflow"};
    struct evrt_slice seen[EVRT_LABELS_MAX];
    uint32_t count = 0;
    for (size_t at = 0; at < d->labels.n;) {
        const char *p = d->labels.p + at, *comma = memchr(p, ',', d->labels.n - at);
        struct evrt_slice label = {p, comma == NULL ? d->labels.n - at : (size_t)(comma - p)};
        bool good = is_name(label) && !begins(label, "__") && label.n <= 100;
        for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
            good = good && !evrt_slice_eq(label, evrt_slice_of(taken[i]));
        if (!good)
            return evrt_error_set(err, -EINVAL, "%.*s: \"%.*s\" is no name of a label",
                                  (int)d->name.n, d->name.p, (int)label.n, label.p);
        if (count == EVRT_LABELS_MAX)
            return evrt_error_set(err, -EINVAL, "%.*s: more than %d labels", (int)d->name.n,
                                  d->name.p, EVRT_LABELS_MAX);
        for (uint32_t i = 0; i < count; i++)
            if (evrt_slice_eq(seen[i], label))
                return evrt_error_set(err, -EINVAL, "%.*s: label %.*s is given twice",
                                      (int)d->name.n, d->name.p, (int)label.n, label.p);
        seen[count++] = label;
        at += label.n + 1;
    }
    return 0;
}

int evrt_metric_check(const struct evrt_metric_definition *d, struct evrt_error *err) {
    int rc = check_name(d, err);
    if (rc == 0) rc = check_labels(d, err);
    if (rc < 0) return rc;
    if ((d->type == EVRT_METRIC_TYPE_HISTOGRAM) != (d->bound_count != 0) ||
        d->bound_count > EVRT_BUCKETS_MAX)
        return evrt_error_set(err, -EINVAL, "%.*s: 1 to %d buckets expected", (int)d->name.n,
                              d->name.p, EVRT_BUCKETS_MAX);
    for (uint32_t i = 0; i < d->bound_count; i++)
        if (!isfinite(d->bounds[i]) || (i > 0 && d->bounds[i] <= d->bounds[i - 1]))
            return evrt_error_set(err, -EINVAL, "%.*s: buckets: ascending numbers expected",
                                  (int)d->name.n, d->name.p);
    return 0;
}
