/* A metric as scripts define it: what worker and host both check. Pure; any thread. */
#ifndef EVRT_CORE_METRIC_H
#define EVRT_CORE_METRIC_H

#include "core/buf.h"

enum evrt_metric_type {
    EVRT_METRIC_TYPE_COUNTER,
    EVRT_METRIC_TYPE_GAUGE,
    EVRT_METRIC_TYPE_HISTOGRAM
};

enum { EVRT_BUCKETS_MAX = 64, EVRT_LABELS_MAX = 10 };

struct evrt_metric_definition {
    enum evrt_metric_type type;
    struct evrt_slice name, help;
    struct evrt_slice labels; /* names, comma-separated */
    const double *bounds;     /* histograms: ascending */
    uint32_t bound_count;
    uint64_t generation; /* of the scripts that define it */
};
/* 0, or -EINVAL with the reason: a name or label that is none, or is the runtime's. */
EVRT_MUST_CHECK int evrt_metric_check(const struct evrt_metric_definition *d,
                                      struct evrt_error *err);

#endif
